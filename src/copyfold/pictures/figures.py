"""Figures: labelled comparisons, curves, scatter plots, vector fields. The only module that uses matplotlib.

Figures are `matplotlib.figure.Figure` objects on the Agg canvas and never pyplot's, which keeps every figure
alive and is not safe in threads. Colours are those of Okabe and Ito, "Color universal design" (2008), told
apart by colour-blind eyes too, without their yellow, which is lost on white; three more are as far from these, and
from each other, in the eyes of any of them (CIEDE2000, over simulations by Machado, Oliveira and Fernandes, 2009).
"""

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor

from copyfold.errors import UsageError
from copyfold.pictures.grids import Picture, enlarged, tiled, to_bytes, visible_scale
from copyfold.types import Images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

Numbers: TypeAlias = Tensor | np.ndarray | Sequence[float]


def comparison(rows: Mapping[str, Images], captions: Mapping[str, str] | None = None, title: str = "") -> "Figure":
    """Show the same images in every row: clean, corrupted, restored and so on.

    Each row carries its name and under it its caption (its numbers) at the left. Drawn 8 inches wide or less,
    for text that is readable at 800 pixels. The rows may differ in the size of their images but not in their
    number: else UsageError.
    """
    captions = captions or {}
    counts = {name: len(images) for name, images in rows.items()}
    if len(set(counts.values())) != 1:
        raise UsageError(f"a comparison needs the same number of images in every row, not {counts}")
    if set(captions) - set(rows):
        raise UsageError(f"captions without a row: {', '.join(sorted(set(captions) - set(rows)))}")
    strips = [_strip(images) for images in rows.values()]
    labels = [(wrap(name, 20), wrap(captions.get(name, ""), 26)) for name in rows]
    return _labelled(strips, labels, title, columns=next(iter(counts.values())))


def curves(
    series: Mapping[str, tuple[Numbers, Numbers]],
    xlabel: str,
    ylabel: str,
    logy: bool = False,
    title: str = "",
    bands: Mapping[str, tuple[Numbers, Numbers]] | None = None,
    logx: bool = False,
    ylim: tuple[float, float] | None = None,
    dots: Collection[str] = (),
) -> "Figure":
    """Plot y against x for each series (x, y) by name; axis labels carry their units.

    Short series show their points, so that one of a single point is seen, and differ in their dashes, so that one
    is seen under another. With logy, values that are not positive are left out, and a UsageError says where none
    is left. `bands` are the (low, high) of a series at its x, shaded; `ylim` the ends of the y axis, as of a share
    that is between 0 and 1; `dots` the series without a line, whose bands are upright bars.
    """
    lines = _paired(series, logy)
    from matplotlib.ticker import MaxNLocator

    figure, axes = _axes(xlabel, ylabel, title)
    if logy:
        _logarithmic(axes.set_yscale, axes.yaxis)
    if logx:
        _logarithmic(axes.set_xscale, axes.xaxis)
    for i, (name, (x, y)) in enumerate(lines.items()):
        if name in (bands or {}):
            low, high = map(_vector, (bands or {})[name])
            color = PALETTE[i % len(PALETTE)]
            if name in dots:
                axes.vlines(x, low, high, color=color, linewidth=1.8)
            else:
                axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
        _line(axes, i, name, x, y, dotted=name in dots)
    if not logx and all((x == x.round()).all() for x, _ in lines.values()):
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    if ylim is not None:
        axes.set_ylim(*ylim)
    _legend(figure, axes, outside=len(lines) > 4)
    return figure


def beside(
    panels: Mapping[str, Mapping[str, tuple[Numbers, Numbers]]], ylabel: str, logy: bool = False, title: str = ""
) -> "Figure":
    """Plot the same series against several quantities, a panel each by the name of its x axis, to one y axis.

    A series (x, y) has the same colour and dashes in every panel, and stands in one legend below them. With logy,
    values that are not positive are left out. UsageError where there is nothing to draw.
    """
    drawn = {xlabel: _paired(series, logy) for xlabel, series in panels.items()}
    names = list(dict.fromkeys(name for lines in drawn.values() for name in lines))
    figure = blank((4.6 * len(drawn) + 0.6, 4.4 + 0.25 * -(-len(names) // 3)), layout="constrained")
    figure.suptitle(plain(wrap(title, 45 * len(drawn))), fontsize=13, x=0.02, ha="left")
    rows: Any = figure.subplots(1, len(drawn), sharey=True, squeeze=False)
    for place, (xlabel, lines) in enumerate(drawn.items()):
        axes = rows[0, place]
        if logy:
            _logarithmic(axes.set_yscale, axes.yaxis)
        for name, (x, y) in lines.items():
            _line(axes, names.index(name), name, x, y)
        _panel(axes, "", xlabel, ylabel if place == 0 else "")
        axes.grid(color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    shown = {line.get_label(): line for axes in rows[0] for line in axes.get_lines()}
    look: dict[str, Any] = {"ncols": min(3, len(shown)), "frameon": False, "fontsize": 11}
    figure.legend(list(shown.values()), list(shown), loc="outside lower center", **look)
    return figure


def scatter(
    points: Tensor | np.ndarray,
    labels: Sequence[Any] | Tensor | np.ndarray | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> "Figure":
    """Draw points (n, 2), coloured by their labels.

    Whole numbers and names are classes, each with its colour and marker in the legend: ten colours and seven
    markers, and no pair of them twice among 70 classes. Of more classes there is no legend. Floating point labels
    are read off a colour bar. Raises UsageError where the shapes do not fit.
    """
    xy = _array(points)
    kinds = np.zeros(len(xy), int) if labels is None else _array(labels)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(kinds) != len(xy):
        raise UsageError(f"a scatter needs points n x 2 and n labels, not {xy.shape} and {len(kinds)} labels")
    figure, axes = _axes(xlabel, ylabel, title, size=(8.0, 6.0))
    look: dict[str, Any] = {"s": float(np.clip(10_000 / max(len(xy), 1), 8, 40)), "linewidths": 0, "alpha": 0.85}
    if np.issubdtype(kinds.dtype, np.floating):
        drawn = axes.scatter(xy[:, 0], xy[:, 1], c=kinds, cmap="viridis", **look)
        figure.colorbar(drawn, ax=axes)
        return figure
    classes = np.unique(kinds)
    for i, kind in enumerate(classes):
        color, marker = PALETTE[i % len(PALETTE)], _MARKERS[i % len(_MARKERS)]
        x, y = xy[kinds == kind].T
        axes.scatter(x, y, color=color, marker=marker, label=plain(str(kind)), **look)
    if labels is not None and len(classes) <= len(PALETTE) * len(_MARKERS):
        _legend(figure, axes, outside=True)
    return figure


def arrows(
    points: Tensor | np.ndarray,
    fields: Mapping[str, Tensor | np.ndarray],
    over: Tensor | np.ndarray | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
) -> "Figure":
    """Draw vector fields of the plane at the same points, a panel each, all to one scale.

    `points` and every field are (n, 2); `over` are points (m, 2) to draw beneath, the data say.
    """
    xy, under = _array(points), None if over is None else _array(over)
    vectors = {name: _array(field) for name, field in fields.items()}
    shapes = {name: field.shape for name, field in vectors.items()}
    if xy.ndim != 2 or xy.shape[1] != 2 or set(shapes.values()) != {xy.shape}:
        raise UsageError(f"arrows need points n x 2 and fields of the same shape, not {xy.shape} and {shapes}")
    longest = max(float(np.hypot(*field.T).max()) for field in vectors.values())
    step = float(np.ptp(xy, axis=0).max()) / max(len(xy) ** 0.5 - 1, 1)
    figure = blank((4.2 * len(fields), 4.9), layout="constrained")
    figure.suptitle(plain(wrap(title, 45 * len(fields))), fontsize=12, x=0.02, ha="left")
    for i, (name, field) in enumerate(vectors.items()):
        axes = figure.add_subplot(1, len(fields), i + 1)
        if under is not None:
            axes.scatter(under[:, 0], under[:, 1], s=4, color="0.75", linewidths=0)
        scale = longest / (1.4 * step)
        axes.quiver(*xy.T, *field.T, angles="xy", scale_units="xy", scale=scale, color=PALETTE[i], width=0.005)
        _panel(axes, name, xlabel, ylabel if i == 0 else "")
        axes.set_aspect("equal")
    return figure


def intervals(
    rows: Mapping[str, tuple[float, float, float]],
    xlabel: str,
    marks: Mapping[str, float] | None = None,
    points: Mapping[str, Sequence[float]] | None = None,
    logx: bool = False,
    title: str = "",
) -> "Figure":
    """Show numbers with their intervals (value, low, high), a line each, from top to bottom.

    `points` are further values of a line, those of single seeds say, as small circles; `marks` are upright lines
    with a name, thresholds say. An interval without an end reaches the border.
    """
    if not rows:
        raise UsageError("there is no interval to draw: give at least one number")
    figure, axes = _axes(xlabel, "", title, size=(8.0, 1.6 + 0.42 * len(rows)))
    if logx:
        _logarithmic(axes.set_xscale, axes.xaxis)
    places = np.array([*(marks or {}).values(), *(x for row in rows.values() for x in row)], dtype=float)
    places = places[np.isfinite(places) & ((places > 0) | (not logx))]
    left, right = (places.min(), places.max()) if len(places) else (0.0, 1.0)
    spare = 0.04 * ((right - left) or abs(right) or 1.0)
    axes.set_xlim(*((left / 1.15, right * 1.15) if logx else (left - spare, right + spare)))
    for i, (name, (value, low, high)) in enumerate(rows.items()):
        low = low if np.isfinite(low) and (low > 0 or not logx) else axes.get_xlim()[0]
        high = high if np.isfinite(high) else axes.get_xlim()[1]
        axes.plot([low, high], [-i, -i], "-", color=PALETTE[0], linewidth=2.2, solid_capstyle="butt")
        axes.plot([value], [-i], "o", color=PALETTE[0], markersize=7)
        seeds = list((points or {}).get(name, ()))
        axes.plot(seeds, [-i - 0.22] * len(seeds), "o", color="0.45", markersize=3)
    for i, (name, place) in enumerate((marks or {}).items()):
        color = PALETTE[1 + i % (len(PALETTE) - 1)]
        axes.axvline(place, color=color, linestyle=("--", ":", "-.")[i % 3], linewidth=1.6, label=plain(name))
    axes.set_yticks([-i for i in range(len(rows))], [plain(wrap(name, 34)) for name in rows])
    axes.set_ylim(-len(rows) + 0.4, 0.6)
    axes.grid(visible=False, axis="y")
    if marks:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", frameon=False, fontsize=11)
    return figure


def histograms(
    series: Mapping[str, Numbers], xlabel: str, bins: int = 40, logy: bool = False, title: str = ""
) -> "Figure":
    """Show how the values of each series are distributed, a panel each, all over the same range."""
    values = {name: _vector(v) for name, v in series.items()}
    figure = blank((max(4.0, 2.9 * len(values)), 3.2), layout="constrained")
    ends = [min(v.min() for v in values.values()), max(v.max() for v in values.values())]
    for i, (name, v) in enumerate(values.items()):
        axes = figure.add_subplot(1, len(values), i + 1)
        axes.hist(v, bins=bins, range=(ends[0], ends[1]), color=PALETTE[i % len(PALETTE)], log=logy)
        _panel(axes, name, xlabel, "count" if i == 0 else "")
    figure.suptitle(plain(wrap(title, 30 * len(values))), fontsize=12, x=0.02, ha="left")
    return figure


def heatmaps(
    matrices: Mapping[str, Tensor | np.ndarray], xlabel: str, ylabel: str, title: str = "", scale: str = ""
) -> "Figure":
    """Show matrices as maps of brightness, a panel each, all with one scale at the right, called `scale`."""
    arrays = {name: np.asarray(_array(m), dtype=float) for name, m in matrices.items()}
    figure = blank((max(4.0, 3.0 * len(arrays)), 3.6), layout="constrained")
    span = {"vmin": min(a.min() for a in arrays.values()), "vmax": max(a.max() for a in arrays.values())}
    panels, drawn = [], None
    for i, (name, a) in enumerate(arrays.items()):
        panels.append(figure.add_subplot(1, len(arrays), i + 1))
        drawn = panels[-1].imshow(a, aspect="auto", interpolation="nearest", cmap="viridis", **span)
        _panel(panels[-1], name, xlabel, ylabel if i == 0 else "")
    if drawn is None:
        raise UsageError("there is no matrix to draw: give at least one")
    figure.colorbar(drawn, ax=panels).set_label(plain(scale), fontsize=10)
    figure.suptitle(plain(wrap(title, 32 * len(arrays))), fontsize=12, x=0.02, ha="left")
    return figure


def _paired(series: Mapping[str, tuple[Numbers, Numbers]], logy: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The curves as vectors; UsageError where x and y are not paired, or nothing could be seen of them."""
    lines = {name: (_vector(x), _vector(y)) for name, (x, y) in series.items()}
    for name, (x, y) in lines.items():
        if len(x) != len(y):
            raise UsageError(f"curve {name!r} has {len(x)} values of x and {len(y)} of y: they must be paired")
    if not any(len(x) for x, _ in lines.values()):
        raise UsageError("there is no curve to draw: give at least one point")
    if logy and not any((y > 0).any() for _, y in lines.values()):
        raise UsageError("no value is above 0, so none can be drawn on a logarithmic axis: set logy to false")
    return lines


def _line(axes: "Axes", i: int, name: str, x: np.ndarray, y: np.ndarray, dotted: bool = False) -> None:
    """The i-th of several series: its colour, and where it is short its points and its dashes."""
    color, short = PALETTE[i % len(PALETTE)], len(x) <= 30
    dash = "none" if dotted else ("-", "--", ":", "-.")[(i if short else i // len(PALETTE)) % 4]
    marker = "o" if short else None
    axes.plot(x, y, linestyle=dash, color=color, marker=marker, markersize=4, linewidth=1.8, label=plain(name))


def _logarithmic(scale: Callable[..., Any], axis: Any) -> None:
    """A logarithmic axis whose numbers are written out; the fewer between the powers of ten the longer it is."""

    def number(value: float, _place: int | None = None) -> str:
        low, high = axis.get_view_interval()
        decades, first = np.log10(high / low), value / 10.0 ** np.floor(np.log10(value) + 1e-9)
        shown = (1,) if decades > 3 else (1, 2, 5) if decades > 1.2 else (1, 2, 3, 4, 6)
        return f"{value:g}" if decades <= 0.5 or np.isclose(first, shown).any() else ""

    scale("log", nonpositive="mask")
    axis.set_major_formatter(number)
    axis.set_minor_formatter(number)


def _panel(axes: "Axes", name: str, xlabel: str, ylabel: str) -> None:
    """The words around one of several panels."""
    axes.set_title(plain(wrap(name, 26)), fontsize=11)
    axes.set_xlabel(plain(xlabel), fontsize=10)
    axes.set_ylabel(plain(ylabel), fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


PALETTE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    *("#802000", "#0000A0", "#606060"),
)
_MARKERS = "o^sDvPX"
_TALL = 24  # names below each other in a legend


def blank(size: tuple[float, float], **options: Any) -> "Figure":
    """A figure of so many inches with nothing on it, on the Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=100, facecolor="white", **options)
    FigureCanvasAgg(figure)
    return figure


def _axes(xlabel: str, ylabel: str, title: str, size: tuple[float, float] = (8.0, 4.5)) -> "tuple[Figure, Axes]":
    figure = blank(size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(plain(wrap(xlabel, 70)), fontsize=12)
    axes.set_ylabel(plain(wrap(ylabel, 42)), fontsize=12)
    axes.set_title(plain(wrap(title, 80)), fontsize=13, loc="left")
    axes.tick_params(labelsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _legend(figure: "Figure", axes: "Axes", outside: bool) -> None:
    handles, names = axes.get_legend_handles_labels()
    if outside:
        look: dict[str, Any] = {"frameon": False, "fontsize": 11, "markerscale": 1.3, "columnspacing": 1.0}
        figure.legend(handles, names, loc="outside right upper", ncols=-(-len(names) // _TALL), **look)
    elif any(names):
        axes.legend(handles, names, loc="best", frameon=False, fontsize=11)


def _strip(images: Images) -> Picture:
    """One row of images, enlarged so that the figure's own scaling smears no pixel."""
    cells = to_bytes(images, "raw")
    cells = enlarged(cells, 2 * visible_scale(cells))
    return tiled(cells, len(cells), gap=max(2, cells.shape[2] // 24))


def _labelled(strips: list[Picture], labels: list[tuple[str, str]], title: str, columns: int) -> "Figure":
    """Strips with labels at their left, laid out in inches because text has a size."""
    margin, gap = 0.12, 0.1
    figure = blank((8.0, 4.0))
    texts = [
        (_text(figure, name, 11, weight="bold"), _text(figure, note, 10, color="0.25")) for name, note in labels
    ]
    widest = max(text.get_window_extent().width for pair in texts for text in pair) / figure.dpi
    left = margin + widest + 0.15
    width = min(8.0 - left - margin, 1.5 * columns)
    heading = _text(figure, wrap(title, max(20, int(10 * (left + width)))), 12, weight="bold")
    banner = _height(heading) + 0.06 if title else 0.0
    heights = [width * strip.shape[0] / strip.shape[1] for strip in strips]
    slots = [max(height, sum(map(_height, pair))) for height, pair in zip(heights, texts, strict=True)]
    across, down = left + width + margin, 2 * margin + banner + sum(slots) + gap * (len(slots) - 1)
    figure.set_size_inches(across, down)
    heading.set_position((margin / across, 1 - margin / down))
    top = down - margin - banner
    for strip, (name, note), height, slot in zip(strips, texts, heights, slots, strict=True):
        middle = top - slot / 2
        line = middle + (_height(name) + _height(note)) / 2
        name.set_position((margin / across, line / down))
        note.set_position((margin / across, (line - _height(name)) / down))
        box = (left / across, (middle - height / 2) / down, width / across, height / down)
        axes = figure.add_axes(box)
        axes.imshow(strip, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        top -= slot + gap
    return figure


def _text(figure: "Figure", text: str, size: float, **look: Any) -> "Text":
    return figure.text(0, 0, plain(text), fontsize=size, va="top", linespacing=1.25, **look)


def _height(text: "Text") -> float:
    """How much room the lines of a text take, in inches; none where it is empty."""
    lines = text.get_text().count("\n") + 1 if text.get_text() else 0
    return lines * float(text.get_fontsize()) * 1.38 / 72


def wrap(text: str, width: int) -> str:
    """The text in lines of at most that width; its own line breaks stay."""
    return "\n".join(textwrap.fill(line, width) for line in text.splitlines())


def plain(text: str) -> str:
    """Text as it is: between two dollar signs matplotlib would read a formula."""
    return text.replace("$", r"\$")


def _vector(values: Numbers) -> np.ndarray:
    return np.asarray(_array(values), dtype=float).reshape(-1)


def _array(values: Numbers | Sequence[Any]) -> np.ndarray:
    if isinstance(values, Tensor):
        return (values.detach().double() if values.is_floating_point() else values).cpu().numpy()
    return np.asarray(values)
