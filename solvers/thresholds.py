"""Where integrands over Gaussian modes bend."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Thresholds(NamedTuple):
    """Where integrands bend, and how sharply; see `dmft.solvers.stretching`.

    Parameters
    ----------
    positions : ndarray, shape (q,)
        z_k, seen from zero in all other modes; they may be any real numbers.
    slope : ndarray, shape (r - 1,)
    width : float

    Examples
    --------
    >>> Thresholds(positions=np.array([1.0]), slope=np.zeros(1), width=0.1).width
    0.1
    """

    positions: np.ndarray
    slope: np.ndarray
    width: float

    def moved(self, distance: float) -> Thresholds:
        """Return the thresholds elsewhere."""
        return self._replace(positions=self.positions + distance)
