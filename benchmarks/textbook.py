"""The usual solver of the DMFT equations: Euler steps, Monte Carlo paths, damped iteration.

It is the method of the literature (e.g. arXiv:2510.01930, arXiv:2112.07572), kept as the
yardstick of `dmft.solve` and as an independent check of it: it shares none of its code. With
t_k = k dt and the left-point rule, the equations of gradient flow become those of gradient
descent of step dt, which are closed sums over the past. One coordinate follows

    u_{k+1} = u_k - (dt/2) (h_k + lam) u_k,       v_{k+1} = v_k + (dt/2) (h_k - lam) v_k,
    theta_k = (u_k^2 - v_k^2)/2 - w*,             h_k = g_k + sum_{j <= k} A_kj theta_j,

where g is a Gaussian vector of covariance C_r/delta, and the two sides close through

    C_w[k, j] = E[theta_k theta_j],     B_kj = E[d theta_k / d g_j]   (strictly lower triangular),
    A = (I - B/delta)^{-1},             C_r = A (C_w + sigma2 1 1^T) A^T.

The response kernels are B/dt and (A - I)/dt; on the diagonal their right limits are
R_w(t+, t) = -E[(u^2 + v^2)/2] and R_r(t+, t) = R_w(t+, t)/delta.

Errors: first order in dt, 1/sqrt(paths) from the sampling, and `tol` from the iteration.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from dmft.networks.diagonal import Diagonal
from dmft.problem import Problem

JITTER = 1e-10  # of the mean variance: the covariance of a smooth process is numerically singular


class TextbookSolution(NamedTuple):
    """Times (N,), the two errors (N,), the four kernels (N, N) and the number of sweeps."""

    t: np.ndarray
    test_error: np.ndarray
    train_error: np.ndarray
    C_w: np.ndarray
    R_w: np.ndarray
    C_r: np.ndarray
    R_r: np.ndarray
    sweeps: int


@numba.njit(cache=True)
def propagate(
    g: np.ndarray,
    target: np.ndarray,
    A: np.ndarray,
    start: tuple[float, float],
    lam: float,
    dt: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """March every path and its linear response.

    Parameters are the noise g (P, N), w* (P,) and the memory A (N, N); returns theta (P, N),
    the mean response B (N, N) and the mean inverse Hessian E[(u^2 + v^2)/2] (N,).
    """
    paths, size = g.shape
    theta = np.empty((paths, size))
    mean_response = np.zeros((size, size))
    mean_hessian_inverse = np.zeros(size)
    response = np.zeros((size, size))  # d theta_k / d g_j
    dh = np.empty(size)
    for p in range(paths):
        u, v = start
        du = np.zeros(size)  # d u / d g_j
        dv = np.zeros(size)
        for k in range(size):
            theta[p, k] = 0.5 * (u * u - v * v) - target[p]
            mean_hessian_inverse[k] += 0.5 * (u * u + v * v)
            for j in range(k):
                response[k, j] = u * du[j] - v * dv[j]
                mean_response[k, j] += response[k, j]
            h = g[p, k]
            dh[:k] = 0.0
            for i in range(k + 1):
                h += A[k, i] * theta[p, i]
                for j in range(i):
                    dh[j] += A[k, i] * response[i, j]
            dh[k] = 1.0
            shrink_u = 1.0 - 0.5 * dt * (h + lam)
            shrink_v = 1.0 + 0.5 * dt * (h - lam)
            for j in range(k + 1):
                du[j] = shrink_u * du[j] - 0.5 * dt * u * dh[j]
                dv[j] = shrink_v * dv[j] + 0.5 * dt * v * dh[j]
            u *= shrink_u
            v *= shrink_v
    return theta, mean_response / paths, mean_hessian_inverse / paths


def solve_textbook(
    problem: Problem,
    t_max: float,
    steps: int,
    paths: int,
    rng: np.random.Generator,
    damping: float = 0.3,
    tol: float = 1e-4,
    max_sweeps: int = 200,
) -> TextbookSolution:
    """Solve the DMFT of a depth-two diagonal network on `steps` Euler steps with `paths` paths.

    The noise and w* are drawn once and kept, so that the iteration has a fixed point. It keeps
    the fraction `damping` of the last iterate and stops once a sweep would change C_w and R_w by
    less than `tol` of their largest entry.

    Raises
    ------
    TypeError
        If the network is not `Diagonal`.
    RuntimeError
        If it has not converged after `max_sweeps` sweeps.
    """
    network = problem.mirror
    if not isinstance(network, Diagonal):
        raise TypeError(f"problem.network must be Diagonal; got {network!r}")
    dt = t_max / steps
    start = (problem.alpha * network.scale_u, problem.alpha * network.scale_v)
    target = problem.signal.sample(rng, paths)
    normals = rng.standard_normal((paths, steps + 1))

    theta0 = network.initial_weight(problem.alpha) - target
    C_w = np.full((steps + 1, steps + 1), np.mean(theta0**2))
    B = np.zeros_like(C_w)
    for sweep in range(1, max_sweeps + 1):
        A, C_r = sample_side(B, C_w, problem)
        noise = normals @ cholesky_factor(C_r / problem.delta).T
        theta, B_new, hessian_inverse = propagate(noise, target, A, start, problem.lam, dt)
        C_new = theta.T @ theta / paths
        change = max(relative_change(C_new, C_w), relative_change(B_new, B))
        if change <= tol:
            return collect(problem, dt, C_new, B_new, hessian_inverse, sweep)
        C_w = damping * C_w + (1 - damping) * C_new
        B = damping * B + (1 - damping) * B_new
    raise RuntimeError(f"no fixed point after {max_sweeps} sweeps: last change {change:.1e}")


def sample_side(B: np.ndarray, C_w: np.ndarray, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return A = (I - B/delta)^{-1} and C_r = A (C_w + sigma2) A^T."""
    A = np.tril(np.linalg.inv(np.eye(len(B)) - B / problem.delta))
    return A, A @ (C_w + problem.sigma2) @ A.T


def cholesky_factor(covariance: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor, with the smallest jitter that makes it exist."""
    scale = np.trace(covariance) / len(covariance)
    jitter = JITTER
    while True:
        try:
            return np.linalg.cholesky(covariance + jitter * scale * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            jitter *= 10


def relative_change(new: np.ndarray, old: np.ndarray) -> float:
    """Return the largest change over the largest entry."""
    return float(np.max(np.abs(new - old)) / np.max(np.abs(new)))


def collect(
    problem: Problem,
    dt: float,
    C_w: np.ndarray,
    B: np.ndarray,
    hessian_inverse: np.ndarray,
    sweeps: int,
) -> TextbookSolution:
    """Return the kernels per unit time, with right limits on the diagonal, and the errors."""
    A, C_r = sample_side(B, C_w, problem)
    R_w = B / dt - np.diag(hessian_inverse)
    R_r = (A - np.eye(len(A))) / dt - np.diag(hessian_inverse) / problem.delta
    t = dt * np.arange(len(B))
    return TextbookSolution(t, np.diag(C_w) / 2, np.diag(C_r) / 2, C_w, R_w, C_r, R_r, sweeps)
