"""The report as a browser shows it: opened from disk in a headless Chromium, if there is one."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

import dmft
from dmft.cli.main import main

pytest.importorskip("jinja2", reason="needs jinja2: pip install 'dmft[report]'")
from dmft.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser Chromium")

# A page that shows the report as on a phone, measures it, and becomes what it has measured.
PROBE = """
<iframe id="report" src="report.html" width="390" height="844"></iframe>
<script>
document.getElementById("report").onload = (event) => {
  const page = event.target.contentDocument, view = event.target.contentWindow;
  const style = view.getComputedStyle(page.body);
  const inks = [...page.images].filter((i) => i.naturalWidth).map((image) => {
    const canvas = document.createElement("canvas"), brush = canvas.getContext("2d");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    brush.drawImage(image, 0, 0);
    const data = brush.getImageData(0, 0, canvas.width, canvas.height).data;
    let [black, white] = [0, 0];
    for (let k = 0; k < data.length; k += 4) {
      const solid = data[k + 3] > 250;
      black += solid && data[k] < 30 && data[k + 1] < 30 && data[k + 2] < 30;
      white += solid && data[k] > 220 && data[k + 1] > 220 && data[k + 2] > 220;
    }
    return [black, white];
  });
  const found = {
    inks,
    title: page.title,
    text: page.body.innerText,
    images: [...page.images].map((i) => [i.complete, i.naturalWidth, i.clientWidth, i.alt]),
    width: page.documentElement.scrollWidth,
    requests: view.performance.getEntriesByType("resource").map((e) => e.name),
    paper: style.backgroundColor, ink: style.color,
  };
  document.body.innerHTML = "<pre></pre>";
  document.body.firstChild.textContent = JSON.stringify(found);
};
</script>
"""


def browse(folder, dark=False):
    """Return what the probe measures, and what the browser says of errors."""
    (folder / "probe.html").write_text(PROBE)
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}"),
            *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
            *("--enable-logging=stderr", f"--blink-settings=preferredColorScheme={int(not dark)}"),
            *("--virtual-time-budget=20000", "--dump-dom", str(folder / "probe.html")),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=dict(os.environ, HOME=str(folder)),
    )
    found = re.search(r"<pre>(.*)</pre>", done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(text), console


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    t = np.linspace(0.0, 2.0, 5)
    problem = dmft.Problem(0.5, 1.0, 0.1, 0.1, network="linear")
    dmft.solve(problem, 2.0, t, rtol=1e-2).save(folder / "theory.h5")
    dmft.simulate(problem, t, dimension=30, seeds=4, workers=1).save(folder / "flow.h5")
    dmft.sweep(
        problem,
        delta=[0.01, 0.5, 1.0],
        simulate={"t_max": 1.0, "dimension": 20, "seeds": 2},
        out=folder / "sweep",
        workers=1,
    )
    files = [str(folder / name) for name in ("theory.h5", "flow.h5", "sweep")]
    words = ["report", *files, "--out", str(folder / "report.html"), "--title", "A <b>run</b>"]
    assert main(words) == 0
    return folder


@pytest.fixture(scope="module")
def shown(report):
    """What the browser shows by day."""
    return browse(report)


@needs_chromium
def test_a_browser_shows_title_figures_and_tables_and_asks_nobody(shown):
    page, console = shown
    assert page["title"] == "A <b>run</b>"
    assert console == []
    assert [name for name in page["requests"] if not name.startswith("data:")] == []
    assert len(page["images"]) >= 8
    for complete, natural, shown, alt in page["images"]:
        assert complete
        assert natural > 300, alt
        assert 200 < shown <= 390, alt
    assert page["width"] <= 390  # nothing is cut off on a phone
    assert page["paper"] == "rgb(255, 255, 255)"
    for text in (
        "Converged; the estimated relative error",
        "Estimated relative error by source",
        "Points that failed: 1",
        "theory.h5 and flow.h5",
        "@misc{arxiv2510.01930",
        "How to cite",
    ):
        assert text in page["text"], text


@needs_chromium
def test_dark_pages_have_dark_figures(report, shown):
    light, dark = shown[0], browse(report, dark=True)[0]
    assert dark["paper"] == "rgb(21, 23, 26)"
    assert dark["ink"] == "rgb(228, 230, 233)"
    for (black, _), (black_in_the_dark, white) in zip(light["inks"], dark["inks"], strict=True):
        assert black > 100  # axes and texts
        assert black_in_the_dark < 0.1 * black
        assert white > 100


@needs_chromium
def test_a_page_that_asked_the_network_would_be_seen(report, tmp_path):
    page = (report / "report.html").read_text()
    asking = page.replace("</body>", '<img src="http://127.0.0.1:9/x.png"></body>')
    (tmp_path / "report.html").write_text(asking)
    assert "Content Security Policy" in "".join(browse(tmp_path)[1])


def test_what_a_report_holds(report):
    page = (report / "report.html").read_text()
    assert page.count("<img ") == page.count('prefers-color-scheme: dark)" srcset="data:')
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "A &lt;b&gt;run&lt;/b&gt;" in page
    solution = dmft.load(report / "theory.h5")
    last = f"{solution.test_error[-1]:.6g} ± {solution.error['test_error'][-1]:.1g}"
    assert last in page
    assert page.count("@software{dmft") == 1


def test_bad_input_is_named(report, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"out must end in \.html"):
        write_report([report / "theory.h5"], tmp_path / "report.pdf")
    with pytest.raises(ValueError, match="files must name at least one file"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(FileNotFoundError, match="the directory of path must exist"):
        write_report([report / "theory.h5"], tmp_path / "no" / "report.html")
    assert main(["report", "missing.h5", "--out", str(tmp_path / "report.html")]) == 2
    assert "missing.h5" in capsys.readouterr().err
    (tmp_path / "bad.h5").write_bytes(b"nothing")
    assert main(["report", str(tmp_path / "bad.h5"), "--out", str(tmp_path / "r.html")]) == 2
    point = next((report / "sweep" / "points").iterdir())
    assert main(["report", str(point), "--out", str(tmp_path / "r.html")]) == 2
    assert "a report cannot be made of a SweepPoint" in capsys.readouterr().err
    assert list(tmp_path.glob("*.html")) == []
