"""What is observed of a quadratic network, in theory and simulation: names and texts."""

from __future__ import annotations

ONE_TIME = ("mse", "test_error", "train_error", "clean_train_error", "overlap", "trace")
TWO_TIME = ("C_Z", "C_f")
RESPONSES = ("R_f", "R_Z")

TEXTS = {
    "mse": "mean squared error Tr[(Z - Z*)^2]/d",
    "test_error": "loss on new samples without label noise, Tr[(Z - Z*)^2]/(2 d)",
    "train_error": "training loss sum_k (Tr(X_k Z) - y_k)^2/(4 n), label noise included",
    "clean_train_error": "training loss against labels without noise",
    "overlap": "overlap of student and teacher Tr[Z Z*]/d",
    "trace": "trace Tr Z/d",
    "C_Z": "correlation Tr[(Z(t) - Z*)(Z(s) - Z*)]/d",
    "C_f": "correlation of the residuals, sum_k r_k(t) r_k(s)/n",
    "R_f": "response of the residual without its delta function at s = t, 0 for s > t",
    "R_Z": "response of Z to a force that is added to -M, 0 for s > t",
    "eigenvalues": "eigenvalues of Z, ascending",
}

TIME = "time in the unit dW/dt = -d dL/dW"
REFERENCE = "arXiv:2601.10483"
TIME_LABEL = r"time $t$  (unit: $\dot W = -d\, \partial L/\partial W$)"
ERRORS_LABEL = r"Tr$[(Z - Z^*)^2]/2d$,   $\sum_k r_k^2/4n$"
