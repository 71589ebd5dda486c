"""Verdicts on two real matrices whose columns are correlated, with few seeds and with many.

    python benchmarks/real_verdicts.py

Columns of NCI60 (where ISLP is installed, see `designs.py`) and of scikit-learn's breast-cancer
data, as they are; targets and noise are planted. With 1 to 16 seeds the comparison may reject the
theory or be inconclusive, and must never agree; `dmft.diagnose` names the reasons. The exit code
is 1 where something agrees or nothing is named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from designs import PROBLEM, real_matrices
from reporting import table

import dmft

SEEDS = (1, 2, 4, 8, 16)
TIMES = np.linspace(0.0, 10.0, 11)


def matrices() -> Iterator[tuple[str, np.ndarray, int, int]]:
    """Yield name, matrix, rows and columns of a draw."""
    for name, X in real_matrices():
        if name == "NCI60":
            yield name, X, 50, 250
    from sklearn.datasets import load_breast_cancer

    yield "breast cancer", load_breast_cancer().data, 15, 30


def main() -> int:
    rows, wrong = [], 0
    for name, X, n, d in matrices():
        ensemble = dmft.simulate(
            PROBLEM, TIMES, d, max(SEEDS), data=X, samples=n, workers=1, rtol=1e-4
        )
        solution = dmft.solve(ensemble.problem, TIMES[-1], TIMES, rtol=1e-3)
        verdicts = []
        for seeds in SEEDS:
            runs = {key: values[:seeds] for key, values in ensemble.runs.items()}
            verdicts.append(dmft.compare(solution, replace(ensemble, runs=runs)).verdict)
        reasons = dmft.diagnose(X).reasons
        wrong += "agree" in verdicts or not reasons
        rows.append([name, f"{n} x {d}", *verdicts, ", ".join(reasons)])
    head = ("matrix", "draw", *(f"{seeds} seeds" for seeds in SEEDS), "reasons")
    print(table(head, rows))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
