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
x = F z with independent normals z, where row k of F holds the coordinates of (sqrt(p) theta_k,
sigma) in a basis found by Gram and Schmidt (p the weights of the paths), then the Cholesky factor
of V. A Cholesky factor of C_y itself would multiply rounding errors by all its small pivots.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dmft.dynamics.base import Descent
from dmft.dynamics.small_step import SmallStep
from dmft.problem import Problem
from dmft.solvers.lanes import LANES
from dmft.solvers.recursions import Responses

IMAGINARY = 1e-100  # step of the derivatives along the imaginary axis, which have no cancellation
# A vector with less than this share of its length outside the basis adds none of its own. What is
# lost of C_y is of relative size 1e-13 after 30 steps of a linear network with momentum, whose
# exact values are known; with 1e-7 it was 3e-10.
NEW_DIRECTION = 1e-9


class Draws(NamedTuple):
    """Random numbers of the paths of S independent systems.

    normals (S, n, 2 K + 1): z, the basis in the first K columns, V in the next K, then w*; w_star
    (S, P) and probabilities (P,), P = strata * n, the strata sharing their normals.
    """

    normals: np.ndarray
    w_star: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, eq=False)
class March:
    """Paths of S independent systems over K steps, and the kernels that they gave.

    theta (S, K, P) and theta_seen, at the layers and where the gradient is taken; response (S, K,
    K) R_w; memory (S, K, K) R/delta; factor (S, K, 2 K) F; drive (S, K, 2 K) A F.
    """

    problem: Problem
    draws: Draws
    theta: np.ndarray
    theta_seen: np.ndarray
    response: np.ndarray
    memory: np.ndarray
    factor: np.ndarray
    drive: np.ndarray


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
    systems, paths = draws.w_star.shape
    layers = len(network.initial_layers(problem.alpha))
    shape = (systems, steps)
    theta = np.empty((*shape, paths))
    seen = np.empty((*shape, paths)) if descent.nesterov else theta
    gradients = np.empty((*shape, paths))
    response, memory = np.zeros((*shape, steps)), np.zeros((*shape, steps))
    factor, drive = np.zeros((*shape, 2 * steps)), np.zeros((*shape, 2 * steps))
    # where every path has the same response, that of a few will do
    part = LANES if network.linear else paths
    weights = np.full(part, 1.0 / part) if network.linear else draws.probabilities
    responses = Responses(systems, part, layers, steps, descent.momentum, descent.nesterov)
    basis = _Basis(systems, draws.probabilities, problem.sigma2, steps, selection.classes)
    strata = paths // draws.normals.shape[1]

    walk = _Walk(problem, systems * paths)
    for k in range(steps):
        w, outputs = walk.readings(walk.seen)
        seen[:, k] = w.reshape(systems, paths) - draws.w_star
        outputs = outputs.reshape(layers, systems, paths)[..., :part]
        responses.set_output(k, outputs)
        row = responses.total(k, outputs * weights)
        coupled = _coupled(k, selection.epoch, selection.classes)
        memory[:, k, :k] = np.where(coupled, row / ratio, 0.0)
        responses.set_memory(k, memory[:, k, :k])
        if descent.nesterov:
            w, outputs = walk.readings(walk.layers)
            theta[:, k] = w.reshape(systems, paths) - draws.w_star
            outputs = outputs.reshape(layers, systems, paths)[..., :part]
            row = responses.total(k, outputs * weights, seen=False)
        response[:, k, :k] = row

        factor[:, k, :steps] = basis.coordinates(_data_set(k, selection.classes), seen[:, k])
        drive[:, k] = factor[:, k] + _product(memory[:, k, :k], drive[:, :k])
        first = k // selection.epoch * selection.epoch
        own = _noise_row(k, first, drive, selection.variance, descent.label_noise)
        factor[:, k, steps + first : steps + k + 1] = own
        drive[:, k, steps + first : steps + k + 1] += own

        noise = _product(factor[:, k], np.swapaxes(draws.normals[..., : 2 * steps], 1, 2))
        h = seen[:, k] + np.tile(noise, strata) / np.sqrt(ratio)
        h += _product(memory[:, k, :k], gradients[:, :k])
        gradients[:, k] = h
        velocity, jacobians, inputs = walk.linearised(h.reshape(-1))
        responses.set_step(
            k,
            jacobians.reshape(layers, layers, systems, paths)[..., :part],
            inputs.reshape(layers, systems, paths)[..., :part],
        )
        walk.advance(velocity)
    return March(problem, draws, theta, seen, response, memory, factor, drive)


def observables(path: March, at: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each system gives at the steps `at` (T,), as arrays (S, T) and (S, T, T).

    "C_w", "R_w", "C_r", "R_r" (without its 1 at equal steps), "mean_w" and "overlap".
    """
    problem, draws = path.problem, path.draws
    p, w = draws.probabilities, path.theta[:, at] + draws.w_star[:, None]
    rows = {
        name: _with_noise(theta, p, problem.sigma2)
        for name, theta in (("own", path.theta[:, at]), ("seen", path.theta_seen))
    }
    share, classes = descent_of(problem).selection.share, descent_of(problem).selection.classes
    noise = path.factor[:, :, path.factor.shape[1] :]
    C_r, R_r = np.zeros((len(w), len(at), len(at))), np.zeros((len(w), len(at), len(at)))
    for m in range(max(classes, 1)):
        P = _residual_response(path, at, m, classes, problem.delta * share)
        residual = rows["own"] + P @ rows["seen"]
        kept = P @ noise
        C_r += residual @ np.swapaxes(residual, 1, 2) + kept @ np.swapaxes(kept, 1, 2)
        R_r += P[:, :, at]
    theta = rows["own"][..., :-1]
    return {
        "C_w": theta @ np.swapaxes(theta, 1, 2),
        "R_w": path.response[:, at][:, :, at],
        "C_r": C_r / max(classes, 1),
        "R_r": R_r / max(classes, 1),
        "mean_w": w @ p,
        "overlap": (w * draws.w_star[:, None]) @ p,
    }


def _with_noise(theta: np.ndarray, probabilities: np.ndarray, sigma2: float) -> np.ndarray:
    """Return vectors (sqrt(p) theta_k, sigma) whose products are C_y, shape (S, K, P + 1)."""
    sigma = np.full((*theta.shape[:2], 1), np.sqrt(sigma2))
    return np.concatenate([np.sqrt(probabilities) * theta, sigma], axis=2)


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
    walk, h, layers = _Walk(problem, count), np.empty((steps, count)), []
    for k in range(steps):
        layers.append(walk.layers)
        h[k] = walk.seen_weights() - w_star + noise[k] + law.memory[k, :k] @ h[:k]
        walk.advance(walk.velocity(h[k]))
    return np.stack(layers, axis=-1), h.T


def responses(problem: Problem, layers: np.ndarray) -> np.ndarray:
    """Return D = -d(dw/dt)/dh, shape (d,), of layers (L, d)."""
    network, size = problem.mirror, layers.shape[1]
    nudge = np.full(size, 1j * IMAGINARY)
    velocity = network.layer_velocity(layers + 0j, nudge, problem.lam).imag / IMAGINARY
    moved = _moved(layers, len(layers))
    readings = network.output_weight(moved).imag.reshape(len(layers), size) / IMAGINARY
    return -np.sum(readings * velocity, axis=0)


def _coupled(k: int, epoch: int, classes: int) -> np.ndarray:
    """Return which of the steps before k the gradient of step k remembers, shape (k,)."""
    earlier = np.arange(k)
    if classes == 0:
        return np.zeros(k, dtype=bool)
    together = (k - earlier) % classes == 0
    return together if epoch == 1 else together & (earlier // epoch != k // epoch)


def _data_set(k: int, classes: int) -> int:
    """Return the number of the data set that step k sees."""
    return k % classes if classes else k


def _noise_row(
    k: int, first: int, drive: np.ndarray, variance: float, label_noise: float
) -> np.ndarray:
    """Return row k of the Cholesky factor of V, from the epoch's first step to k, shape (S, .).

    Columns of A F that belong to e of this epoch are left out of q.
    """
    steps = drive.shape[1]
    q = drive[:, first : k + 1, : steps + first]
    covariance = -_product(q[:, -1], np.swapaxes(q, 1, 2))
    covariance[:, -1] = -variance * covariance[:, -1] + (1.0 + variance) * label_noise
    row = np.zeros_like(covariance)
    for i in range(k - first):
        known = drive[:, first + i, steps + first : steps + first + i + 1]
        rest = covariance[:, i] - np.einsum("si,si->s", row[:, :i], known[:, :i])
        pivot = known[:, i]
        row[:, i] = np.divide(rest, pivot, out=np.zeros_like(rest), where=pivot > 0)
    square = np.einsum("si,si->s", row[:, :-1], row[:, :-1])
    row[:, -1] = np.sqrt(np.maximum(covariance[:, -1] - square, 0.0))
    return row


def _product(row: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return row (S, k) @ matrix (S, k, n), shape (S, n)."""
    return (row[:, None, :] @ matrix)[:, 0]


class _Basis:
    """Orthonormal bases of the vectors (sqrt(p) theta_k, sigma), one for each data set.

    Columns of F are given to basis vectors in the order in which they are needed.
    """

    def __init__(
        self,
        systems: int,
        probabilities: np.ndarray,
        sigma2: float,
        steps: int,
        classes: int,
    ) -> None:
        self._root = np.sqrt(probabilities)
        self._sigma = np.full((systems, 1), np.sqrt(sigma2))
        self._steps = steps
        largest = min(-(-steps // classes) if classes else 1, len(probabilities) + 1)
        self._shape = (systems, largest, len(probabilities) + 1)
        self._vectors: dict[int, np.ndarray] = {}
        self._columns: dict[int, list[int]] = {}
        self._used = 0

    def coordinates(self, data_set: int, theta: np.ndarray) -> np.ndarray:
        """Return the coordinates (S, K) of a vector, after adding what it needs to the basis."""
        vector = np.concatenate([self._root * theta, self._sigma], axis=1)
        length = np.linalg.norm(vector, axis=1)
        if data_set not in self._vectors:
            self._vectors[data_set], self._columns[data_set] = np.zeros(self._shape), []
        columns = self._columns[data_set]
        basis = self._vectors[data_set][:, : len(columns)]
        result = np.zeros((len(vector), self._steps))
        for _ in range(2):  # once leaves rounding errors of the first product
            part = _product(vector, np.swapaxes(basis, 1, 2))
            vector = vector - _product(part, basis)
            result[:, columns] += part
        rest = np.linalg.norm(vector, axis=1)
        if len(columns) < self._shape[1] and np.any(rest > NEW_DIRECTION * length):
            unit = vector / np.where(rest > 0, rest, 1.0)[:, None]
            self._vectors[data_set][:, len(columns)] = unit
            result[:, self._used] = rest
            columns.append(self._used)
            self._used += 1
        return result


# --- the network along a path ------------------------------------------------------------------


class _Walk:
    """The layers (L, d) of d coordinates, and their last change.

    Derivatives are taken along the imaginary axis. One call of the network gives a value, as the
    real part, and all its derivatives, from copies that are moved each in its own variable.
    """

    def __init__(self, problem: Problem, size: int) -> None:
        self._network, self._lam = problem.mirror, problem.lam
        self._descent = descent_of(problem)
        start = self._network.initial_layers(problem.alpha)
        self.layers = np.repeat(start[:, None], size, axis=1)
        self._change = np.zeros_like(self.layers)
        self.seen = self.layers

    def seen_weights(self) -> np.ndarray:
        """Return w (d,) where the gradient is taken."""
        return self._network.output_weight(self.seen)

    def readings(self, layers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return w (d,) of layers (L, d), and its derivatives with respect to them (L, d)."""
        count = len(layers)
        w = self._network.output_weight(_moved(layers, count)).reshape(count, -1)
        return w[0].real, w.imag / IMAGINARY

    def linearised(self, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return velocity (L, d) at gradients h (d,), and what it adds to the recursion.

        The other two are d x_{k+1}/d x_k (L, L, d), of the step without momentum, and d x_{k+1}/d
        h_k (L, d).
        """
        count, size = self.seen.shape
        gradients = np.tile(h, count + 1) + 0j
        gradients[count * size :] += 1j * IMAGINARY
        moved = _moved(self.seen, count + 1)
        velocity = self._network.layer_velocity(moved, gradients, self._lam)
        velocity = velocity.reshape(count, count + 1, size)
        derivatives = velocity.imag * (self._descent.step / IMAGINARY)
        jacobians = derivatives[:, :-1]
        for layer in range(count):
            jacobians[layer, layer] += 1.0
        return velocity[:, 0].real, jacobians, derivatives[:, -1]

    def velocity(self, h: np.ndarray) -> np.ndarray:
        """Return the velocity (L, d) at gradients h (d,)."""
        return self._network.layer_velocity(self.seen, h, self._lam)

    def advance(self, velocity: np.ndarray) -> None:
        """Take one step."""
        descent = self._descent
        self._change = descent.momentum * self._change + descent.step * velocity
        self.layers = self.layers + self._change
        if descent.nesterov:
            self.seen = self.layers + descent.momentum * self._change
        else:
            self.seen = self.layers


def _moved(x: np.ndarray, copies: int) -> np.ndarray:
    """Return copies of x (L, d), side by side, copy l with layer l moved along i, (L, copies d)."""
    layers, size = x.shape
    moved = np.empty((layers, copies, size), dtype=complex)
    moved[:] = x[:, None]
    for layer in range(layers):
        moved[layer, layer] += 1j * IMAGINARY
    return moved.reshape(layers, copies * size)
