"""The error that is allowed to test and train error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft.validation import require_in_range

CONTROLLED = ("test_error", "train_error")  # the order of the rows of every (2, T) array
# An absolute error of this times rtol times an observable's largest value is allowed unless `atol`
# says otherwise: train errors decay exponentially, and each decade costs as much as the one before.
FLOOR = 1e-3
TINY = 1e-300  # keeps the allowed error of an observable that vanishes at all times positive


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed at each time: rtol |value| + atol.

    Parameters
    ----------
    rtol : float
    atol : tuple of float or None
        Of test error and train error; None stands for FLOOR rtol times the largest value.
    """

    rtol: float
    atol: tuple[float | None, float | None] = (None, None)

    @classmethod
    def of(cls, rtol: Any, atol: Any) -> Tolerance:
        """Check what a user asks for: a number, or a dict by observable, or None.

        Raises
        ------
        ValueError
            If a number is out of its range, or there is no such observable.
        """
        rtol = require_in_range("rtol", rtol, low=1e-10, high=0.1)
        named = atol if isinstance(atol, Mapping) else dict.fromkeys(CONTROLLED, atol)
        for name in named:
            if name not in CONTROLLED:
                raise ValueError(f"atol must name observables among {CONTROLLED}; got {name!r}")
        test, train = (
            None if named.get(name) is None else require_in_range("atol", named[name], low=0.0)
            for name in CONTROLLED
        )
        return cls(rtol, (test, train))

    def floor(self, peaks: np.ndarray) -> np.ndarray:
        """Return the absolute tolerance of observables with these largest values, shape (2,)."""
        given = zip(self.atol, peaks, strict=True)
        return np.array([FLOOR * self.rtol * peak if a is None else a for a, peak in given])

    def allowed(self, observables: np.ndarray, peaks: np.ndarray | None = None) -> np.ndarray:
        """Return the allowed errors, shape (2, T), of test and train error (2, T).

        `peaks` (2,) are their largest values, those of the rows where absent.
        """
        size = np.abs(observables)
        floor = self.floor(size.max(axis=1) if peaks is None else peaks)
        return self.rtol * (size + TINY) + floor[:, None]
