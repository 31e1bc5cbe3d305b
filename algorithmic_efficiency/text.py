"""Words of others - names, hyperparameters, log lines - are text wherever they go.

A folder may be called `=cmd()` or `<img src=x>`, or hold an escape sequence. On a
terminal, in a spreadsheet, in Markdown and on a page it is shown as that, and does
nothing.
"""

import re
import sys
import unicodedata
from typing import Any, TextIO

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE | re.A)
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001 - the wide ones too begin a formula
_MARKDOWN = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")


def printable(text: str, kept: str = "") -> str:
    r"""Returns text that a terminal shows and does not obey.

    Control characters, marks that turn the direction of writing, and bytes that are
    not UTF-8 become what Python would write for them: `\x1b`, `\u202e`, `\xff`.

    Args:
      text: anything, lone surrogates included.
      kept: characters that stay as they are, a line feed for example.
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in kept or unicodedata.category(c) == "Zs"
        else _name(c)
        for c in text
    )


def show(text: str, stream: TextIO | None = None) -> None:
    """Prints lines for people, on standard output if no stream is given, at once.

    What the terminal's encoding lacks is shown as an escape sequence.
    """
    stream = stream or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    plain = printable(text, kept="\n")
    shown = plain.encode(encoding, "backslashreplace").decode(encoding)
    print(shown, file=stream, flush=True)


def csv_cell(value: Any) -> Any:
    """Returns a cell that a spreadsheet takes for the text or number that it is.

    Text that would be a formula is led by an apostrophe; what is no text stays.
    """
    if not isinstance(value, str):
        return value
    begins = value.lstrip().startswith(_FORMULA) or value.startswith(("\t", "\r", "\n"))
    text = printable(value)
    return f"'{text}" if begins and not _NUMBER.fullmatch(value) else text


def markdown_cell(text: str) -> str:
    """Returns a cell of a Markdown table: no markup, no HTML, no end of the cell."""
    from html import escape  # noqa: PLC0415 - its table of entities takes milliseconds

    return escape(_MARKDOWN.sub(r"\\\g<0>", printable(text)), quote=False)


def html_text(text: str) -> str:
    """Returns text for a page, between tags or in a quoted attribute."""
    from html import escape  # noqa: PLC0415 - as above

    return escape(printable(text))


def _name(character: str) -> str:
    """Returns how Python writes a character; of a byte that is not UTF-8 the byte."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's own name for such a byte in a file's name
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
