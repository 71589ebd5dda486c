"""Paths of the effective process of a quadratic network, at a finite size N of its matrices.

    dW/dt = -(M + 2 lam) W,    M(t) = 2 int R_f(t, s) (Z(s) - Z*) ds + N(t),    Z = W W^*,

with N a Gaussian matrix process of covariance C_f/alpha, and R_f, C_f of the data side
(`dmft.equations.data_side`) at the response R_Z and the correlation C_Z of Z (arXiv:2601.10483).

Matrices are complex and Hermitian. The limit N -> infinity knows only moments of free matrices,
which are those of real and of complex ones alike; but averages over real symmetric matrices
approach it like 1/N, those over complex Hermitian ones like 1/N^2 (the expansion in the genus).

A sample holds pairs of copies with the same kernels. The two of a pair share Z(0) and Z* and have
opposite noise, so that chance overlaps of noise and signal cancel. Panels of Radau collocation are
solved one after the other. In each a fixed point is sought for the rows of R_Z: given these, a
Newton step goes on towards Z, and one linear flow gives the answers X of Z to random forces B,
from which the next rows follow,

    R_Z(t, s) = (1/N^2) sum_a Tr[e_a X_a(t)] = E Tr[B_s X(t)]/N^2,

e_a being an orthonormal basis of Hermitian matrices, and B_s drawn independently for each node s,
of square norm N^2. Early forces are orthogonal to each other, to what earlier ones have led to, and
to {Z B}: these chance overlaps are most of the estimate's spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dmft.equations.data_side import data_side
from dmft.quadratic.averages import MatrixAverages
from dmft.quadratic.gaussian_modes import CausalFactor, Span, as_rows
from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.start import free_rotation, wishart_eigenvalues
from dmft.quadratic.tangent import TangentPanel, adjoint, mixed, symmetrised
from dmft.solvers.collocation import Grid, integration_block, lagrange_matrix, radau_nodes
from dmft.solvers.fixed_point import FixedPoint, iterate

# Forces are kept orthogonal to at most N^2 over this many directions. Each takes a share of order
# 1/N^2 from what the response is averaged over: with N^2/2 directions the mean squared error at
# alpha = 0.2, widths 0.7 and 0.5, lam = 0.5, label noise 0.25, t = 10 was 1.22 from N = 20, with
# N^2/8 it was 1.31 (steady state 1.32); with none train errors of N = 20 scattered twice as much.
CROWDED = 8
# Largest Newton step relative to Z. On panels much wider than the relaxation time a start that is
# off by more than a half led to a force that makes W grow without bound: 2 of 4 samples of N = 20
# at alpha = 0.3, widths 0.7 and 0.5 on the last panel before t = 10; with 0.1, none of them.
LONGEST_STEP = 0.1
# A panel whose fixed point is not found within so many sweeps, 3 to 14 being usual, is solved by
# way of panels of a quarter and a half of its width: less of a stiff flow that is started far off
# is forgotten on these, so that the first force is less wrong.
FIRST_TRY = 16
SHARES = (0.25, 0.5, 1.0)
# Error of a tangent flow over the last change of the fixed point that it serves: an inexact Newton
# method. At 0.03 samples took as many sweeps as at 0.003, at 0.1 some did not converge. The floor
# is what single precision can do.
FORCING, LEAST_FORCING = 0.03, 1e-5


@dataclass(frozen=True, eq=False)
class MatrixSample:
    """Pairs of paths and the kernels that belong to them.

    Parameters
    ----------
    size : int
        N.
    averages : MatrixAverages
        Over the copies.
    eigenvalues : ndarray, shape (copies, n + 1, N)
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
    pairs: int,
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
    pairs : int
        Pairs of copies that share the kernels.
    probes : int
        Sets of random forces on each copy.
    rng : Generator
    tolerance : float
        Relative change of Z and of the rows of R_Z at which a panel counts as solved.
    max_sweeps : int
        Bound on the sweeps of a panel; `success` is False where it is met.
    """
    march = _March(problem, grid, size, pairs, probes, rng)
    for panel in range(grid.panels):
        march.solve_panel(panel, tolerance, max_sweeps)
        if not march.finite:
            break
    return march.sample()


class _March:
    """Everything up to the panel that is being solved; time is the first axis of all arrays."""

    def __init__(
        self,
        problem: QuadraticProblem,
        grid: Grid,
        size: int,
        pairs: int,
        probes: int,
        rng: np.random.Generator,
    ) -> None:
        """Draw the start and make room."""
        self.problem, self.grid, self.size, self.rng = problem, grid, size, rng
        self.copies, self.norm = 2 * pairs, 2 * pairs * size
        self.signs = np.tile([1.0, -1.0], pairs)[:, None, None]
        z = wishart_eigenvalues(size, problem.kappa_star)
        s = problem.init_variance * wishart_eigenvalues(size, problem.kappa)
        rank = np.count_nonzero(s)
        W = np.stack([(free_rotation(s, z, rng) * np.sqrt(s))[:, :rank] for _ in range(pairs)])
        self.W = np.repeat(W, 2, axis=0)
        self.teacher = np.diag(z)
        n, shape = grid.size, (self.copies, size, size)
        forces = (n, self.copies, probes, size, size)
        self.excess = np.zeros((n + 1, *shape), complex)  # Z - Z*
        self.excess[0] = self.W @ adjoint(self.W) - self.teacher
        self.X, self.B = np.zeros(forces, np.complex64), np.zeros(forces, np.complex64)
        room = min(size * size // CROWDED, 4 * n)
        self.forced = Span((self.copies, probes), size, room, np.float32)
        self.R, self.C = np.zeros((n, n)), np.zeros((n + 1, n + 1))
        self.force = np.zeros(n + 1)
        self.factor = CausalFactor(n + 1)
        self.known = Span((pairs,), size, n + 4, float)
        fixed = [np.broadcast_to(M, (pairs, size, size)) for M in (np.eye(size), self.teacher)]
        self.known.add(*(M.astype(complex) for M in fixed), self.excess[0, ::2])
        self.modes = np.zeros((0, *shape), complex)
        self.sweeps, self.success, self.finite = 0, True, True
        self.correlate(0, self.excess[:1])
        self.force[0] = 2 * self.C[0, 0]

    def solve_panel(self, panel: int, tolerance: float, max_sweeps: int) -> None:
        """Solve one panel and keep its nodes."""
        step = _Panel(self, panel)
        with np.errstate(all="ignore"):
            found = step.solve(tolerance, max_sweeps)
        self.sweeps = max(self.sweeps, len(found.history))
        self.success &= found.success
        self.finite = bool(np.isfinite(found.change))
        if self.finite:
            step.keep(found.x)

    def sample(self) -> MatrixSample:
        """Return what has been found."""
        Z, teacher = self.excess + self.teacher, np.diag(self.teacher)
        averages = MatrixAverages(
            C_Z=self.C,
            R_Z=self.R,
            force=self.force,
            overlap=np.einsum("tcaa,a->t", Z, teacher).real / self.norm,
            trace=np.einsum("tcaa->t", Z).real / self.norm,
        )
        eigenvalues = np.linalg.eigvalsh(Z).swapaxes(0, 1)
        success = bool(self.success and self.finite)
        return MatrixSample(self.size, averages, eigenvalues, self.sweeps, success)

    def correlate(self, first: int, excess: np.ndarray) -> None:
        """Set the correlations of the nodes from `first` on, where Z - Z* has been found."""
        last = first + len(excess)
        new, past = (
            as_rows(Y).reshape(len(Y), math.prod(Y.shape[1:]) * 2)
            for Y in (excess, self.excess[:first])
        )
        self.C[first:last, :first] = new @ past.T / self.norm
        self.C[:first, first:last] = self.C[first:last, :first].T
        self.C[first:last, first:last] = new @ new.T / self.norm
        self.factor.restart(first)
        for node in range(first, last):
            self.factor.append(2 * self.C[node] + self.problem.label_noise, node)
        while self.factor.rank > len(self.modes):
            new = self.known.draw(self.rng)
            self.known.add(new)
            mode = self.signs * np.repeat(new, 2, axis=0) / math.sqrt(self.size)
            self.modes = np.concatenate([self.modes, mode[None]])


class _Panel:
    """The fixed point of one panel."""

    def __init__(self, march: _March, panel: int) -> None:
        """Draw the panel's forces and extrapolate into it."""
        self.march, p = march, march.grid.stages
        self.first, self.last = panel * p, (panel + 1) * p
        self.whole = self.a = np.diff(march.grid.edges)[panel] * integration_block(p)
        self.excess = self._extrapolated()
        self.X = np.repeat(self._last_answer()[None], p, axis=0)
        self.rows = self._first_rows().ravel()
        self.basis: np.ndarray | None = None
        self._draw_forces()

    def solve(self, tolerance: float, max_sweeps: int) -> FixedPoint:
        """Return the fixed point, if need be by way of those of narrower panels."""
        found = self._fixed_point(tolerance, min(max_sweeps, FIRST_TRY))
        if found.success or max_sweeps <= FIRST_TRY:
            return found
        p = self.last - self.first
        self.excess = np.repeat(self.march.excess[self.first][None], p, axis=0)
        self.X = np.repeat(self._last_answer()[None], p, axis=0)
        self.rows = self._first_rows().ravel()
        for share in SHARES:
            self.a = share * self.whole
            found = self._fixed_point(tolerance, max_sweeps)
            if not found.success or share == 1:
                break
            self._widen(found.x)
        return found

    def _widen(self, rows: np.ndarray) -> None:
        """Begin on a panel twice as wide, constant beyond the one that is solved."""
        march, first, c = self.march, self.first, radau_nodes(self.last - self.first)
        move = lagrange_matrix(np.concatenate([[0.0], c]), np.minimum(2 * c, 1.0))
        before = march.R[first - 1, : self.last] if first else np.zeros(self.last)
        self.excess = mixed(move, np.concatenate([march.excess[first : first + 1], self.excess]))
        self.X = mixed(move, np.concatenate([self._last_answer()[None], self.X]))
        self.rows = (move @ np.vstack([before, rows.reshape(len(c), -1)])).ravel()

    def _fixed_point(self, tolerance: float, max_sweeps: int) -> FixedPoint:
        self.basis, self.rest, self.change = None, math.inf, 1.0
        return iterate(self.image, self.rows, self.distance, tolerance, max_sweeps, memory=4)

    def image(self, rows: np.ndarray) -> np.ndarray:
        """Take a Newton step for Z and return the rows of R_Z that follow from those given."""
        march, first, last = self.march, self.first, self.last
        march.R[first:last, :last] = rows.reshape(-1, last)
        march.correlate(first + 1, self.excess)
        F = self._residual_response()
        self.M = self._drift(F) + self._noise(F)
        A = self.M + 2 * march.problem.lam * np.eye(march.size)
        self.W = self._layers(A)
        Z = self.W @ adjoint(self.W)
        rest = Z - march.teacher - self.excess
        self.rest = float(np.linalg.norm(rest) / np.linalg.norm(Z))
        if not math.isfinite(self.rest):
            return np.full_like(rows, np.nan)
        if self.basis is None:
            mean = np.tensordot(self.a[-1] / self.a[-1].sum(), A + 2 * Z, axes=1)
            self.basis = np.linalg.eigh(mean)[1]
        tangent = TangentPanel(self.a, F[:, first:], self.basis, A, Z)
        change, self.X = self._changes(tangent, F, rest)
        step = rest + change
        longest = LONGEST_STEP * np.linalg.norm(self.excess + march.teacher)
        self.excess = self.excess + step * min(1.0, float(longest / np.linalg.norm(step)))
        return self._response().ravel()

    def distance(self, new: np.ndarray, old: np.ndarray) -> float:
        """Return the change of Z, or of rows relative to alpha + R_Z if that is larger."""
        alpha, shape = self.march.problem.alpha, (-1, self.last)
        change = np.abs((new - old).reshape(shape)).sum(axis=1)
        relative = change / (alpha + np.abs(old.reshape(shape)).sum(axis=1))
        self.change = max(float(np.max(relative)), self.rest)
        return self.change

    def keep(self, rows: np.ndarray) -> None:
        """Enter the panel's nodes into the march."""
        march, first, last = self.march, self.first, self.last
        here = slice(first + 1, last + 1)
        march.R[first:last, :last] = rows.reshape(-1, last)
        march.W = self.W[-1]
        excess = self.W @ adjoint(self.W) - march.teacher
        march.correlate(first + 1, excess)
        march.excess[here] = excess
        march.X[first:last] = self.X
        march.force[here] = np.sum(as_rows(self.M) * as_rows(excess), axis=(1, 2)) / march.norm

    def _changes(
        self, tangent: TangentPanel, F: np.ndarray, rest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the change of Z that takes the rest away, and the answers to the forces."""
        march, first, last = self.march, self.first, self.last
        source = march.B[first:last]
        if first:
            source = source - mixed(2 * F[:, :first], march.X[:first])
        of_rest = mixed(-2 * F[:, first:], rest).astype(source.dtype)
        source = np.concatenate([of_rest[:, :, None], source], axis=2)
        start = self._last_answer()
        start = np.concatenate([np.zeros_like(start[:, :1]), start], axis=1)
        guess = np.concatenate([np.zeros_like(self.X[:, :, :1]), self.X], axis=2)
        tolerance = max(FORCING * self.change, LEAST_FORCING)
        found = tangent.solve(start, source, guess, tolerance)
        return found[:, :, 0], found[:, :, 1:]

    def _response(self) -> np.ndarray:
        """Return the rows of R_Z, shape (p, last)."""
        B = self.march.B[: self.last]
        new, all_forces = (as_rows(Y).reshape(len(Y), -1) for Y in (self.X, B))
        return (new @ all_forces.T).astype(float) / (B[0].size)

    def _drift(self, F: np.ndarray) -> np.ndarray:
        """Return 2 int R_f (Z - Z*) on the panel's nodes, shape (p, c, N, N)."""
        first, past = self.first, self.march.excess[1 : self.first + 1]
        drift = mixed(2 * F[:, first:], self.excess)
        return drift + mixed(2 * F[:, :first], past) if first else drift

    def _noise(self, F: np.ndarray) -> np.ndarray:
        """Return N on the panel's nodes, shape (p, c, N, N)."""
        march, rank = self.march, self.march.factor.rank
        L = march.factor.rows[1 : self.last + 1, :rank]
        return mixed(F @ L / math.sqrt(march.problem.alpha), march.modes[:rank])

    def _layers(self, A: np.ndarray) -> np.ndarray:
        """Return W on the nodes: W_i + sum_j a_ij A_j W_j = W(0), shape (p, c, N, rank)."""
        p, N, copies = len(self.a), self.march.size, self.march.copies
        blocks = np.einsum("ij,jckl->cikjl", self.a, A).reshape(copies, p * N, p * N)
        start = np.tile(self.march.W, (1, p, 1))
        W = np.linalg.solve(np.eye(p * N) + blocks, start)
        return W.reshape(copies, p, N, -1).swapaxes(0, 1)

    def _residual_response(self) -> np.ndarray:
        """Return the panel's rows of R_f, shape (p, last)."""
        march, last = self.march, self.last
        covariance = 2 * march.C[1 : last + 1, 1 : last + 1]
        noise, scale = march.problem.label_noise, 1 / march.problem.alpha
        return data_side(-march.R[:last, :last], covariance, noise, scale).R_r[self.first :]

    def _first_rows(self) -> np.ndarray:
        """Return the last rows of R_Z over again, or those of a Z that stands still."""
        march, first, last = self.march, self.first, self.last
        rows = np.zeros((last - first, last))
        if first:
            before = slice(first - len(rows), first)
            rows[:, :first], rows[:, first:] = march.R[first - 1, :first], march.R[before, before]
        else:
            rows[:] = 2 * march.problem.init_variance * self.a
        return rows

    def _extrapolated(self) -> np.ndarray:
        """Return Z - Z* as it would go on along a line, no further than it has come."""
        march, first = self.march, self.first
        start = march.excess[first]
        if first == 0:
            return np.repeat(start[None], march.grid.stages, axis=0)
        times = march.grid.nodes_with_start
        t = times[first + 1 : self.last + 1] - times[first]
        share = np.minimum(t / (times[first] - times[first - 1]), 1.0)
        return start + share[:, None, None, None] * (start - march.excess[first - 1])

    def _last_answer(self) -> np.ndarray:
        """Return X at the panel's left end, shape (c, probes, N, N)."""
        X, first = self.march.X, self.first
        return X[first - 1] if first else np.zeros_like(X[0])

    def _draw_forces(self) -> None:
        march = self.march
        if self.first:
            march.forced.add(self._last_answer())
        Z = (march.excess[self.first] + march.teacher)[:, None].astype(np.complex64)
        for node in range(self.first, self.last):
            B = march.B[node] = march.forced.draw(march.rng)
            march.forced.add(B, symmetrised(Z @ B))
