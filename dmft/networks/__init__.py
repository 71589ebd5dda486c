"""Networks: each states its mirror map, potential and layers in a file of its own."""
