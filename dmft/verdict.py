"""What a comparison says in a word and in a sentence."""

from __future__ import annotations

from typing import Any, Literal

# Probability of rejecting the right theory that chance may have.
LEVEL = 0.01
# Least probability of the largest deviation by chance with which a theory may be said to agree.
DOUBTLESS = 0.1


def verdict_of(
    p_value: float, detectable: dict[str, float], resolution: float
) -> Literal["agree", "rejected", "inconclusive"]:
    """Return the verdict of a test that sees relative errors of the size `detectable`.

    Examples
    --------
    >>> verdict_of(0.5, {"test_error": 0.1}, 0.3), verdict_of(0.001, {"test_error": 0.1}, 0.3)
    ('agree', 'rejected')
    """
    if p_value < LEVEL:
        return "rejected"
    seen = max(detectable.values()) <= resolution
    return "agree" if seen and p_value >= DOUBTLESS else "inconclusive"


def message_of(
    ensemble: Any,
    verdict: str,
    where: str,
    largest: float,
    critical: float,
    detectable: dict[str, float],
    resolution: float,
) -> str:
    """Return the outcome of a comparison in a sentence."""
    if ensemble.seeds == 1:
        return (
            "The comparison is inconclusive: one seed has no spread from which to take a standard "
            "error; simulate at least 8."
        )
    setting = f"d = {ensemble.dimension}, {ensemble.seeds} seeds"
    if verdict == "rejected":
        return (
            f"The theory is rejected at {setting}: {where} is {largest:.1f} combined standard "
            f"errors beyond the allowed finite-size bias, where chance explains {critical:.1f}."
        )
    furthest = (
        "no value differs by more than the allowed finite-size bias"
        if largest == 0
        else f"the largest deviation beyond the allowed finite-size bias, of {where}, is "
        f"{largest:.1f} combined standard errors, where chance explains {critical:.1f}"
    )
    seen = " and ".join(f"{100 * value:.3g} % of {name}" for name, value in detectable.items())
    if verdict == "agree":
        return (
            f"Theory and simulation agree at {setting}: {furthest}; errors of {seen}, the same at "
            "all times after the start, would be rejected in 95 % of data sets."
        )
    if max(detectable.values()) <= resolution:
        return (
            f"The comparison is inconclusive at {setting}: {furthest}; so large a deviation is "
            "rare by chance, but not enough to reject: simulate more seeds or a larger dimension."
        )
    return (
        f"The comparison is inconclusive at {setting}: {furthest}, but only errors of {seen}, the "
        "same at all times after the start, would be rejected in 95 % of data sets, and "
        f"{100 * resolution:g} % is asked for: simulate more seeds or a larger dimension."
    )
