"""What is known at t = 0: the state and the first rate."""

from __future__ import annotations

import numpy as np

from dmft.equations.averages import Averages
from dmft.problem import Problem
from dmft.signals import Start
from dmft.solvers.collocation import Grid


def initial_time(problem: Problem) -> float:
    """Return the time that the fastest rate at t = 0 asks for.

    That rate is D(0) times the upper Marchenko-Pastur edge, plus the growth rate of weights that
    start small, which is of the order of the size that they reach.

    Examples
    --------
    >>> import dmft
    >>> round(initial_time(dmft.Problem(0.5, 1.0)), 3)
    0.163
    """
    edge = (1 + problem.delta**-0.5) ** 2
    D = max(initial_state(problem, start)[1] for start in starts(problem))
    return 1.0 / (edge * D + typical_size(problem))


def typical_size(problem: Problem) -> float:
    """Return sqrt(E w*^2 + sigma2), the size of weights and of the noise that moves them.

    Examples
    --------
    >>> import dmft
    >>> typical_size(dmft.Problem(0.5, sigma2=0.15, signal=dmft.Bernoulli(0.1)))
    0.5
    """
    return float(np.sqrt(problem.signal.second_moment + problem.sigma2))


def starts(problem: Problem) -> tuple[Start | None, ...]:
    """Return the starts of the signal's law, or None alone for that of the network.

    Examples
    --------
    >>> import dmft
    >>> starts(dmft.Problem(0.5))
    (None,)
    """
    return problem.signal.layer_starts or (None,)


def initial_state(problem: Problem, start: Start | None = None) -> tuple[float, float]:
    """Return w(0) and D(0) of the coordinates with a start.

    Examples
    --------
    >>> import dmft
    >>> initial_state(dmft.Problem(0.5, alpha=0.5))
    (0.0, 0.25)
    """
    zero = np.zeros(1)
    network = problem.network_from(start)
    D = network.hessian_inverse(problem.alpha, problem.lam, zero, zero)
    return network.initial_weight(problem.alpha), float(D[0])


def initial_averages(problem: Problem, grid: Grid) -> Averages:
    """Return the averages of paths that stay at their initial weight.

    Examples
    --------
    >>> import dmft
    >>> grid = dmft.Grid([0.0, 1.0], 3)
    >>> float(initial_averages(dmft.Problem(0.5, 2.0), grid).mean_D[0])
    4.0
    """
    t, level = grid.nodes_with_start, np.ones(grid.size + 1)
    mass, mean, power = _target_moments(problem)
    weight = np.zeros_like(mass)
    D = np.zeros_like(level)
    for k, start in enumerate(starts(problem)):
        network = problem.network_from(start)
        weight[k] = network.initial_weight(problem.alpha)
        D += mass[k] * network.hessian_inverse(problem.alpha, problem.lam, 0.0 * t, t)
    distance = float(mass @ (power - 2 * weight * mean + weight**2))
    C_w = np.full((grid.size + 1, grid.size + 1), distance)
    mean_w, overlap = float(mass @ weight), float(mass @ (weight * mean))
    return Averages(C_w, np.diag(D[1:]), mean_w * level, overlap * level, D)


def initial_square_distance(problem: Problem) -> float:
    """Return E[(w* - w(0))^2].

    Examples
    --------
    >>> initial_square_distance(Problem(0.5, signal=[0.0, 2.0]))
    2.0
    """
    mass, mean, power = _target_moments(problem)
    weight = np.array(
        [problem.network_from(s).initial_weight(problem.alpha) for s in starts(problem)]
    )
    return float(mass @ (power - 2 * weight * mean + weight**2))


def _target_moments(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the probability of each start, and E w* and E w*^2 given it."""
    law = problem.signal
    if not law.layer_starts:
        return np.ones(1), np.array([law.mean]), np.array([law.second_moment])
    parts = [components for _, components in law.by_start()]
    sums = np.array(
        [
            [
                sum(c.probability for c in part),
                sum(c.probability * c.mean for c in part),
                sum(c.probability * (c.mean**2 + c.std**2) for c in part),
            ]
            for part in parts
        ]
    )
    return sums[:, 0], sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]


def labelled(
    starts: np.ndarray | None,
) -> list[tuple[Start | None, np.ndarray | slice]]:
    """Return each distinct start of draws (n, M), and where it is among them.

    Examples
    --------
    >>> labelled(np.array([[1.0, 2.0, 1.0]]))
    [((1.0,), array([0, 2])), ((2.0,), array([1]))]
    """
    if starts is None:
        return [(None, slice(None))]
    distinct, labels = np.unique(starts, axis=1, return_inverse=True)
    return [
        (tuple(start), np.flatnonzero(labels.ravel() == k))
        for k, start in enumerate(distinct.T.tolist())
    ]
