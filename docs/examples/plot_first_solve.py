"""
Theory over simulation
======================

Test and train error of the default problem, solved in infinite dimension and simulated at d = 300.
"""

import matplotlib.pyplot as plt
import numpy as np

import dmft
from dmft.figures.plots import plot_errors

problem = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
t = np.linspace(0.0, 10.0, 41)
solution = dmft.solve(problem, 10.0, t, rtol=1e-3)
ensemble = dmft.simulate(problem, t, dimension=300, seeds=8, workers=1)
print(solution.message)

# %%
# The lines are the theory, with a band of its estimated error that is too narrow to be seen; the
# markers are means over eight draws of the data with two standard errors.

figure, ax = plt.subplots(layout="constrained")
plot_errors(solution, ensemble, ax)
plt.show()

# %%
# Do they agree? The comparison allows for the finite dimension and says what it could have seen.

print(dmft.compare(solution, ensemble).message)
