"""What came of the solves of random problems: verdicts, distributions by region, tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from random_cases import Case, describe, regions, times
from reporting import save, subplots, table, versions

FACTOR = 3.0  # by which an estimate may be exceeded
SLOW = 20.0  # seconds of processor time
SMALL = 0.5  # doubt over the error that is permitted, at which a reference is good enough


@dataclass(frozen=True)
class Outcome:
    """One solve against the reference.

    `over_estimate` and `over_allowed` are the largest errors over the solver's estimate and over
    rtol (|v(t)| + 1e-3 max v). The smaller of what the two conditions permit is the unit of
    `doubt`, that of the reference, and of `certain`, the largest error less the doubt.
    """

    case: Case
    rtol: float
    seconds: float
    success: bool
    message: str
    paths: int = 0
    nodes: int = 0
    over_estimate: float = math.nan
    over_allowed: float = math.nan
    doubt: float = math.nan
    certain: float = math.nan
    reference: str = "none"
    reference_cost: float = math.nan
    disputed: bool = False

    @property
    def good(self) -> bool:
        """Whether the errors are within what is permitted."""
        return max(self.over_estimate, self.over_allowed) <= FACTOR

    @property
    def missed(self) -> bool:
        """Whether an error is certainly too large, or there is no solution."""
        return self.nodes == 0 or self.certain > 1


HEAD = (
    "no.", "problem", "rtol", "time / s", "paths", "nodes", "error/estimate", "error/allowed",
    "reference", "doubt", "its cost", "verdict",
)  # fmt: skip


def cells(number: int, outcome: Outcome) -> list[str]:
    """Return a row of the table."""
    return [
        str(number),
        describe(outcome.case),
        f"{outcome.rtol:.0e}",
        f"{outcome.seconds:.2f}",
        str(outcome.paths),
        str(outcome.nodes),
        f"{outcome.over_estimate:.2g}",
        f"{outcome.over_allowed:.2g}",
        outcome.reference,
        f"{outcome.doubt:.2g}",
        f"{outcome.reference_cost:.3g}",
        verdict(outcome),
    ]


def verdict(outcome: Outcome) -> str:
    """Return what there is to say of a solve."""
    remarks = ["good" if outcome.good else "MISSED" if outcome.missed else "undecided"]
    if not outcome.success:
        remarks.append(outcome.message)
    if outcome.disputed:
        remarks.append("references disagree")
    if outcome.seconds > SLOW:
        remarks.append("slow")
    return "; ".join(remarks)


def share_of_good(outcomes: list[Outcome]) -> float:
    """Return the share of good solves among those that can be judged."""
    good, missed = sum(o.good for o in outcomes), sum(o.missed for o in outcomes)
    return good / max(good + missed, 1)


REGIONS_HEAD = (
    "region", "rtol", "solves", "succeed / %", "judged", "median", "90 %", "95 %", "largest",
    "below 1 / %", "below 3 / %",
)  # fmt: skip


def by_region(results: list[Outcome]) -> Iterator[list[str]]:
    """Yield a row for each region and rtol: the share of successes, and error over estimate."""
    found: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in results:
        for region in regions(outcome.case):
            found.setdefault((region, outcome.rtol), []).append(outcome)
    for (region, rtol), part in sorted(found.items(), key=lambda item: (item[0][0], -item[0][1])):
        done = [o for o in part if o.success and o.seconds <= SLOW]
        ratios = np.array([o.over_estimate for o in done if o.doubt <= SMALL])
        row = [region, f"{rtol:.0e}", str(len(part)), f"{100 * len(done) / len(part):.1f}"]
        if ratios.size:
            quantiles = np.quantile(ratios, [0.5, 0.9, 0.95, 1.0])
            shares = [100 * np.mean(ratios <= limit) for limit in (1.0, FACTOR)]
            numbers = [*(f"{q:.2g}" for q in quantiles), *(f"{s:.1f}" for s in shares)]
        else:
            numbers = ["-"] * 6
        yield [*row, str(ratios.size), *numbers]


def report(outcomes: list[tuple[int, Outcome]], seed: int) -> str:
    """Return the Markdown text."""
    results = [outcome for _, outcome in outcomes]
    summary = []
    for rtol in sorted({o.rtol for o in results}, reverse=True):
        part = [o for o in results if o.rtol == rtol]
        counts = (
            sum(o.good for o in part),
            sum(o.missed for o in part),
            sum(not (o.good or o.missed) for o in part),
            sum(o.certain > 1 for o in part),
            sum(o.nodes == 0 for o in part),
            sum(not o.success and o.nodes > 0 for o in part),
            sum(o.seconds > SLOW for o in part),
            sum(o.disputed for o in part),
        )
        share = f"{100 * share_of_good(part):.1f}"
        median = f"{np.median([o.seconds for o in part]):.2f}"
        summary.append([f"{rtol:.0e}", len(part), share, *counts, median])
    head = (
        "rtol", "solves", "good / %", "good", "missed", "undecided", "errors too large",
        "no solution", "says it failed", f"over {SLOW:g} s", "references disagree",
        "median time / s",
    )  # fmt: skip
    return "\n".join(
        [
            "# Error estimates on random problems",
            "",
            f"Seed {seed}. Good: errors of test_error and train_error below {FACTOR:g} times the "
            f"estimate and {FACTOR:g} times the tolerance at all "
            f"{times(1.0).size} times. Times are processor times.",
            "",
            table(head, summary),
            "",
            f"By region: solves that report success within {SLOW:g} s, and quantiles of the "
            "largest error over the estimate where a reference is good enough to tell (its "
            f"doubt below {SMALL:g} of what is permitted):",
            "",
            table(REGIONS_HEAD, by_region(results)),
            "",
            "Largest errors over the estimate and over the allowed error; the reference's "
            "doubt over what is permitted, and its time over that of the most accurate solve:",
            "",
            table(HEAD, [cells(*pair) for pair in outcomes]),
            "",
            versions(),
        ]
    )


def draw(outcomes: list[tuple[int, Outcome]], directory: Any, name: str) -> None:
    """Write the errors over estimate and tolerance, one point a solve."""
    figure, axes = subplots(2)
    done = [o for _, o in outcomes if o.nodes]
    for rtol in sorted({o.rtol for o in done}, reverse=True):
        part = [o for o in done if o.rtol == rtol]
        label = f"rtol {rtol:.0e}"
        axes[0].loglog(
            [o.over_estimate for o in part], [o.over_allowed for o in part], "o", ms=4, label=label
        )
        axes[1].loglog(
            [o.case.t_max for o in part], [o.seconds for o in part], "o", ms=4, label=label
        )
    axes[0].axvline(FACTOR, color="k", lw=0.8)
    axes[0].axhline(FACTOR, color="k", lw=0.8)
    axes[0].set(xlabel="error / estimate", ylabel="error / allowed error")
    axes[1].set(xlabel="horizon", ylabel="processor time / s")
    axes[1].legend()
    save(figure, directory, name)
