"""Training in steps: theory against simulations, what error bars cover, and what a solve costs.

    python benchmarks/steps.py [--full] [agreement] [coverage] [cost] [horizons] [collapse] [memory]

prints Markdown tables. *agreement*: every variant at d = 500 (or 500, 1000 and 2000 with --full)
against simulations, at five times: the largest difference of test and train error and the root mean
square of that of C_w, in combined standard errors, after the finite-size bias of order 1/d that the
ratio shows; then four wrong theories at the largest d, which have to be rejected. *coverage*: forty
random stable problems (8 without --full), each solved to 2 %: how often independent runs of eight
times the paths are within the error bars. *cost*: a solve of 100 steps to 1 % beside one direct run
at d = 500, by one clock and on one thread, and the number of direct runs that would have its error.
*horizons*: a solve of 100, 300 and (with --full) 1,000 steps, and 10,000 small ones. *collapse*:
heavy-ball runs of equal step/(1 - momentum)^2. *memory*: what a march is estimated to take, and its
peak.
"""

import resource
import sys
import time
import warnings

import numpy as np
from reporting import parser, table

import dmft
from dmft.equations.steps import march
from dmft.parallel import single_blas_thread
from dmft.solver import steps as solver
from dmft.solver.step_draws import random_draws
from dmft.solver.step_rounds import Marches, _bytes
from dmft.solver.tolerance import Tolerance

SETTING = {"delta": 0.5, "sigma2": 0.1}
VARIANTS = {
    "GD": dmft.GradientDescent(0.25),
    "GD, label noise": dmft.GradientDescent(0.1, label_noise=0.1),
    "heavy ball": dmft.GradientDescent(0.1, momentum=0.8),
    "Nesterov": dmft.GradientDescent(0.1, momentum=0.8, nesterov=True),
    "SGD, Bernoulli": dmft.SGD(0.1, 0.2),
    "SGD, no replacement": dmft.SGD(0.1, 0.2, "without_replacement"),
    "SGD, replacement": dmft.SGD(0.1, 0.2, "with_replacement"),
    "SGD, reshuffled": dmft.SGD(0.1, 0.2, "reshuffle"),
    "SGD, cyclic": dmft.SGD(0.1, 0.2, "cyclic"),
    "SGD, one pass": dmft.SGD(0.1, 0.5, "one_pass"),
    "SGD, Nesterov, reshuffled": dmft.SGD(0.05, 0.25, "reshuffle", 0.5, True, 0.1),
    "SGD, heavy ball, cyclic": dmft.SGD(0.05, 0.25, "cyclic", 0.5, False, 0.1),
}
STEPS = np.array([0, 2, 10, 20, 40, 60])
WRONG = {
    "no batch noise": ("SGD, Bernoulli", dmft.GradientDescent(0.1)),
    "nu = 1/b": ("SGD, Bernoulli", dmft.SGD(0.1, 0.2, "with_replacement")),
    "reshuffled as independent": ("SGD, reshuffled", dmft.SGD(0.1, 0.2)),
    "cyclic as reshuffled": ("SGD, cyclic", dmft.SGD(0.1, 0.2, "reshuffle")),
}


def problem_of(dynamics):
    return dmft.Problem(**SETTING, dynamics=dynamics)


def deviations(solution, ensemble):
    """Return z of test error, of train error and of C_w, and the largest ratio less one.

    All runs of a variant see the same w*, whose |w*|^2/d differs from E w*^2; it is regressed out.
    """
    power = ensemble.runs["test_error"][:, 0] - solution.test_error[0]
    found = {}
    for name in ("test_error", "train_error", "C_w"):
        runs = ensemble.runs[name]
        centred = power - power.mean()
        slope = np.tensordot(centred, runs, axes=1) / (centred @ centred)
        mean = runs.mean(axis=0) - slope * power.mean()
        rest = runs - runs.mean(axis=0) - np.multiply.outer(centred, slope)
        error = np.sqrt(np.sum(rest**2, axis=0) / (len(runs) - 2) / len(runs))
        # errors of the theory are about 3.2 standard errors
        total = np.hypot(error, solution.error[name] / 3.2) + 1e-12 * np.abs(mean).max()
        later = (slice(1, None),) * mean.ndim
        found[name] = ((solution.values[name] - mean) / total)[later]
    ratio = solution.train_error[1:] / ensemble.train_error[1:] - 1
    return found, float(ratio[np.argmax(np.abs(ratio))])


def agreement(full):
    rows, kept = [], {}
    sizes = ((500, 120), (1000, 80), (2000, 80)) if full else ((500, 60),)
    for name, dynamics in VARIANTS.items():
        t = STEPS * dynamics.step
        solution = dmft.solve(problem_of(dynamics), t[-1], t, rtol=5e-3)
        for dimension, seeds in sizes:
            ensemble = dmft.simulate(problem_of(dynamics), t, dimension, seeds, rng=5)
            kept[name] = ensemble
            z, ratio = deviations(solution, ensemble)
            row = [name, dimension, f"{ratio:+.3f}"]
            row += [f"{np.abs(z[k]).max():.1f}" for k in ("test_error", "train_error")]
            rows.append([*row, f"{np.sqrt(np.mean(z['C_w'] ** 2)):.2f}"])
    head = ["variant", "d", "train ratio - 1", "test, max z", "train, max z", "C_w, rms z"]
    print(table(head, rows), "\n")
    rows = []
    for name, (variant, dynamics) in WRONG.items():
        t = STEPS * dynamics.step
        solution = dmft.solve(problem_of(dynamics), t[-1], t, rtol=1e-2)
        z, ratio = deviations(solution, kept[variant])
        worst = max(np.abs(z[k]).max() for k in ("test_error", "train_error"))
        rows.append([name, f"{ratio:+.2f}", f"{worst:.0f}"])
    print(table(["wrong theory", "train ratio - 1", "max z"], rows), "\n")


def random_problem(rng):
    """Return a problem whose step is 5 to 40 % of the largest one of GD at the start."""
    delta, alpha = np.exp(rng.uniform(np.log([0.3, 0.1]), np.log([2.0, 1.5])))
    lam = float(rng.choice([0.0, rng.uniform(0, 0.2)]))
    laws = (dmft.Bernoulli(0.1), dmft.Gaussian(1.0), dmft.BernoulliGaussian(0.2))
    law = (*laws, dmft.Discrete([-1.0, 0, 1], [0.2, 0.6, 0.2]))[rng.integers(4)]
    networks = (dmft.Diagonal(), dmft.Diagonal(), dmft.Deep(3), dmft.Product((1.0, 0.5)))
    samplings = ("bernoulli", "with_replacement", "reshuffle", "cyclic", "one_pass", "")
    sampling, batch = samplings[rng.integers(6)], float(rng.choice([0.5, 0.25, 0.2]))
    momentum = float(rng.choice([0.0, 0.0, 0.5, 0.8]))
    nesterov, noise = bool(rng.integers(2)) and momentum > 0, float(rng.choice([0.0, 0.0, 0.1]))
    step = 2 * (1 + momentum) / (max(alpha**2, 0.3) * (1 + delta**-0.5) ** 2)
    step *= rng.uniform(0.05, 0.4) * (batch if sampling else 1.0)
    rest = (momentum, nesterov, noise)
    descent = dmft.GradientDescent(step, *rest)
    dynamics = dmft.SGD(step, batch, sampling, *rest) if sampling else descent
    sigma2 = float(rng.choice([0.0, 0.1, 0.3]))
    return dmft.Problem(delta, alpha, lam, sigma2, law, networks[rng.integers(4)], dynamics)


def coverage(full):
    rng = np.random.default_rng(11)
    names = ("test_error", "train_error", "mean_w", "overlap", "norm_w")
    inside, total, stable, unstable, unsolved, spreads = 0, 0, 0, 0, 0, []
    while stable < (40 if full else 8):
        problem = random_problem(rng)
        steps = np.linspace(0, rng.integers(20, 50), 6).astype(int)[1:]
        marches = Marches.of(problem, steps * problem.dynamics.step, 0.02)
        with single_blas_thread(), np.errstate(all="ignore"):
            marches, rounds = solver._rounds(marches, Tolerance(0.02), 1, np.inf, lambda text: None)
            if solver._unstable(marches, rounds):
                unstable += 1
                print("unstable:", problem)
                continue
            values, errors = solver._values_and_errors(marches, rounds, names)
            reference = marches.round(8 * rounds[-1].count, rounds[-1], 77)
        stable += 1
        unsolved += solver._worst(Tolerance(0.02), values, errors) > 1
        spreads += [r.spread for r in rounds if r.count >= solver.DECISIVE_PATHS]
        hits = [np.abs(values[k] - reference.mean(k)) <= errors[k] + 1e-12 for k in names]
        inside, total = inside + np.sum(hits), total + np.size(hits)
    print(f"inside the error bars: {inside} of {total} ({100 * inside / total:.1f} %)")
    print(f"stable: {stable}; unstable: {unstable}; above the tolerance, and said so: {unsolved}")
    print(f"largest spread with many paths: {max(spreads, default=0):.2f}\n")


def cost(full):
    rows = []
    for name in ("GD", "SGD, Bernoulli", "heavy ball"):
        dynamics = VARIANTS[name]
        problem, t = problem_of(dynamics), dynamics.step * np.array([0.0, 20.0, 100.0])
        dmft.solve(problem, t[-1], t, rtol=0.1)
        runs, solves = [], []
        for _ in range(5):
            ensemble = dmft.simulate(problem, t, 500, 2, workers=1)
            runs.append(float(np.min(ensemble.stats["wall_time"])))
            started = time.perf_counter()
            solution = dmft.solve(problem, t[-1], t, atol={"test_error": 0.0, "train_error": 1e-3})
            solves.append(time.perf_counter() - started)
        ensemble = dmft.simulate(problem, t, 500, 40)
        spread = ensemble.runs["test_error"].std(axis=0, ddof=1)
        # runs whose mean has the standard error that the theory's error stands for
        needed = float(np.max((spread / (solution.error["test_error"] / 3.2))[1:] ** 2))
        ratio = min(solves) / min(runs)
        error = float(np.max((solution.error["test_error"] / solution.test_error)[1:]))
        row = [name, f"{min(runs):.4f}", f"{min(solves):.4f}", f"{ratio:.1f}", f"{error:.4f}"]
        rows.append([*row, f"{needed:.0f}", f"{needed / ratio:.0f}"])
    head = ["variant", "direct run (s)", "solve (s)", "ratio", "error of test", "runs", "gain"]
    print(table(head, rows), "\n")


def horizons(full):
    small = dmft.SGD(0.001, 1 / 101)  # temperature 0.1
    cases = [(VARIANTS[n], K) for n in ("GD", "SGD, Bernoulli") for K in (100, 300, 1000)]
    rows = []
    for dynamics, steps in [*cases, (small, 10_000)]:
        if steps == 1000 and not full:
            continue
        t = dynamics.step * steps
        started = time.perf_counter()
        solution = dmft.solve(problem_of(dynamics), t, [0.0, t])
        took = time.perf_counter() - started - solution.stats["compile_time"]
        error = float(solution.error["test_error"][-1] / solution.test_error[-1])
        marched = solution.stats["steps"]
        rows.append([repr(dynamics), steps, marched, f"{took:.2f}", f"{error:.1e}"])
    print(table(["dynamics", "steps", "largest march", "seconds", "relative error"], rows), "\n")


def collapse(full):
    rows = []
    for alpha in (0.5, 1.0):
        for momentum in (0.0, 0.5, 0.75):
            step = (0.8 if alpha < 1 else 0.3) * (1 - momentum) ** 2
            problem = dmft.Problem(0.5, alpha, dynamics=dmft.GradientDescent(step, momentum))
            # in units of the effective time step k/(1 - momentum)
            steps = np.rint(np.array([4.0, 12.0, 36.0]) * (1 - momentum) / step)
            solution = dmft.solve(problem, steps[-1] * step, steps * step, rtol=2e-3)
            found = zip(solution.test_error, solution.error["test_error"], strict=True)
            rows.append([alpha, momentum, *(f"{v:.5f} ± {e:.0e}" for v, e in found)])
        flow = dmft.solve(dmft.Problem(0.5, alpha), 36.0, [4.0, 12.0, 36.0])
        rows.append([alpha, "flow", *(f"{v:.5f}" for v in flow.test_error)])
    print(table(["alpha", "momentum", "t = 4", "t = 12", "t = 36"], rows), "\n")


def memory(full):
    rows = []
    for steps in (200, 400, 800):
        problem = problem_of(VARIANTS["SGD, Bernoulli"])
        draws = random_draws(problem, steps, 32, None, 0, range(1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with single_blas_thread():
            march(problem, steps, draws)
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
        rows.append([steps, f"{_bytes(problem, steps, 32) / 1e6:.0f}", f"{peak:.0f}"])
    print(table(["steps", "estimate of a system (MB)", "growth of the peak (MB)"], rows), "\n")


PARTS = (agreement, coverage, cost, horizons, collapse, memory)


def main():
    options = parser(__doc__.splitlines()[0], "d up to 2000 and forty problems: half an hour")
    parts = {part.__name__: part for part in PARTS}
    options.add_argument("parts", nargs="*", help=f"{', '.join(parts)} (default: all)")
    arguments = options.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    for name in arguments.parts or parts:
        parts[name](arguments.full)
    return 0


if __name__ == "__main__":
    sys.exit(main())
