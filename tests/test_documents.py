"""The code of docs/extending.md runs as it stands, and touches nothing of the package."""

import re
from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft.cli.main import build_parser
from dmft.cli.options import build_problem, merge
from dmft.networks.registry import NETWORKS
from dmft.signals import LAWS

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture
def registries():
    before = dict(NETWORKS), dict(LAWS)
    yield
    for registry, known in zip((NETWORKS, LAWS), before, strict=True):
        registry.clear()
        registry.update(known)


def test_the_page_on_extensions(registries, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    page: dict = {"__name__": "extending"}
    assert len(blocks) == 5
    for block in blocks:
        exec(block, page)
    # what was new is solved, agrees with simulations and can be saved
    solution, coarse = page["solution"], page["coarse"]
    assert solution.success, solution.message
    assert page["report"].verdict != "rejected", page["report"].message
    np.testing.assert_allclose(coarse.test_error, solution.test_error, rtol=0.05)
    assert page["started"].success, page["started"].message
    assert page["seen"].verdict != "rejected", page["seen"].message
    path = tmp_path / "squared.h5"
    solution.save(path)
    assert dmft.load(path).problem == page["problem"]
    words = ["--delta", "0.5", "--signal", "ternary", "--density", "0.2", "--network", "squared"]
    given = vars(build_parser(["predict"]).parse_args(["predict", *words]))
    assert build_problem(merge(given)).network == page["Squared"]()
    law = page["Ternary"](0.2)
    assert dmft.signals.signal_from_config(law.config()) == law


def test_classes_of_the_page_take_twenty_lines_at_most():
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        for text in re.findall(r"(?:@.*\n)*class .*?(?=\n\n\n)", block, flags=re.DOTALL):
            assert len(text.splitlines()) <= 20, text
