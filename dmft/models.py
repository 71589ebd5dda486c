"""The verbs of `dmft` for problems of any model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from dmft.interrupts import deferred, interruptible

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def for_every_model(verb: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a problem of another model do `verb` its own way.

    The first argument is a problem, or has one as `problem`. A model names the modules of its
    verbs in the problem's `verbs`, as in {"solve": "dmft.quadratic.solve"}; each is imported when
    first used, and holds a function named like the verb. Whatever has no such entry goes to the
    decorated function, which checks it. Ctrl-C ends every verb with KeyboardInterrupt.

    Examples
    --------
    >>> @for_every_model
    ... def name(problem):
    ...     return "this model"
    >>> name(None)
    'this model'
    """
    name = verb.__name__

    @wraps(verb)
    def chosen(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        first = args[0] if args else next(iter(kwargs.values()), None)
        problem = kwargs.get("problem", getattr(first, "problem", first))
        module = getattr(problem, "verbs", {}).get(name)
        with interruptible():
            if module is None:
                return verb(*args, **kwargs)
            with deferred():  # an import that is interrupted leaves half of a module behind
                own: Callable[Arguments, Result] = getattr(importlib.import_module(module), name)
            return own(*args, **kwargs)

    return chosen
