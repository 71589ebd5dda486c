"""Dynamical mean-field theory of diagonal linear networks.

    problem = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
    solution = dmft.solve(problem, t_max=10.0)

Names are imported when first used, so that `import dmft` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Problem": "problem",
    "Bernoulli": "signals",
    "BernoulliGaussian": "signals",
    "Discrete": "signals",
    "Empirical": "signals",
    "Gaussian": "signals",
    "Deep": "networks",
    "Diagonal": "networks",
    "Linear": "networks",
    "Product": "networks",
    "solve": "solver",
    "Solution": "solution",
    "load": "hdf5",
    "load_ensemble": "hdf5",
    "save_ensemble": "hdf5",
    "simulate": "simulation",
    "Ensemble": "simulation",
    "compare": "comparison",
    "steady_state": "steady_states",
    "recovery_threshold": "steady_states",
    "convergence_rate": "rates",
    "fit_rate": "rates",
    "timescales": "rates",
    "lazy_to_rich_time": "rates",
    "search_to_descent_time": "rates",
    "detect_lazy_to_rich": "rates",
    "detect_search_to_descent": "rates",
    "grokking_delay": "rates",
    "saddle_to_saddle": "saddles",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name from its module at first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'dmft' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"dmft.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
