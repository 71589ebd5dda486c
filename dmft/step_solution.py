"""The solution of training in steps: the same values as a flow's, at whole numbers of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dmft.dynamics.base import ON_STEP
from dmft.equations.layer_steps import responses
from dmft.equations.observables import LONG_NAMES
from dmft.equations.steps import StepKernels, sample_layers, with_step
from dmft.solution import Paths, Solution
from dmft.storage import Group, Variable
from dmft.trajectory import Functions
from dmft.validation import Rng, check_rng, require_integer, shown
from dmft.values import read_only


@dataclass(frozen=True, eq=False, repr=False)
class StepSolution(Solution):
    """What `dmft.solve` returns for training in steps; see `Solution` for the common names.

    Times are t = k step. Responses are per step: R_w(t_k, t_l) = E d theta_k/d f_l for a field
    added to h_l in the update, 0 for l >= k (a flow's R_w is the limit of R_w/step), and R_r
    leaves out the 1 at equal steps. Of a `StochasticFlow` they are densities in time, as a flow's,
    and paths are those of the smallest steps that were taken. The train error is that before step
    k, label noise of the training left out. `grid` and `averages` are None.

    Parameters
    ----------
    kernels : StepKernels
        Memory and noise of one coordinate's law, from which paths are drawn.
    status : int
        0 success; 1 error above the tolerance; 3 unstable, so that the averages have no meaning.
    stats : dict
        steps, extrapolated (whether from larger ones), paths, systems (independent sets of
        paths), rounds, error_over_tolerance, wall_time
        and compile_time in seconds.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(0.5, dynamics=dmft.GradientDescent(0.1))
    >>> solution = dmft.solve(problem, 1.0, rtol=0.05)
    >>> type(solution).__name__, solution.success, solution.problem.dynamics.step
    ('StepSolution', True, 0.1)
    """

    kernels: StepKernels

    methods: ClassVar[tuple[str, ...]] = ("joe2008",)  # of the paths' normals
    texts: ClassVar[Mapping[str, str]] = {
        **LONG_NAMES,
        "R_w": "response E d theta_k/d f_l to a field added to h_l in the update, 0 for l >= k",
        "R_r": "response of the residual at step k to one at step l, 0 for l >= k",
    }

    def _freeze_state(self) -> None:
        memory, factor, step = self.kernels
        frozen = StepKernels(read_only(memory), read_only(factor), step)
        object.__setattr__(self, "kernels", frozen)

    def __call__(self, t: Any) -> Functions:
        """Return the observables at times that are among those of the solution.

        Raises
        ------
        ValueError
            If a time is not among them.
        """
        place = self._places("t", t)
        names = [name for name, value in self.values.items() if value.ndim == 1]
        return Functions({name: self.values[name][place] for name in names})

    def at(self, t: Any, s: Any) -> Functions:
        """Return the two-time functions at pairs of times of the solution; see `Solution.at`."""
        rows, columns = self._places("t", t), self._places("s", s)
        place = (rows.reshape(rows.shape + (1,) * columns.ndim), columns)
        names = [name for name, value in self.values.items() if value.ndim == 2]
        return Functions({name: self.values[name][place] for name in names})

    def _places(self, name: str, t: Any) -> np.ndarray:
        """Return the indices of times in `self.t`."""
        times = np.asarray(t, dtype=float)
        last = len(self.t) - 1
        after = np.clip(np.searchsorted(self.t, times), 0, last)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(self.t[before] - times) < np.abs(self.t[after] - times)
        place = np.where(nearer, before, after)
        off = ~(np.abs(self.t[place] - times) <= ON_STEP * self.kernels.step)
        if np.any(off):
            raise ValueError(
                f"{name} must be among the times of the solution, which was solved in steps; got "
                f"{shown(times[off].flat[0])}: solve again with it in t_eval"
            )
        return place

    def sample_paths(self, n: int, rng: Rng = None) -> Paths:
        """Draw trajectories of one coordinate at the times `t`; see `Solution.sample_paths`."""
        problem, step = self.problem, self.kernels.step
        layers, h, w_star = self._layers(n, rng)
        H = np.concatenate([np.zeros((n, 1)), np.cumsum(step * h, axis=1)], axis=1)
        H = H[:, self._steps]
        network = problem.mirror
        w = np.stack([network.output_weight(x) for x in np.moveaxis(layers, -1, 0)], axis=1)
        pair = network.layer_pair(problem.alpha, problem.lam, np.zeros((1, 1)), np.zeros(1))
        u, v = (None, None) if pair is None else layers
        return Paths(self.t, H, u, v, w, w_star)

    def sample_responses(self, n: int, rng: Rng = None) -> np.ndarray:
        """Draw -d(dw/dt)/dh of n coordinates at the times `t`, shape (n, T)."""
        layers, _, _ = self._layers(n, rng)
        each = [responses(self.problem, x) for x in np.moveaxis(layers, -1, 0)]
        return np.stack(each, axis=1)

    def _layers(self, n: int, rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw layers (L, n, T) at the times `t`, gradients (n, K) and targets (n,)."""
        require_integer("n", n, low=1)
        check_rng(rng)
        generator = np.random.default_rng(self.seed if rng is None else rng)
        w_star = self.problem.signal.sample(generator, n)
        walked = with_step(self.problem, self.kernels.step)
        layers, h = sample_layers(walked, self.kernels, w_star, generator)
        return layers[..., self._steps], h, w_star

    @property
    def _steps(self) -> np.ndarray:
        """Steps of `kernels` at or next to the times `t`, shape (T,)."""
        return np.rint(self.t / self.kernels.step).astype(int)

    @property
    def _t_max(self) -> float:
        return float(self.t[-1])

    @staticmethod
    def _state(solver: Group) -> dict[str, Any]:
        kernels = StepKernels(solver["memory"], solver["factor"], float(solver.attributes["step"]))
        return {"grid": None, "averages": None, "kernels": kernels}

    def _state_group(self) -> Group:
        step = "number of the step"
        steps, columns = self.kernels.factor.shape
        return Group(
            {
                "k": Variable(("k",), np.arange(steps), step),
                "l": Variable(("l",), np.arange(steps), f"second {step}"),
                "z": Variable(("z",), np.arange(columns), "index of independent normals"),
                "memory": Variable(("k", "l"), self.kernels.memory, "R_w/delta that steps keep"),
                "factor": Variable(("k", "z"), self.kernels.factor, "factor of the noise"),
            },
            {"step": float(self.kernels.step)},
        )
