"""A few real interrupts; `python benchmarks/interrupts.py` makes fifty."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from interrupts import STAGES, trials


@pytest.mark.parametrize("stage", STAGES, ids=[stage.name for stage in STAGES])
def test_an_interrupt_ends_as_keyboard_interrupt(stage):
    for outcome in trials(1, rng=2, stages=[stage]):
        assert outcome.fault == "", f"seed 2, {outcome}"
