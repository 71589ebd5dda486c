"""The figures that have a name: what they show, and how one is written to a file.

The set-ups are those of arXiv:2510.01930 (lazy to rich, search to descent, speed against
generalisation) with those of the limits around them. Each stands in a file of its own beside this
one, which says what is computed and how it is drawn. Lines are theory, bands are simulations,
mean +- 2 standard errors; dashed lines are predictions that need no solve.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dmft.figures import (
    grokking,
    interpolation,
    lazy_to_rich,
    phases,
    saddles,
    search_to_descent,
    steps,
    trade_off,
    weight_decay_limit,
)
from dmft.figures.axes import save_figure
from dmft.figures.base import Preset, compute
from dmft.figures.style import require_drawable
from dmft.validation import Rng

PRESETS: dict[str, Preset] = {
    "lazy-to-rich": lazy_to_rich.PRESET,
    "search-to-descent": search_to_descent.PRESET,
    "interpolation": interpolation.PRESET,
    "trade-off": trade_off.PRESET,
    "weight-decay-limit": weight_decay_limit.PRESET,
    "saddles": saddles.PRESET,
    "grokking": grokking.PRESET,
    "phases": phases.PRESET,
    "steps": steps.PRESET,
}


def draw(
    name: str,
    path: str | os.PathLike[str],
    *,
    full: bool = False,
    delta: Sequence[float] | None = None,
    alpha: Sequence[float] | None = None,
    lam: Sequence[float] | None = None,
    dimension: int | None = None,
    seeds: int | None = None,
    rtol: float | None = None,
    rng: Rng = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Compute a preset and write its figure to a file.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    path : path-like
        Picture to write, .png, .pdf or .svg.
    full : bool
        Whether to take larger simulations, more seeds and a more accurate solution; the quick
        figure takes one to two minutes.
    delta, alpha, lam : sequence of float, optional
        Values in place of the figure's own; see `Preset.varied`.
    dimension, seeds : int, optional
        Of the simulations.
    rtol : float, optional
        Accuracy of the theory.
    rng : int, Generator, SeedSequence or None
        Source of randomness.
    progress : callable, optional
        Receives a line of text for each stage.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    FileNotFoundError
        If the directory of `path` does not exist.
    ImportError
        If matplotlib is not installed.
    RuntimeError
        If a solution does not converge, or a simulation breaks down; no file is written.

    Examples
    --------
    >>> import tempfile
    >>> values = {"alpha": [1.5], "lam": [0.8], "dimension": 20, "seeds": 2, "rtol": 0.1}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw("lazy-to-rich", f"{folder}/a.svg", **values).name
    'a.svg'
    """
    if name not in PRESETS:
        raise ValueError(f"name must be one of {', '.join(PRESETS)}; got {name!r}")
    target = require_drawable(path)
    values = {"delta": delta, "alpha": alpha, "lam": lam}
    preset = PRESETS[name].varied(dimension=dimension, seeds=seeds, rtol=rtol, **values)
    runs = compute(preset, full=full, rng=rng, progress=progress)
    return save_figure(preset.drawing(preset, runs), target)
