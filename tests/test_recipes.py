"""The code of docs/recipes.md runs as it stands."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"


def test_every_recipe_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    page: dict = {"__name__": "recipes"}
    for block in blocks:
        exec(block, page)
    # each gives what its title promises
    assert 0 < page["best"] < len(page["t"]) - 1
    assert abs(page["check"].test_error - page["solution"].test_error).max() < 0.01
    assert page["sweep"]["status"].tolist() == [["done"] * 3] * 2
    assert page["dmft"].compare(page["theory"], page["own"]).verdict != "agree"
