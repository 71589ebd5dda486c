"""Adjoint sweeps against the recursions themselves, differentiated one field at a time."""

import numpy as np
import pytest

from dmft.solvers.recursions import Responses

STEPS, PATHS = 11, 16


def perturbed_output(J, b, c, M, k, field, momentum, nesterov, seen):
    """Return the output at step k of one path after a unit field at step `field`."""
    x, before, h = np.zeros_like(b[0]), np.zeros_like(b[0]), np.zeros(STEPS)
    for i in range(k + 1):
        at = x + momentum * (x - before) if nesterov else x
        if i == k:
            return c[k] @ (at if seen else x)
        h[i] = c[i] @ at + M[i, :i] @ h[:i]
        inertia = 0.0 if nesterov else momentum * (x - before)
        x, before = J[i] @ at + b[i] * (h[i] + (i == field)) + inertia, x
    raise AssertionError


@pytest.mark.parametrize(
    ("momentum", "nesterov", "seen", "coupled", "layers"),
    [
        (0.0, False, True, True, 3),
        (0.7, False, True, True, 3),
        (0.7, True, True, True, 3),
        (0.7, True, False, True, 3),
        (0.7, False, True, False, 3),
        (0.7, False, True, False, 2),
        (0.7, True, True, False, 2),
    ],
)
def test_sweep_equals_differentiated_recursion(momentum, nesterov, seen, coupled, layers):
    rng = np.random.default_rng(3)
    J = np.eye(layers) + 0.2 * rng.normal(size=(2, PATHS, STEPS, layers, layers))
    c = rng.normal(size=(2, PATHS, STEPS, layers))
    gain = -0.7
    b = gain * c
    M = 0.1 * np.tril(rng.normal(size=(2, STEPS, STEPS)), -1)
    if not coupled:
        J *= np.eye(layers)
    # two strata of paths for each of two systems
    responses = Responses(2, 2, PATHS // 2, layers, STEPS, gain, momentum, nesterov, coupled)
    for k in range(STEPS):
        output = np.moveaxis(c[:, :, k], -1, 0)
        responses.set_output(k, in_strata(output))
        responses.set_memory(k, M[:, k, :k])
        jacobian = np.moveaxis(J[:, :, k], (-2, -1), (0, 1))
        if not coupled:
            jacobian = np.einsum("aasp->asp", jacobian)[:, None]
        responses.set_step(k, in_strata(jacobian))
    k = STEPS - 1
    found = responses.total(k, in_strata(output), seen)
    for s, part in np.ndindex(2, 2):
        for j in (0, 3, k - 1):
            direct = sum(
                perturbed_output(J[s, p], b[s, p], c[s, p], M[s], k, j, momentum, nesterov, seen)
                for p in range(part * PATHS // 2, (part + 1) * PATHS // 2)
            )
            np.testing.assert_allclose(found[s, part, j], direct, rtol=1e-11, atol=1e-11)


def in_strata(values):
    """Return values (..., 2, PATHS) with two strata for each system, (..., 4, PATHS/2)."""
    return values.reshape(*values.shape[:-2], 4, PATHS // 2)


def test_paths_must_fill_registers():
    with pytest.raises(ValueError, match="multiple of 8; got 12"):
        Responses(1, 1, 12, 2, 5, 1.0)
