"""BibTeX of what a result rests on."""

import re

import pytest

import dmft
from dmft.citations import ENTRIES

PROBLEM = dmft.Problem(0.5, 1.0, 0.1, 0.1)


def keys(text):
    """Return the keys of BibTeX entries, each of which must be well formed."""
    found = []
    for entry in text.split("\n\n"):
        head, *fields, end = entry.split("\n")
        assert end == "}"
        for number, field in enumerate(fields, 1):
            assert re.fullmatch(r"  [a-z]+ = \{.+\}" + ("," if number < len(fields) else ""), field)
        assert entry.count("{") == entry.count("}")
        assert {"author", "title", "year"} <= {field.split()[0] for field in fields}
        found.append(re.fullmatch(r"@[a-z]+\{(\S+),", head)[1])
    return found


def test_a_solution_cites_its_theory_its_network_and_its_methods():
    solution = dmft.solve(PROBLEM, 1.0, rtol=0.01)
    common = ["dmft", "arxiv2510.01930", "arxiv2112.07572"]
    methods = ["hairer1996", "stetter1978"]
    assert keys(dmft.cite(solution)) == [*common, *methods, "gerstner1998"]
    sobol = dmft.solve(PROBLEM, 1.0, rtol=0.1, rule=dmft.SobolRule(256))
    assert keys(dmft.cite(sobol)) == [*common, *methods, "joe2008"]
    deep = dmft.solve(dmft.Problem(0.5, network="deep"), 1.0, rtol=0.01)
    assert keys(dmft.cite(deep))[3] == "arxiv2607.12332"
    assert "eprint = {2510.01930}" in dmft.cite(solution)


def test_other_results_and_no_result():
    ensemble = dmft.simulate(PROBLEM, [0.0, 1.0], dimension=20, seeds=1, workers=1)
    assert keys(dmft.cite(ensemble)) == keys(dmft.cite()) == ["dmft", "arxiv2510.01930"]
    assert keys(dmft.cite(dmft.saddle_to_saddle([[1.0]], [1.0])))[1] == "arxiv2304.00488"
    with pytest.raises(TypeError, match="result must be a result"):
        dmft.cite(PROBLEM)


def test_every_entry_is_well_formed():
    class Everything:
        sources = tuple(ENTRIES)

    assert len(keys(dmft.cite(Everything()))) == len(ENTRIES) + 1
