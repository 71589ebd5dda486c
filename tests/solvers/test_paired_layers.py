import numpy as np
import pytest

from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.solvers.dormand_prince import STAGES
from dmft.solvers.ode_system import stages_of
from dmft.solvers.paired_layers import padded, set_stages


def rates(z, Y, *rest):
    """The rates at z: those of a second stage that does not move."""
    K = np.zeros((2, *z.shape))
    set_stages(z, K, np.zeros((2, 2)), padded(Y), *rest)
    return K[1]


@pytest.mark.parametrize("network", [Diagonal(), Deep(3), Deep(5)])
@pytest.mark.parametrize(("m", "d"), [(1, 1), (7, 13), (6, 24), (19, 19)])
def test_compiled_rates_are_those_of_the_network(network, m, d):
    rng = np.random.default_rng([m, d])
    Y, b, z = rng.standard_normal((m, d)), rng.standard_normal(m), rng.normal(0, 0.5, (2, d))
    for triangular in (False, True) if m == d else (False,):
        matrix = np.triu(Y) if triangular else Y
        h = matrix.T @ (matrix @ network.output_weight(np.exp(z)) - b)
        expected = network.layer_velocity(np.exp(z), h, 0.3) / np.exp(z)
        found = rates(z, matrix, triangular, b, 0.3, network.paired_depth)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12 * np.abs(h).max())


def test_vanished_layers_and_what_is_not_a_number():
    Y, b = np.eye(2), np.ones(2)
    found = rates(np.array([[-1e6, 0.0], [-1e6, 0.0]]), Y, True, b, 0.0, 3)
    assert found == pytest.approx(np.array([[0.0, 0.5], [0.0, -0.5]]), abs=1e-100)
    assert np.isnan(rates(np.array([[np.nan, 0.0], [0.0, 0.0]]), Y, True, b, 0.0, 2)).any()


def test_compiled_stages_are_those_of_the_same_velocity():
    rng = np.random.default_rng(5)
    Y, b, z = rng.standard_normal((6, 9)), rng.standard_normal(6), rng.normal(0, 0.3, (2, 9))
    f = lambda state: rates(state, Y, False, b, 0.2, 3)  # noqa: E731
    K, expected = np.empty((2, len(STAGES), 2, 9))
    K[0] = expected[0] = f(z)
    states = set_stages(z, K, 0.05 * STAGES, padded(Y), False, b, 0.2, 3)
    assert states == pytest.approx(np.array(stages_of(f, z, expected, 0.05 * STAGES)), rel=1e-12)
    assert pytest.approx(expected, rel=1e-11) == K
