"""Training in steps: where large steps and batches end, and the catapult."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmft.dynamics.descent import GradientDescent
from dmft.dynamics.flow import GradientFlow
from dmft.dynamics.sgd import SGD
from dmft.figures.base import DELTA, NOISE, Effort, Preset, Run
from dmft.figures.style import (
    PALETTE,
    SHORT_TIME,
    TEST,
    TRAIN,
    draw_simulations,
    draw_theory,
    new_figure,
    tidied,
)
from dmft.limits.stability import edge_at_start, sharpness
from dmft.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWS = 2000  # weights drawn for the sharpness: as many as the larger simulations have


def steps(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw the test error of flow, GD and SGD, and the train error and sharpness of catapults."""
    figure = new_figure(preset, (13.5, 4.4))
    left, middle, right = figure.subplots(1, 3)
    flat, noisy = (
        [run for run in runs if (run.solution.problem.sigma2 > 0) == own] for own in (False, True)
    )
    for run, colour in zip(flat, PALETTE, strict=False):
        _draw(left, run, "test_error", colour)
    left.set_ylabel(TEST)
    left.set_ylim(0.014, 0.034)
    left.set_title(rf"no label noise, $\alpha$ = {flat[0].solution.problem.alpha:g}", fontsize=10)
    for run, colour in zip(noisy, PALETTE, strict=False):
        problem, t = run.solution.problem, run.solution.t
        _draw(middle, run, "train_error", colour)
        step = problem.dynamics.config()["step"]
        edge = 0.5 * step * sharpness(run.solution, DRAWS)
        beyond = step / (edge_at_start(problem) or step)
        right.plot(t, edge, color=colour, label=rf"{_label(problem)}: {beyond:.2g} $\times$ edge")
    middle.set_yscale("log")
    middle.set_ylabel(TRAIN)
    middle.set_title(r"label noise 0.1, $\alpha$ = 1", fontsize=10)
    right.axhline(1.0, color="0.3", linestyle=":")
    right.set_ylabel(r"step $\times\ \lambda_{\max}/2$")
    right.set_title("edge of stability", fontsize=10)
    for ax in (left, middle, right):
        ax.set_xlabel(SHORT_TIME)
        ax.legend(frameon=False, fontsize=8)
    return tidied(figure)


def _draw(ax: Axes, run: Run, name: str, colour: str) -> None:
    """Draw one observable of a run, theory over simulation."""
    solution = run.solution
    draw_simulations(ax, run.ensembles, name, colour)
    values, error = solution.values[name], solution.error[name]
    draw_theory(ax, solution.t, values, error, colour, _label(solution.problem))


def _label(problem: Problem) -> str:
    parameters = problem.dynamics.config()
    words = {"gradient_flow": "flow", "gradient_descent": "GD", "sgd": "SGD"}
    text = words[parameters["name"]]
    if "step" in parameters:
        text += f", step {parameters['step']:g}"
    return text + (f", batch {parameters['batch']:g}" if "batch" in parameters else "")


_FLAT = (GradientFlow(), GradientDescent(1.3), SGD(0.2, 0.1))
_CATAPULTS = (GradientDescent(0.3), GradientDescent(0.4), GradientDescent(0.5))

PRESET = Preset(
    "Training in steps: large steps of GD end worse, noise ends better; beyond the edge a catapult",
    steps,
    tuple(Problem(DELTA, 0.5, dynamics=d) for d in _FLAT)
    + tuple(Problem(DELTA, 1.0, 0.0, NOISE, dynamics=d) for d in _CATAPULTS),
    (26.0, 26.0, 26.0, 12.0, 12.0, 12.0),
    Effort((500,), 8, 3e-2),
    Effort((2000,), 16, 1e-2),
    log_time=False,
)
