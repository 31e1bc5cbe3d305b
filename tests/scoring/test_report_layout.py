"""The report's layout in a real browser: wide, on a phone, on paper, on a dark screen."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from scoring.report import write_report
from scoring.results import build
from scoring.scored import Options, prepare
from tests.scoring.browser import ABSENT, CHROMIUM, DRIVER, Browser
from tests.scoring.scenes import LONG, scenes

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=ABSENT)

BOARDS = tuple(scenes())
CHARTS = ("profiles", "times", "curves", "tuning")
FORCED = ("--force-dark-mode", "--enable-features=WebContentsForceDark")
# What is not inside something that scrolls, and stands out of the window.
OUTSIDE = """
const inner = (e) => e.closest('.scroll, fieldset, pre, .skip, .hoverlayer');
return [...document.querySelectorAll('body *')]
  .filter((e) => !inner(e) && !(e instanceof SVGElement && e.ownerSVGElement))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
  .map((e) => e.tagName + '.' + e.className)"""
# The colours of all visible text, and of the ground behind it, as painted.
TEXTS = """
const clear = (colour) => /^rgba\\(.*, 0\\)$|transparent/.test(colour);
const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const painted = (...colours) => { context.clearRect(0, 0, 1, 1);
  for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)]; };
const ground = (e) => { for (let at = e; at; at = at.parentElement) {
  const style = getComputedStyle(at);
  const stripes = style.backgroundImage.match(/(rgb|oklab|color)\\([^)]*\\)/);
  if (stripes && at.matches('.miss')) return stripes[0];
  if (!clear(style.backgroundColor)) return style.backgroundColor; } return 'white'; };
const walker = document.createTreeWalker(document.querySelector('body'), NodeFilter.SHOW_TEXT);
const found = [];
while (walker.nextNode()) {
  const e = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.matches('script, .skip, option')) continue;
  if (walker.currentNode.data.trim() === '●') continue; // a mark, not text
  const style = getComputedStyle(e);
  const ink = e instanceof SVGElement ? style.fill : style.color;
  found.push([walker.currentNode.data.trim().slice(0, 30), painted(ground(e)), painted(ground(e), ink)]);
}
return found"""


def luminance(colour: list[int]) -> float:
    """Return the relative luminance of WCAG 2."""
    part = np.array(colour) / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: list[int], other: list[int]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def pale(browser: Browser) -> list[str]:
    """Return texts with less than the contrast that WCAG 2 AA asks for."""
    texts = browser.run(TEXTS)
    assert len(texts) > 80
    return [text for text, ground, ink in texts if contrast(ground, ink) < 4.5]


def boxes(browser: Browser, selector: str) -> list[tuple[float, ...]]:
    script = (
        f"return [...document.querySelectorAll('{selector}')].map((e) => {{"
        "const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"
    )
    return [tuple(box) for box in browser.run(script)]


def overlaps(found: list[tuple[float, ...]]) -> int:
    """Return how many pairs of boxes share more than a pixel each way."""
    return sum(
        min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1
        for a, b in itertools.combinations(found, 2)
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("boards")
    options = Options(resamples=100)
    for name, trials in scenes().items():
        scored, problems = prepare(trials, options)
        write_report(build(scored, problems, options), scored, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in BOARDS}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory):
    with Browser(tmp_path_factory.mktemp("wide"), 1400, 900) as browser:
        yield browser


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory):
    with Browser(tmp_path_factory.mktemp("phone"), 390, 844) as browser:
        yield browser


def show(browser: Browser, page: Path, scheme: str = "light") -> None:
    browser.prefer(scheme)
    browser.open(page)
    browser.wait("document.body.dataset.ready")


def drawn(browser: Browser, chart: str) -> bool:
    return bool(browser.run(f"return !!document.getElementById('{chart}').data"))


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("window", ["wide", "phone"])
def test_nothing_stands_out_and_labels_lie_apart(board, window, pages, request):
    browser = request.getfixturevalue(window)
    show(browser, pages[board])
    assert browser.run(OUTSIDE) == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    for chart in filter(lambda chart: drawn(browser, chart), CHARTS):
        for kind in (".annotation-text-g", ".xtick, .x2tick", ".ytick"):
            whole = ", ".join(f"#{chart} {part}" for part in kind.split(", "))
            assert overlaps(boxes(browser, whole)) == 0, (chart, kind)
        ((left, _, right, _),) = boxes(browser, f"#{chart}")
        for box in boxes(browser, f"#{chart} .annotation-text-g, #{chart} .xtick"):
            assert left - 1 <= box[0] and box[2] <= right + 1, chart
    assert browser.console() == []


@pytest.mark.parametrize("board", ["two", "twelve", "none"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(board, scheme, pages, wide):
    show(wide, pages[board], scheme)
    assert pale(wide) == []
    ground = wide.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(list(map(int, re.findall(r"\d+", ground)))) < 0.1) == (
        scheme == "dark"
    )


def test_a_forced_dark_mode_changes_no_colour(pages, tmp_path):
    """The dark theme's own ground is painted, so nothing was turned round."""
    with Browser(tmp_path, 1400, 900, *FORCED) as browser:
        browser.open(pages["two"])
        browser.wait("document.body.dataset.ready")
        scheme = browser.run(
            "return matchMedia('(prefers-color-scheme: dark)').matches"
        )
        expected = (0x14, 0x18, 0x1C) if scheme else (255, 255, 255)
        browser.screenshot(tmp_path / "page.png")
        image = cv2.imread(str(tmp_path / "page.png"))
        assert tuple(image[5, 5, ::-1]) == expected
        (chart,) = boxes(browser, "#profiles")
        left, top = round(chart[0]) + 3, round(chart[1]) + 3
        assert tuple(image[top, left, ::-1]) == expected
        assert pale(browser) == []


def test_the_theme_follows_the_screen(pages, wide):
    show(wide, pages["two"])
    ink = (
        "return getComputedStyle(document.querySelector('#profiles .xtick text')).fill"
    )
    line = "return document.getElementById('profiles').data.at(-1).line.color"
    before = wide.run(ink), wide.run(line)
    wide.prefer("dark")
    dark = wide.wait(
        f"(() => {{ {ink} }})() !== {before[0]!r} && (() => {{ {ink} }})()"
    )
    assert (dark, wide.run(line)) != before
    wide.prefer("light")


@pytest.mark.parametrize("board", ["two", "twelve", "names"])
def test_paper_is_filled(board, pages, wide, tmp_path):
    show(wide, pages[board], "dark")
    pdf = tmp_path / "report.pdf"
    pdf.write_bytes(wide.print())
    if shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm, of Debian's poppler-utils, is not installed")
    command = ["pdftoppm", "-r", "40", "-gray", str(pdf), str(tmp_path / "page")]
    subprocess.run(command, check=True)
    sheets = [cv2.imread(str(p), 0) for p in sorted(tmp_path.glob("page*.pgm"))]
    assert len(sheets) <= {"two": 5, "twelve": 14, "names": 7}[board]
    for sheet in sheets:
        assert sheet[2, 2] == 255  # paper is white, whatever the screen is
        inked = np.flatnonzero((sheet < 250).any(axis=1))
        last = sheet is sheets[-1]
        assert last or inked[-1] > 0.7 * len(sheet)  # no page is half empty
    columns = np.flatnonzero((sheets[0] < 250).any(axis=0)) / sheets[0].shape[1]
    assert columns[0] < 0.08 and columns[-1] > 0.9


@pytest.fixture
def paper(wide, pages):
    """A page as it is while it prints: at the width of the paper."""
    show(wide, pages["twelve"], "dark")
    wide.prefer("dark", "print")
    wide.run("dispatchEvent(new Event('beforeprint'))")
    yield wide
    wide.run("dispatchEvent(new Event('afterprint'))")
    wide.prefer("light")


def test_charts_and_names_fill_the_paper(paper):
    width = paper.run("return document.querySelector('main').clientWidth")
    for chart in CHARTS:
        (outer,) = boxes(paper, f"#{chart} .main-svg:first-child")
        assert outer[2] - outer[0] == pytest.approx(width, abs=1.5)
        _, _, right, _ = max(boxes(paper, f"#{chart} .bglayer, #{chart} .annotation"))
        assert right <= outer[2] + 1
        hue = f"return getComputedStyle(document.querySelector('#{chart} text')).fill"
        assert luminance([int(n) for n in re.findall(r"\d+", paper.run(hue))]) < 0.1
    ((left, top, right, bottom),) = boxes(paper, "#toggles")
    for box in boxes(paper, "#toggles label"):
        assert left <= box[0] and box[2] <= right + 1
        assert top <= box[1] and box[3] <= bottom + 1
    assert len(boxes(paper, "#toggles label")) == 12


def test_after_printing_everything_is_as_before(pages, wide):
    show(wide, pages["two"])
    state = (
        "return [document.querySelectorAll('details[open]').length,"
        "...[...document.querySelectorAll('.main-svg')].map((e) => e.outerHTML.length > 9 &&"
        " e.getAttribute('width') + e.getAttribute('viewBox'))]"
    )
    before = wide.run(state)
    wide.run("dispatchEvent(new Event('beforeprint'))")
    assert wide.run(state) != before
    wide.run("dispatchEvent(new Event('afterprint'))")
    assert wide.run(state) == before


def test_a_board_of_misses_has_no_axis_of_times(pages, wide):
    show(wide, pages["none"])
    for chart in ("profiles", "times", "tuning"):
        assert not drawn(wide, chart)
        text = wide.run(f"return document.getElementById('{chart}').innerText")
        assert "reached a target" in text or "one trial" in text
        assert boxes(wide, f"#{chart} .xtick") == []
    assert drawn(wide, "curves")


def test_equal_profiles_lie_side_by_side(pages, wide):
    show(wide, pages["equal"])
    lines = wide.run(
        "return [...document.querySelectorAll('#profiles .scatterlayer .js-line')]"
        ".filter((e) => e.style.strokeWidth !== '0px').map((e) => e.getBoundingClientRect().bottom)"
    )
    assert len(lines) == 3
    gaps = np.diff(sorted(lines))
    assert (gaps > 2.0).all() and (gaps < 5.0).all()
    exact = wide.run(
        "return document.getElementById('profiles').data.map((t) => t.customdata?.at(-1) ?? null)"
    )
    assert {value for value in exact if value is not None} == {0.5}


def test_misses_are_crosses_without_bars(pages, wide):
    show(wide, pages["two"])
    traces = wide.run("return document.getElementById('times').data")
    lost = [trace for trace in traces if trace.get("xaxis") == "x2"]
    assert {trace["name"] for trace in lost} == {"shampoo", "baseline"}
    assert sum(len(trace["x"]) for trace in lost) == 7
    for trace in lost:
        assert trace["marker"]["symbol"] == "x"
        assert "error_x" not in trace


def test_ratios_differ_by_more_than_the_eye_needs(pages, wide):
    """Cells of 1.00 and 1.60 differ in lightness by far more than one just notices."""
    show(wide, pages["two"])
    cells = wide.run(
        "const c = document.createElement('canvas').getContext('2d');"
        "return [...document.querySelectorAll('.heat .hit')].map((e) => {"
        "c.fillStyle = getComputedStyle(e).backgroundColor; c.fillRect(0, 0, 1, 1);"
        "return [e.innerText.split('\\n')[0], [...c.getImageData(0, 0, 1, 1).data.slice(0, 3)]]; })"
    )
    colours = dict(cells)
    assert {"1.00", "1.36", "1.60"} <= set(colours)
    lab = {
        ratio: cv2.cvtColor(np.float32([[colour]]) / 255.0, cv2.COLOR_RGB2LAB)[0, 0]
        for ratio, colour in colours.items()
    }
    assert np.linalg.norm(lab["1.00"] - lab["1.60"]) > 12.0
    assert lab["1.00"][0] < lab["1.36"][0] < lab["1.60"][0]


@pytest.mark.parametrize("board", ["two", "nine_mini", "twelve"])
def test_ticks_write_thousands_in_one_way(board, pages, wide):
    show(wide, pages[board])
    texts = wide.run(
        "return [...document.querySelectorAll('.xtick, .ytick')].map((e) => e.textContent)"
    )
    assert any("," in text for text in texts) == (board != "nine_mini")
    for text in texts:
        assert not re.search(r"\d{4}|\dk", text), text


def test_a_run_with_one_evaluation_is_seen(pages, wide):
    show(wide, pages["one_evaluation"])
    points = boxes(wide, "#curves .scatterlayer .points path")
    seen = [box for box in points if box[2] - box[0] >= 7]
    assert len(seen) == 2 * 3
    (plot,) = boxes(wide, "#curves .bglayer") or [(0, 0, 1400, 1e9)]
    assert all(box[0] >= plot[0] - 5 for box in seen)


def test_names_are_text_and_break_at_joints(pages, wide):
    show(wide, pages["names"])
    assert (
        wide.run("return document.querySelectorAll('#toggles b, td .name b').length")
        == 0
    )
    labels = wide.run(
        "return [...document.querySelectorAll('#profiles .annotation text')].map((e) => e.textContent)"
    )
    assert any("<b>bold</b> & %" in label for label in labels)
    assert any(label.endswith("_v1") and "…" in label for label in labels)
    wide.run("Plotly.Fx.hover('profiles', [{curveNumber: 5, pointNumber: 60}])")
    told = wide.wait("document.querySelector('#profiles .hoverlayer')?.textContent")
    assert "% of workloads within" in told
    wraps = "return [...document.querySelectorAll('#leaderboard .name')].map((e) => e.innerHTML)"
    whole = "".join(wide.run(wraps))
    assert "x" * 21 not in whole and "x" * 20 in whole
    assert LONG in wide.run("return document.querySelector('#leaderboard').innerText")


def test_lines_carry_their_names(pages, wide):
    show(wide, pages["twelve"])
    for chart in ("profiles", "curves", "tuning"):
        labels = wide.run(
            f"return [...document.querySelectorAll('#{chart} .annotation text')].map((e) => e.textContent)"
        )
        assert len([text for text in labels if text.startswith("●")]) == 12
