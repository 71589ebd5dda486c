"""The statement of one extensive-width quadratic network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dmft.parameters import Parameters, number


@dataclass(frozen=True)
class QuadraticProblem(Parameters):
    """Gradient flow of a wide network with quadratic activation, in the limit d -> infinity.

    Teacher Z* = W* W*^T/m*, student Z = W W^T; W is d x m with m/d -> kappa, W* is d x m* with
    independent N(0, 1) entries and m*/d -> kappa_star. n samples, n/d^2 -> alpha, with labels
    y_k = Tr(X_k Z*) + sqrt(label_noise) xi_k and X_k from the Gaussian orthogonal ensemble
    (variance 1/d off the diagonal, 2/d on it), which also stands for (x x^T - 1)/sqrt(d).
    Loss L = (1/4n) sum_k (Tr(X_k Z) - y_k)^2 + (lam/d) |W|^2; time unit dW/dt = -d grad L
    (arXiv:2601.10483).

    Parameters
    ----------
    alpha : float
        Samples over squared dimension, n/d^2; > 0.
    kappa : float
        Width of the student over dimension, m/d; > 0.
    kappa_star : float
        Width of the teacher over dimension; > 0.
    lam : float
        Weight decay; >= 0.
    label_noise : float
        Variance Delta of the label noise; >= 0.
    init_variance : float
        gamma: entries of W(0) are N(0, gamma/m), so that Tr Z(0)/d = gamma; > 0.

    Raises
    ------
    ValueError
        If a number is out of its range or not finite.

    Examples
    --------
    >>> QuadraticProblem(alpha=0.3, kappa=0.7, kappa_star=0.5, lam=0.1).initial_mse
    3.428571428571429
    """

    alpha: float = number("samples over squared dimension, > 0", low=0.0, low_open=True)
    kappa: float = number("width of the student over dimension, > 0", low=0.0, low_open=True)
    kappa_star: float = number("width of the teacher over dimension, > 0", low=0.0, low_open=True)
    lam: float = number("weight decay, >= 0", 0.0, low=0.0)
    label_noise: float = number("variance of the label noise, >= 0", 0.0, low=0.0)
    init_variance: float = number("Tr Z(0)/d, > 0", 1.0, low=0.0, low_open=True)

    name: ClassVar[str] = "quadratic"

    # Where the verbs of `dmft` find what they do for this model.
    verbs: ClassVar[dict[str, str]] = {
        "compare": "dmft.quadratic.comparison",
        "solve": "dmft.quadratic.solve",
        "simulate": "dmft.quadratic.simulation",
        "steady_state": "dmft.quadratic.steady_state",
    }

    @property
    def teacher_power(self) -> float:
        """Tr[Z*^2]/d, the mean squared error of Z = 0."""
        return 1 + 1 / self.kappa_star

    @property
    def initial_mse(self) -> float:
        """Tr[(Z(0) - Z*)^2]/d."""
        gamma = self.init_variance
        return gamma**2 * (1 + 1 / self.kappa) - 2 * gamma + self.teacher_power

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> QuadraticProblem:
        """Rebuild a problem from `config()`.

        Raises
        ------
        ValueError
            If a value is out of range.
        """
        return cls(**{name: value for name, value in config.items() if name != "name"})
