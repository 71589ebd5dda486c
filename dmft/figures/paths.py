"""Pictures of the effective process: sample paths of one weight, and the law of w(t).

Both are drawn from `Solution.sample_paths`, which any number of draws can be taken from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.axes import TIME, finish, new_axes, set_time_axis
from dmft.solution import Solution
from dmft.validation import Rng, require_integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 60
LAW_TIMES = 4  # More histograms in one picture hide each other.


def plot_paths(solution: Solution, n: int = 40, rng: Rng = None, ax: Any = None) -> Axes:
    """Draw sample paths of one weight w(t); the colour tells its target w*.

    Parameters
    ----------
    solution : Solution
    n : int
        Number of paths, >= 1.
    rng : int, Generator or SeedSequence, optional
        Source of randomness; the solution's own seed where absent.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `n` is not a positive integer.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 2.0, [0.0, 1.0, 2.0], rtol=0.01)
    >>> len(plot_paths(solution, n=5).lines)
    5
    """
    require_integer("n", n, low=1)
    ax = new_axes(ax, (6.4, 4.2))
    paths = solution.sample_paths(n, rng)
    shown = set_time_axis(ax, paths.t)
    colours = _target_colours(paths.w_star)
    for w, target in zip(paths.w, paths.w_star, strict=True):
        ax.plot(paths.t[shown], w[shown], color=colours.to_rgba(target), linewidth=0.9, alpha=0.8)
    if np.ptp(paths.w_star) > 0:
        ax.figure.colorbar(colours, ax=ax, label="target $w^*$")
    finish(ax)
    ax.set_xlabel(TIME)
    ax.set_ylabel("weight $w(t)$")
    return ax


def plot_law(
    solution: Solution, times: Any = None, n: int = 4000, rng: Rng = None, ax: Any = None
) -> Axes:
    """Draw the law of one weight at a few times: densities of w(t) over sample paths.

    Parameters
    ----------
    solution : Solution
    times : array_like, optional
        Times of `solution.t`, each replaced by the nearest there; by default four, spread evenly.
    n : int
        Number of paths, >= 1.
    rng, ax
        As for `plot_paths`.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `n` is not a positive integer.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 2.0, [0.0, 1.0, 2.0], rtol=0.01)
    >>> [text.get_text() for text in plot_law(solution, [1.0, 2.0], 200).get_legend().texts]
    ['$t$ = 1', '$t$ = 2']
    """
    require_integer("n", n, low=1)
    ax = new_axes(ax, (6.4, 4.2))
    paths = solution.sample_paths(n, rng)
    later = np.flatnonzero(paths.t > 0)
    if times is None:  # at t = 0 every weight is the same
        chosen = later[np.unique(np.linspace(0, later.size - 1, LAW_TIMES).round().astype(int))]
    else:
        chosen = np.abs(paths.t[:, None] - np.atleast_1d(times)).argmin(axis=0)
    w = paths.w[:, chosen]
    edges = np.linspace(w.min(), w.max() + 1e-12, BINS + 1)
    for k, t in enumerate(paths.t[chosen]):
        label = f"$t$ = {t:.3g}"
        ax.hist(w[:, k], bins=edges, density=True, histtype="step", linewidth=1.4, label=label)
    ax.set_yscale("log")
    finish(ax)
    ax.set_xlabel("weight $w(t)$")
    ax.set_ylabel("probability density")
    ax.legend(frameon=False)
    return ax


def _target_colours(w_star: np.ndarray) -> Any:
    """Return what turns a target into a colour."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(w_star.min(), w_star.max() or 1.0), "viridis")
