"""Laws P* of the entries of the target vector w*; each states itself in one class."""

from dmft.signals.atomic import Discrete, Empirical
from dmft.signals.base import Component, SignalLaw, Start
from dmft.signals.distribution import Distribution
from dmft.signals.gaussian import Bernoulli, BernoulliGaussian, Gaussian
from dmft.signals.joint import Joint
from dmft.signals.registry import LAWS, as_signal, register, signal_from_config

__all__ = [
    "LAWS",
    "Bernoulli",
    "BernoulliGaussian",
    "Component",
    "Discrete",
    "Distribution",
    "Empirical",
    "Gaussian",
    "Joint",
    "SignalLaw",
    "Start",
    "as_signal",
    "register",
    "signal_from_config",
]
