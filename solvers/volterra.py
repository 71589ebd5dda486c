"""Compiled solution of families of nonlinear Volterra equations with a common kernel.

Each path m solves, at the nodes of a collocation grid,

    H = U_m + K phi(H),        K block-lower-triangular in panels of p nodes,

panel by panel with a damped Newton iteration in each panel. Eight paths go through every loop
side by side (`dmft.solvers.lanes`, `dmft.solvers.panels`), the panels' systems of p equations
included: a LAPACK call costs more than they do. How paths respond: `dmft.solvers.responses`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dmft.solvers.lanes import (
    INNER,
    LANES,
    absolute,
    all_lanes,
    load,
    maximum,
    minimum,
    select,
    splat,
    store,
)
from dmft.solvers.map_codes import HYPERBOLIC
from dmft.solvers.scalar_maps import exponential, inverse, mirror

NEWTON_TOLERANCE = 1e-8  # of a quadratically convergent step: the error left is its square
MAX_NEWTON = 100  # steps in one panel after which its path counts as failed
OVERSHOOT = 4.0  # |w| of a first guess over the bound that the equation sets it, at most
# |w| after a Newton step over what the step predicts for it, or over the w at which the kernel
# begins to matter where that is more. Of 5,500 paths of eight problems with horizons up to 1e6
# (28,000 panels) one was not solved at 2 and some 3 at 4, against 60 where the first guess's bound
# stood for all steps; at 1, which an exact step may exceed, 1,000 were not.
PREDICTED = 2.0
UNDAMPED = 20  # Newton steps; all but a few of the panels above needed less than 15
NEWTON_WORK = 30.0  # multiplications of a path's solution over the square of its nodes


@njit(**INNER)
def _eliminate(matrix, rhs, p):
    """Solve matrix x = rhs in every lane (x in rhs) by elimination without pivoting.

    The p x p matrices are I + A D with A a Radau IIA block and D >= 0. The leading minors of A are
    positive, hence so are the pivots. Their inverse is left on the diagonal.
    """
    for k in range(p):
        pivot = 1.0 / load(matrix, k * p + k)
        store(matrix, k * p + k, pivot)
        for i in range(k + 1, p):
            factor = load(matrix, i * p + k) * pivot
            for j in range(k + 1, p):
                entry = load(matrix, i * p + j) - factor * load(matrix, k * p + j)
                store(matrix, i * p + j, entry)
            store(rhs, i, load(rhs, i) - factor * load(rhs, k))
    for i in range(p - 1, -1, -1):
        x = load(rhs, i)
        for j in range(i + 1, p):
            x = x - load(matrix, i * p + j) * load(rhs, j)
        store(rhs, i, x * load(matrix, i * p + i))


@njit(**INNER)
def _evaluate_lane(code, p, table, bound, H, w, D, at):
    """Set w, D to the map at H in one lane, after moving H to where |w| <= bound if beyond."""
    w[at], D[at] = mirror(code, H[at], p, table)
    if not abs(w[at]) <= bound:  # also for nan
        H[at] = inverse(code, -bound if H[at] > 0 else bound, p, table)
        w[at], D[at] = mirror(code, H[at], p, table)


@njit(**INNER)
def _evaluate_map(code, p, table, bounds, k, H, w, D, i):
    """Set w, D at node i to the map at H, after moving H to where |w| <= bounds[k] if beyond."""
    if code == HYPERBOLIC:
        up = 0.5 * exponential(p[0] - load(H, i))
        down = 0.5 * exponential(p[1] + load(H, i))
        store(w, i, up - down)
        store(D, i, up + down)
        if all_lanes(absolute(up - down) <= load(bounds, k)):
            return
    for lane in range(LANES):
        at = i * LANES + lane
        bound = bounds[k * LANES + lane]
        if code != HYPERBOLIC or not abs(w[at]) <= bound:
            _evaluate_lane(code, p, table, bound, H, w, D, at)


@njit(**INNER)
def _newton_system(columns, first, p, known, H, w, D, matrix, step):
    """Set matrix = I + K_qq D and step = known + K_qq w - H on the panel at node `first`."""
    for i in range(p):
        defect = load(known, i) - load(H, first + i)
        for j in range(p):
            k = columns[first + j, first + i]
            defect = defect + k * load(w, first + j)
            store(matrix, i * p + j, k * load(D, first + j))
        store(matrix, i * p + i, 1.0 + load(matrix, i * p + i))
        store(step, i, defect)


@njit(**INNER)
def _measure(first, p, H, step):
    """Return the largest |step| in each lane, that of |H| and 1, and where all is finite."""
    largest, scale = splat(0.0), splat(1.0)
    finite = largest < np.inf
    for i in range(p):
        size = absolute(load(step, i))
        finite = finite & (size < np.inf)
        largest = maximum(size, largest)  # drops a nan
        scale = maximum(absolute(load(H, first + i)), scale)
    return largest, scale, finite


@njit(**INNER)
def _reset(first, p, lost, H, step):
    """Set H and step to zero in the lanes that are lost."""
    for i in range(p):
        store(H, first + i, select(lost, 0.0, load(H, first + i)))
        store(step, i, select(lost, 0.0, load(step, i)))


@njit(**INNER)
def _next_damping(iteration, damping, largest, previous):
    """Return the share of the next step to take: less where the iteration circles.

    Far up the exponential every step is about 1, which is no circling. A damped step shrinks by
    its damping at best.
    """
    relaxed = minimum(1.5 * damping, 1.0)
    if iteration <= UNDAMPED:
        return relaxed
    circling = largest > (1.0 - 0.3 * damping) * previous
    return select(circling, maximum(0.5 * damping, 1.0 / 64.0), relaxed)


@njit(**INNER)
def _take_step(columns, first, p, H, w, D, step, damping, bounds):
    """Add a share of the step to H, and set the bounds of |w| to what it predicts."""
    for i in range(p):
        moved = damping * load(step, i)
        predicted = absolute(load(w, first + i) - load(D, first + i) * moved)
        least = splat(1.0 / abs(columns[first + i, first + i]))
        store(bounds, i, PREDICTED * maximum(predicted, least))
        store(H, first + i, load(H, first + i) + moved)


@njit(**INNER)
def solve_panel(code, parameters, table, columns, first, p, known, H, w, D, work, used):
    """Solve H = known + K phi(H) on the panel that starts at node `first`; H holds the guess.

    The exponential of the map makes a plain Newton step from its flat part overshoot by far. The
    step's own linear prediction of w does not, so H is kept where |w| stays below a multiple of
    that, as circuit simulators limit the voltage of a diode; at first, below a multiple of
    |known / K_ii|, which the solution obeys. Returns `used` with the number of iterations added, or
    -1 in the lanes where the step did not fall below the tolerance.
    """
    matrix, step, bounds = work
    size, damping, previous = splat(1.0), splat(1.0), splat(np.inf)
    for i in range(p):
        size = maximum(absolute(load(known, i)), size)
    for i in range(p):
        store(bounds, i, (OVERSHOOT / abs(columns[first + i, first + i])) * size)
    done = size < 0.0  # nowhere
    for iteration in range(MAX_NEWTON):
        for i in range(first, first + p):
            _evaluate_map(code, parameters[i], table, bounds, i - first, H, w, D, i)
        _newton_system(columns, first, p, known, H, w, D, matrix, step)
        _eliminate(matrix, step, p)
        largest, scale, finite = _measure(first, p, H, step)
        if not all_lanes(finite):
            _reset(first, p, ~finite, H, step)
            used = select(finite, used, -1.0)
            done = done | ~finite
        damping = _next_damping(iteration, damping, largest, previous)
        previous = largest
        used = select(done | (used < 0.0), used, used + 1.0)
        done = done | (largest <= NEWTON_TOLERANCE + 1e-13 * scale)
        _take_step(columns, first, p, H, w, D, step, damping, bounds)
        if all_lanes(done):
            for i in range(first, first + p):  # to first order; the error left is the step squared
                store(w, i, load(w, i) - load(D, i) * load(step, i - first))
            return used
    return select(done, used, -1.0)


@njit(**INNER)
def continue_guess(H, first, p):
    """Start a panel without a guess from where the path has come."""
    absent = load(H, first) == 0.0
    for i in range(first, first + p):
        store(H, i, select(absent, load(H, first - 1), load(H, i)))
