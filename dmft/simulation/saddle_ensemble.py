"""Saddle-to-saddle runs over independent data: the limit of a vanishing start at finite d."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft.limits.saddles import saddle_to_saddle
from dmft.problem import Problem
from dmft.simulation.data import draw_data
from dmft.validation import Rng, recorded_seed, require_integer, require_times


@dataclass(frozen=True, eq=False)
class SaddleEnsemble:
    """Saddle-to-saddle runs over independent data.

    Attributes
    ----------
    tau : ndarray, shape (T,)
        Times t/(2 log(1/alpha)).
    dimension : int
    runs : dict of str to ndarray
        "test_error" |w - w*|^2/(2d) and "train_error" |y - X w|^2/(2n), shape (seeds, T).
    """

    tau: np.ndarray
    dimension: int
    runs: dict[str, np.ndarray]

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.runs["test_error"])

    def mean(self, name: str) -> np.ndarray:
        """Return the mean over seeds, shape (T,)."""
        return self.runs[name].mean(axis=0)

    def standard_error(self, name: str) -> np.ndarray:
        """Return the standard error of the mean, shape (T,)."""
        return self.runs[name].std(axis=0, ddof=1) / np.sqrt(self.seeds)


def saddle_ensemble(
    problem: Problem,
    tau: Any,
    dimension: int = 500,
    seeds: int = 16,
    rng: Rng = 0,
    progress: Callable[[int, int], None] | None = None,
) -> SaddleEnsemble:
    """Run saddle-to-saddle on independent draws of the data.

    Parameters
    ----------
    problem : Problem
        Gives delta, sigma2 and the law of w*; depth two and lam = 0. Its alpha does not matter.
    tau : array_like, shape (T,)
        Increasing times t/(2 log(1/alpha)) >= 0.
    dimension : int
        d >= 1; n = round(delta d).
    seeds : int
        Number of draws, >= 2.
    rng : int, Generator, SeedSequence or None
        Source of randomness. Draw k is that of an ensemble of `dmft.simulate` with this seed.
    progress : callable, optional
        Called with (seeds done, seeds) after each seed.

    Returns
    -------
    SaddleEnsemble

    Raises
    ------
    ValueError
        If an argument is out of its range, lam > 0 or the network has another depth.
    RuntimeError
        If the path of a seed does not reach its end.

    References
    ----------
    arXiv:2304.00488, Algorithm 1.
    """
    if problem.mirror.pair_scales is None:
        raise ValueError(f"network must have depth two; got {problem.mirror!r}")
    if problem.lam != 0:
        raise ValueError(f"lam must be 0 for saddle-to-saddle dynamics; got {problem.lam!r}")
    tau = require_times("tau", tau)
    require_integer("dimension", dimension, low=1)
    require_integer("seeds", seeds, low=2)
    seed = recorded_seed(rng)
    rows = []
    for k, child in enumerate(np.random.SeedSequence(seed).spawn(seeds)):
        rows.append(_one_run(problem, tau, dimension, child))
        if progress is not None:
            progress(k + 1, seeds)
    runs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return SaddleEnsemble(tau, dimension, runs)


def _one_run(
    problem: Problem, tau: np.ndarray, dimension: int, seed: np.random.SeedSequence
) -> dict[str, np.ndarray]:
    data = draw_data(problem, dimension, rng=seed)
    n, d = data.X.shape
    path = saddle_to_saddle(data.X, data.y, loss_scale=d / n)
    if not path.success:
        raise RuntimeError(f"a saddle-to-saddle path did not reach its end: {path.message}")
    test = np.sum((path.saddles - data.w_star) ** 2, axis=1) / (2 * d)
    # the flow stays at saddle k from times[k] on
    current = np.searchsorted(path.times, tau, side="right") - 1
    return {"test_error": test[current], "train_error": path.losses[current] / d}
