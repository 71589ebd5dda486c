"""Why a given design may not behave like the independent entries that the theory assumes.

The columns of X (n, d) are centred and scaled, and what the theory needs is measured: the
eigenvalues of X^T X/delta against the Marchenko-Pastur law,

    density sqrt((b - x)(x - a)) delta/(2 pi x) on [a, b],    a, b = (1 -+ delta^(-1/2))^2,

correlations between columns and between rows, the spread of the rows' lengths and the tails. Each
number is compared with the same number of Gaussian matrices of the same shape, so that nothing is
blamed on the data that finite size explains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.simulation.real_data import matrix, standardised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Gaussian matrices of the shape of X that give what each measure is without any structure.
REFERENCES = 8
# A measure is blamed from so many standard deviations above the mean of the references: with 8 of
# them Student's law gives this a chance of 0.1 %.
DEVIATIONS = 5.0
# Share of the mean of the references that a measure has to exceed beside that, so that none is
# blamed which hardly moves the errors: measures of references differ by less.
MARGIN = 0.1
# Eigenvalues below this part of the upper edge are zeros that centring or dependent columns leave.
SMALLEST = 1e-10

WHITEN = (
    "whitening, X (X^T X)^(-1/2), removes correlations of columns where n is well above d; "
    "permuting each column on its own is the control that keeps the marginals"
)


@dataclass(frozen=True)
class Finding:
    """One measure of a design.

    Parameters
    ----------
    name : str
        What is measured.
    value : float
        The measure of the design.
    expected, spread : float
        Mean and standard deviation over Gaussian matrices of the same shape.
    flagged : bool
        Whether the design differs from them.
    sentence, remedy : str
        What it means, and what helps; `remedy` is empty where nothing is flagged.
    """

    name: str
    value: float
    expected: float
    spread: float
    flagged: bool
    sentence: str
    remedy: str


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` returns.

    Parameters
    ----------
    shape : tuple of int
        n and d.
    eigenvalues : ndarray, shape (min(n, d),)
        Of X^T X/delta without the zeros that the shape enforces, ascending.
    edges : tuple of float
        Ends of the Marchenko-Pastur law.
    findings : tuple of Finding
        All measures.

    Examples
    --------
    >>> import dmft, numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 40))
    >>> dmft.diagnose(X).reasons
    ()
    """

    shape: tuple[int, int]
    eigenvalues: np.ndarray
    edges: tuple[float, float]
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names of the measures in which the design differs from independent entries."""
        return tuple(finding.name for finding in self.findings if finding.flagged)

    def __str__(self) -> str:
        """Return one sentence for each measure, and what helps."""
        n, d = self.shape
        head = f"X: n = {n}, d = {d}, delta = {n / d:.4g}. " + (
            "The theory may not hold: " + ", ".join(self.reasons) + "."
            if self.reasons
            else "No difference from independent entries was found."
        )
        lines = [f"{'*' if f.flagged else ' '} {f.name}: {f.sentence}" for f in self.findings]
        remedies = dict.fromkeys(f.remedy for f in self.findings if f.remedy)
        return "\n".join([head, *lines, *(f"What helps: {text}." for text in remedies)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the eigenvalues with the Marchenko-Pastur law; return the axes.

        Parameters
        ----------
        ax : Axes, optional
            Where to draw; a new figure by default.
        """
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure(figsize=(6.0, 4.0), layout="constrained").subplots()
        low, high = self.edges
        values = self.eigenvalues[self.eigenvalues > SMALLEST * high]
        bins = np.geomspace(
            min(values.min(), max(low, 1e-3 * high)), 1.05 * max(values.max(), high), 60
        )
        centres = np.sqrt(bins[1:] * bins[:-1])
        counts = np.histogram(values, bins)[0] / (values.size * np.diff(np.log(bins)))
        ax.stairs(counts, bins, fill=True, alpha=0.4, label="eigenvalues of $X^TX/\\delta$")
        law = np.diff(marchenko_pastur(bins, self.shape[0] / self.shape[1])) / np.diff(np.log(bins))
        ax.plot(centres, law, "k-", lw=1.2, label="Marchenko-Pastur law")
        outside = values[values > high]
        ax.plot(outside, np.zeros_like(outside), "r|", ms=12, clip_on=False)
        ax.set(xscale="log", xlabel="eigenvalue", ylabel="density per unit of the logarithm")
        ax.set_title(
            f"$n$ = {self.shape[0]}, $d$ = {self.shape[1]}: "
            + (", ".join(self.reasons) or "like independent entries"),
            fontsize=9,
        )
        ax.legend(frameon=False, fontsize=8)
        return ax


def diagnose(X: Any, rng: int = 0) -> Diagnosis:
    """Measure what may keep the theory from holding on a given design.

    Parameters
    ----------
    X : array_like or DataFrame, shape (n, d)
        The design; columns are centred and scaled first.
    rng : int
        Seed >= 0 of the Gaussian matrices that it is compared with.

    Returns
    -------
    Diagnosis
        Measures, sentences, remedies and a picture.

    Raises
    ------
    ValueError
        If X is no matrix of at least 2 rows and columns, or has missing values or constant columns.

    References
    ----------
    V. A. Marchenko, L. A. Pastur, Math. USSR Sbornik 1, 457 (1967).

    Examples
    --------
    >>> import dmft, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> dmft.diagnose(rng.standard_normal((100, 200))).reasons
    ()
    >>> common = rng.standard_normal((100, 1))
    >>> dmft.diagnose(rng.standard_normal((100, 200)) + common).reasons[0]
    'outliers'
    """
    given, names = matrix("X", X)
    Z = standardised(given, names)[0]
    n, d = Z.shape
    generator = np.random.default_rng(rng)
    free = [standardised(generator.standard_normal((n, d)), range(d))[0] for _ in range(REFERENCES)]
    eigenvalues = spectrum(Z)
    own, expected = _measures(Z, eigenvalues), [_measures(F, spectrum(F)) for F in free]
    edges = ((1 - (d / n) ** 0.5) ** 2, (1 + (d / n) ** 0.5) ** 2)
    findings = tuple(
        _finding(name, own[name], np.array([values[name] for values in expected]))
        for name in SENTENCES
    )
    return Diagnosis((n, d), eigenvalues, edges, findings)


def spectrum(Z: np.ndarray) -> np.ndarray:
    """Return the min(n, d) largest eigenvalues of Z^T Z/n, ascending, for Z of variance 1."""
    n, d = Z.shape
    gram = Z @ Z.T if n < d else Z.T @ Z
    return np.maximum(np.linalg.eigvalsh(gram / n), 0.0)


def marchenko_pastur(x: np.ndarray, delta: float) -> np.ndarray:
    """Return the distribution function of the non-zero eigenvalues of X^T X/delta at x, shape of x.

    With x = c - r cos(s), c and r the middle and half the width of [a, b], the density is smooth
    in s, where the midpoint rule converges fast.
    """
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    middle, radius = 0.5 * (low + high), 0.5 * (high - low)
    s = np.linspace(0.0, np.pi, 4001)
    between = 0.5 * (s[1:] + s[:-1])
    weight = np.sin(between) ** 2 / (middle - radius * np.cos(between))
    cumulative = np.concatenate([[0.0], np.cumsum(weight)])
    place = np.arccos(np.clip((middle - np.asarray(x)) / radius, -1.0, 1.0))
    return np.interp(place, s, cumulative / cumulative[-1])


def _measures(Z: np.ndarray, eigenvalues: np.ndarray) -> dict[str, float]:
    n, d = Z.shape
    high = (1 + (d / n) ** 0.5) ** 2
    kept = np.sort(eigenvalues)[int(n <= d) :]  # centring leaves one zero
    law = marchenko_pastur(kept, n / d)
    steps = np.arange(len(kept) + 1) / len(kept)
    distance = max(np.max(steps[1:] - law), np.max(law - steps[:-1]))
    lengths = np.sqrt(np.mean(Z**2, axis=1))
    rows = Z / np.maximum(lengths, 1e-300)[:, None]
    return {
        "outliers": float(eigenvalues[-1] / high),
        "bulk": float(distance),
        "column correlations": _correlation(Z.T, n),
        "row correlations": _correlation(rows, d),
        "row lengths": float(lengths.std()),
        "tails": float(np.mean(Z**4)),
    }


def _correlation(vectors: np.ndarray, length: int) -> float:
    """Return the root mean square of the cosines between vectors (k, m) of norm sqrt(length)."""
    k, m = vectors.shape
    gram = vectors @ vectors.T if k < m else vectors.T @ vectors
    own = np.sum(np.sum(vectors**2, axis=1) ** 2)
    return float(np.sqrt(max(np.sum(gram**2) - own, 0.0) / (k * (k - 1))) / length)


SENTENCES: dict[str, Callable[[float, float], str]] = {
    "outliers": lambda value, expected: (
        f"the largest eigenvalue is {value:.3g} times the Marchenko-Pastur edge "
        f"({expected:.3g} for independent entries)"
    ),
    "bulk": lambda value, expected: (
        f"the spectrum is {value:.2g} from the Marchenko-Pastur law in Kolmogorov's distance "
        f"({expected:.2g})"
    ),
    "column correlations": lambda value, expected: (
        f"two columns have a correlation of {value:.2g} in the root mean square ({expected:.2g})"
    ),
    "row correlations": lambda value, expected: (
        f"two samples have a correlation of {value:.2g} in the root mean square ({expected:.2g})"
    ),
    "row lengths": lambda value, expected: (
        f"lengths of samples vary by {100 * value:.2g} % ({100 * expected:.2g} %)"
    ),
    "tails": lambda value, expected: (
        f"the fourth moment of standardised entries is {value:.3g} ({expected:.3g})"
    ),
}

REMEDIES = {
    "outliers": WHITEN,
    "bulk": WHITEN,
    "column correlations": WHITEN,
    "row correlations": "samples that repeat or share groups should be thinned to independent ones",
    "row lengths": "scaling each sample to one length removes a common factor of its entries",
    "tails": (
        "heavy tails fade as d grows; ranks or a transformation such as log(1 + x) shorten them"
    ),
}


def _finding(name: str, value: float, references: np.ndarray) -> Finding:
    expected, spread = float(references.mean()), float(references.std(ddof=1))
    flagged = value > expected + max(DEVIATIONS * spread, MARGIN * abs(expected))
    sentence = SENTENCES[name](value, expected)
    return Finding(
        name, value, expected, spread, flagged, sentence, REMEDIES[name] if flagged else ""
    )
