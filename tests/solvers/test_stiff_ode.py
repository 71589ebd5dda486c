import numpy as np
import pytest

from dmft.solvers import dormand_prince
from dmft.solvers.backward_steps import ERROR, GAMMA, KAPPA, LEADING, ORDER, difference_matrix
from dmft.solvers.explicit_steps import Explicit
from dmft.solvers.ode_system import Work, stages_of
from dmft.solvers.stiff_ode import integrate


class Jacobian:
    def __init__(self, J):
        self.J = J
        self.rate = np.linalg.norm(J, 2)

    def solver(self, shift):
        matrix = shift * np.eye(len(self.J)) - self.J
        return lambda b: np.linalg.solve(matrix, b)


class Problem:
    """z' = f(z) with an absolute tolerance."""

    def __init__(self, f, jacobian, tolerance, stiff_cost):
        self.velocity = f
        self.jacobian = jacobian
        self.tolerance = tolerance
        self.stiff_cost = stiff_cost

    def set_stages(self, z, K, tableau):
        return stages_of(self.velocity, z, K, tableau)

    def linearise(self, z):
        return Jacobian(self.jacobian(z))

    def measure(self, z):
        return lambda defect: float(np.max(np.abs(defect))) / self.tolerance

    def metric(self, z):
        return 1.0


def stiff_pair(rate, tolerance, stiff_cost):
    """x' = -rate (x - y^2) - 2 y^2, y' = -y: x = y^2 = exp(-2t) from (1, 1), and it is stiff."""

    def f(z):
        x, y = z
        return np.array([-rate * (x - y**2) - 2 * y**2, -y])

    def jacobian(z):
        return np.array([[-rate, 2 * rate * z[1] - 4 * z[1]], [0.0, -1.0]])

    return Problem(f, jacobian, tolerance, stiff_cost)


TIMES = np.array([0.0, 0.3, 1.0, 2.7, 5.0])
EXACT = np.stack([np.exp(-2 * TIMES), np.exp(-TIMES)], axis=1)


@pytest.mark.parametrize("rate", [1.0, 300.0, 1e6])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-9])
def test_closed_form_by_either_method(rate, tolerance):
    for stiff_cost in (0.0, 3000.0):
        system = stiff_pair(rate, tolerance, stiff_cost)
        states, _ = integrate(system, np.ones(2), TIMES)
        assert np.max(np.abs(states - EXACT)) < 30 * tolerance


def test_the_error_follows_the_tolerance():
    errors = []
    for tolerance in (1e-5, 1e-7, 1e-9):
        states, work = integrate(stiff_pair(1e4, tolerance, 0.0), np.ones(2), TIMES)
        assert work.factorisations > 0
        errors.append(np.max(np.abs(states - EXACT)))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_work_is_explicit_when_cheap_and_bounded_when_stiff():
    _, mild = integrate(stiff_pair(1.0, 1e-8, 1000.0), np.ones(2), TIMES)
    assert mild.factorisations == 0
    _, stiff = integrate(stiff_pair(1e7, 1e-8, 1000.0), np.ones(2), TIMES)
    assert stiff.factorisations > 0
    assert stiff.evaluations < 2000  # the explicit method alone would need 1e8


def test_a_change_of_step_keeps_the_interpolating_polynomial():
    h, factor, k = 0.2, 0.6, 4
    polynomial = np.polynomial.Polynomial([1.0, -2.0, 0.5, 3.0, -1.0])

    def differences(step):
        values = polynomial(-step * np.arange(k + 1))
        return np.array(
            [np.diff(values[: j + 1][::-1], j)[-1] if j else values[0] for j in range(k + 1)]
        )

    change = difference_matrix(k, factor) @ difference_matrix(k, 1.0)
    assert change.T @ differences(h) == pytest.approx(differences(factor * h), abs=1e-13)


def test_constants_of_the_formulas():
    """For z = t^(k+1) the formula of order k misses h z' by ERROR_k times del^(k+1) z."""
    for k in range(1, ORDER + 1):
        z = (-np.arange(k + 2.0)) ** (k + 1)  # newest first; z'(0) = 0
        nabla = np.array([np.diff(z[::-1], j)[-1] for j in range(k + 2)])
        formula = np.sum(nabla[1 : k + 1] / np.arange(1, k + 1)) - KAPPA[k] * GAMMA[k] * nabla[-1]
        assert -formula / nabla[-1] == pytest.approx(ERROR[k], rel=1e-12)
        assert LEADING[k] == pytest.approx((1 - KAPPA[k]) * GAMMA[k])


def test_start_only():
    states, _ = integrate(stiff_pair(1.0, 1e-6, 0.0), np.ones(2), np.array([0.0]))
    assert np.array_equal(states, [np.ones(2)])


def test_blow_up_is_reported():
    system = Problem(lambda z: z**2, lambda z: np.diag(2 * z), 1e-8, 1e9)
    with (
        np.errstate(all="ignore"),
        pytest.raises(RuntimeError, match="step became too small at t = 1"),
    ):
        integrate(system, np.ones(1), np.array([2.0]))


def test_tableau_meets_conditions_of_order_eight_and_its_estimates_theirs():
    """Bushy and tall trees up to order 8: sum b c^(k-1) = 1/k and sum b A^(k-1) 1 = 1/k!."""
    A, b = dormand_prince.STAGES, dormand_prince.RESULT
    assert np.array_equal(A, np.tril(A, -1))
    nodes = A.sum(axis=1)
    tall, factorial = np.ones(13), 1.0
    for k in range(1, 9):
        assert b @ nodes ** (k - 1) == pytest.approx(1 / k, rel=1e-13)
        factorial *= k
        assert b @ tall == pytest.approx(1 / factorial, rel=1e-11)
        tall = A @ tall
    for weights, order in ((dormand_prince.THIRD, 3), (dormand_prince.FIFTH, 5)):
        moments = [weights @ nodes**k for k in range(order + 1)]
        assert moments[:order] == pytest.approx(np.zeros(order), abs=1e-13)
        assert abs(moments[order]) > 1e-5


def test_explicit_steps_have_order_eight():
    """z' = -z^2 from 1, z = 1/(1 + t): halving the step divides the error by 2^8."""
    errors = []
    for count in (8, 16):
        system = Problem(lambda z: -(z**2), None, 1e300, 0.0)
        explicit = Explicit(system, Work(), np.ones(1), -np.ones(1), 2.0 / count)
        for k in range(1, count + 1):
            explicit.h = 2.0 / count
            explicit.step(2.0 * k / count)
        assert explicit.work.steps == count
        errors.append(abs(explicit.z[0] - 1 / 3))
    assert 2**7 < errors[0] / errors[1] < 2**9
