"""Ctrl-C as people expect it: always a KeyboardInterrupt, soon, and never in the wrong place.

Python raises KeyboardInterrupt between any two instructions of the main thread. Where compiled
code is being loaded or a file written, these run in callbacks of C code, which report the exception
and lose it, or return nonsense and a SystemError. `deferred` holds the signal back until such a
block has ended; `interruptible` makes sure that a computation that was interrupted ends with
KeyboardInterrupt whatever became of it inside.

Other threads do not receive signals, and a handler of the caller's own is left in charge: there
both do nothing that could be seen.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def deferred() -> Iterator[None]:
    """Hold Ctrl-C back until the block has ended; then the handler of before is called.

    Blocks should be short, well below a second.

    Examples
    --------
    >>> with deferred():
    ...     total = sum(range(10))
    >>> total
    45
    """
    previous = _handler()
    if previous is None:
        yield
        return
    received: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: received.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if received:
            previous(*received[0])


@contextmanager
def interruptible() -> Iterator[None]:
    """End the block with KeyboardInterrupt if Ctrl-C has come, whatever became of that inside.

    Examples
    --------
    >>> with interruptible():
    ...     total = sum(range(10))
    >>> total
    45
    """
    if _handler() is not signal.default_int_handler:
        yield
        return
    received = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception:
        if received:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if received:
        raise KeyboardInterrupt


def _handler() -> Any:
    """Return the function that is called for Ctrl-C; None where this thread cannot replace it."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGINT)
    return handler if callable(handler) else None
