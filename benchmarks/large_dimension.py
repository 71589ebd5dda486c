"""Theory against simulation at d = 2000 for alpha = 5, 1, 0.01 and 1e-4.

    python benchmarks/large_dimension.py [--seeds 8]

prints a Markdown table and exits non-zero where a comparison fails.
"""

import argparse
import sys

import numpy as np

import dmft

CASES = [
    (dmft.Problem(delta=0.5, alpha=5.0, lam=0.1, sigma2=0.1), 60.0),
    (dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1), 10.0),
    (dmft.Problem(delta=0.5, alpha=0.01), 30.0),
    (dmft.Problem(delta=0.5, alpha=1e-4), 50.0),
]
DIMENSION = 2000


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    seeds = parser.parse_args().seeds
    print("| alpha | t | theory | simulation | standard error | largest deviation | agrees |")
    print("|---|---|---|---|---|---|---|")
    passed = True
    for problem, t_max in CASES:
        times = np.linspace(0.0, t_max, 11)
        theory = dmft.solve(problem, t_max, t_eval=times, rtol=1e-3)
        ensemble = dmft.simulate(problem, times, dimension=DIMENSION, seeds=seeds, rng=1)
        report = dmft.compare(theory, ensemble)
        passed &= report.passed and theory.success
        spread = ensemble.standard_error("test_error")[-1]
        print(
            f"| {problem.alpha:g} | {t_max:g} | {theory.test_error[-1]:.6f} "
            f"| {ensemble.test_error[-1]:.6f} | {spread:.1e} "
            f"| {report.largest_deviation:.2f} | {report.passed} |",
            flush=True,
        )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
