"""
What a single weight does
=========================

The effective process is the law of one weight over time. From a small start, gradient flow first
searches, then lets the weights of the signal grow one by one.
"""

import matplotlib.pyplot as plt
import numpy as np

import dmft

problem = dmft.Problem(delta=0.8, alpha=0.01, sigma2=0.01, signal=dmft.Bernoulli(0.1))
t = np.linspace(0.0, 25.0, 101)
solution = dmft.solve(problem, 25.0, t, rtol=1e-2)
print(solution.message)

# %%
# Paths of 60 weights, coloured by their targets.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
solution.plot("paths", ax=left)
solution.plot("law", ax=right)
plt.show()

# %%
# The correlation of the distance to the target at two times.

solution.plot("C_w", ax=plt.subplots(layout="constrained")[1])
plt.show()
