"""
When to stop, and how much decay
================================

Without weight decay and with noisy labels the test error turns up again. The best time to stop,
against the best weight decay, without a single simulation.
"""

import matplotlib.pyplot as plt
import numpy as np

import dmft

t = np.linspace(0.0, 30.0, 121)
problem = dmft.Problem(delta=0.8, alpha=1.0, sigma2=0.2)
solution = dmft.solve(problem, 30.0, t, rtol=1e-3)
best = int(solution.test_error.argmin())
print(f"stop at t = {t[best]:.2f}: test error {solution.test_error[best]:.4f}")

# %%
# The limit of long training needs no trajectory, so that a curve over the decay costs nothing.

lams = np.geomspace(1e-2, 1.0, 40)
limits = [
    dmft.steady_state(dmft.Problem(0.8, alpha=1.0, lam=lam, sigma2=0.2)).test_error for lam in lams
]

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
left.plot(t, solution.test_error)
left.axvline(t[best], color="0.5", linestyle=":")
left.set(xlabel="time $t$", ylabel="test error", title=r"$\lambda$ = 0")
right.semilogx(lams, limits)
right.set(xlabel=r"weight decay $\lambda$", title=r"$t \to \infty$")
plt.show()
