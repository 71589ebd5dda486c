"""The error that is allowed to an observable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed at each time: rtol |value| + atol_fraction rtol |value at 0|."""

    rtol: float
    atol_fraction: float = 1e-3

    def allowed(self, observable: np.ndarray, start: float | np.ndarray) -> np.ndarray:
        """Return the allowed error of an observable that is `start` at t = 0, of its shape."""
        return self.rtol * (np.abs(observable) + self.atol_fraction * np.maximum(start, 1e-300))
