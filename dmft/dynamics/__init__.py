"""How the layers are trained: gradient flow, gradient descent, SGD and their continuous limit."""
