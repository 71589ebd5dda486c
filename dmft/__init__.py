"""Dynamical mean-field theory of diagonal linear networks."""
