"""A model whose points misbehave in every way that a sweep has to survive."""

import dataclasses
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dmft.storage import Group, Record
from dmft.trajectory import Trajectory


@dataclass(frozen=True)
class Stunt:
    """x(t) = height t; `act` is what happens on the way, `log` counts the calls."""

    height: float = 1.0
    act: str = "none"
    log: str = ""
    seconds: float = 0.0

    verbs: ClassVar = {"solve": "stunts"}

    def config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@dataclass(frozen=True, eq=False, repr=False)
class Line(Trajectory):
    t: np.ndarray
    values: dict
    error: dict
    texts: ClassVar = {"test_error": "x(t)"}

    def summary(self):
        return {}

    def record(self):
        return Record("a line", {}, Group(self.function_variables()))

    @classmethod
    def from_record(cls, record):
        content = record.content
        return cls(content["t"], {"test_error": content["test_error"]}, {})


def solve(problem, t_max, t_eval, slope=1.0):
    begun = Path(problem.log) / f"{problem.height}"
    first = not begun.exists()
    with begun.open("a") as file:
        file.write("begun\n")
    time.sleep(problem.seconds)
    if problem.act == "memory":
        np.zeros(2**55)
    if problem.act == "value":
        raise ValueError("the height is\nunlucky")
    if problem.act == "kill" or (problem.act == "kill once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    t = np.array(t_eval)
    value = {"test_error": slope * problem.height * t}
    return Line(t, value, {"test_error": 0 * t})


def counts(log):
    """How often each height was begun."""
    return {float(f.name): len(f.read_text().splitlines()) for f in Path(log).iterdir()}
