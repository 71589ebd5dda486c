"""Theory of quadratic networks against simulation at d = 100, over widths, decay, noise and alpha.

    python benchmarks/quadratic_grid.py FOLDER [--only runs|minima|theory|wrong|table] [--seeds 3]

For each of 48 problems: trajectories at t = 0.1 to 10 and the minimum of the loss (L-BFGS), on as
many draws, against `dmft.solve` and `dmft.steady_state`; then theories with a factor 1/2 on the
drift, on the variance of the noise, or on R_Z, up to t = 1, which should be rejected. Every result
is a file in FOLDER; an interrupted run goes on where it was. The table has the largest difference
in combined standard errors, over mse and train error and the times, and `dmft.compare`'s verdict.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

import dmft
from dmft.parallel import single_blas_thread
from dmft.quadratic import averages, matrix_process
from dmft.quadratic.sensing import GaussianSensing
from dmft.quadratic.solve import initial_grid
from dmft.trajectory import Trajectory

WIDTHS = ((0.7, 0.5), (0.4, 0.3), (0.35, 0.3))
DECAYS = (0.5, 0.1, 0.05, 0.01)
NOISES = (0.0, 0.25)
ALPHAS = (0.2, 0.4)
TIMES = np.array([0.1, 0.3, 1.0, 3.0, 10.0])
EARLY = TIMES[:3]  # of the wrong theories
DIMENSION = 100
NAMES = ("mse", "train_error")


def problems() -> list[dmft.QuadraticProblem]:
    return [
        dmft.QuadraticProblem(alpha, *widths, lam=lam, label_noise=noise)
        for alpha, widths, lam, noise in itertools.product(ALPHAS, WIDTHS, DECAYS, NOISES)
    ]


def label(problem: dmft.QuadraticProblem) -> str:
    widths = f"{problem.kappa:g}_{problem.kappa_star:g}"
    return f"{widths}_alpha{problem.alpha:g}_lam{problem.lam:g}_noise{problem.label_noise:g}"


def minima(problem: dmft.QuadraticProblem, seeds: int) -> dict[str, np.ndarray]:
    """Minimise the loss on independent draws; return mse and train error, a row each."""
    with single_blas_thread():
        rows = [_minimum(problem, child) for child in np.random.SeedSequence(1).spawn(seeds)]
    return {name: np.array([row[k] for row in rows]) for k, name in enumerate(NAMES)}


def _minimum(problem: dmft.QuadraticProblem, child: np.random.SeedSequence) -> tuple[float, float]:
    d = DIMENSION
    of_sensing, of_rest = child.spawn(2)
    rng = np.random.default_rng(of_rest)
    width, teacher_width = (round(kappa * d) for kappa in (problem.kappa, problem.kappa_star))
    teacher = rng.standard_normal((d, teacher_width))
    Z_star = teacher @ teacher.T / teacher_width
    samples = round(problem.alpha * d * (d + 1))
    sensing = GaussianSensing(d, samples, of_sensing, 1e9)
    noise = np.sqrt(problem.label_noise) * rng.standard_normal(samples)
    y = sensing.measure(Z_star) + noise

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        W = flat.reshape(d, width)
        r, M = sensing.residual_and_force(W @ W.T, y)
        value = d * (r @ r) / (4 * samples) + problem.lam * np.sum(W**2)
        return value, (M @ W + 2 * problem.lam * W).ravel()

    start = rng.standard_normal(d * width) / np.sqrt(width)
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 400, "ftol": 1e-9}
    )
    W = found.x.reshape(d, width)
    r = sensing.measure(W @ W.T) - y
    return float(np.sum((W @ W.T - Z_star) ** 2) / d), float(r @ r / (4 * samples))


def wrong_theory(
    problem: dmft.QuadraticProblem, factors: dict[str, float], size: int = 20
) -> dict[str, np.ndarray]:
    """Return the functions at `EARLY` of one sample with factors on drift, noise or R_Z."""
    panel, side = matrix_process._Panel, matrix_process.data_side
    drift, noise = panel._drift, panel._noise
    panel._drift = lambda self, F: factors.get("drift", 1.0) * drift(self, F)
    panel._noise = lambda self, F: np.sqrt(factors.get("noise", 1.0)) * noise(self, F)
    share = factors.get("R_Z", 1.0)
    for module in (matrix_process, averages):
        module.data_side = lambda R, C, noise, scale: side(R, C, noise, share * scale)
    try:
        grid, rng = initial_grid(problem, EARLY[-1]), np.random.default_rng(0)
        with single_blas_thread():
            sample = matrix_process.draw_sample(problem, grid, size, 4, 4, rng, 0.005, 40)
        return averages.one_time_functions(problem, grid, sample.averages, EARLY)
    finally:
        panel._drift, panel._noise = drift, noise
        matrix_process.data_side = averages.data_side = side


def wrong_theories(problem: dmft.QuadraticProblem) -> dict[str, np.ndarray]:
    found = {}
    for kernel in ("drift", "noise", "R_Z"):
        values = wrong_theory(problem, {kernel: 0.5})
        found.update({f"{kernel}_{name}": values[name] for name in NAMES})
    return found


def stored_arrays(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if not path.exists():
        part = path.with_suffix(".part.npz")
        np.savez(part, **make())
        part.replace(path)
    with np.load(path) as found:
        return dict(found)


def stored(path: Path, make: Callable[[], Trajectory]) -> Any:
    if not path.exists():
        make().save(path)
    return dmft.load(path)


def distance(theory: np.ndarray, error: Any, runs: np.ndarray) -> np.ndarray:
    """Return the difference in standard errors; a relative 1/d is allowed for finite d."""
    own = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    mean = runs.mean(axis=0)
    return np.abs(theory - mean) / np.sqrt(error**2 + own**2 + (mean / DIMENSION) ** 2)


def row(problem: dmft.QuadraticProblem, folder: Path) -> list[float | str] | None:
    """Return the distances of one problem whose results are all there."""
    name = folder / label(problem)
    paths = [Path(f"{name}_{end}") for end in ("theory.h5", "runs.h5", "minima.npz", "wrong.npz")]
    if not all(path.exists() for path in paths):
        return None
    theory, runs = dmft.load(paths[0]), dmft.load(paths[1])
    minima, wrong = (dict(np.load(path)) for path in paths[2:])
    state = dmft.steady_state(problem)
    right = [distance(theory.values[n], theory.error[n], runs.runs[n]) for n in NAMES]
    steady = [distance(getattr(state, n), 0.0, minima[n]) for n in NAMES]
    rejected = []
    for kernel in ("drift", "noise", "R_Z"):
        parts = []
        for n in NAMES:
            error = theory.error[n][: len(EARLY)]
            parts.append(distance(wrong[f"{kernel}_{n}"], error, runs.runs[n][:, : len(EARLY)]))
        rejected.append(float(np.max(parts)))
    verdict = dmft.compare(theory, runs).verdict
    return [float(np.max(right)), verdict, float(np.max(steady)), *rejected]


def table(folder: Path) -> None:
    columns = ("trajectory", "verdict", "steady", "drift/2", "noise/2", "R_Z/2")
    print(f"{'kappa kappa*  alpha  lam  noise':32}" + " ".join(f"{c:>12}" for c in columns))
    rows = []
    for problem in problems():
        values = row(problem, folder)
        if values is None:
            continue
        rows.append(values)
        p = problem
        text = f"{p.kappa:5g} {p.kappa_star:5g} {p.alpha:6g} {p.lam:5g} {p.label_noise:5g}"
        cells = [f"{v:12}" if isinstance(v, str) else f"{v:12.2f}" for v in values]
        print(f"{text:32}" + " ".join(cells))
    if rows:
        most, least = (
            [pick(r[k] for r in rows) for k in ks] for pick, ks in ((max, (0, 2)), (min, (3, 4, 5)))
        )
        print(f"{len(rows)} problems; largest distance of trajectories {most[0]:.2f}, of steady")
        print(f"states {most[1]:.2f}; least distance of the wrong theories {min(least):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=("runs", "minima", "theory", "wrong", "table"))
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder, seeds = arguments.folder, arguments.seeds
    folder.mkdir(parents=True, exist_ok=True)
    tasks: dict[str, Callable[[dmft.QuadraticProblem, str], Any]] = {
        "runs": lambda p, name: stored(
            Path(f"{name}_runs.h5"),
            lambda: dmft.simulate(p, TIMES, dimension=DIMENSION, seeds=seeds, rtol=1e-3),
        ),
        "minima": lambda p, name: stored_arrays(
            Path(f"{name}_minima.npz"), lambda: minima(p, seeds)
        ),
        "theory": lambda p, name: stored(
            Path(f"{name}_theory.h5"),
            lambda: dmft.solve(p, TIMES[-1], TIMES, rtol=0.03, max_samples=4),
        ),
        "wrong": lambda p, name: stored_arrays(
            Path(f"{name}_wrong.npz"), lambda: wrong_theories(p)
        ),
    }
    for kind, task in tasks.items():
        for problem in problems() if arguments.only in (None, kind) else ():
            task(problem, str(folder / label(problem)))
    table(folder)


if __name__ == "__main__":
    main()
