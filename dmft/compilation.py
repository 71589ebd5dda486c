"""Compiled functions are loaded before a computation starts, and compiled where they must be.

Loading and compiling run in callbacks of LLVM, in which Ctrl-C would be lost. So the signal is
held back while they are loaded from numba's cache, which takes a fraction of a second; what is not
there is compiled in a process of its own, which puts it there and can be ended at any time.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from dmft.interrupts import deferred
from dmft.parallel import unordered_map

FLOW = tuple(
    f"dmft.solvers.{name}"
    for name in (
        "causal_operators",
        "families",
        "principal_modes",
        "scalar_maps",
        "stretching",
    )
)
"""Modules of the compiled functions of gradient flow; each has a function `compile_functions`."""

STEPS = tuple(f"dmft.solvers.{name}" for name in ("growing_basis", "mean_response", "recursions"))
"""The same of training in steps."""

SIMULATION = ("dmft.solvers.paired_layers",)
"""The same of simulated gradient flow of diagonal and deep networks."""

_loaded: set[str] = set()


class _NotCached(Exception):
    """A function would have to be compiled."""


def load(
    modules: Sequence[str] = FLOW, progress: Callable[[str], None] = lambda text: None
) -> float:
    """Load the compiled functions of some modules, or compile them.

    Parameters
    ----------
    modules : sequence of str
        Full names; each module has a function `compile_functions` without arguments that calls
        its compiled functions once with every type of arguments that occurs.
    progress : callable, optional
        Receives a line of text before anything is loaded.

    Returns
    -------
    float
        Seconds that it took; no time at all for what has been loaded.

    Examples
    --------
    >>> seconds = load(["dmft.solvers.principal_modes"])
    >>> load(["dmft.solvers.principal_modes"]) < 0.1
    True
    """
    started = time.perf_counter()
    missing = [name for name in modules if name not in _loaded]
    if missing:
        progress("loading the compiled functions (the first run on a machine compiles them)")
        if not _cached(missing):
            _compile_apart(missing)
        for name in missing:
            with deferred():
                compile_here(name)
            _loaded.add(name)
    return time.perf_counter() - started


def compile_here(module: str) -> None:
    """Load or compile the functions of one module in this process.

    Examples
    --------
    >>> compile_here("dmft.solvers.principal_modes")
    """
    importlib.import_module(module).compile_functions()


def _cached(modules: Sequence[str]) -> bool:
    """Load the functions from numba's cache; return whether all were there."""
    with deferred():
        from numba.core import event

        class Refusal(event.Listener):
            def on_start(self, event: event.Event) -> None:
                raise _NotCached

            def on_end(self, event: event.Event) -> None:
                pass

    for name in modules:
        try:
            with deferred(), event.install_listener("numba:compile", Refusal()):
                compile_here(name)
        except _NotCached:
            return False
    return True


def _compile_apart(modules: Sequence[str]) -> None:
    """Compile the functions in another process, which leaves them in numba's cache."""
    try:
        with closing(unordered_map(compile_here, modules, 1)) as done:
            for _ in done:
                pass
    except RuntimeError:
        pass  # no second interpreter here: this process compiles, though Ctrl-C has to wait for it
