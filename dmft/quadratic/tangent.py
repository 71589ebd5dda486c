"""The linear flow of small changes of Z in one panel of collocation.

    dX/dt = -(A X + X A) - (G Z + Z G),    G = 2 (R_f X)(t) - B(t),    A = M + 2 lam,

is the answer X of Z to a symmetric force B, the feedback through the samples included. On the p
nodes of a panel, with the Radau matrix a (times the panel's width) and the panel's block F of R_f,

    X_i + sum_j a_ij {A_j X_j + 2 Z_j (F X)_j} = rhs_i,    {Y} = Y + Y^T.

In the eigenbasis of the mean of A + 2 Z, A and Z are nearly diagonal; leaving the rest out gives a
p x p system for each matrix entry, which preconditions GMRES so well that a few steps suffice.
"""

from __future__ import annotations

import numpy as np

from dmft.solvers.entrywise import apply_blocks, inverse_blocks

MOST_STEPS = 30  # GMRES steps; one to three are usual, and ten were seen on panels far too wide.


def symmetrised(Y: np.ndarray) -> np.ndarray:
    """Return Y + Y^T."""
    return Y + Y.swapaxes(-1, -2)


class TangentPanel:
    """The operator of one panel, for several copies of the process at once.

    Parameters
    ----------
    a : ndarray, shape (p, p)
        Radau matrix times the width of the panel.
    F : ndarray, shape (p, p)
        Block of R_f.
    basis : ndarray, shape (c, N, N)
        Eigenvectors of the mean of A + 2 Z of each copy, in columns.
    A, Z : ndarray, shape (c, p, N, N)
    """

    def __init__(
        self, a: np.ndarray, F: np.ndarray, basis: np.ndarray, A: np.ndarray, Z: np.ndarray
    ) -> None:
        """Turn everything into the eigenbasis; single precision is enough for what is a step."""
        self._a, self._F = a.astype(np.float32), F.astype(np.float32)
        self._basis = basis.astype(np.float32)[:, None, None]
        self._A = self._turned(A[:, None])
        self._Z2 = 2 * self._turned(Z[:, None])
        weights = (a[-1] / a[-1].sum()).astype(np.float32)
        rates = [np.einsum("cspnn,p->cn", M, weights) for M in (self._A, self._Z2)]
        sums = [(rate[:, :, None] + rate[:, None, :]) for rate in rates]
        self._inverse = inverse_blocks(self._a, self._a @ self._F, *sums)

    def solve(self, rhs: np.ndarray, guess: np.ndarray | None, tolerance: float) -> np.ndarray:
        """Return X, shape (c, r, p, N, N), to a tolerance relative to the right-hand sides."""
        from scipy.sparse.linalg import LinearOperator, gmres

        rhs = self._turned(rhs)
        shape = rhs.shape
        start = None if guess is None else self._turned(guess)

        def preconditioned(flat: np.ndarray) -> np.ndarray:
            return apply_blocks(self._inverse, self._apply(flat.reshape(shape))).ravel()

        target = apply_blocks(self._inverse, rhs).ravel()
        operator = LinearOperator((target.size,) * 2, matvec=preconditioned, dtype=np.float32)
        x, _ = gmres(
            operator,
            target,
            x0=None if start is None else start.ravel(),
            rtol=tolerance,
            restart=MOST_STEPS,
            maxiter=1,
        )
        basis = self._basis
        return basis @ x.reshape(shape) @ basis.swapaxes(-1, -2)

    def _turned(self, X: np.ndarray) -> np.ndarray:
        basis = self._basis
        return basis.swapaxes(-1, -2) @ X.astype(np.float32) @ basis

    def _apply(self, X: np.ndarray) -> np.ndarray:
        flow = self._A @ X + self._Z2 @ mixed(self._F, X)
        return X + mixed(self._a, symmetrised(flow))


def mixed(matrix: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return sum_j matrix_ij X_j for X of shape (..., p, N, N)."""
    flat = matrix @ X.reshape(*X.shape[:-2], -1)
    return flat.reshape(*flat.shape[:-1], *X.shape[-2:])
