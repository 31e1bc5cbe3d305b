"""Text of others does nothing on a terminal, in a table, in Markdown or on a page."""

import csv
import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithmic_efficiency import cli, registry
from algorithmic_efficiency.runner.progress import ProgressLine
from algorithmic_efficiency.runner.records import MetricsLogger, Table
from algorithmic_efficiency.runner.trial import Rules
from algorithmic_efficiency.text import (
    csv_cell,
    html_text,
    markdown_cell,
    printable,
    show,
)

ANY_TEXT = st.text(st.characters(codec=None))  # lone surrogates too


@given(ANY_TEXT)
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    shown.encode()  # no surrogate
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nadamw v2, Größe 5 %", "nadamw v2, Größe 5 %"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("abc\u202efdp", r"abc\u202efdp"),
        ("a\u2028b\u200b", r"a\u2028b\u200b"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("全角\u3000名", "全角\u3000名"),
    ],
)
def test_text_on_a_terminal(text, shown):
    assert printable(text) == shown


def test_lines_stay_lines_and_an_old_terminal_gets_escapes(capsys):
    show("a\x1b[31m\nb\ud800")
    assert capsys.readouterr().out == "a\\x1b[31m\nb\\ud800\n"
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    show("ö█", stream)
    assert stream.buffer.getvalue() == b"\\xf6\\u2588\n"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t", "\r", "＝"])  # noqa: RUF001
def test_a_formula_in_a_cell_is_text(start):
    assert csv_cell(f'{start}HYPERLINK("x")').startswith("'")


@pytest.mark.parametrize(
    "cell", ["-1.5", "+2", "-1e-5", "1", "a=b", "", "a-b", "'=a", -1.5, None, [1]]
)
def test_numbers_and_harmless_text_stay(cell):
    assert csv_cell(cell) == cell


@given(ANY_TEXT)
def test_any_cell_survives_a_csv_file(text):
    file = io.StringIO(newline="")
    csv.writer(file).writerow([csv_cell(text), "next"])
    file.seek(0)
    assert list(csv.reader(file)) == [[csv_cell(text), "next"]]
    assert file.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("imagenet_resnet", "imagenet_resnet"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`"),
        ("a|b\nc", r"a\|b\\nc"),
        ("<img src=x onerror=y>&amp;", "&lt;img src=x onerror=y&gt;&amp;amp;"),
        ("[x](javascript:y) ![z](http://t)",
         r"\[x\](javascript:y) !\[z\](http://t)"),
    ],
)  # fmt: skip
def test_markdown_is_text(text, cell):
    assert markdown_cell(text) == cell


@given(ANY_TEXT)
def test_no_markdown_cell_ends_early(text):
    cell = markdown_cell(text)
    assert "\n" not in cell
    assert "<" not in cell
    escaped = cell.replace("\\\\", "")
    assert escaped.count("|") == escaped.count("\\|")


def test_html_is_text():
    assert html_text("</script>'\"&\x1b") == "&lt;/script&gt;&#x27;&quot;&amp;\\x1b"


def test_a_scalar_that_is_called_like_a_formula_is_text_in_the_table(tmp_path):
    path = tmp_path / "measurements.csv"
    for step in (1, 2):  # the second time as after a resume
        logger = MetricsLogger(Table.read(path, 1))
        logger.append_scalar_metrics({"=cmd|'/C calc'!A0": 1.5, "\x1b[2J": -2.0}, step)
        logger.flush()
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=cmd|'/C calc'!A0", r"\x1b[2J", "global_step"]
    assert rows == [["1.5", "-2.0", "1"], ["1.5", "-2.0", "2"]]


def test_the_command_line_shows_escape_sequences_of_names(capsys):
    assert cli.main(["runner", "--workload=\x1b[2Jogbg", "--list=\x1b"]) == 2
    assert (
        cli.main(
            ["runner", "--submission_path=\x1b[2J.py", "--workload=imagenet_resnet"]
        )
        == 2
    )
    assert "\x1b" not in capsys.readouterr().err


def test_progress_lines_show_escape_sequences():
    stream = io.StringIO()
    definition = registry.get("imagenet_resnet_mini")
    ProgressLine(Rules(1.0, 1.0), definition, stream).say("Records: \x1b]0;me\x07")
    assert stream.getvalue() == "Records: \\x1b]0;me\\x07\n"
