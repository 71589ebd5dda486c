"""Gradient flow at finite dimension, without any mean-field theory."""
