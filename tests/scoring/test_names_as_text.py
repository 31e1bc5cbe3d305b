"""Names that are markup, formulas or commands are text in all that scoring writes."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scoring import compare, score_submissions
from tests.scoring.browser import ABSENT, CHROMIUM, DRIVER, Browser
from tests.scoring.trees import made_up, write_tree

FORMULA = '=HYPERLINK("http:x")'
NAMES = (
    FORMULA,
    "@SUM(A1)",
    "-1+1",
    "-1.5",
    "<img src=x onerror=alert(1)>",
    "<b>bold<i> %{x} &amp;",
    "a|b`c*d*[e](f)",
    "$\\frac{1}$ $x",
    "\x1b]0;owned\x07 \x1b[2J",
    "two\nlines\r\tand\u202emore\u2028",
    "_hidden",
    "constructor",
    "全角",
)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    run = {
        "status": "\x1b[31m</script><b>",
        "versions": {"<i>\x1b": "=1", "\ud800": "</script>"},
        "hyperparameters": {"=x\x1b": "<u>\x1b"},
    }
    trials = [
        made_up(name, "ogbg", study, 1, 10.0 + place, run)
        for place, name in enumerate(NAMES)
        for study in range(2)
    ]
    write_tree(trials, folder / "in")
    flags = [f"--submission_directory={folder / 'in'}", "--workloads=ogbg,wmt"]
    flags += [f"--output_dir={folder / 'out'}", "--resamples=20"]
    assert score_submissions.main(flags) == 0
    return folder / "out"


def is_plain(text: str) -> bool:
    return all(c.isprintable() or c in "\n\u3000" for c in text)


def test_terminal(written, capsys):
    tree = written.parent / "in"
    flags = [f"--output_dir={written.parent / 'two'}", "--resamples=5"]
    scored = [f"--submission_directory={tree}", "--noreport"]
    assert score_submissions.main([*scored, *flags]) == 0
    sides = [str(tree / NAMES[8]), str(tree / NAMES[9])]
    assert compare.main([*sides, *flags]) == 0
    said = capsys.readouterr()
    assert is_plain(said.out + said.err)
    assert r"\x1b]0;owned\x07 \x1b[2J" in said.out
    assert "hyperparameter" not in said.out  # the same on both sides


def test_tables(written):
    for path in written.glob("*.csv"):
        text = path.read_text()
        assert is_plain(text)
        for cell in (cell for row in csv.reader(text.splitlines()) for cell in row):
            number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?|-?inf", cell)
            assert number or cell[:1] not in tuple("=+-@")
    with (written / "scores.csv").open() as file:
        names = {row["submission"] for row in csv.DictReader(file)}
    assert {f"'{FORMULA}", "'@SUM(A1)", "'-1+1", "-1.5", "_hidden"} <= names


def test_markdown(written):
    text = (written / "tables.md").read_text()
    assert is_plain(text)
    assert "<" not in text.replace("<br>", "")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 * (len(NAMES) + 2)
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths == {7, 4}
    assert "`" not in text.replace("\\`", "")


def test_json_is_plain_text(written):
    text = (written / "results.json").read_text()
    assert is_plain(text)
    assert "\\ud800" not in text.replace("\\\\ud800", "")
    assert json.loads(text)["scores"][0]["submission"] == FORMULA


class Tags(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_page(written):
    page = (written / "report.html").read_text()
    assert is_plain(page.replace("\u00a0", ""))
    tags = Tags(page).seen
    assert not [a for _, a in tags if any(name.startswith("on") for name in a)]
    assert not [tag for tag, _ in tags if tag in ("img", "u")]
    assert [tag for tag, _ in tags].count("script") == 3
    shown = [a["data-submission"] for _, a in tags if "data-submission" in a]
    assert {"<img src=x onerror=alert(1)>", FORMULA} <= set(shown)


def test_pictures(written):
    text = (written / "performance_profiles.svg").read_text()
    for name in ("_hidden", "$\\frac{1}$ $x", "&lt;b&gt;bold&lt;i&gt;"):
        assert name in text  # matplotlib's comment above each line of text


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=ABSENT)
def test_charts(written, tmp_path):
    with Browser(tmp_path / "profile") as browser:
        browser.open(written / "report.html")
        browser.wait("document.body.dataset.ready")
        assert browser.console() == []
        script = "return document.getElementById('curves').data.map(t => t.name)"
        assert {"<b>bold<i> %{x} &amp;", "constructor"} <= set(browser.run(script))
        hover = (
            "const chart = document.getElementById('curves');"
            "const place = chart.data.findLastIndex(t => t.name.startsWith('<b>'));"
            "Plotly.Fx.hover(chart, [{curveNumber: place, pointNumber: 0}]);"
            "return chart.querySelector('.hoverlayer').textContent"
        )
        assert "<b>bold<i> %{x} &amp;" in browser.run(hover)
