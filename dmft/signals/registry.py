"""The laws that have a name, and what stands for a law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dmft.parameters import build, register_in
from dmft.signals.atomic import Discrete, Empirical
from dmft.signals.base import SignalLaw
from dmft.signals.distribution import Distribution, from_scipy, is_distribution
from dmft.signals.gaussian import Bernoulli, BernoulliGaussian, Gaussian

LAWS: dict[str, type[SignalLaw]] = {
    law.name: law
    for law in (Bernoulli, BernoulliGaussian, Gaussian, Discrete, Empirical, Distribution)
}


def register(law: type[SignalLaw]) -> type[SignalLaw]:
    """Enter a law by its `name`, so that files, configurations and the command line know it.

    It serves as a decorator. A law need not be registered to be solved.

    Raises
    ------
    ValueError
        If the class has no `name`, or another law has the same one.

    Examples
    --------
    >>> register(Bernoulli) is Bernoulli
    True
    """
    return register_in("signal", LAWS, law)


def signal_from_config(config: Mapping[str, Any]) -> SignalLaw:
    """Rebuild a law from `SignalLaw.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.

    Examples
    --------
    >>> signal_from_config({"name": "bernoulli", "density": 0.3})
    Bernoulli(density=0.3, value=1.0)
    """
    return build("signal", LAWS, config)


def as_signal(value: Any) -> SignalLaw:
    """Return the law that a value stands for.

    Parameters
    ----------
    value : SignalLaw, scipy distribution or array_like, shape (m,)
        An array stands for the law of one of its entries, drawn uniformly.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If the array is empty or not finite, or the distribution has no second moment.

    Examples
    --------
    >>> as_signal([0.0, 0.0, 1.0]).mean.__round__(6)
    0.333333
    """
    if isinstance(value, SignalLaw):
        return value
    if is_distribution(value):
        return from_scipy(value)
    if isinstance(value, (np.ndarray, list, tuple)):
        return Empirical(np.asarray(value))
    raise TypeError(
        "signal must be a law such as Bernoulli(0.1), a frozen distribution of scipy.stats or an "
        f"array of numbers; got {value!r}"
    )
