"""What a trajectory of a quadratic network costs, against one direct simulation.

    python benchmarks/quadratic.py [--t-max 10] [--rtol 0.02] [--dimension 100]

Prints the times of the theory and of one seed of the direct flow from the same run, the standard
errors of the theory, the steady state, and the time of a curve of 200 steady states.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

import dmft
from dmft.quadratic import steady_states

PROBLEM = dmft.QuadraticProblem(0.3, kappa=0.7, kappa_star=0.5, lam=0.1, label_noise=0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--t-max", type=float, default=10.0)
    parser.add_argument("--rtol", type=float, default=0.02)
    parser.add_argument("--dimension", type=int, default=100)
    arguments = parser.parse_args()
    times = np.concatenate([[0.0], np.geomspace(0.1, arguments.t_max, 5)])

    started = time.process_time()
    theory = dmft.solve(PROBLEM, arguments.t_max, times, rtol=arguments.rtol)
    of_theory = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    started = time.process_time()
    runs = dmft.simulate(PROBLEM, times, dimension=arguments.dimension, seeds=1, rtol=1e-3)
    of_simulation = time.process_time() - started

    started = time.process_time()
    steady_states(PROBLEM, np.linspace(0.05, 1.0, 200))
    of_curve = time.process_time() - started

    print(theory.message)
    print(f"{'t':>8} {'mse':>9} {'+-':>8} {'one seed':>9} {'train':>9} {'+-':>8} {'one seed':>9}")
    for k, t in enumerate(times):
        row = [t]
        for name in ("mse", "train_error"):
            row += [theory.values[name][k], theory.error[name][k], runs.values[name][k]]
        print(" ".join(f"{value:9.4g}" for value in row))
    state = dmft.steady_state(PROBLEM)
    print(f"steady state: mse {state.mse:.4f}, train_error {state.train_error:.5f}")
    print(
        f"theory {of_theory:.1f} s ({theory.stats['samples']} samples, {memory:.0f} MB), one "
        f"simulation at d = {arguments.dimension} {of_simulation:.1f} s: ratio "
        f"{of_theory / of_simulation:.2f}; 200 steady states {of_curve:.1f} s (all CPU time)"
    )


if __name__ == "__main__":
    main()
