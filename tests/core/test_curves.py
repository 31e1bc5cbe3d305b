"""The picture of a trial: what it says of hits and misses, and single evaluations."""

import math

import matplotlib.figure
import pytest

from algorithmic_efficiency import registry
from algorithmic_efficiency.runner import curves
from algorithmic_efficiency.runner.trial import Progress

NAME = "imagenet_resnet_mini"


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function that draws and gives back the axes."""
    figures = []
    plain = matplotlib.figure.Figure.savefig

    def savefig(figure, *args, **kwargs):
        figures.append(figure)
        plain(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)

    def draw(score: float, times: tuple[float, ...]):
        definition = registry.get(NAME)
        evals = [
            (k, {"score": time, "validation/accuracy": 0.1 + 0.1 * k})
            for k, time in enumerate(times)
        ]
        progress = Progress(score=score, evals=evals)
        path = tmp_path / "curves.png"
        curves.draw(path, definition, "title", progress, 12_345.0)
        assert path.read_bytes().startswith(b"\x89PNG")
        return figures[-1].axes[0]

    return draw


def words(axes) -> str:
    return " | ".join(text.get_text() for text in axes.texts)


def test_a_miss_says_so_and_the_budget(drawn):
    said = words(drawn(math.inf, (1.0, 2.0)))
    assert "missed; the budget was 12,345 s" in said
    assert "reached" not in said


def test_a_hit_says_when(drawn):
    said = words(drawn(1.5, (1.0, 2.0)))
    assert "reached in 1.5 s" in said
    assert "missed" not in said


def test_a_single_evaluation_is_seen(drawn):
    axes = drawn(math.inf, (40.0,))
    (line,) = (line for line in axes.lines if line.get_label() == "validation")
    assert line.get_markersize() >= 8.0
    low, high = axes.get_xlim()
    assert low < 40.0 < high
    assert drawn(math.inf, (1.0, 2.0)).lines[0].get_markersize() < 5.0
