import math
import os
import subprocess
import sys
import threading
from functools import partial
from operator import floordiv
from pathlib import Path

import numpy as np
import pytest

from dmft.networks.diagonal import Diagonal
from dmft.networks.product import Product
from dmft.parallel import unordered_map
from dmft.problem import Problem
from dmft.signals import Bernoulli
from dmft.simulation.data import draw_data
from dmft.simulation.ensemble import TWO_TIME_LIMIT
from dmft.simulation.flow import Flow
from dmft.simulation.simulate import simulate
from dmft.solvers.stiff_ode import integrate


def child(seed, k=0):
    return np.random.SeedSequence(seed, spawn_key=(k,))


def path(problem, t, data, rtol=1e-6):
    """Layers (T, L, d) along the path and the work done."""
    with np.errstate(all="ignore"):
        flow = Flow(problem, data, rtol)
        states, work = integrate(flow, flow.start, np.asarray(t, float))
    return np.stack([flow.layers(z) for z in states]), work


def errors(w, data):
    n, d = data.X.shape
    residual = w @ data.X.T - data.y
    return (
        np.sum((w - data.w_star) ** 2, axis=-1) / (2 * d),
        np.sum(residual**2, axis=-1) / (2 * n),
    )


# --- the start, the two-time functions, the statistics -------------------------------------------


@pytest.mark.parametrize(
    "network", ["diagonal", "linear", "deep", Product((1.0, 0.5)), Diagonal(2, 1)]
)
def test_initial_values(network):
    problem = Problem(0.7, 0.5, 0.1, 0.1, network=network)
    ensemble = simulate(problem, [0.0, 0.1], dimension=30, seeds=1, rng=9)
    data = draw_data(problem, 30, rng=child(9))
    w = np.full(30, problem.mirror.initial_weight(0.5))
    test, train = errors(w, data)
    assert ensemble.test_error[0] == pytest.approx(test, rel=1e-14)
    assert ensemble.train_error[0] == pytest.approx(train, rel=1e-14)
    assert ensemble.mean_w[0] == pytest.approx(w[0], rel=1e-14)
    assert simulate(problem, [0.0], 30, seeds=1, rng=9).test_error[0] == ensemble.test_error[0]


def test_two_time_functions_and_standard_errors():
    problem = Problem(0.5, 1.0, 0.1, 0.1)
    t = np.linspace(0, 5, 6)
    ensemble = simulate(problem, t, dimension=40, seeds=5)
    diagonal = np.arange(6)
    assert ensemble.seeds == 5
    assert ensemble.C_w[diagonal, diagonal] == pytest.approx(2 * ensemble.test_error)
    assert ensemble.C_r[diagonal, diagonal] == pytest.approx(2 * ensemble.train_error)
    data = draw_data(problem, 40, rng=child(0, 3))
    layers, _ = path(problem, t, data)
    theta = problem.mirror.output_weight(layers.swapaxes(0, 1)) - data.w_star
    residual = theta @ data.X.T - (data.y - data.X @ data.w_star)
    assert ensemble.runs["C_w"][3, 1, 4] == pytest.approx(theta[1] @ theta[4] / 40, rel=1e-9)
    assert ensemble.runs["C_r"][3, 1, 4] == pytest.approx(residual[1] @ residual[4] / 20, rel=1e-9)
    for name, runs in ensemble.runs.items():
        assert ensemble.mean(name) == pytest.approx(np.sum(runs, axis=0) / 5)
        spread = np.sqrt(np.sum((runs - runs.mean(axis=0)) ** 2, axis=0) / (4 * 5))
        assert ensemble.standard_error(name) == pytest.approx(spread)
    assert all(values.shape == (5,) for values in ensemble.stats.values())


def test_one_seed_and_many_times():
    times = np.linspace(0, 1, TWO_TIME_LIMIT + 1)
    ensemble = simulate(Problem(0.5), times, dimension=6, seeds=1)
    assert np.all(np.isinf(ensemble.standard_error("test_error")))
    with pytest.raises(ValueError, match="at most 200 times"):
        ensemble.mean("C_w")
    with pytest.raises(AttributeError, match="holds no C_w; it holds test_error"):
        _ = ensemble.C_w
    with pytest.raises(ValueError, match="read-only"):
        ensemble.runs["mean_w"][0] = 0.0


def test_smallest_dimension_and_no_signal():
    ensemble = simulate(Problem(1.0, sigma2=0.1), [0.0, 1.0], dimension=1, seeds=2)
    assert ensemble.samples == 1
    assert np.all(np.isfinite(ensemble.test_error))
    nothing = simulate(Problem(0.5, signal=Bernoulli(value=0.0)), [0.0, 9.0], 10, seeds=1)
    assert np.array_equal(nothing.test_error, [0.0, 0.0])
    noise = Problem(2.0, sigma2=0.5, signal=Bernoulli(value=0.0))
    assert np.all(np.diff(simulate(noise, [0.0, 1.0, 5.0], 10, seeds=1).train_error) < 0)


# --- randomness --------------------------------------------------------------------------------


def test_results_depend_on_the_seed_only():
    problem = Problem(0.5, 1.0, 0.1, 0.1)
    first = simulate(problem, [1.0, 4.0], 60, seeds=5, rng=11, workers=1)
    second = simulate(problem, [1.0, 4.0], 60, seeds=5, rng=11, workers=3)
    for name, runs in first.runs.items():
        assert np.array_equal(runs, second.runs[name])
    other = simulate(problem, [1.0, 4.0], 60, seeds=5, rng=12)
    assert not np.any(other.runs["test_error"] == first.runs["test_error"])
    assert len(set(first.runs["test_error"][:, 0])) == 5
    fewer = simulate(problem, [1.0, 4.0], 60, seeds=2, rng=11)
    assert np.array_equal(fewer.runs["C_w"], first.runs["C_w"][:2])


@pytest.mark.parametrize("source", [None, np.int64(3), np.random.default_rng(3), child(3)])
def test_the_recorded_seed_repeats_the_run(source):
    problem = Problem(0.5)
    ensemble = simulate(problem, [1.0], 10, seeds=2, rng=source)
    again = simulate(problem, [1.0], 10, seeds=2, rng=ensemble.seed)
    assert np.array_equal(again.runs["test_error"], ensemble.runs["test_error"])


def test_a_generator_moves_on():
    generator = np.random.default_rng(0)
    first, second = (simulate(Problem(0.5), [1.0], 10, seeds=1, rng=generator) for _ in range(2))
    assert first.test_error != second.test_error


@pytest.mark.parametrize("design", ["gaussian", "rademacher", "student_t"])
def test_designs_have_variance_one_over_d(design):
    d = 800
    X, w_star, y = draw_data(Problem(0.5), d, design, rng=0)
    assert X.shape == (400, d)
    assert w_star.shape == (d,)
    assert y == pytest.approx(X @ w_star)
    entries = np.sqrt(d) * X.ravel()
    fourth = {"gaussian": 3.0, "rademacher": 1.0, "student_t": 9.0}[design]
    assert abs(entries.mean()) < 4 / np.sqrt(entries.size)
    assert abs(np.mean(entries**2) - 1) < 6 * np.sqrt(fourth / entries.size)
    assert np.mean(entries**4) == pytest.approx(fourth, rel=0.02 if fourth < 9 else 0.4)


def test_noise_has_variance_sigma2():
    X, w_star, y = draw_data(Problem(2.0, sigma2=0.3), 2000, rng=1)
    assert np.var(y - X @ w_star) == pytest.approx(0.3, rel=0.1)


def test_a_delta_that_the_dimension_cannot_have_is_warned_of():
    with pytest.warns(UserWarning, match=r"delta = 0\.4, -20 % from delta = 0\.5"):
        assert simulate(Problem(0.5), [1.0], dimension=5, seeds=1).samples == 2
    simulate(Problem(0.333), [1.0], dimension=100, seeds=1)  # 0.33 is near enough


# --- arguments, progress, interruption -----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": 0.5}, TypeError, "problem"),
        ({"t_eval": []}, ValueError, "t_eval"),
        ({"t_eval": [1.0, 0.5]}, ValueError, "t_eval"),
        ({"t_eval": [-1.0, 0.5]}, ValueError, "t_eval"),
        ({"dimension": 0}, ValueError, "dimension"),
        ({"dimension": 10.0}, ValueError, "dimension"),
        ({"seeds": 0}, ValueError, "seeds"),
        ({"rng": -1}, ValueError, "rng"),
        ({"rng": "0"}, TypeError, "rng"),
        ({"rng": True}, TypeError, "rng"),
        ({"problem": Problem(0.001)}, ValueError, r"at least 501 for delta = 0\.001"),
        ({"design": "uniform"}, ValueError, "design"),
        ({"design": np.ones((5, 10))}, TypeError, r"array of shape \(5, 10\).*data=\(X, y\)"),
        ({"workers": 0}, ValueError, "workers"),
        ({"rtol": 0.0}, ValueError, "rtol"),
        ({"rtol": 1.0}, ValueError, "rtol"),
        ({"progress": 1}, TypeError, "progress"),
    ],
)
def test_bad_arguments(change, error, message):
    arguments = {"problem": Problem(0.5), "t_eval": [1.0], "dimension": 10, "seeds": 1} | change
    with pytest.raises(error, match=message):
        simulate(**arguments)


def test_bad_arguments_of_draw_data():
    with pytest.raises(TypeError, match="problem"):
        draw_data(None, 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dimension"):
        draw_data(Problem(0.5), 0)
    with pytest.raises(ValueError, match="design"):
        draw_data(Problem(0.5), 10, ["gaussian"])  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_is_called_from_this_thread(workers):
    calls = []
    simulate(
        Problem(0.5),
        [1.0],
        dimension=10,
        seeds=4,
        workers=workers,
        progress=lambda done, total: calls.append((done, total, threading.get_ident())),
    )
    assert calls == [(k, 4, threading.get_ident()) for k in (1, 2, 3, 4)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_ends_all_seeds(workers):
    calls = []

    def interrupt(done, total):
        calls.append(done)
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        simulate(Problem(0.5), [1.0], 50, seeds=500, workers=workers, progress=interrupt)
    assert calls == [1]
    assert threading.active_count() == before


def test_a_script_needs_no_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from dmft.problem import Problem\n"
        "from dmft.simulation.simulate import simulate\n"
        "print(simulate(Problem(0.5), [1.0], 10, seeds=3, workers=2).test_error[0])\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, script],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    expected = simulate(Problem(0.5), [1.0], 10, seeds=3, workers=1).test_error[0]
    assert float(done.stdout) == expected
    assert done.stderr == ""


def test_a_failure_in_a_process_is_raised_here():
    with pytest.raises(ZeroDivisionError):
        list(unordered_map(partial(floordiv, 1), [1, 0, 3], 2))
    with pytest.raises(RuntimeError, match="ended unexpectedly"):
        list(unordered_map(os._exit, [3], 1))
    squares = dict(unordered_map(math.isqrt, [k * k for k in range(20)], 3))
    assert squares == {k: k for k in range(20)}
