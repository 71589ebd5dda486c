"""Numerical methods: collocation, Volterra kernels, Gaussian quadrature, fixed points.

Nothing here knows of dynamical mean-field theory, and nothing here imports `dmft`.
"""
