"""The colours of submissions, for pictures on paper and for a dark screen."""

from __future__ import annotations

# Found by a search for the greatest least distance in OKLab, as seen with full colour
# vision and with protan, deutan and tritan eyes (Machado 2009), the first three and six
# weighing more; all have a contrast of 3 or more with their ground.
COLOURS = (
    "#003B7B",
    "#D25200",
    "#07A495",
    "#B53BC3",
    "#C98330",
    "#0664FF",
    "#423957",
    "#845300",
    "#6F0EDF",
    "#7B180F",
    "#146E5A",
    "#858CCA",
)
DARK = (
    "#3482D7",
    "#CC6214",
    "#1FE0A4",
    "#C69ACB",
    "#FF9F0E",
    "#B8D7FF",
    "#AAC29F",
    "#EAD65C",
    "#C55CFF",
    "#FF7053",
    "#88A790",
    "#72829A",
)
SOLID = 6  # so many lines are told apart by colour alone; the others are dashed too


def colour(place: int) -> str:
    """Return the colour on white of the submission at this place of the board."""
    return COLOURS[place % len(COLOURS)]


def variable(place: int) -> str:
    """Return the same as a CSS variable, which knows of dark screens."""
    return f"var(--c{place % len(COLOURS)})"


def dash(place: int) -> str:
    """Return how the line is drawn: 'solid', 'dash', 'dot' or 'dashdot'."""
    return ("solid", "dash", "dot", "dashdot")[place // SOLID % 4]


def style_sheet() -> str:
    """Return the variables --c0, --c1, ..., for light and for dark screens."""
    light, dark = (
        " ".join(f"--c{place}: {hue};" for place, hue in enumerate(hues))
        for hues in (COLOURS, DARK)
    )
    return (
        f":root {{ {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    )
