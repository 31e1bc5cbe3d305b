"""The report's layout in a browser: wide, on a phone, on paper, on dark screens."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from scoring.report.page import write_report
from scoring.rules.results import build
from scoring.rules.scored import Options, prepare
from tests.scoring.browser import ABSENT, CHROMIUM, DRIVER, Browser
from tests.scoring.scenes import LONG, scenes

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=ABSENT)

BOARDS = tuple(scenes())
CHARTS = ("profiles", "times", "curves", "tuning")
FORCED = ("--force-dark-mode", "--enable-features=WebContentsForceDark")
QUESTIONS = (Path(__file__).parent / "layout.js").read_text()
Box = tuple[float, float, float, float]


class View:
    """A browser that loads a page only if it does not show it already."""

    def __init__(self, browser: Browser, pages: dict[str, Path]) -> None:
        self.browser = browser
        self._pages = pages
        self._shown = ("", "")

    def show(self, board: str, scheme: str = "light") -> None:
        if self._shown != (board, scheme):
            self.browser.prefer(scheme)
            self.browser.open(self._pages[board])
            self.browser.wait("document.body.dataset.ready")
            self._shown = board, scheme

    def ask(self, question: str) -> Any:
        """Return what a function of layout.js or an expression gives."""
        return self.browser.run(f"{QUESTIONS}; return {question}")

    def boxes(self, selector: str) -> list[Box]:
        return [tuple(box) for box in self.ask(f"boxes({selector!r})")]

    def drawn(self, chart: str) -> bool:
        return bool(self.ask(f"!!document.getElementById('{chart}').data"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("boards")
    options = Options(resamples=100)
    for name, trials in scenes().items():
        scored, problems = prepare(trials, options)
        write_report(build(scored, problems, options), scored, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in BOARDS}


@pytest.fixture(scope="module")
def wide(pages, tmp_path_factory: pytest.TempPathFactory):
    with Browser(tmp_path_factory.mktemp("wide"), 1400, 900) as browser:
        yield View(browser, pages)


@pytest.fixture(scope="module")
def phone(pages, tmp_path_factory: pytest.TempPathFactory):
    with Browser(tmp_path_factory.mktemp("phone"), 390, 844) as browser:
        yield View(browser, pages)


def luminance(colour: list[int]) -> float:
    """Return the relative luminance of WCAG 2."""
    part = np.array(colour) / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def of_css(colour: str) -> float:
    """Return the luminance of what CSS calls rgb(...)."""
    return luminance([int(part) for part in re.findall(r"\d+", colour)[:3]])


def pale(view: View) -> list[str]:
    """Return texts with less than the contrast that WCAG 2 AA asks for."""
    texts = view.ask("texts()")
    assert len(texts) > 80
    bright = [(t, *sorted((luminance(a), luminance(b)))) for t, a, b in texts]
    return [text for text, low, high in bright if (high + 0.05) / (low + 0.05) < 4.5]


def overlaps(found: list[Box]) -> int:
    """Return how many pairs of boxes share more than a pixel each way."""
    return sum(
        min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
        for a, b in itertools.combinations(found, 2)
    )


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("window", ["wide", "phone"])
def test_nothing_stands_out_and_labels_lie_apart(board, window, request):
    view = request.getfixturevalue(window)
    view.show(board)
    assert view.ask("outside()") == []
    assert view.ask("document.documentElement.scrollWidth <= innerWidth")
    for chart in filter(view.drawn, CHARTS):
        names = f"#{chart} .annotation-text-g"
        below = f"#{chart} .xtick, #{chart} .x2tick"
        for kind in (names, below, f"#{chart} .ytick"):
            assert overlaps(view.boxes(kind)) == 0, kind
        ((left, _, right, _),) = view.boxes(f"#{chart}")
        for box in view.boxes(f"{names}, {below}"):
            assert left - 1 <= box[0] and box[2] <= right + 1, chart
    assert view.browser.console() == []


@pytest.mark.parametrize(
    ("board", "scheme"),
    [("two", "light"), ("two", "dark"), ("twelve", "dark"), ("none", "light")],
)
def test_every_text_stands_out_from_its_ground(board, scheme, wide):
    wide.show(board, scheme)
    assert pale(wide) == []
    ground = wide.ask("getComputedStyle(document.body).backgroundColor")
    assert (of_css(ground) < 0.1) == (scheme == "dark")


@pytest.mark.parametrize("flags", [FORCED, FORCED[1:]])
def test_a_forced_dark_mode_changes_no_colour(flags, pages, tmp_path):
    """What is painted is what the page says: nothing was turned round."""
    with Browser(tmp_path, 1400, 900, *flags) as browser:
        view = View(browser, pages)
        browser.open(pages["two"])
        browser.wait("document.body.dataset.ready")
        browser.screenshot(tmp_path / "page.png")
        image = cv2.imread(str(tmp_path / "page.png"))
        for place in ("body", "#profiles", ".heat .hit", ".heat .hit:last-child"):
            (left, top, *_), *_ = view.boxes(place)
            said = view.ask(f"painted(ground(document.querySelector('{place}')))")
            seen = image[round(top) + 4, round(left) + 4, ::-1]
            np.testing.assert_allclose(seen.astype(int), said, atol=2, err_msg=place)
            assert luminance(said) < 0.3
        ((left, top, right, bottom),) = view.boxes("#times")
        chart = image[round(top) : round(bottom), round(left) : round(right)]
        assert (chart > 180).all(axis=2).mean() < 0.03  # only words are bright
        assert pale(view) == []


def test_the_theme_follows_the_screen(wide):
    wide.show("two")
    ink = "getComputedStyle(document.querySelector('#profiles .xtick text')).fill"
    line = "document.getElementById('profiles').data.at(-1).line.color"
    before = wide.ask(ink), wide.ask(line)
    wide.browser.prefer("dark")
    changed = f"{ink} !== {before[0]!r} && [{ink}, {line}]"
    after = wide.browser.wait(changed)
    wide.browser.prefer("light")
    wide.browser.wait(f"{ink} === {before[0]!r}")
    assert of_css(before[0]) < 0.1
    assert of_css(after[0]) > 0.6
    assert before[1] != after[1]


@pytest.mark.parametrize(("board", "most"), [("two", 4), ("twelve", 12)])
def test_paper_is_filled(board, most, wide, tmp_path):
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm, of Debian's poppler-utils, is not installed")
    wide.show(board, "dark")
    (tmp_path / "report.pdf").write_bytes(wide.browser.print())
    command = ["pdftoppm", "-r", "40", "-gray", "report.pdf", "page"]
    subprocess.run(command, check=True, cwd=tmp_path)
    sheets = [cv2.imread(str(p), 0) for p in sorted(tmp_path.glob("page*.pgm"))]
    assert len(sheets) <= most
    for sheet in sheets[:-1]:
        assert sheet[2, 2] == 255  # paper is white, whatever the screen is
        inked = np.flatnonzero((sheet < 250).any(axis=1))
        assert inked[-1] > 0.7 * len(sheet)  # no page is half empty
    columns = np.flatnonzero((sheets[0] < 250).any(axis=0)) / sheets[0].shape[1]
    assert columns[0] < 0.08 and columns[-1] > 0.9


def test_charts_and_names_fill_the_paper(wide):
    narrow = "document.querySelector('.main-svg').clientWidth < 1200"
    wide.show("twelve", "dark")
    wide.browser.wait(narrow)  # it may just have been printed
    before = wide.ask("pictureState()")
    wide.browser.prefer("dark", "print")
    wide.browser.run("dispatchEvent(new Event('beforeprint'))")
    try:
        width = wide.ask("document.querySelector('main').clientWidth")
        for chart in CHARTS:
            ((left, _, right, _), *_) = wide.boxes(f"#{chart} .main-svg")
            assert right - left == pytest.approx(width, abs=1.5)
            ((_, _, label, _), *_) = wide.boxes(f"#{chart} .annotation, #{chart} text")
            assert label <= right + 1
            fill = f"getComputedStyle(document.querySelector('#{chart} text')).fill"
            assert of_css(wide.ask(fill)) < 0.1  # dark ink, on whatever screen
        ((left, top, right, bottom),) = wide.boxes("#toggles")
        inside = wide.boxes("#toggles label")
        assert len(inside) == 12
        for box in inside:
            assert left <= box[0] and box[2] <= right + 1
            assert top <= box[1] and box[3] <= bottom + 1
    finally:
        wide.browser.run("dispatchEvent(new Event('afterprint'))")
        wide.browser.prefer("dark")
    wide.browser.wait(f"{narrow} && !document.querySelector('.main-svg[viewBox]')")
    assert wide.ask("pictureState()") == before


def test_a_board_of_misses_has_no_axis_of_times(wide):
    wide.show("none")
    for chart in ("profiles", "times", "tuning"):
        assert not wide.drawn(chart)
        assert "reached a target" in wide.ask(f"contents('#{chart}')")[0]
        ((_, top, _, bottom),) = wide.boxes(f"#{chart}")
        assert bottom - top < 60  # no empty place is left
    assert wide.drawn("curves")


def test_equal_profiles_lie_side_by_side(wide):
    wide.show("equal")
    gaps = np.diff(sorted(wide.ask("profileBottoms()")))
    assert len(gaps) == 2
    assert (gaps > 2.0).all() and (gaps < 5.0).all()
    last = "document.getElementById('profiles').data.map((t) => t.customdata?.at(-1))"
    assert set(wide.ask(last)) - {None} == {0.5}  # what the mouse is told


def test_misses_are_crosses_without_bars(wide):
    wide.show("two")
    traces = wide.ask("document.getElementById('times').data")
    lost = [trace for trace in traces if trace.get("xaxis") == "x2"]
    assert {trace["name"] for trace in lost} == {"shampoo", "baseline"}
    assert sum(len(trace["x"]) for trace in lost) == 7
    for trace in lost:
        assert trace["marker"]["symbol"] == "x"
        assert "error_x" not in trace


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_ratios_differ_by_more_than_the_eye_needs(scheme, wide):
    """A distance of 2.3 in CIELAB is just noticed; lightness goes one way."""
    wide.show("two", scheme)
    found = dict(wide.ask("ratios()"))
    lab = [
        cv2.cvtColor(np.float32([[found[ratio]]]) / 255.0, cv2.COLOR_RGB2LAB)[0, 0]
        for ratio in ("1.00", "1.36", "1.60")
    ]
    assert np.linalg.norm(lab[0] - lab[2]) > 10.0
    steps = np.diff([colour[0] for colour in lab])
    assert (steps > 1.5).all() or (steps < -1.5).all()


@pytest.mark.parametrize("board", ["two", "nine_mini", "twelve"])
def test_ticks_write_thousands_in_one_way(board, wide):
    wide.show(board)
    texts = wide.ask("contents('.xtick, .ytick')")
    assert any("," in text for text in texts) == (board != "nine_mini")
    assert [text for text in texts if re.search(r"\d{4}|\dk", text)] == []


def test_a_run_with_one_evaluation_is_seen(wide):
    wide.show("one_evaluation")
    points = wide.boxes("#curves .scatterlayer .points path")
    assert sum(right - left >= 7 for left, _, right, _ in points) == 2 * 3


def test_names_are_text_and_break_at_joints(wide):
    wide.show("names")
    assert wide.ask("contents('#toggles b, td .name b')") == []
    labels = wide.ask("contents('#profiles .annotation text')")
    assert any("<b>bold</b> & %" in label for label in labels)
    assert any(label.endswith("_v1") and "…" in label for label in labels)
    wide.browser.run("Plotly.Fx.hover('profiles', [{curveNumber: 5, pointNumber: 60}])")
    told = "document.querySelector('#profiles .hoverlayer')?.textContent"
    assert "% of workloads within" in wide.browser.wait(told)
    rows = "[...document.querySelectorAll('#leaderboard td .name')]"
    pieces = "".join(wide.ask(f"{rows}.map((e) => e.innerHTML)"))
    assert "x" * 21 not in pieces and "x" * 20 in pieces
    assert LONG in wide.ask("contents('#leaderboard table')")[0]


def test_lines_carry_their_names(wide):
    wide.show("twelve")
    for chart in ("profiles", "curves", "tuning"):
        labels = wide.ask(f"contents('#{chart} .annotation text')")
        assert sum(label.startswith("●") for label in labels) == 12
