"""Damaged files are refused: none loads other numbers, hangs or crashes the process."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from damaged_files import GOOD, outcomes

SEED = 7


def test_damaged_copies_are_refused():
    counts = outcomes(copies=60, seed=SEED)
    assert {outcome for _, outcome in counts} <= GOOD, (counts, SEED)
    refused = {kind for kind, outcome in counts if outcome == "refused"}
    assert refused == {"truncated", "bits flipped", "sector zeroed"}, (counts, SEED)
