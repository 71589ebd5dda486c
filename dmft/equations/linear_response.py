"""How the averages answer to other kernels if every weight responds as the mean does.

Weights w = -A (G - w* K 1) with one response A for all paths have

    A' = A (1 + (K' - K) A)^(-1),
    C_w' - C_w = [A' C_G' A'^T + E[w*^2] q' q'^T] - [A C_G A^T + E[w*^2] q q^T],  q = 1 - A K 1.

This is exact for linear networks. For others it is close enough for steps that carry the averages
from one evaluation of the effective process to where the next one is worth its cost.
"""

from __future__ import annotations

import numpy as np

from dmft.equations.averages import Averages
from dmft.equations.data_side import Kernels
from dmft.problem import Problem


class LinearResponse:
    """Averages that the effective process has at some kernels, continued to others.

    Parameters
    ----------
    problem : Problem
    averages : Averages
    kernels : Kernels
        Those that the process had.
    stages : int
        Nodes in a panel.
    """

    def __init__(self, problem: Problem, averages: Averages, kernels: Kernels, stages: int) -> None:
        """Evaluate the linear model where it is to agree with the averages."""
        from dmft.solvers.causal_operators import padded

        law = problem.signal
        self._mean, self._second_moment = law.mean, law.second_moment
        self._averages = averages
        self._K = kernels.K
        self._stages = stages
        self._padded, self._transposed = padded(averages.A), padded(averages.A.T)
        square = averages.A @ kernels.C_G @ averages.A.T
        C_w, self._reach = self._model(averages.A, square, kernels)
        self._rest = averages.C_w - C_w

    def at(self, kernels: Kernels) -> Averages:
        """Return the averages at other kernels."""
        from dmft.solvers.causal_operators import feedback, filtered

        size = len(self._K)
        C_G = np.zeros((size + 1, size + 1))
        C_G[1:, 1:] = kernels.C_G
        change = np.subtract(kernels.K, self._K, order="C")
        inverse, _ = feedback(change, self._padded, 1.0, C_G, self._stages)
        A, square = filtered(inverse, self._transposed, 1.0, C_G, self._stages)
        A = np.ascontiguousarray(A[:size, :size].T)
        C_w, reach = self._model(A, square, kernels)
        C_w += self._rest
        base, moved = self._averages, np.concatenate([[0.0], reach - self._reach])
        return Averages(
            C_w,
            A,
            base.mean_w + self._mean * moved,
            base.overlap + self._second_moment * moved,
            base.mean_D,
        )

    def _model(
        self, A: np.ndarray, square: np.ndarray, kernels: Kernels
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return C_w (N + 1, N + 1) and A K 1 (N,) of the linear model; `square` is A C_G A^T."""
        reach = A @ kernels.K.sum(axis=1)
        q = np.concatenate([[1.0], 1.0 - reach])
        C_w = np.multiply.outer(self._second_moment * q, q)
        C_w[1:, 1:] += square
        return C_w, reach
