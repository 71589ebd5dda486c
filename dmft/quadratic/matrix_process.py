"""Paths of the effective process of a quadratic network, at a finite size N of its matrices.

    dW/dt = -(M + 2 lam) W,    M(t) = 2 int R_f(t, s) (Z(s) - Z*) ds + N(t),    Z = W W^T,

with N a Gaussian matrix process of covariance C_f/alpha, and R_f, C_f of the data side
(`dmft.equations.data_side`) at the response R_Z and the correlation C_Z of Z (arXiv:2601.10483).

A sample is a pair of copies that share Z(0), Z* and the kernels and have opposite noise, so that
chance overlaps of noise and signal cancel. Panels of Radau collocation are solved one after the
other. In each a fixed point is sought for the rows of R_Z: given these, Newton steps find Z, and
one linear flow gives the answers X of Z to random forces B, from which the next rows follow,

    R_Z(t, s) = (2/d^2) sum_a Tr[e_a X_a(t)] = E (2/(N (N + 1))) Tr[B_s X(t)],

B_s being drawn independently for each node s. Forces are orthogonal to each other, to what earlier
ones have led to, and to {Z B}: these chance overlaps are most of the estimate's spread.

Corrections of order 1/N that come from the number of parameters, N (N + 1)/2, are left out: the
variance of N is C_f/(alpha (N + 1)) off its diagonal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dmft.equations.data_side import DataSide, data_side
from dmft.quadratic.averages import MatrixAverages
from dmft.quadratic.gaussian_modes import CausalFactor, extended, orthogonal_goe
from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.start import free_rotation, wishart_eigenvalues
from dmft.quadratic.tangent import TangentPanel, mixed, symmetrised
from dmft.solvers.collocation import Grid, integration_block
from dmft.solvers.fixed_point import iterate

COPIES = 2  # A sample's two copies, of opposite noise.
MOST_NEWTON_STEPS = 6  # For given rows of R_Z; two are usual.
NEWTON = 0.3  # Last Newton step over the tolerance: steps shrink at least threefold, mostly more.
GMRES = 0.1  # Error of a tangent flow over the tolerance of the fixed point that it serves.


@dataclass(frozen=True, eq=False)
class MatrixSample:
    """One independent pair of paths and the kernels that belong to it.

    Parameters
    ----------
    size : int
        N.
    averages : MatrixAverages
        Over the two copies.
    eigenvalues : ndarray, shape (2, n + 1, N)
        Of Z at t = 0 and the nodes, ascending.
    sweeps : int
        Most sweeps that a panel took.
    success : bool
        Whether every panel converged.
    """

    size: int
    averages: MatrixAverages
    eigenvalues: np.ndarray
    sweeps: int
    success: bool


def draw_sample(
    problem: QuadraticProblem,
    grid: Grid,
    size: int,
    probes: int,
    rng: np.random.Generator,
    tolerance: float,
    max_sweeps: int,
) -> MatrixSample:
    """Return one sample of the effective process.

    Parameters
    ----------
    problem : QuadraticProblem
    grid : Grid
    size : int
        N.
    probes : int
        Sets of random forces on each copy.
    rng : Generator
    tolerance : float
        Relative change of the rows of R_Z at which a panel counts as solved.
    max_sweeps : int
        Bound on the sweeps of a panel; `success` is False where it is met.
    """
    march = _March(problem, grid, size, probes, rng, tolerance, max_sweeps)
    for panel in range(grid.panels):
        march.solve_panel(panel)
        if not march.finite:
            break
    return march.sample()


class _March:
    """Everything up to the panel that is being solved."""

    def __init__(
        self,
        problem: QuadraticProblem,
        grid: Grid,
        size: int,
        probes: int,
        rng: np.random.Generator,
        tolerance: float,
        max_sweeps: int,
    ) -> None:
        """Draw the start and make room."""
        self.problem, self.grid, self.size, self.rng = problem, grid, size, rng
        self.tolerance, self.max_sweeps = tolerance, max_sweeps
        width, teacher = (max(1, round(k * size)) for k in (problem.kappa, problem.kappa_star))
        z = wishart_eigenvalues(size, teacher)
        s = problem.init_variance * wishart_eigenvalues(size, width)
        rank = min(size, width)
        W = (free_rotation(s, z, rng) * np.sqrt(s))[:, :rank]
        self.W = np.stack([W] * COPIES)
        self.teacher = np.diag(z)
        n, shape = grid.size, (size, size)
        self.Z = np.zeros((COPIES, n + 1, *shape))
        self.Z[:, 0] = W @ W.T
        self.X = np.zeros((COPIES, probes, n, *shape), np.float32)
        self.B = np.zeros((COPIES, probes, n, *shape), np.float32)
        self.span = np.zeros((COPIES, probes, 0, size * size), np.float32)
        self.R = np.zeros((n, n))
        self.C = np.zeros((n + 1, n + 1))
        self.force = np.zeros(n + 1)
        self.factor = CausalFactor(n + 1)
        known = np.stack([np.eye(size), self.teacher, self.Z[0, 0]]).reshape(3, -1)
        self.known = extended(np.zeros((0, size * size)), known)
        self.modes = np.zeros((0, size, size))
        self.sweeps, self.success, self.finite = 0, True, True
        self._correlate(0, self.Z[:, :1])
        self.force[0] = 2 * self.C[0, 0]

    def solve_panel(self, panel: int) -> None:
        """Solve one panel and keep its nodes."""
        step = _Panel(self, panel)
        found = iterate(
            step.image, step.rows, step.distance, self.tolerance, self.max_sweeps, memory=4
        )
        self.sweeps = max(self.sweeps, len(found.history))
        self.success &= found.success
        self.finite = bool(np.isfinite(found.change))
        step.keep(found.x)

    def sample(self) -> MatrixSample:
        """Return what has been found."""
        Z, N = self.Z, self.size
        with np.errstate(all="ignore"):
            eigenvalues = np.linalg.eigvalsh(np.nan_to_num(Z))
        averages = MatrixAverages(
            C_Z=self.C,
            R_Z=self.R,
            force=self.force,
            overlap=np.einsum("ctab,ab->t", Z, self.teacher) / (COPIES * N),
            trace=np.einsum("ctaa->t", Z) / (COPIES * N),
        )
        return MatrixSample(
            N, averages, eigenvalues, self.sweeps, bool(self.success and self.finite)
        )

    def _correlate(self, first: int, Z: np.ndarray) -> None:
        """Set the correlations of the nodes from `first` on, where Z has been found."""
        flat = (Z - self.teacher).reshape(COPIES, Z.shape[1], -1)
        past = (self.Z[:, :first] - self.teacher).reshape(COPIES, first, self.size**2)
        last = first + Z.shape[1]
        here = slice(first, last)
        scale = COPIES * self.size
        self.C[here, :first] = np.sum(flat @ past.swapaxes(1, 2), axis=0) / scale
        self.C[:first, here] = self.C[here, :first].T
        self.C[here, here] = np.sum(flat @ flat.swapaxes(1, 2), axis=0) / scale
        self.factor.restart(first)
        for node in range(first, last):
            self.factor.append(2 * self.C[node, :] + self.problem.label_noise, node)
        while self.factor.rank > len(self.modes):
            new = orthogonal_goe(self.known, (), self.size, self.rng)
            self.known = extended(self.known, new.reshape(1, -1))
            self.modes = np.concatenate([self.modes, math.sqrt(2 / (self.size + 1)) * new[None]])


class _Panel:
    """The fixed point of one panel."""

    def __init__(self, march: _March, panel: int) -> None:
        """Draw the panel's forces and extrapolate into it."""
        self.march, p = march, march.grid.stages
        self.first, self.last = panel * p, (panel + 1) * p
        width = np.diff(march.grid.edges)[panel]
        self.a = width * integration_block(p)
        self.Z = self._extrapolated(panel)
        self.X = np.repeat(self._last_answer(), p, axis=2)
        trace = np.einsum("caa->", march.Z[:, self.first]) / (COPIES * march.size)
        rows = np.zeros((p, self.last))
        rows[:, self.first :] = 2 * trace * self.a
        if self.first:
            before = slice(self.first - p, self.first)
            rows[:, : self.first] = march.R[self.first - 1, : self.first]
            rows[:, self.first :] = march.R[before, before]
        self.rows = rows.ravel()
        self.basis: np.ndarray | None = None
        self.change = 1.0
        self._draw_forces()

    def image(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows of R_Z that follow from those given."""
        march, first, last = self.march, self.first, self.last
        march.R[first:last, :last] = rows.reshape(-1, last)
        if not np.all(np.isfinite(rows)):
            return np.full_like(rows, np.nan)
        F = self._data_side().R_r[first:]
        tangent = self._newton(F)
        source = -march.B[:, :, first:last]
        if first:
            past = (2 * F[:, :first]).astype(np.float32)
            history = march.X[:, :, :first].reshape(*march.X.shape[:2], first, march.size**2)
            source = source + (past @ history).reshape(source.shape)
        rhs = self._last_answer() - mixed(
            self.a.astype(np.float32),
            symmetrised(self.W_squared[:, None].astype(np.float32) @ source),
        )
        self.X = tangent.solve(rhs, self.X, GMRES * march.tolerance)
        shape = (*self.X.shape[:2], -1, march.size**2)
        products = self.X.reshape(shape) @ march.B[:, :, :last].reshape(shape).swapaxes(-1, -2)
        count = products.shape[0] * products.shape[1]
        scale = count * march.size * (march.size + 1) / 2
        return products.sum(axis=(0, 1), dtype=float).ravel() / scale

    def distance(self, new: np.ndarray, old: np.ndarray) -> float:
        """Return the change of the rows relative to what they stand beside, 1 + R_Z/alpha."""
        alpha, shape = self.march.problem.alpha, (-1, self.last)
        change = np.abs((new - old).reshape(shape)).sum(axis=1)
        return float(np.max(change / (alpha + np.abs(old.reshape(shape)).sum(axis=1))))

    def keep(self, rows: np.ndarray) -> None:
        """Enter the panel's nodes into the march."""
        march, first, last = self.march, self.first, self.last
        march.R[first:last, :last] = rows.reshape(-1, last)
        march.W = self.W[:, -1]
        march.Z[:, first + 1 : last + 1] = self.W_squared
        march.X[:, :, first:last] = self.X
        difference = self.W_squared - march.teacher
        force = np.einsum("cpab,cpab->p", self.M, difference) / (COPIES * march.size)
        march.force[first + 1 : last + 1] = force
        if np.all(np.isfinite(self.W_squared)):
            march._correlate(first + 1, self.W_squared)
        else:
            march.finite = False

    def _newton(self, F: np.ndarray) -> TangentPanel:
        """Find Z for given kernels; return the linear flow around it."""
        march, first = self.march, self.first
        lam, identity = march.problem.lam, np.eye(march.size)
        block = F[:, first:]
        with np.errstate(all="ignore"):
            for _ in range(MOST_NEWTON_STEPS):
                march._correlate(first + 1, self.Z)
                self.M = self._force(F)
                A = self.M + 2 * lam * identity
                self.W = self._layers(A)
                self.W_squared = self.W @ self.W.swapaxes(-1, -2)
                rest = self.W_squared - self.Z
                if self.basis is None:
                    weights = self.a[-1] / self.a[-1].sum()
                    mean = np.einsum("cpab,p->cab", A + 2 * self.W_squared, weights)
                    self.basis = np.linalg.eigh(mean)[1]
                tangent = TangentPanel(self.a, block, self.basis, A, self.W_squared)
                size = float(np.linalg.norm(rest) / np.linalg.norm(self.W_squared))
                if size < NEWTON * march.tolerance or not math.isfinite(size):
                    break
                pushed = symmetrised(self.W_squared @ mixed(2 * block, rest))
                rhs = -mixed(self.a, pushed)[:, None]
                self.Z = self.W_squared + tangent.solve(rhs, None, 0.03)[:, 0]
        return tangent

    def _force(self, F: np.ndarray) -> np.ndarray:
        """Return M on the panel's nodes, shape (2, p, N, N)."""
        march, first, last = self.march, self.first, self.last
        alpha, N = march.problem.alpha, march.size
        L = march.factor.rows[1 : last + 1, : march.factor.rank]
        noise = np.tensordot(F @ L / math.sqrt(alpha), march.modes[: march.factor.rank], axes=1)
        past = (march.Z[:, 1 : first + 1] - march.teacher).reshape(COPIES, first, N * N)
        drift = 2 * (F[:, :first] @ past).reshape(COPIES, -1, N, N)
        drift += 2 * mixed(F[:, first:], self.Z - march.teacher)
        return drift + np.stack([noise, -noise])

    def _layers(self, A: np.ndarray) -> np.ndarray:
        """Return W on the nodes: W_i + sum_j a_ij A_j W_j = W(0), shape (2, p, N, rank)."""
        p, N = len(self.a), self.march.size
        blocks = np.einsum("ij,cjkl->cikjl", self.a, A).reshape(COPIES, p * N, p * N)
        start = np.tile(self.march.W, (1, p, 1))
        return np.linalg.solve(np.eye(p * N) + blocks, start).reshape(COPIES, p, N, -1)

    def _data_side(self) -> DataSide:
        march, last = self.march, self.last
        return data_side(
            -march.R[:last, :last],
            2 * march.C[1 : last + 1, 1 : last + 1],
            march.problem.label_noise,
            1 / march.problem.alpha,
        )

    def _extrapolated(self, panel: int) -> np.ndarray:
        """Return Z on the nodes as it would go on along a line, no further than it has come."""
        march, first = self.march, self.first
        start = march.Z[:, first][:, None]
        if panel == 0:
            return np.repeat(start, march.grid.stages, axis=1)
        times = march.grid.nodes_with_start
        t = times[first + 1 : self.last + 1] - times[first]
        share = np.minimum(t / (times[first] - times[first - 1]), 1.0)
        return start + share[:, None, None] * (start - march.Z[:, first - 1][:, None])

    def _last_answer(self) -> np.ndarray:
        """Return X at the panel's left end, shape (2, probes, 1, N, N)."""
        X, first = self.march.X, self.first
        return X[:, :, first - 1 : first] if first else np.zeros_like(X[:, :, :1])

    def _draw_forces(self) -> None:
        march, N = self.march, self.march.size
        shape = march.B.shape[:2]
        flat = (*shape, 1, N * N)
        room = N * (N + 1) // 2 - 2 * (self.last - self.first) - 2
        if self.first and march.span.shape[2] < room // 2:
            march.span = extended(march.span, self._last_answer().reshape(flat))
        Z = march.Z[:, self.first][:, None].astype(np.float32)
        for node in range(self.first, self.last):
            B = orthogonal_goe(march.span, shape, N, march.rng).astype(np.float32)
            march.B[:, :, node] = B
            if march.span.shape[2] < room // 2:  # few directions are left where N is small
                both = np.concatenate([B.reshape(flat), symmetrised(Z @ B).reshape(flat)], axis=2)
                march.span = extended(march.span, both)
