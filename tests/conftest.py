"""Set-up before any test imports NumPy: BLAS threads would get in each other's way."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
