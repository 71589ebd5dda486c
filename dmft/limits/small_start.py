"""The limit of a vanishing start, extrapolated from solutions at small alpha.

In the time tau = t/(2 log(1/alpha)) the errors of a depth-two network converge as alpha -> 0
to those of the saddle-to-saddle process (arXiv:2304.00488), slowly:

    E_alpha(tau) = E_0(tau) + c_1(tau) x + c_2(tau) x^2 + ...,      x = 1/log(1/alpha).

Solutions at K values of alpha thus give E_0 by polynomial extrapolation to x = 0. Saddle paths of
random data give it at finite dimension (`dmft.simulation.saddle_ensemble`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dmft.validation import shown


class Extrapolation(NamedTuple):
    """Result of `extrapolate_start`.

    `limit` at alpha = 0; `numerical_error` inherited from the values; `truncation` is the change
    that the value at the largest alpha makes. Each has the shape (T,).

    Examples
    --------
    >>> zero = np.zeros(2)
    >>> Extrapolation(limit=np.ones(2), numerical_error=zero, truncation=zero).limit
    array([1., 1.])
    """

    limit: np.ndarray
    numerical_error: np.ndarray
    truncation: np.ndarray


def extrapolate_start(alphas: Any, values: Any, errors: Any = 0.0) -> Extrapolation:
    """Extrapolate to alpha = 0 by the polynomial in 1/log(1/alpha) through all values.

    Parameters
    ----------
    alphas : array_like, shape (K,)
        Decreasing, in (0, 1); K >= 2.
    values : array_like, shape (K, T)
        An observable at the same tau for each alpha.
    errors : array_like, shape (K, T)
        Absolute errors of the values.

    Returns
    -------
    Extrapolation

    Raises
    ------
    ValueError
        If the alphas do not decrease within (0, 1), are fewer than two, or the shapes differ.

    Examples
    --------
    >>> x = np.array([0.1, 0.05])  # 1/log(1/alpha)
    >>> found = extrapolate_start(np.exp(-1 / x), (2.0 + 3.0 * x)[:, None])
    >>> round(float(found.limit[0]), 9)
    2.0
    """
    alphas = np.array(alphas, dtype=float)
    inside = np.all((alphas > 0) & (alphas < 1))
    if alphas.ndim != 1 or alphas.size < 2 or not inside or np.any(np.diff(alphas) >= 0):
        raise ValueError(
            f"alphas must be at least 2 decreasing numbers in (0, 1); got {shown(alphas)}"
        )
    values = np.array(values, dtype=float)
    if values.ndim != 2 or len(values) != alphas.size:
        raise ValueError(f"values must have shape ({alphas.size}, T); got {values.shape}")
    errors = np.broadcast_to(np.array(errors, dtype=float), values.shape)
    x = -1.0 / np.log(alphas)
    weights = _weights_at_zero(x)
    limit = weights @ values
    shorter = _weights_at_zero(x[1:]) @ values[1:]
    return Extrapolation(limit, np.abs(weights) @ np.abs(errors), np.abs(limit - shorter))


def _weights_at_zero(x: np.ndarray) -> np.ndarray:
    """Return Lagrange's weights of the nodes x for the value at 0."""
    return np.array(
        [np.prod([other / (other - node) for other in np.delete(x, i)]) for i, node in enumerate(x)]
    )
