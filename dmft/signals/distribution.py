"""Any distribution of scipy.stats as a law of w*."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from dmft.parameters import numbers, text
from dmft.signals.atomic import Atomic, Discrete
from dmft.signals.base import SignalLaw
from dmft.signals.gaussian import Gaussian

# A continuous law becomes atoms by a quadrature in s = log(p/(1-p)), p the probability below:
# Gauss-Legendre panels of width PANEL with NODES nodes, out to |s| = REACH, where the tails carry
# 1e-39. The second moments of the Laplace, logistic, gamma(.3), beta(.5,.5), uniform and
# Student-t(3) laws come out to 1e-9 at worst (the last), to 1e-12 for all others.
PANEL, NODES, REACH = 1.0, 12, 90.0
HEAVY = 1e-4  # largest relative difference of the atoms' second moment to the law's own
MOST = 100_000  # values of a discrete distribution, far beyond any that a solve tells apart
RARE = 1e-16  # probability of the values beyond, on either side, of a discrete distribution


@dataclass(frozen=True, eq=False)
class Distribution(Atomic):
    """A continuous or discrete distribution of scipy.stats, by its name there.

    `Problem` turns a frozen distribution, such as scipy.stats.laplace(scale=0.5), into this law.

    Parameters
    ----------
    distribution : str
        Name in scipy.stats, such as "laplace".
    parameters : sequence of float
        Shape parameters, then the location and (of a continuous one) the scale, as scipy takes
        them; those left out at the end have scipy's defaults.

    Raises
    ------
    ValueError
        If scipy has no such distribution, or its second moment is not finite or not that of its
        quadrature, as for gaps in the range and for tails that carry much below 1e-39.

    Examples
    --------
    >>> law = Distribution("laplace", (0.0, 0.5))
    >>> round(law.second_moment, 10)
    0.5
    """

    distribution: str = text("name in scipy.stats")
    parameters: tuple[float, ...] = numbers("shapes, location and scale, as scipy takes them", ())
    name: ClassVar[str] = "scipy"

    def __post_init__(self) -> None:
        """Check that scipy knows the distribution, and that it has a second moment."""
        super().__post_init__()
        require_second_moment(self._frozen, *self.atoms())

    @cached_property
    def _frozen(self) -> Any:
        from scipy import stats

        family: Any = getattr(stats, self.distribution, None)
        if not hasattr(family, "freeze"):
            raise ValueError(
                f"distribution must be the name of one in scipy.stats; got {self.distribution!r}"
            )
        try:
            return family(*self.parameters)
        except TypeError as error:
            raise ValueError(f"parameters of {self.distribution!r}: {error}") from None

    @cached_property
    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        return quadrature(self._frozen)

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes and weights of the law's quadrature."""
        return self._atoms

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw `size` independent entries of the distribution itself, shape (size,)."""
        return np.asarray(self._frozen.rvs(size=size, random_state=rng), dtype=float)

    def __eq__(self, other: object) -> bool:
        """Two are equal when their names and parameters are."""
        if not isinstance(other, Distribution):
            return NotImplemented
        return (self.distribution, self.parameters) == (other.distribution, other.parameters)

    __hash__ = Atomic.__hash__


def is_distribution(value: Any) -> bool:
    """Whether a value is one of scipy's distributions, frozen or not.

    Examples
    --------
    >>> from scipy import stats
    >>> is_distribution(stats.laplace()), is_distribution([1.0])
    (True, False)
    """
    return hasattr(value, "rvs") and (hasattr(value, "dist") or hasattr(value, "freeze"))


def from_scipy(frozen: Any) -> SignalLaw:
    """Return the law of a distribution of scipy: atoms where it has no name there.

    Examples
    --------
    >>> from scipy import stats
    >>> from_scipy(stats.laplace(scale=2.0))
    Distribution(distribution='laplace', parameters=(0.0, 2.0))
    """
    from scipy import stats

    if hasattr(frozen, "freeze"):  # a family stands for its member of default parameters
        frozen = frozen.freeze()
    family: Any = frozen.dist
    kept = dict(frozen.kwds)
    known = getattr(stats, str(family.name), None)
    if known is None or not isinstance(known, type(family)):
        nodes, masses = quadrature(frozen)
        require_second_moment(frozen, nodes, masses)
        return Discrete(nodes, masses)
    names = [*(family.shapes or "").replace(",", " ").split(), "loc"]
    defaults: dict[str, Any] = {"loc": 0.0}
    if not hasattr(family, "pmf"):
        names.append("scale")
        defaults["scale"] = 1.0
    given = {**defaults, **dict(zip(names, frozen.args, strict=False)), **kept}
    values = [given[name] for name in names]
    if family.name == "norm":
        location, scale = values
        return Gaussian(std=scale, location=location)
    return Distribution(family.name, tuple(values))


def quadrature(frozen: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return atoms that stand for a distribution: values and probabilities of sum 1.

    Examples
    --------
    >>> from scipy import stats
    >>> values, masses = quadrature(stats.laplace())
    >>> bool(np.isclose(masses @ values**2, 2.0, rtol=1e-12))
    True
    """
    if hasattr(frozen.dist, "pmf"):
        return _values(frozen)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    edges = np.arange(-REACH, REACH + 0.5 * PANEL, PANEL)
    s = (edges[:-1, None] + 0.5 * PANEL * (nodes + 1)).ravel()
    tail = 1.0 / (1.0 + np.exp(np.abs(s)))  # the smaller of p and 1 - p
    masses = np.tile(0.5 * PANEL * weights, edges.size - 1) * tail * (1 - tail)
    with np.errstate(all="ignore"):
        x = np.where(s < 0, frozen.ppf(tail), frozen.isf(tail))
    usable = np.isfinite(x)
    x, masses = x[usable], masses[usable]
    heavy = masses * (1 + x**2)
    kept = heavy > 1e-20 * heavy.sum()
    return x[kept], masses[kept] / masses[kept].sum()


def _values(frozen: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = frozen.ppf(RARE), frozen.isf(RARE)
    if not (np.isfinite(low) and np.isfinite(high) and high - low < MOST):
        raise ValueError(f"signal must take fewer than {MOST} values; got {frozen!r}")
    x = np.arange(low, high + 1.0)
    masses = frozen.pmf(x)
    return x[masses > 0], masses[masses > 0] / masses.sum()


def require_second_moment(frozen: Any, values: np.ndarray, masses: np.ndarray) -> None:
    """Raise ValueError unless the second moment is finite and that of the atoms.

    Examples
    --------
    >>> from scipy import stats
    >>> require_second_moment(stats.norm(), np.array([-1.0, 1.0]), np.array([0.5, 0.5]))
    """
    exact = float(frozen.var() + frozen.mean() ** 2)
    found = float(masses @ values**2)
    if not np.isfinite(exact):
        raise ValueError(f"signal must have a finite second moment; got {exact} for {frozen!r}")
    if abs(found - exact) > HEAVY * exact:
        raise ValueError(
            f"signal must be smooth and have light tails to become a law: {frozen!r} has "
            f"E[w*^2] = {exact:g}, its quadrature gives {found:g}; give an array of draws instead"
        )
