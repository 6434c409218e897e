"""The table and the figure of what scaling.py measured.

An exponent is the slope of a straight line through the logarithms, by least squares, over the upper half of the
range (in logarithms): below it, what a call costs whatever its size hides the growth. Size is counted in pixels,
h w. In parentheses stands what the mathematics says: the same slope of the operations that torch counted on the
way. Memory is of maps and vectors, all of which grow as pixels, as width and as batch do: by an exponent of 1.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point: TypeAlias = dict[str, float]
"""Of one process: seconds ("step s"), memory ("step MiB") and operations of each kind of work."""
Line: TypeAlias = list[tuple[int, Point]]
"""Points by the value of what grows."""

AXES = ("size", "width", "batch")
KINDS = {"step": "step", "infer": "inference", "film": "film"}
MARGIN = 0.1  # how much larger an exponent may be before it is marked


def slope(axis: str, line: Line, what: str) -> float | None:
    """The exponent of what was measured; None where there is no line to draw."""
    points = [(grown(axis, value), point[what]) for value, point in line if point.get(what, 0) > 0]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points)).T
    upper = x >= (x[0] + x[-1]) / 2 - 1e-9
    return float(np.polyfit(x[upper], y[upper], 1)[0]) if upper.sum() > 1 else None


def grown(axis: str, value: float) -> float:
    """A size as its number of pixels."""
    return value**2 if axis == "size" else value


def table(found: dict[str, dict[str, Line]], batch: int) -> None:
    """Print a line for each kind of work of each architecture and sampler."""
    print("| | | ms, MiB an image | " + " | ".join(f"{axis}: time | memory" for axis in AXES) + " |")
    print("|---|---|---:|" + "---:|" * 2 * len(AXES))
    for name, lines in found.items():
        first = lines["batch"][0][1]
        for kind, word in KINDS.items():
            if f"{kind} s" in first:
                each = f"{1000 * first[f'{kind} s'] / batch:.1f}, {first[f'{kind} MiB'] / batch:.1f}"
                cells = [cell for axis in AXES for cell in cells_of(axis, lines.get(axis, []), kind)]
                print(f"| {name} | {word} | {each} | " + " | ".join(cells) + " |")


def cells_of(axis: str, line: Line, kind: str) -> tuple[str, str]:
    """The exponents of time and memory, marked where they are larger than they should be."""
    time, memory, counted = (slope(axis, line, f"{kind} {what}") for what in ("s", "MiB", "operations"))
    return compared(time, counted), compared(memory, 1.0)


def compared(exponent: float | None, most: float | None) -> str:
    if exponent is None or most is None:
        return ""
    text = f"{exponent:.2f} ({most:.2f})"
    return f"**{text}**" if exponent > most + MARGIN else text


def figure(found: dict[str, dict[str, Line]]) -> "Figure":
    """Time and memory of a step and of a film against size, width and batch; exponents stand beside them."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(19, 12), layout="constrained")
    rows = (("step s", "seconds a step"), ("step MiB", "MiB of a step"), ("film s", "seconds a film of 3 frames"))
    axes = drawn.subplots(len(rows), len(AXES))
    for row, (what, label) in zip(axes, rows, strict=True):
        for axis, place in zip(AXES, row, strict=True):
            panel(place, axis, what, ((name, lines.get(axis, [])) for name, lines in found.items()))
            place.set_ylabel(label)
    return drawn


def panel(place: "Axes", axis: str, what: str, lines: Iterable[tuple[str, Line]]) -> None:
    """One of the figure's plots: log-log, with a dotted line of the exponent fitted."""
    for number, (name, line) in enumerate(lines):
        points = [(value, point[what]) for value, point in line if point.get(what, 0) > 0]
        if not points:
            continue
        x, y = np.array(points, dtype=float).T
        exponent = slope(axis, line, what)
        most = 1.0 if what.endswith("MiB") else slope(axis, line, what.replace(" s", " operations"))
        says = " ".join([name, compared(exponent, most).strip("*")])
        (curve,) = place.plot(x, y, marker="osv^D"[number % 5], markersize=4, linewidth=1, label=says)
        if exponent is not None:
            fitted = y[-1] * (grown(axis, 1) * grown(axis, x) / grown(axis, x[-1])) ** exponent
            place.plot(x, fitted, linestyle=":", linewidth=1, color=curve.get_color())
    if not place.lines:
        place.set_axis_off()
        return
    place.set(xscale="log", yscale="log", xlabel={"size": "side, pixels"}.get(axis, axis))
    values = sorted({value for line in place.lines for value in np.asarray(line.get_xdata())})
    place.set_xticks(values, [f"{value:g}" for value in values], minor=False)
    place.set_xticks([], minor=True)
    title = "exponent, in pixels" if axis == "size" else "exponent"
    beside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "frameon": False}  # and not on the curves
    place.legend(fontsize=7, title=title, title_fontsize=7, **beside)
