"""The mean-field equations of training in steps, marched causally over random paths.

With theta_k = w_k - w* of one coordinate, C_w(k, l) = E theta_k theta_l, R_w(k, l) = E d theta_k /
d f_l for a field f_l added to h_l in the update, and C_y = C_w + sigma2 (the limit d -> infinity at
fixed k; no step is taken to be small):

    coordinate:  h = theta + x/sqrt(delta) + (1/delta) R h,        x ~ N(0, C_y + V)
    noise:       V_k = nu rho_k + (1 + nu) tau2, with rho_k = E r_k^2 of a sample before step k
    sample:      r = y + P (y + e),  P = R_w A/delta,  A = (1 - R/delta)^(-1),  e ~ N(0, V)

with nu the variance of a sample's weight and tau2 that of fresh label noise. So batches act like
fresh label noise of variance nu rho_k, inside the sandwich: C_h is not (C_r + V)/delta.
R is R_w where steps are independent. Otherwise:

    reshuffled   R leaves out pairs of steps in one epoch; there V(k, l) = (M 1{k=l} - 1) C_q(k, l),
                 M steps an epoch, and C_q the covariance of q = A (y + e of earlier epochs).
    M data sets  in turn: R and C_y keep only pairs k = l mod M, delta becomes delta/M, V = tau2;
                 C_r is the mean over the sets. With fresh data in each step only k = l is left.
    Nesterov     theta, R and y in the first two lines are those at the extrapolated layers u~.

Nothing needs iterating: row k of R_w and C_w is an average over paths that have reached step k.
x = F z with independent normals z. Given the stratum of w* of a path, theta_k splits into

    theta_k = L_k z + rest_k,        L_k = E grad_z theta_k = R_w A F/sqrt(delta),

and by Gauss's integration by parts E z rest_k = 0, so that C_w = E L L^T + E rest rest^T. Only the
second part is averaged over paths: the first is exact whatever their normals, and it holds nearly
all of the variance. Row k of F holds the coordinates of y_k, the vector of L_k, rest_k and sigma
(each with the weights of its average), in a basis that grows with k, then the factor of V.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dmft.dynamics.base import Descent
from dmft.dynamics.small_step import SmallStep
from dmft.equations.layer_steps import Walk
from dmft.problem import Problem
from dmft.solvers.growing_basis import GrowingBasis
from dmft.solvers.lanes import LANES
from dmft.solvers.mean_response import split
from dmft.solvers.recursions import Responses


class Draws(NamedTuple):
    """Random numbers of the paths of S independent systems: A strata share n vectors of normals.

    Parameters
    ----------
    normals : ndarray, shape (S, 2 K + 1, n)
        The first belongs to w*, the others are taken as the march needs them.
    weights : ndarray, shape (S, n)
        Of the normals in an average.
    centre : ndarray, shape (S, A, n)
    spread : ndarray, shape (A,)
        w* = centre + spread times the first normal.
    probabilities : ndarray, shape (A,)
        Of the strata.
    """

    normals: np.ndarray
    weights: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    probabilities: np.ndarray

    @property
    def w_star(self) -> np.ndarray:
        """Targets of the paths, shape (S, A, n)."""
        return self.centre + self.spread[:, None] * self.normals[:, :1]


@dataclass(frozen=True, eq=False)
class March:
    """What the paths of S independent systems gave over K steps.

    Parameters
    ----------
    problem : Problem
    own, seen : ndarray, shape (S, K, W)
        Vectors y_k with y_k . y_l = C_y(k, l), at the layers and where the gradient is taken; the
        first entry is sigma.
    mean_w, overlap : ndarray, shape (S, K)
        E w_k and E w_k w*.
    response, memory : ndarray, shape (S, K, K)
        R_w, and R/delta.
    factor, drive : ndarray, shape (S, K, D)
        F and A F, D columns used; the first, that of w*, is 0.
    noise : ndarray, shape (S, K, K)
        Factor of V.
    reach : ndarray, shape (S, K)
        A 1.
    spread : float
        Root mean square of the strata's own.
    """

    problem: Problem
    own: np.ndarray
    seen: np.ndarray
    mean_w: np.ndarray
    overlap: np.ndarray
    response: np.ndarray
    memory: np.ndarray
    factor: np.ndarray
    drive: np.ndarray
    noise: np.ndarray
    reach: np.ndarray
    spread: float


def descent_of(problem: Problem) -> Descent:
    """Return the problem's dynamics, which is in steps."""
    dynamics = problem.dynamics
    assert isinstance(dynamics, Descent)
    return dynamics


def with_step(problem: Problem, step: float) -> Problem:
    """Return the problem whose dynamics has the same limit of small steps, but this step."""
    if getattr(problem.dynamics, "step", None) == step:
        return problem
    rates = problem.dynamics.rates
    assert rates is not None
    return replace(problem, dynamics=SmallStep(step, *rates))


def march(problem: Problem, steps: int, draws: Draws) -> March:
    """Follow all paths through `steps` steps (K values of k, of which the last is K - 1)."""
    descent, network = descent_of(problem), problem.mirror
    selection, ratio = descent.selection, problem.delta * descent.selection.share
    normals, groups = draws.normals, draws.centre.shape
    (systems, strata, paths), limit = groups, normals.shape[1]
    walk = Walk(problem, systems * strata * paths)
    coupled, layers = walk.coupled(), len(walk.layers)
    # where every path has the same response, that of a few will do
    part = LANES if network.linear else paths
    shares = np.tile(1.0 / part, (systems, part)) if network.linear else draws.weights
    shares = np.repeat(shares, strata, axis=0)
    responses = Responses(
        systems,
        strata,
        part,
        layers,
        steps,
        walk.gain(),
        descent.momentum,
        descent.nesterov,
        coupled,
    )
    moments = _Split(problem, draws)
    bases = _Bases(systems, steps, selection.classes, moments.width)
    shape = (systems, steps)
    seen = np.zeros((*shape, moments.width))
    own = np.zeros_like(seen) if descent.nesterov else seen
    mean_w, overlap = np.empty(shape), np.empty(shape)
    gradients = np.empty((*shape, strata * paths))
    response, memory, white = (np.zeros((*shape, steps)) for _ in range(3))
    factor, drive, reach = np.zeros((*shape, limit)), np.zeros((*shape, limit)), np.empty(shape)
    noisy = selection.variance > 0 or descent.label_noise > 0

    def average(k: int, at: np.ndarray, is_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return weights (S, A, n) of the layers `at`, and their responses (S, A, k)."""
        w, outputs = walk.readings(at)
        outputs = outputs.reshape(layers, systems * strata, paths)[..., :part]
        if is_seen:
            responses.set_output(k, outputs)
        return w.reshape(groups), responses.total(k, outputs * shares, is_seen)

    for k in range(steps):
        w, rows = average(k, walk.seen, True)
        row = np.einsum("a,sak->sk", draws.probabilities, rows)
        coupling = _coupled(k, selection.epoch, selection.classes)
        memory[:, k, :k] = np.where(coupling, row / ratio, 0.0)
        responses.set_memory(k, memory[:, k, :k])
        reach[:, k] = 1.0 + np.einsum("sk,sk->s", memory[:, k, :k], reach[:, :k])
        used = bases.used
        here = moments.of(w, rows, drive[:, :k, :used], reach[:, :k], ratio)
        seen[:, k, : here.vector.shape[1]] = here.vector
        theta = w - moments.w_star
        past = _product(memory[:, k, :k], drive[:, :k, :used])
        bases.add(k, here.vector, factor)
        drive[:, k] = factor[:, k]
        drive[:, k, :used] += past
        if noisy:
            first = k // selection.epoch * selection.epoch
            white[:, k, first : k + 1] = _noise_row(
                first, drive[:, first : k + 1], white[:, first : k + 1, first : k + 1], descent
            )
            bases.add_noise(k, first, white[:, k, first : k + 1], factor, drive)
        used = bases.used
        noise = _product(factor[:, k, :used], normals[:, :used])[:, None]
        h = (theta + noise / np.sqrt(ratio)).reshape(systems, -1)
        h += _product(memory[:, k, :k], gradients[:, :k])
        gradients[:, k] = h
        if descent.nesterov:
            w, rows = average(k, walk.layers, False)
            here = moments.of(w, rows, drive[:, :k, :used], reach[:, :k], ratio)
            own[:, k, : here.vector.shape[1]] = here.vector
        mean_w[:, k], overlap[:, k], response[:, k, :k] = here.mean, here.overlap, row
        if descent.nesterov:
            response[:, k, :k] = np.einsum("a,sak->sk", draws.probabilities, rows)
        J = walk.jacobians(h.reshape(-1), coupled)
        responses.set_step(k, J.reshape(*J.shape[:2], systems * strata, paths)[..., :part])
        walk.advance(h.reshape(-1))
    used = bases.used
    spread = float(np.sqrt(draws.probabilities @ draws.spread**2))
    return March(
        problem,
        own[..., : moments.size(used)],
        seen[..., : moments.size(used)],
        mean_w,
        overlap,
        response,
        memory,
        factor[..., :used],
        drive[..., :used],
        white,
        reach,
        spread,
    )


class _Moments(NamedTuple):
    """The vector y_k (S, W) of one step, and E w_k and E w_k w* (S,)."""

    vector: np.ndarray
    mean: np.ndarray
    overlap: np.ndarray


class _Split:
    """theta_k of the paths as L_k z + rest_k."""

    def __init__(self, problem: Problem, draws: Draws) -> None:
        self._sigma = float(np.sqrt(problem.sigma2))
        self._normals, self._spread, self._centre = draws.normals, draws.spread, draws.centre
        self.w_star = draws.w_star
        self._strata = len(draws.probabilities)
        self._shares = draws.probabilities[:, None] * draws.weights[:, None]  # (S, A, n)
        self._weights = draws.weights
        self._probabilities = np.ascontiguousarray(draws.probabilities)
        self.width = self.size(draws.normals.shape[1])

    def size(self, used: int) -> int:
        """Return the length of y where `used` normals are in use."""
        return 1 + self._shares[0].size + self._strata * used

    def of(
        self, w: np.ndarray, rows: np.ndarray, drive: np.ndarray, reach: np.ndarray, ratio: float
    ) -> _Moments:
        """Return the moments of weights (S, A, n) whose responses are `rows` (S, A, k)."""
        linear = rows @ drive / np.sqrt(ratio)
        # w* acts like the field -A 1, and theta = w - w*
        linear[..., 0] = self._spread * (-1.0 - (rows @ reach[..., None])[..., 0])
        systems, strata, paths = w.shape
        vector = np.empty((systems, 1 + strata * (paths + linear.shape[2])))
        rest = np.empty_like(w)
        split(
            w - self.w_star,
            linear,
            self._normals,
            self._weights,
            self._probabilities,
            self._sigma,
            vector,
            rest,
        )
        flat = rest + self._centre  # w without what is linear in the normals
        flat *= self._shares
        mean = flat.sum(axis=(1, 2))
        overlap = (flat * self._centre).sum(axis=(1, 2))
        overlap += (self._spread * (linear[..., 0] + self._spread)) @ self._probabilities
        return _Moments(vector, mean, overlap)


class _Bases:
    """The normals that x is made of: a growing basis for each data set, and those of the noise.

    Each new normal takes the next column of F; the first belongs to w*.
    """

    def __init__(self, systems: int, steps: int, classes: int, width: int) -> None:
        self._systems, self._classes, self._width = systems, classes, width
        self._size = -(-steps // classes) if classes else 1
        self._bases: dict[int, GrowingBasis] = {}
        self._columns: dict[int, np.ndarray] = {}
        self._of_noise = np.zeros(steps, dtype=int)
        self.used = 1

    def add(self, k: int, vector: np.ndarray, factor: np.ndarray) -> None:
        """Set row k of F (S, K, D) to the coordinates of a vector."""
        data_set = k % self._classes if self._classes else k
        if data_set not in self._bases:
            width = self._width if self._size > 1 else vector.shape[1]
            self._bases[data_set] = GrowingBasis(self._systems, self._size, width)
            self._columns[data_set] = np.zeros(self._size, dtype=int)
        columns = self._columns[data_set]
        known, new = self._bases[data_set].add(vector)
        count = known.shape[1]
        factor[:, k, columns[:count]] = known
        if new is not None:
            factor[:, k, self.used] = new
            columns[count] = self.used
            self.used += 1

    def add_noise(
        self, k: int, first: int, row: np.ndarray, factor: np.ndarray, drive: np.ndarray
    ) -> None:
        """Add row k of the factor of V, from the epoch's first step to k, to F and A F."""
        self._of_noise[k] = self.used
        self.used += 1
        columns = self._of_noise[first : k + 1]
        factor[:, k, columns] += row
        drive[:, k, columns] += row


def observables(path: March, at: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each system gives at the steps `at` (T,), as arrays (S, T) and (S, T, T).

    "C_w", "R_w", "C_r", "R_r" (without its 1 at equal steps), "mean_w" and "overlap".
    """
    problem, own = path.problem, path.own[:, at]
    share, classes = descent_of(problem).selection.share, descent_of(problem).selection.classes
    C_r, R_r = (np.zeros((len(own), len(at), len(at))) for _ in range(2))
    for m in range(max(classes, 1)):
        P = _residual_response(path, at, m, classes, problem.delta * share)
        residual = own + P @ path.seen
        kept = P @ path.noise
        C_r += residual @ np.swapaxes(residual, 1, 2) + kept @ np.swapaxes(kept, 1, 2)
        R_r += P[:, :, at]
    theta = own[..., 1:]
    return {
        "C_w": theta @ np.swapaxes(theta, 1, 2),
        "R_w": path.response[:, at][:, :, at],
        "C_r": C_r / max(classes, 1),
        "R_r": R_r / max(classes, 1),
        "mean_w": path.mean_w[:, at],
        "overlap": path.overlap[:, at],
    }


def _residual_response(
    path: March, at: np.ndarray, data_set: int, classes: int, ratio: float
) -> np.ndarray:
    """Return the rows `at` of P = R_w A/delta for a sample of one data set, shape (S, T, K).

    Fresh data remember nothing: P = 0.
    """
    from scipy.linalg import solve_triangular

    R = path.response[:, at] / ratio
    if classes == 0:
        return np.zeros_like(R)
    R = np.where(np.arange(R.shape[2]) % classes == data_set, R, 0.0)
    unit = np.eye(R.shape[2])
    return np.stack(
        [
            solve_triangular((unit - M).T, r.T, unit_diagonal=True, check_finite=False).T
            for r, M in zip(R, path.memory, strict=True)
        ]
    )


class StepKernels(NamedTuple):
    """What a coordinate's law needs: memory (K, K) R/delta, factor (K, D) of x = factor z, step."""

    memory: np.ndarray
    factor: np.ndarray
    step: float


def kernels(path: March) -> StepKernels:
    """Return the kernels of the first system."""
    factor = path.factor[0]
    used = np.any(factor != 0, axis=0)
    return StepKernels(path.memory[0], factor[:, used], descent_of(path.problem).step)


def sample_layers(
    problem: Problem, law: StepKernels, w_star: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw independent coordinates of given targets w_star (n,).

    Returns
    -------
    layers : ndarray, shape (L, n, K)
    gradients : ndarray, shape (n, K)
        h_k.
    """
    ratio = problem.delta * descent_of(problem).selection.share
    steps, count = len(law.memory), len(w_star)
    noise = law.factor @ rng.standard_normal((law.factor.shape[1], count)) / np.sqrt(ratio)
    walk, h, layers = Walk(problem, count), np.empty((steps, count)), []
    for k in range(steps):
        layers.append(walk.layers)
        h[k] = walk.weights() - w_star + noise[k] + law.memory[k, :k] @ h[:k]
        walk.advance(h[k])
    return np.stack(layers, axis=-1), h.T


def _coupled(k: int, epoch: int, classes: int) -> np.ndarray:
    """Return which of the steps before k the gradient of step k remembers, shape (k,)."""
    if classes == epoch == 1:
        return np.ones(k, dtype=bool)
    earlier = np.arange(k)
    if classes == 0:
        return np.zeros(k, dtype=bool)
    together = (k - earlier) % classes == 0
    return together if epoch == 1 else together & (earlier // epoch != k // epoch)


def _noise_row(first: int, drive: np.ndarray, white: np.ndarray, descent: Descent) -> np.ndarray:
    """Return row k of the factor of V, from the epoch's first step to k, shape (S, k + 1 - first).

    V = (1 + variance) (C_q + label noise) on the diagonal less C_q, with q the rows of A F (S, k +
    1 - first, D) without the noise of this epoch. The last row does not have it yet.
    """
    q, variance = drive[:, -1], descent.selection.variance
    covariance = -(drive @ q[..., None])[..., 0]
    covariance[:, -1] = -variance * covariance[:, -1] + (1.0 + variance) * descent.label_noise
    if covariance.shape[1] == 1:
        return np.sqrt(covariance)
    row = np.zeros_like(covariance)
    for i in range(row.shape[1] - 1):
        rest = covariance[:, i] - np.einsum("si,si->s", row[:, :i], white[:, i, :i])
        pivot = white[:, i, i]
        row[:, i] = np.divide(rest, pivot, out=np.zeros_like(rest), where=pivot > 0)
    square = np.einsum("si,si->s", row[:, :-1], row[:, :-1])
    row[:, -1] = np.sqrt(np.maximum(covariance[:, -1] - square, 0.0))
    return row


def _product(row: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return row (S, k) @ matrix (S, k, n), shape (S, n)."""
    return (row[:, None, :] @ matrix)[:, 0]
