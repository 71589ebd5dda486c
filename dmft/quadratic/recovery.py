"""Samples from which a quadratic network recovers its teacher without label noise.

For kappa* < 1 and kappa >= kappa*, with M_j(b) = int_b^2 x^j of the semicircle on [-2, 2] and
omega >= 0 from M_0(omega) = (min(1, kappa) - kappa*)/(1 - kappa*), or 0 if that exceeds 1/2:

    lam -> 0+   alpha = kappa* - kappa*^2/2 + ((1 - kappa*)^2/2) [M_2(b) - q M_1(b)],
                b = max(q, omega),   [M_1(b) - q M_0(b)]/q = kappa*/(1 - kappa*)
    lam = 0     alpha = min{kappa - kappa^2/2, kappa* - kappa*^2/2 + ((1 - kappa*)^2/2) M_2(omega)}

where min(1, kappa) stands for kappa (arXiv:2601.10483; the second line is a conjecture there).
A teacher of full rank needs alpha = 1/2, as many samples as Z* has entries; a student of less
rank than its teacher never recovers it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def recovery_threshold(kappa: Any, kappa_star: Any, regularised: bool = True) -> Any:
    """Return the alpha from which gradient flow recovers a noiseless teacher exactly.

    Parameters
    ----------
    kappa, kappa_star : float or array_like
        Widths of student and teacher over dimension; > 0. They are broadcast.
    regularised : bool
        True: the limit lam -> 0+ after t -> infinity. False: lam = 0, which is a conjecture.

    Returns
    -------
    float or ndarray
        The threshold; infinite where the student's rank is below the teacher's.

    Raises
    ------
    ValueError
        If a width is not positive and finite.

    References
    ----------
    arXiv:2601.10483.

    Examples
    --------
    >>> recovery_threshold(1.0, 1.5)
    0.5
    >>> recovery_threshold(0.3, 0.3)
    0.255
    """
    values = []
    for name, value in (("kappa", kappa), ("kappa_star", kappa_star)):
        array = np.asarray(value, dtype=float)
        if not np.all(np.isfinite(array) & (array > 0)):
            raise ValueError(f"{name} must be positive and finite; got {value!r}")
        values.append(array)
    kappas, stars = np.broadcast_arrays(*values)
    rule = _regularised if regularised else _unregularised
    flat = [
        rule(min(1.0, float(k)), min(1.0, float(s)))
        for k, s in zip(kappas.ravel(), stars.ravel(), strict=True)
    ]
    return flat[0] if kappas.ndim == 0 else np.array(flat).reshape(kappas.shape)


def _regularised(kappa: float, star: float) -> float:
    from scipy.optimize import brentq

    if kappa < star:
        return math.inf
    if star == 1:
        return 0.5
    omega, odds = _edge(kappa, star), star / (1 - star)
    q = _moment(1, omega) / (_moment(0, omega) + odds)  # if it is below omega
    if q > omega:
        q = brentq(lambda b: _moment(1, b) - b * (_moment(0, b) + odds), omega, 2.0, xtol=1e-15)
    b = max(q, omega)
    return star - star**2 / 2 + (1 - star) ** 2 / 2 * (_moment(2, b) - q * _moment(1, b))


def _unregularised(kappa: float, star: float) -> float:
    if kappa < star:
        return math.inf
    if star == 1:
        return 0.5
    counted = star - star**2 / 2 + (1 - star) ** 2 / 2 * _moment(2, _edge(kappa, star))
    return min(kappa - kappa**2 / 2, counted)


def _edge(kappa: float, star: float) -> float:
    """Return omega, above which the free directions of the student lie."""
    from scipy.optimize import brentq

    share = (kappa - star) / (1 - star)
    if share >= 0.5:
        return 0.0
    return float(brentq(lambda b: _moment(0, b) - share, 0.0, 2.0, xtol=1e-15))


def _moment(power: int, b: float) -> float:
    """Return int_b^2 x^power of the semicircle sqrt(4 - x^2)/(2 pi), power 0, 1 or 2."""
    root, angle = math.sqrt(max(0.0, 4 - b * b)), math.acos(min(1.0, b / 2))
    if power == 0:
        return (angle - b * root / 4) / math.pi
    if power == 1:
        return root**3 / (6 * math.pi)
    return (angle + b * root * (2 - b * b) / 8) / math.pi
