"""Dynamical mean-field theory of diagonal linear networks.

    problem = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
    solution = dmft.solve(problem, t_max=10.0)

Names are imported when first used, so that `import dmft` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

from dmft.interrupts import deferred

__version__ = "0.1.0"

_HOME = {
    "Problem": "problem",
    "GradientFlow": "dynamics.flow",
    "GradientDescent": "dynamics.descent",
    "SGD": "dynamics.sgd",
    "StochasticFlow": "dynamics.stochastic",
    "QuadraticProblem": "quadratic.problem",
    "QuadraticSolution": "quadratic.solution",
    "QuadraticEnsemble": "quadratic.simulation",
    "Bernoulli": "signals",
    "BernoulliGaussian": "signals",
    "Component": "signals",
    "Discrete": "signals",
    "Distribution": "signals",
    "Empirical": "signals",
    "Gaussian": "signals",
    "Joint": "signals",
    "SignalLaw": "signals",
    "Deep": "networks.deep",
    "Diagonal": "networks.diagonal",
    "Linear": "networks.linear",
    "Network": "networks.base",
    "Product": "networks.product",
    "Grid": "solvers.collocation",
    "NoiseRule": "equations.noise_rules",
    "SparseRule": "equations.noise_rules",
    "SobolRule": "equations.noise_rules",
    "MonteCarloRule": "equations.noise_rules",
    "QuadraticRule": "equations.noise_rules",
    "RandomRule": "equations.noise_rules",
    "solve": "solver.solve",
    "Solution": "solution",
    "StepSolution": "step_solution",
    "load": "storage",
    "load_ensemble": "simulation.ensemble",
    "save_ensemble": "simulation.ensemble",
    "simulate": "simulation.simulate",
    "Ensemble": "simulation.ensemble",
    "cite": "citations",
    "sweep": "sweeps.run",
    "Sweep": "sweeps.collect",
    "SweepPoint": "sweeps.point",
    "linspace": "sweeps.axes",
    "logspace": "sweeps.axes",
    "compare": "comparison",
    "diagnose": "diagnostics",
    "Diagnosis": "diagnostics",
    "steady_state": "limits.steady_states",
    "recovery_threshold": "limits.steady_states",
    "convergence_rate": "limits.rates",
    "fit_rate": "limits.rates",
    "timescales": "limits.transitions",
    "lazy_to_rich_time": "limits.transitions",
    "search_to_descent_time": "limits.transitions",
    "detect_lazy_to_rich": "limits.transitions",
    "detect_search_to_descent": "limits.transitions",
    "grokking_delay": "limits.transitions",
    "largest_stable_step": "limits.stability",
    "sharpness": "limits.stability",
    "effective_decay": "limits.stability",
    "label_noise_limit": "limits.stability",
    "saddle_to_saddle": "limits.saddles",
}

# Modules whose own names are public too, as in dmft.quadratic.recovery_threshold.
_ROOMS = {
    "networks": "networks",
    "signals": "signals",
    "quadratic": "quadratic",
    "presets": "figures.presets",
    "small_start": "limits.small_start",
}

__all__ = sorted([*_HOME, *_ROOMS])


def __getattr__(name: str) -> Any:
    """Import a public name from its module at first use."""
    if name in _ROOMS:
        return importlib.import_module(f"dmft.{_ROOMS[name]}")
    if name not in _HOME:
        raise AttributeError(f"module 'dmft' has no attribute {name!r}")
    with deferred():  # an import that is interrupted leaves half of a module behind
        value = getattr(importlib.import_module(f"dmft.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
