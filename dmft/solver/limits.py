"""What a solve may take, and the times that it can follow."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from dmft.validation import require_in_range

# Bytes that a process has with all modules and compiled code loaded; 150 to 200 MB were measured.
LOADED = 2e8
# Bytes for each value of each path at each node of the largest noise rule, everything counted: a
# solve with 16 million of them took 400 to 670 MB in all.
EACH = 50.0
LEAST_MEMORY = 3e8
# Times that doubles can follow beside the rates of every `Problem`, which may be as large as 1e100.
LEAST_TIME, MOST_TIME = 1e-100, 1e100


@dataclass(frozen=True)
class Limits:
    """Largest time and memory.

    Parameters
    ----------
    seconds : float
        Infinite where there is no limit.
    values : float
        Values of all paths at all nodes that memory has room for.
    """

    seconds: float
    values: float

    @classmethod
    def of(cls, max_time: Any, max_memory: Any) -> Limits:
        """Check the arguments of `dmft.solve`.

        Raises
        ------
        ValueError
            If one is out of its range.
        """
        seconds = math.inf
        if max_time is not None:
            seconds = require_in_range("max_time", max_time, low=0.0, low_open=True)
        memory = require_in_range("max_memory", max_memory, low=LEAST_MEMORY)
        return cls(seconds, (memory - LOADED) / EACH)

    @property
    def room(self) -> float:
        """Bytes that are left beside the modules and compiled code."""
        return self.values * EACH

    def deadline(self) -> float:
        """Return the time of `time.monotonic` at which the seconds will have passed."""
        return time.monotonic() + self.seconds
