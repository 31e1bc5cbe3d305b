"""The report in a real browser: it opens, answers to mouse and keyboard, and prints."""

from pathlib import Path

import pytest

from scoring import score_submissions
from tests.scoring.browser import ABSENT, CHROMIUM, DRIVER, Browser

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=ABSENT)

CHARTS = ("profiles", "times", "curves", "tuning")


@pytest.fixture(scope="module")
def report(external_tree, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("report")
    flags = [f"--submission_directory={external_tree}", f"--output_dir={out}"]
    assert score_submissions.main([*flags, "--resamples=200"]) == 0
    return out / "report.html"


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.open(report)
        browser.wait("document.body.dataset.ready")
        yield browser
        assert browser.console() == []


def names(page: Browser, chart: str) -> list[str]:
    """Return the names of a chart's curves, once each."""
    script = f"return document.getElementById('{chart}').data.map(t => t.name || '')"
    return list(dict.fromkeys(filter(None, page.run(script))))


def test_everything_is_drawn(page):
    for chart in CHARTS:
        assert names(page, chart) == ["shampoo", "baseline"]
        count = f"return document.querySelectorAll('#{chart} .main-svg').length"
        assert page.run(count) > 0
    rows = "return [...document.querySelectorAll('#leaderboard tbody tr')]"
    text = page.run(f"{rows}.map(r => r.innerText.replace(/\\s+/g, ' '))")
    assert text[0].startswith("1 shampoo 0.6239")
    assert text[1].startswith("2 baseline 0.4580")
    assert page.run("return document.querySelectorAll('.heat td').length") == 16
    assert page.run("return document.querySelectorAll('.heat .miss').length") == 7
    assert page.run("return document.querySelectorAll('#warnings li').length") == 4


def test_target_line_is_where_the_target_is(page):
    shape = "return document.getElementById('curves').layout.shapes[0].y0"
    assert page.run(shape) == 0.123735


def test_misses_tell_why(page):
    traces = page.run("return document.getElementById('times').data")
    lost = [(t["name"], text) for t in traces if "xaxis" in t for text in t["text"]]
    assert len(lost) == 7
    assert ("baseline", "imagenet_vit: missed, stopped early") in lost
    assert ("shampoo", "imagenet_resnet: missed, too slow") in lost


def test_profile_jumps_where_the_ratio_is(page):
    (curve,) = [
        trace
        for trace in page.run("return document.getElementById('profiles').data")
        if trace.get("name") == "shampoo"
    ]
    shares = dict(zip(curve["x"], curve["customdata"], strict=True))
    ratio = 7692.307582139969 / 7491.487124443054  # on criteo1tb
    jump = min(shares, key=lambda tau: abs(tau - ratio))
    assert jump == pytest.approx(ratio, rel=1e-12)
    assert (shares[1], shares[jump]) == (0.5, 0.625)


def test_best_trials_stand_out(page):
    traces = page.run("return document.getElementById('curves').data")
    strong = [trace for trace in traces if trace["opacity"] > 0.5]
    assert [trace["name"] for trace in strong] == ["shampoo", "baseline"]
    for trace in strong:  # one trial for each of three studies
        assert trace["x"].count(None) == 3


def test_every_link_leads_somewhere(page):
    links = "return [...document.querySelectorAll('a')].map(a => a.hash.slice(1))"
    places = page.run(links)
    assert len(places) == 12
    assert "4 notes on the data" in page.run("return document.body.innerText")
    for place in places:
        assert page.run(f"return !!document.getElementById('{place}')"), place


def test_toggle_hides_a_submission_everywhere(page):
    click = "document.querySelector('#toggles input[data-submission=baseline]').click()"
    page.run(click)
    for chart in CHARTS:
        assert names(page, chart) == ["shampoo"]
    faded = "return [...document.querySelectorAll('.heat .off')].map(r => r.innerText)"
    (row,) = page.run(faded)
    assert row.startswith("baseline")
    page.run(click)
    assert names(page, "profiles") == ["shampoo", "baseline"]
    assert page.run(faded) == []


def test_keyboard_reaches_and_toggles(page):
    page.run("document.querySelector('#toggles input').focus()")
    page.press(" ")
    assert names(page, "times") == ["baseline"]
    page.press(" ")
    page.press("\ue004")  # tab
    focused = "return document.activeElement.dataset.submission"
    assert page.run(focused) == "baseline"


def test_curves_change_with_workload_and_axis(page):
    page.run(
        "const s = document.getElementById('workload'); s.value = 'ogbg';"
        "s.dispatchEvent(new Event('change'))"
    )
    title = "return document.getElementById('curves').layout.{}axis.title.text"
    assert page.run(title.format("y")) == "validation mean average precision"
    assert page.run(title.format("x")) == "submission time (s)"
    page.run("document.querySelector('input[value=steps]').click()")
    assert page.run(title.format("x")) == "step"
    most = "return Math.max(...document.getElementById('curves').data[1].x)"
    assert page.run(most) > 40_000  # steps, not seconds


def test_hover_tells_the_value(page):
    page.run("Plotly.Fx.hover('tuning', [{curveNumber: 0, pointNumber: 4}])")
    label = "document.querySelector('#tuning .hoverlayer')?.textContent"
    assert "5 trial(s): 0.624" in page.wait(label)


def test_prints_with_everything_unfolded(page):
    folded = "return document.querySelectorAll('details:not([open])').length"
    before = page.run(folded)
    page.run(
        "addEventListener('beforeprint', () => { window.seen = "
        "document.querySelectorAll('details:not([open])').length; })"
    )
    assert page.print().startswith(b"%PDF")
    assert (page.run("return window.seen"), page.run(folded)) == (0, before)


def test_fits_a_phone(report, tmp_path):
    with Browser(tmp_path, 390, 844) as browser:
        browser.open(report)
        browser.wait("document.body.dataset.ready")
        width = browser.run("return document.documentElement.scrollWidth")
        assert width == 390
        height = "document.getElementById('toggles').offsetHeight"
        assert browser.run(f"return {height}") < 60  # one line, however many there are
        assert browser.console() == []


def test_readable_without_scripts(report):
    text = report.read_text()
    body = text[text.index("<main>") : text.index("</main>")]
    for word in ("shampoo", "0.6239", "too slow in 2 of 3 studies", "not resolved"):
        assert word in body
