"""Where the time of a solve goes: a profile in groups of functions, in one thread."""

from __future__ import annotations

import cProfile
import os
import pstats
from collections.abc import Callable
from typing import Any, NamedTuple

GROUPS = ("sums over paths", "kernels, linear algebra", "rest")
COMPILED = {
    "solvers/families.py": GROUPS[0],
    "solvers/panels.py": GROUPS[0],
}
LINEAR_ALGEBRA = (
    "linalg",
    "dmft/equations/data_side.py",
    "solvers/causal_operators.py",
    "solvers/collocation.py",
    "solvers/principal_modes.py",
    "solvers/fixed_point.py",
)
LINEAR_FUNCTIONS = ("noise_root", "principal_modes", "of", "aligned")
LISTED = 8


EVALUATION = ("dmft/equations/effective_process.py", "averages")


class Profile(NamedTuple):
    """Where the time of a solve goes.

    Parameters
    ----------
    groups : dict
        Seconds of each group of functions.
    functions : list
        The most expensive functions and their own seconds.
    evaluations : int
        How often the average over all paths was taken.
    each : float
        Seconds of one, in the mean.
    """

    groups: dict[str, float]
    functions: list[tuple[str, float]]
    evaluations: int
    each: float


def profiled(run: Callable[[], Any]) -> Profile:
    """Profile a call. The profiler sees one thread only, so the call should have no more."""
    profiler = cProfile.Profile()
    profiler.runcall(run)
    groups = dict.fromkeys(GROUPS, 0.0)
    functions = []
    evaluations, inside = 0, 0.0
    for (path, _, name), (_, calls, own, cumulative, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        file = path.replace(os.sep, "/")
        groups[group(file, name)] += own
        functions.append((f"{os.path.basename(file)}: {name}", own))
        if file.endswith(EVALUATION[0]) and name == EVALUATION[1]:
            evaluations, inside = calls, cumulative
    functions.sort(key=lambda pair: -pair[1])
    return Profile(groups, functions[:LISTED], evaluations, inside / evaluations)


def group(file: str, name: str) -> str:
    """Return the group of a function in the profile, which lists compiled ones too."""
    for end, name_of_group in COMPILED.items():
        if file.endswith(end):
            return name_of_group
    if any(part in file for part in LINEAR_ALGEBRA):
        return GROUPS[1]
    return GROUPS[1] if "/dmft/" in file and name in LINEAR_FUNCTIONS else GROUPS[2]
