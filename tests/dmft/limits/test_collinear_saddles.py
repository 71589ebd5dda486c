"""Nearly collinear columns, against the same algorithm in rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from dmft.limits.saddles import saddle_to_saddle

Vector = list[Fraction]


def exact_path(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[Vector]]:
    """Times and weights of the saddles of (1/2)|X w - y|^2, computed without rounding."""
    rows = [[Fraction(float(x)) for x in row] for row in X]
    labels = [Fraction(float(v)) for v in y]
    d = range(X.shape[1])
    gram = [[sum(row[i] * row[j] for row in rows) for j in d] for i in d]
    slope = [sum(row[i] * v for row, v in zip(rows, labels, strict=True)) for i in d]

    def descent(w):
        return [slope[i] - sum(gram[i][j] * w[j] for j in d) for i in d]

    def least_squares(support):
        system = [[gram[i][j] for j in support] + [slope[i]] for i in support]
        for k in range(len(system)):  # a Gram matrix of independent columns needs no pivoting
            system[k] = [x / system[k][k] for x in system[k]]
            for r in range(len(system)):
                if r != k:
                    system[r] = [
                        x - system[r][k] * p for x, p in zip(system[r], system[k], strict=True)
                    ]
        w = [Fraction(0)] * len(d)
        for i, row in zip(support, system, strict=True):
            w[i] = row[-1]
        return w

    def minimise(signs, w):
        w = [x if x * c > 0 else Fraction(0) for x, c in zip(w, signs, strict=True)]
        support = [i for i in d if w[i]]
        while True:
            while any(least_squares(support)[i] * signs[i] <= 0 for i in support):
                goal = least_squares(support)
                steps = {i: w[i] / (w[i] - goal[i]) for i in support if goal[i] * signs[i] <= 0}
                step = min(steps.values())
                w = [a + step * (b - a) for a, b in zip(w, goal, strict=True)]
                support = [i for i in support if w[i]]
            w = least_squares(support)
            gains = [(g * signs[i], i) for i, g in enumerate(descent(w)) if i not in support]
            if max(gains, default=(0, 0))[0] <= 0:
                return w
            support.append(max(gains)[1])

    w, s, tau = [Fraction(0)] * len(d), [Fraction(0)] * len(d), Fraction(0)
    times, saddles = [tau], [w]
    while any(g := descent(w)):
        wait = min(((1 if g[i] > 0 else -1) - s[i]) / g[i] for i in d if g[i])
        tau, s = tau + wait, [a + wait * b for a, b in zip(s, g, strict=True)]
        w = minimise([(x == 1) - (x == -1) for x in s], w)
        times.append(tau)
        saddles.append(w)
    return np.array(times, dtype=float), saddles


def nearly_collinear(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rank_one = np.outer(rng.standard_normal(5), rng.standard_normal(8))
    return rank_one + noise * rng.standard_normal((5, 8)), rng.standard_normal(5)


@pytest.mark.parametrize("noise", [1e-2, 1e-6, 1e-8])
def test_nearly_collinear_columns_give_the_exact_path(noise):
    for seed in range(6):
        X, y = nearly_collinear(noise, seed)
        path, (times, saddles) = saddle_to_saddle(X, y), exact_path(X, y)
        assert path.success, (seed, path.message)
        assert path.times == pytest.approx(times, rel=1e-14 / noise), seed
        supports = [[i for i, x in enumerate(w) if x] for w in saddles]
        assert [list(active) for active in path.active_sets] == supports, seed
        assert path.losses[-1] < 1e-25 * path.losses[0], seed


@pytest.mark.parametrize("noise", [1e-10, 1e-12, 1e-13])
def test_columns_that_double_precision_cannot_tell_apart_are_reported(noise):
    for seed in range(6):
        X, y = nearly_collinear(noise, seed)
        path, (times, _) = saddle_to_saddle(X, y), exact_path(X, y)
        assert not path.success, seed
        assert "a column of X that is within" in path.message
        reached = len(path.times)
        assert 1 < reached < len(times), seed
        assert path.times == pytest.approx(times[:reached], rel=1e-14 / noise), seed
