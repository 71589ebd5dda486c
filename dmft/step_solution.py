"""The solution of training in steps: the same values as a flow's, at whole numbers of steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft.equations.observables import ONE_TIME, TWO_TIME
from dmft.equations.steps import StepKernels, descent_of, sample_layers
from dmft.solution import Paths, Solution
from dmft.validation import require_integer


@dataclass(frozen=True, eq=False)
class StepSolution(Solution):
    """What `dmft.solve` returns for training in steps; see `Solution` for the common names.

    Times are t = k step. Responses are per step: R_w(t_k, t_l) = E d theta_k/d f_l for a field
    added to h_l in the update, 0 for l >= k (a flow's R_w is the limit of R_w/step), and R_r
    leaves out the 1 at equal steps. The train error is that before step k, label noise of the
    training left out. `grid` and `averages` are None.

    Parameters
    ----------
    kernels : StepKernels
        Memory and noise of one coordinate's law, from which paths are drawn.
    status : int
        0 success; 1 error above the tolerance; 3 unstable, so that the averages have no meaning.
    stats : dict
        steps, paths, systems (independent sets of paths), rounds, error_over_tolerance, wall_time
        and compile_time in seconds.
    """

    kernels: StepKernels

    def _numbers(self) -> tuple[Any, ...]:
        names = (*ONE_TIME, *TWO_TIME)
        arrays = [self.t, *(self.values[n] for n in names), *(self.error[n] for n in names)]
        scalars = (self.rtol, self.seed, self.success, self.status, self.message)
        return (self.problem, scalars, *(a.tobytes() for a in arrays))

    def sample_paths(self, n: int, rng: int | np.random.Generator | None = None) -> Paths:
        """Draw trajectories of one coordinate at the times `t`; see `Solution.sample_paths`."""
        require_integer("n", n, low=1)
        generator = np.random.default_rng(self.seed if rng is None else rng)
        problem, step = self.problem, descent_of(self.problem).step
        w_star = problem.signal.sample(generator, n)
        layers, h = sample_layers(problem, self.kernels, w_star, generator)
        H = np.concatenate([np.zeros((n, 1)), np.cumsum(step * h, axis=1)], axis=1)
        at = np.rint(self.t / step).astype(int)
        network = problem.mirror
        w = np.stack([network.output_weight(layers[..., k]) for k in at], axis=1)
        pair = network.layer_pair(problem.alpha, problem.lam, np.zeros((1, 1)), np.zeros(1))
        u, v = (None, None) if pair is None else layers[..., at]
        return Paths(self.t, H[:, at], u, v, w, w_star)
