from pathlib import Path

import pytest


@pytest.fixture
def stunts(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import stunts

    return stunts


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return folder
