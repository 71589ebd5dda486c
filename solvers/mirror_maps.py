"""Codes and tables of the scalar maps w = phi(H) that the compiled kernels know.

With p the parameters at one time:

    LINEAR      w = -p0 H                                               D = p0
    HYPERBOLIC  w = (exp(p0 - H) - exp(p1 + H))/2                       D = -dw/dH
    POWER       w = p2 (u^L - v^L)/L, u = (p1 + (L-2) H/2)^(-1/(L-2)), L = p0, v with -H
    TABLE       w = p0 f(H), f interpolated from a table of H, f, -df/dH
"""

from __future__ import annotations

import numpy as np

LINEAR = 0
HYPERBOLIC = 1
POWER = 2
TABLE = 3


def product_table(starts: np.ndarray, size: int = 4001, reach: float = 1e6) -> np.ndarray:
    """Tabulate the gradient flow of a product of layers against the integrated gradient H.

    Solves dx/dH = -(1/2) prod_{j>0} sqrt(x^2 + mu_j^2), x(0) = starts[0], where x is the layer
    of smallest start and mu_j^2 = starts[j]^2 - starts[0]^2.

    Parameters
    ----------
    starts : ndarray, shape (L,)
        Values of the layers at H = 0, ascending, non-negative.
    size : int
        Number of rows.
    reach : float
        Largest |product| that the table covers.

    Returns
    -------
    ndarray, shape (size, 3)
        H (increasing), w = prod_j u_j and D = -dw/dH = (1/2) sum_j prod_{k != j} u_k^2.
    """
    mu2 = starts**2 - starts[0] ** 2

    def layers(x: np.ndarray) -> np.ndarray:
        others = np.sqrt(x[..., None] ** 2 + mu2[1:])
        return np.concatenate([x[..., None], others], axis=-1)

    # cells of equal width in asinh(x / unit): logarithmic at both ends, fine around zero
    unit = np.sqrt(mu2[1]) if mu2[1] > 0 else starts[0]
    largest = np.arcsinh(max(reach ** (1.0 / starts.size), 10 * starts[-1]) / unit)
    start = np.arcsinh(starts[0] / unit)
    lowest = -largest if mu2[1] > 0 else start - 40.0  # equal starts: x never crosses zero
    below = int(size * (start - lowest) / (largest - lowest))
    s = np.concatenate(
        [np.linspace(lowest, start, below + 1)[:-1], np.linspace(start, largest, size - below)]
    )
    x = unit * np.sinh(s) if mu2[1] > 0 else starts[0] * np.exp(s - start)

    # H(x) = -2 int dx / prod of the other layers, by Gauss-Legendre in every cell
    points, weights = np.polynomial.legendre.leggauss(10)
    middle, half = 0.5 * (x[1:] + x[:-1]), 0.5 * np.diff(x)
    inner = middle[:, None] + half[:, None] * points
    cell = -2 * half * np.sum(weights / layers(inner)[..., 1:].prod(axis=-1), axis=1)
    # summed away from the start, near which H is small and the far end may be enormous
    H = np.concatenate([-np.cumsum(cell[:below][::-1])[::-1], [0.0], np.cumsum(cell[below:])])
    all_layers = layers(x)
    w = all_layers.prod(axis=-1)
    D = 0.5 * sum(np.delete(all_layers, j, axis=-1).prod(axis=-1) ** 2 for j in range(starts.size))
    return np.ascontiguousarray(np.stack([H, w, D], axis=1)[::-1])
