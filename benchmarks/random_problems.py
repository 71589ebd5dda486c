"""Are the error estimates of `dmft.solve` true? Random problems against finer solutions.

    python benchmarks/random_problems.py [--full] [--wide] [--problems N] [--seed S] [--out DIR]
                                         [--references DIR]

writes random_problems.md and random_problems.png. Problems are drawn over delta 0.2..4,
alpha 1e-4..5, lam 0 or 0.01..0.5, sigma2 0..0.5, every law of w* and horizons 1..500; with --wide
over delta 0.1..8 and 1 exactly, alpha 1e-6..10, horizons 1..3000, laws of up to 500 atoms, unequal
starts, deep networks and products. Each is solved at two rtol. The distribution of error/estimate
and the share of failures are listed by region. With the reference's value v(t) of test_error or
train_error, the solve is good where at all times

    |error| <= 3 x its estimate,        |error| <= 3 rtol (|v(t)| + 1e-3 max v).

At least 95 % of the solves that can be judged have to be good; the exit status says so. One that
does not end within the limit of time is not good. One is undecided where the reference's doubt
could make up for what is too much. Solves that say themselves that they have not succeeded are
counted apart.

References share neither noise rule nor nodes with the solve and start from nothing, on the most
accurate solution's panels cut in two, with another number of nodes in each.

- Sobol: scrambled nets of 24 modes whose number of points grows as rtol falls.
- Sparse: where their doubt is above half of what is permitted (the estimate can be far below
  rtol), a rule like the solver's, of another spacing and offset in the leading mode and with a
  sparse grid that keeps terms down to an eighth. It has to agree with the nets within the errors
  that the two state.

They take about thirty times the time of an expensive solve and more for a cheap one. The doubt is
two standard errors over three nets, or what two more sparse rules change; it is listed as a share
of the error that is permitted. With --references they are kept in files, which another run reads
instead of solving anew: it then takes minutes instead of hours.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from random_cases import USUAL, WIDE, Case, draw_cases, times
from random_report import FACTOR, SMALL, Outcome, cells, draw, report, share_of_good
from reporting import parser, peak_memory, time_limit, write

from dmft.equations.noise_rules import NoiseRule, SobolRule, SparseRule
from dmft.problem import Problem
from dmft.solution import Solution
from dmft.solver.solve import solve
from dmft.solvers.collocation import Grid
from dmft.storage import load

OBSERVABLES = ("test_error", "train_error")
SHARE = 0.95  # of the solves that must be good
STAGES = 7
TIGHTER = 0.1  # rtol of a reference over that of the solution
POINTS = 30.0  # of the Sobol nets in all strata, times 1/rtol: about as many as solves need paths
MODES = 24
LEAST_POINTS = 256  # in a stratum
# A solution under three nets states 3 (|a - b| + |a - c|) as its error, in the mean 6.8 standard
# deviations of a net and 12 of the mean over the three.
TWO_STANDARD_ERRORS = 1.0 / 6.0
WHOLE_CHANGE = 1.0 / 3.0  # of the stated error under a sparse rule, without the solver's safety
SPACING = 0.7  # no power of two: the leading rules share no node
LEVEL = 1.0 / 8.0  # of the importance that the solver's sparse grid keeps
EXTRA_ATOMS = 7
ATOL = 1e-3  # of the largest value, that `solve` always allows
REFERENCE_LIMIT = 3.0  # of the time that a solve may take
SECONDS = "processor_time"  # of a reference, in its stats


@dataclass(frozen=True)
class Reference:
    """A solution to measure others by; its doubt is `share` of the error that it states."""

    kind: str
    solution: Solution
    share: float
    seconds: float = math.nan  # of processor time
    disputed: bool = False

    def doubt(self, name: str) -> np.ndarray:
        """Return how far the values may be from the truth, shape (T,)."""
        return self.share * self.solution.error[name]

    def agrees(self, other: Reference) -> bool:
        """Whether two references differ by no more than the errors that they state."""
        mine, theirs = self.solution, other.solution
        return all(
            np.all(
                np.abs(mine.values[name] - theirs.values[name])
                <= mine.error[name] + theirs.error[name]
            )
            for name in OBSERVABLES
        )

    def measure(self, solution: Solution) -> dict[str, float]:
        """Return the measured fields of an `Outcome`."""
        largest: dict[str, float] = {}
        for name in OBSERVABLES:
            value, estimate = self.solution.values[name], solution.error[name]
            error, doubt = np.abs(solution.values[name] - value), self.doubt(name)
            allowed = solution.rtol * (np.abs(value) + ATOL * np.max(np.abs(value)))
            permitted = FACTOR * np.minimum(estimate, allowed)
            ratios = {
                "over_estimate": error / estimate,
                "over_allowed": error / allowed,
                "doubt": doubt / permitted,
                "certain": (error - doubt) / permitted,
            }
            for key, ratio in ratios.items():
                largest[key] = max(largest.get(key, -math.inf), float(np.max(ratio)))
        return largest


def examine(
    case: Case, rtols: tuple[float, ...], limit: float = math.inf, kept: Path | None = None
) -> list[Outcome]:
    """Solve at each rtol within `limit` seconds and compare with the reference.

    References are kept in files whose paths begin with `kept`.
    """
    t = times(case.t_max)
    solves = [_attempt(case, rtol, t, limit) for rtol in rtols]
    usable = [
        (solution, seconds)
        for solution, seconds in solves
        if isinstance(solution, Solution) and solution.status < 2
    ]
    reference, cost = None, math.nan
    if usable:
        best, seconds = min(usable, key=lambda pair: pair[0].rtol)
        reference = find_reference(best, REFERENCE_LIMIT * limit, kept)
        cost = reference.seconds / seconds if reference else math.nan
    return [
        outcome(case, rtol, found, reference, seconds, cost)
        for rtol, (found, seconds) in zip(rtols, solves, strict=True)
    ]


def _attempt(
    case: Case, rtol: float, t: np.ndarray, limit: float
) -> tuple[Solution | Exception, float]:
    """Return the solution, or what went wrong, and the processor time in seconds."""
    started = time.process_time()
    outcome: Solution | Exception
    try:
        with time_limit(limit):
            outcome = solve(case.problem, case.t_max, t, rtol)
    except Exception as error:  # whatever it is, the other problems go on
        outcome = error
    return outcome, time.process_time() - started


def outcome(
    case: Case,
    rtol: float,
    found: Solution | Exception,
    reference: Reference | None,
    seconds: float,
    cost: float,
) -> Outcome:
    """Return what came of one solve."""
    if not isinstance(found, Solution):
        return Outcome(case, rtol, seconds, False, f"{type(found).__name__}: {found}")
    base = Outcome(
        case,
        rtol,
        seconds,
        found.success,
        found.message,
        paths=found.stats["paths"],
        nodes=found.stats["nodes"],
        reference_cost=cost,
    )
    if reference is None:
        return base
    return replace(
        base, **reference.measure(found), reference=reference.kind, disputed=reference.disputed
    )


def find_reference(solution: Solution, limit: float, kept: Path | None = None) -> Reference | None:
    """Return the reference for a solution; each try may take `limit` seconds."""
    nets = _reference("Sobol", TWO_STANDARD_ERRORS, solution, sobol_rule(solution), limit, kept)
    if nets is not None and nets.measure(solution)["doubt"] <= SMALL:
        return nets
    sparse = _reference("sparse", WHOLE_CHANGE, solution, sparse_rule(solution), limit, kept)
    if sparse is None or nets is None:
        return nets or sparse
    seconds = nets.seconds + sparse.seconds
    return replace(sparse, seconds=seconds, disputed=not sparse.agrees(nets))


def _reference(
    kind: str, share: float, solution: Solution, rule: NoiseRule, limit: float, kept: Path | None
) -> Reference | None:
    """Return one that was kept for the problem, or a new one; None where that takes too long."""
    path = kept and kept.with_name(f"{kept.name}_{kind}.h5")
    found = load(path) if path and path.exists() else None
    if found is None or not _suits(found, solution):
        started = time.process_time()
        try:
            with time_limit(limit):
                found = finer(solution, rule)
        except TimeoutError:
            return None
        found = replace(found, stats={**found.stats, SECONDS: time.process_time() - started})
        if path:
            found.save(path)
    return Reference(kind, found, share, found.stats[SECONDS])


def _suits(found: Solution, solution: Solution) -> bool:
    """Whether a solution that was kept is a reference for this one."""
    same = found.problem == solution.problem and np.array_equal(found.t, solution.t)
    return same and found.rtol <= TIGHTER * solution.rtol


def finer(solution: Solution, rule: NoiseRule) -> Solution:
    """Solve under another rule on another grid."""
    edges = solution.grid.edges
    grid = Grid(np.union1d(edges, 0.5 * (edges[1:] + edges[:-1])), STAGES)
    rtol = TIGHTER * solution.rtol
    return solve(solution.problem, grid.t_max, solution.t, rtol, grid=grid, rule=rule)


def sobol_rule(solution: Solution) -> SobolRule:
    """Return a Sobol net of a size that suits the tolerance."""
    strata = min(len(solution.problem.signal.components()), SobolRule.atoms)
    points = max(LEAST_POINTS, POINTS / solution.rtol / strata)
    return SobolRule(2 ** round(math.log2(points)), MODES)


def sparse_rule(solution: Solution) -> SparseRule:
    """Return another rule of the solver's family."""
    text = solution.stats["noise_rule"]
    values = dict(part.split("=") for part in text[text.index("(") + 1 : -1].split(", "))
    return SparseRule(
        spacing=SPACING * float(values["spacing"]),
        tolerance=LEVEL * float(values["tolerance"]),
        offset=0.5,
        atoms=int(values["atoms"]) + EXTRA_ATOMS,
        max_points=4 * SparseRule.max_points,
    )


def main() -> None:
    options = parser("Error estimates on random problems.", "200 problems (an hour or more)")
    options.add_argument("--problems", type=int, help="number of problems (default: 20, or 200)")
    options.add_argument("--first", type=int, default=0, help="number of the first problem")
    options.add_argument("--wide", action="store_true", help="draw from the wide ranges")
    options.add_argument("--rtol", type=float, nargs="+", default=[1e-2, 1e-3])
    options.add_argument("--seed", type=int, default=0, help="of the problems (default: 0)")
    options.add_argument("--limit", type=float, default=60.0, help="processor seconds for a solve")
    options.add_argument("--references", type=Path, help="directory where references are kept")
    arguments = options.parse_args()
    count = arguments.problems or (200 if arguments.full else 20)
    rtols = tuple(arguments.rtol)

    if arguments.references:
        arguments.references.mkdir(parents=True, exist_ok=True)
    solve(Problem(1.0), 1.0, rtol=0.1)  # compiles
    outcomes = []
    ranges, name = (WIDE, "random_problems_wide") if arguments.wide else (USUAL, "random_problems")
    for number, case in enumerate(draw_cases(arguments.first + count, arguments.seed, ranges)):
        if number < arguments.first:
            continue
        kept = arguments.references and arguments.references / f"{name}_{arguments.seed}_{number}"
        for outcome in examine(case, rtols, arguments.limit, kept):
            outcomes.append((number, outcome))
            print(" | ".join(cells(number, outcome)), file=sys.stderr, flush=True)
    memory = f"Peak memory of all solves and references: {peak_memory():.0f} MB."
    write(arguments.out, name, f"{report(outcomes, arguments.seed)}\n\n{memory}")
    draw(outcomes, arguments.out, name)
    results = [outcome for _, outcome in outcomes]
    sys.exit(0 if share_of_good(results) >= SHARE else 1)


if __name__ == "__main__":
    main()
