"""The solution of the self-consistent equations to a stated accuracy."""
