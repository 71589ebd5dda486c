"""Set-up before any test imports NumPy: threads that wait must not spin on shared cores."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
