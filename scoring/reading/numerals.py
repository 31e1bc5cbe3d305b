"""Text as numbers: Python's way, pandas' way, and what both agree on."""

from __future__ import annotations

from collections.abc import Callable


def checked_float(text: str, parse: Callable[[str], float]) -> float:
    """Return text as a number; raises ValueError for what only Python takes for one."""
    if "_" in text or not text.isascii():
        raise ValueError(f"{text!r} is not a number")
    return parse(text)


def float_or_nan(text: str) -> float:
    """Return text as a number, NaN if it is none."""
    try:
        return checked_float(text, float)
    except ValueError:
        return float("nan")


def pandas_float(text: str) -> float:
    """Parse a decimal as pandas 2 does, up to one unit in the last place off.

    The public tool reads with it; its published times carry that last digit. Source:
    `precise_xstrtod`, which adds up 17 digits, leading zeros among them, in floating
    point and divides once by a power of ten.
    """
    body, _, power = text.lstrip("+-").lower().partition("e")
    whole, _, fraction = body.partition(".")
    if not (whole + fraction).isdigit():
        return float(text)
    digits = (whole + fraction)[:17]
    number = float(digits[:15])  # 15 digits are exact in double precision
    for digit in digits[15:]:
        number = number * 10.0 + int(digit)
    places = len(digits) - len(whole) - int(power or 0)
    scale = float(f"1e{abs(places)}")
    number = number / scale if places >= 0 else number * scale
    return -number if text.startswith("-") else number
