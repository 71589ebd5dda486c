"""Theory against simulation of a quadratic network; the statistics are `dmft.comparison`'s."""

from __future__ import annotations

import numpy as np

from dmft.comparison import Report, judge, require_comparable
from dmft.quadratic.observables import ONE_TIME, TWO_TIME
from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.simulation import QuadraticEnsemble
from dmft.quadratic.solution import QuadraticSolution
from dmft.statistics import quotient

# Finite-d bias over (V/size^2 + 1/d) size, V the variance over seeds. At alpha = 0.3, widths 0.7
# and 0.5, lam = 0.1, label noise 0.25 and t = 1 the mean squared error of Gaussian matrices changed
# by 1 % from d = 40 to 60, and that of rank-one matrices lay 17 and 9 % above it.
FINITE_SIZE = {"gaussian": 2.0, "rank_one": 8.0}
# Relative change of a function for one of a width, which is rounded to whole columns.
WIDTHS = 2.0


def compare(
    solution: QuadraticSolution, ensemble: QuadraticEnsemble, resolution: float = 0.3
) -> Report:
    """Test whether simulations of a quadratic network agree with its theory.

    Parameters
    ----------
    solution : QuadraticSolution
        At the times of the ensemble.
    ensemble : QuadraticEnsemble
    resolution : float
        See `dmft.compare`.

    Returns
    -------
    Report

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If problems or times differ, or `resolution` is out of range.

    Examples
    --------
    >>> import dmft
    >>> problem, t = dmft.QuadraticProblem(0.3, 0.7, 0.5), [0.0, 0.2]
    >>> ensemble = dmft.simulate(problem, t, dimension=10, seeds=3, rng=1)
    >>> dmft.compare(dmft.solve(problem, 0.2, t, rtol=0.3, rng=1), ensemble).seeds
    3
    """
    if not isinstance(solution, QuadraticSolution):
        raise TypeError(f"solution must be a dmft.QuadraticSolution; got {solution!r}")
    if not isinstance(ensemble, QuadraticEnsemble):
        raise TypeError(f"ensemble must be a dmft.QuadraticEnsemble; got {ensemble!r}")
    require_comparable(solution, ensemble)
    sizes, biases = {}, {}
    for name in (*ONE_TIME, *TWO_TIME):
        size = np.abs(ensemble.values[name])
        if name in TWO_TIME:
            root = np.sqrt(np.diag(size))
            size = np.outer(root, root)
        sizes[name] = size
        biases[name] = _bias(ensemble, ensemble.runs[name], size)
    none = np.empty((ensemble.seeds, 0))
    return judge(solution, ensemble, sizes, biases, none, resolution)


def _bias(ensemble: QuadraticEnsemble, runs: np.ndarray, size: np.ndarray) -> np.ndarray:
    if ensemble.seeds == 1:
        return np.full(size.shape, np.inf)
    fluctuation = quotient(runs.var(axis=0, ddof=1), size, otherwise=0.0)
    finite = FINITE_SIZE[ensemble.design] * (fluctuation + size / ensemble.dimension)
    return finite + WIDTHS * _rounding(ensemble.problem, ensemble.dimension) * size


def _rounding(problem: QuadraticProblem, dimension: int) -> float:
    """Return the relative change of the widths by rounding, the larger of both."""
    kappas = (problem.kappa, problem.kappa_star)
    return max(abs(max(1, round(k * dimension)) / (k * dimension) - 1) for k in kappas)
