"""The examples of `solvers/` run in its modules as they are imported, `dmft.solvers.<name>`.

Under the names of their paths they would be imported once more, and numba's cache, which goes by
paths, would keep classes of modules that do not exist for anybody else.
"""

import importlib
import pkgutil
import sys


def pytest_configure(config):
    """Give the modules their second name before pytest does."""
    if config.option.doctestmodules:
        package = importlib.import_module("dmft.solvers")
        sys.modules["solvers"] = package
        for info in pkgutil.iter_modules(package.__path__):
            sys.modules[f"solvers.{info.name}"] = importlib.import_module(
                f"dmft.solvers.{info.name}"
            )
