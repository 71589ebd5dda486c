"""The linear flow of small changes of Z in one panel of collocation.

    dX/dt = -(A X + X A) - (G Z + Z G),    G = 2 (R_f X)(t) - B(t),    A = M + 2 lam,

is the answer X of Z to a Hermitian force B, the feedback through the samples included. On the p
nodes of a panel, with the Radau matrix a (times the panel's width) and the panel's block F of R_f,

    X_i + sum_j a_ij {A_j X_j + 2 Z_j (F X)_j} = X(0) + sum_j a_ij {Z_j S_j},    {Y} = Y + Y^*,

S what is known of -G. In the eigenbasis of the mean of A + 2 Z, A and Z are nearly diagonal; their
diagonals alone give a p x p system for each entry of the matrices. What is left over is iterated
by GMRES, for which a few steps suffice.
"""

from __future__ import annotations

import numpy as np

from dmft.solvers.entrywise import apply_blocks, inverse_blocks

MOST_STEPS = 30  # GMRES steps; two to four are usual, and ten were seen on panels far too wide.


def adjoint(Y: np.ndarray) -> np.ndarray:
    """Return Y^*."""
    return Y.conj().swapaxes(-1, -2)


def symmetrised(Y: np.ndarray) -> np.ndarray:
    """Return {Y} = Y + Y^*."""
    return Y + adjoint(Y)


def mixed(matrix: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Return sum_j matrix_ij X_j for a real matrix and complex X, times being its first axis."""
    flat = np.ascontiguousarray(X).view(X.real.dtype).reshape(len(X), -1)
    product = matrix.astype(flat.dtype) @ flat
    return product.view(X.dtype).reshape(len(matrix), *X.shape[1:])


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
    A, Z : ndarray, shape (p, c, N, N)
    """

    def __init__(
        self, a: np.ndarray, F: np.ndarray, basis: np.ndarray, A: np.ndarray, Z: np.ndarray
    ) -> None:
        """Turn everything into the eigenbasis; single precision is enough for what is a step."""
        self._F = F
        self._basis = basis.astype(np.complex64)[:, None]
        self._adjoint = adjoint(self._basis)
        self._Z = self._turned(Z[:, :, None])
        A, Z2 = self._turned(A[:, :, None]), 2 * self._Z
        weights = (a[-1] / a[-1].sum()).astype(np.float32)
        rates = [np.einsum("pcsnn,p->cn", M.real, weights) for M in (A, Z2)]
        sums = [rate[:, :, None] + rate[:, None, :] for rate in rates]
        self._inverse = _with_parts(
            inverse_blocks(a.astype(np.float32), (a @ F).astype(np.float32), *sums)
        )
        self._step = np.einsum("ikcab,kj->ijcab", self._inverse, a.astype(np.float32))
        diagonal = np.arange(A.shape[-1])
        for M, rate in zip((A, Z2), rates, strict=True):  # the diagonals are in the inverse
            M[..., diagonal, diagonal] -= rate[:, None]
        self._flow = np.concatenate([A, Z2], axis=-1)

    def solve(
        self, start: np.ndarray, source: np.ndarray, guess: np.ndarray, tolerance: float
    ) -> np.ndarray:
        """Return X, shape (p, c, r, N, N).

        Parameters
        ----------
        start : ndarray, shape (c, r, N, N)
            X at the panel's left end.
        source, guess : ndarray, shape (p, c, r, N, N)
            S and where to begin.
        tolerance : float
            Bound on the residual, relative to the right-hand side.
        """
        from scipy.sparse.linalg import LinearOperator, gmres

        first = np.broadcast_to(self._turned(start), source.shape)
        target = self._apply(self._inverse, first)
        target += self._apply(self._step, symmetrised(self._Z @ self._turned(source)))
        shape, size = target.shape, target.size
        operator = LinearOperator(
            (size, size), matvec=lambda x: self._operator(x.reshape(shape)), dtype=np.complex64
        )
        x, _ = gmres(
            operator,
            target.ravel(),
            x0=self._turned(guess).ravel(),
            rtol=tolerance,
            restart=MOST_STEPS,
            maxiter=1,
        )
        return self._basis @ x.reshape(shape) @ self._adjoint

    def _operator(self, X: np.ndarray) -> np.ndarray:
        flow = self._flow @ np.concatenate([X, mixed(self._F, X)], axis=-2)
        return (X + self._apply(self._step, symmetrised(flow))).ravel()

    def _turned(self, X: np.ndarray) -> np.ndarray:
        return self._adjoint @ X.astype(np.complex64) @ self._basis

    @staticmethod
    def _apply(blocks: np.ndarray, X: np.ndarray) -> np.ndarray:
        parts = np.ascontiguousarray(X).view(np.float32)
        return apply_blocks(blocks, parts).view(np.complex64)


def _with_parts(blocks: np.ndarray) -> np.ndarray:
    """Return blocks that act on real and imaginary parts, which alternate along the last axis."""
    return np.repeat(blocks, 2, axis=-1)
