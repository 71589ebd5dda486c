"""Set-up before any test imports NumPy: BLAS threads would get in each other's way."""

import os

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep tests of one file on one worker where that costs no waiting, as they share solves."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items):
    """Begin with the longest test, so that no worker waits for it in the end."""
    items.sort(key=lambda item: "test_wheel" not in item.nodeid)
