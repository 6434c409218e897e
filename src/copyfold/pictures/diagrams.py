"""Diagrams of architectures: the encoder on the way down, the code, the decoder on the way up."""

from collections.abc import Sequence
from itertools import pairwise
from math import log, prod
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from copyfold.errors import UsageError
from copyfold.pictures.figures import PALETTE, blank, plain, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class _Stage(Protocol):
    """What a diagram shows of a stage; `models.outline.Stage` is one."""

    @property
    def name(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def parameters(self) -> int: ...
    @property
    def part(self) -> str: ...
    @property
    def skips(self) -> tuple[str, ...]: ...


def diagram(stages: Sequence[_Stage], title: str = "", caption: str = "") -> "Figure":
    """Draw an autoencoder as a U: its encoder down the left, its code at the bottom, its decoder up the right.

    Every stage is a box whose height is the side of its map and whose width its channels, both on logarithmic
    scales (a vector is a bar, as high as it is long), and says what comes out, what was done, and its name.
    Maps that go past the code are dashed. `stages` is what `outline(model)` gives, the image first. 11 inches
    wide. Raises UsageError where not exactly one stage is the code.
    """
    parts = [[stage for stage in stages if stage.part == part] for part in ("encoder", "code", "decoder")]
    if len(parts[1]) != 1:
        raise UsageError(f"a diagram needs exactly one stage that is the code, not {len(parts[1])}")
    labels = _labels(stages, parts[1][0])
    slot = max(_SLOT, *(_height(label) + 0.3 for label in labels.values()))
    boxes, sides = _placed(parts, slot)
    rows = max(len(parts[0]), len(parts[2]))
    axes = _canvas(_ABOVE + rows * slot, _BELOW + _height(labels[parts[1][0].name]), title, caption)
    for stage in stages:
        boxes[stage.name].draw(axes, _color(stage))
        _write(axes, labels[stage.name], boxes[stage.name], sides[stage.name])
        for maker in stage.skips:
            _past(axes, boxes[maker], boxes[stage.name])
    for former, latter in pairwise(boxes[stage.name] for part in parts for stage in part):
        _arrow(axes, former, latter)
    return cast("Figure", axes.get_figure(root=True))


_WIDE, _SLOT = 11.0, 1.05  # inches: the figure, and the least height of a row
_FAR, _NEAR = 2.3, 1.1  # from the middle to the first and the last row of a column
_ABOVE, _BELOW = 0.75, 0.55  # from the middle of the code's box to the last row, and to the words at the foot
_LINE = 0.158  # of text of 8.5 points
_ENCODER, _DECODER, _CODE, _IMAGE = PALETTE[0], PALETTE[2], PALETTE[1], "#8A8A8A"
_KEY = (
    "A box is a map: its height the side, its width the channels, both on logarithmic scales; a bar is a vector. "
    "In grey: the layer's name, for probes."
)
_NO_BREAK = "\N{NO-BREAK SPACE}"
_Label = list[tuple[str, dict[str, Any]]]


class _Box(NamedTuple):
    """A box in space, seen from the front: its middle, the size of its face, and how far it goes back."""

    x: float
    y: float
    w: float
    h: float
    deep: float

    @property
    def left(self) -> float:
        return self.x - self.w / 2

    @property
    def right(self) -> float:
        return self.x + self.w / 2 + self.deep

    @property
    def low(self) -> float:
        return self.y - self.h / 2

    @property
    def high(self) -> float:
        return self.y + self.h / 2 + self.deep

    def draw(self, axes: "Axes", color: str) -> None:
        """The face, and the top and the side a little lighter and darker."""
        a, b, c, d, s = self.left, self.left + self.w, self.low, self.low + self.h, self.deep
        faces = {
            0.55: [(a, c), (b, c), (b, d), (a, d)],
            0.75: [(a, d), (b, d), (b + s, d + s), (a + s, d + s)],
            0.3: [(b, c), (b + s, c + s), (b + s, d + s), (b, d)],
        }
        for white, corners in faces.items():
            axes.fill(*zip(*corners, strict=True), fc=_lighter(color, white), ec=color, lw=0.9, zorder=3)


class _Scale:
    """How large things are drawn, relative to the largest there is."""

    def __init__(self, stages: Sequence[_Stage]) -> None:
        maps = [stage.shape for stage in stages if len(stage.shape) > 1]
        self.side = max((_side(shape) for shape in maps), default=1.0)
        self.channels = max((_channels(shape) for shape in maps), default=1)
        self.channels = max(self.channels, 64)  # so that an image is thin, whatever it is compared with
        self.length = max(prod(stage.shape) for stage in stages)

    def box(self, stage: _Stage, x: float, y: float) -> _Box:
        if len(stage.shape) == 1:
            return _Box(x, y, 0.09, 0.1 + 0.7 * _share(stage.shape[0], self.length), 0.04)
        high = 0.1 + 0.42 * _share(_side(stage.shape), self.side)
        return _Box(x, y, 0.05 + 0.42 * _share(_channels(stage.shape), self.channels), high, 0.4 * high)


def _placed(parts: list[list[_Stage]], slot: float) -> tuple[dict[str, _Box], dict[str, int]]:
    """Every stage's box, the code's in the origin; and the side of it where words stand: -1, 1, or 0, below."""
    down, code, up = parts
    scale = _Scale([*down, *code, *up])
    rows = max(len(down), len(up))
    boxes, sides = {code[0].name: scale.box(code[0], 0, 0)}, {code[0].name: 0}
    for column, side in ((down, -1), (up[::-1], 1)):
        for k, stage in enumerate(column):
            row = k * (rows - 1) / max(len(column) - 1, 1)
            x = _FAR - row * min(0.3, (_FAR - _NEAR) / rows)
            boxes[stage.name] = scale.box(stage, side * x, _ABOVE + (rows - row - 0.5) * slot)
            sides[stage.name] = side
    return boxes, sides


def _side(shape: tuple[int, ...]) -> float:
    """The side of a map c, h, w; of n tokens, n x d, that of the square they make."""
    return prod(shape[1:] if len(shape) > 2 else shape[:1]) ** 0.5


def _channels(shape: tuple[int, ...]) -> int:
    return prod(shape[:1] if len(shape) > 2 else shape[1:])


def _share(value: float, largest: float) -> float:
    """From 0 to 1, on a logarithmic scale."""
    return log(value + 1) / log(largest + 1)


def _labels(stages: Sequence[_Stage], code: _Stage) -> dict[str, _Label]:
    """What is said of every stage, by name."""
    heads = {stages[0].name: "image: ", code.name: "code: ", stages[-1].name: "reconstruction: "}
    tails = {code.name: ", and the dashed maps"} if any(stage.skips for stage in stages) else {}
    return {s.name: _label(s, heads.get(s.name, ""), tails.get(s.name, "")) for s in stages}


def _label(stage: _Stage, head: str, tail: str) -> _Label:
    """What is said of a stage, line by line, with each line's look."""
    c, *sides = stage.shape
    size = f"{c} × {'×'.join(map(str, sides))}" if sides else f"{c} numbers"
    count = f"{stage.parameters:,} parameters" if stage.parameters else ""
    size += f" = {prod(stage.shape):,} numbers" if sides and stage.part == "code" else ""
    width = 58 if stage.part == "code" else 38
    small = {"color": "0.45", "fontsize": 7.5}
    color = {"encoder": _ENCODER, "code": _CODE, "decoder": _DECODER}[stage.part] if stage.parameters else "0.3"
    lines: _Label = [(head + size + tail, {"weight": "bold", "fontsize": 9.5, "color": color})]
    lines += [(line, {"fontsize": 8.5}) for line in _between_commas(stage.what, width).splitlines()]
    names = " · ".join(filter(None, (stage.name, count))) if stage.name != "image" else ""
    return lines + [(line, small) for line in wrap(names, width + 4).splitlines()]


def _between_commas(text: str, width: int) -> str:
    """Lines of at most that width, that end at a comma or before a plus."""
    whole = text.replace(" ", _NO_BREAK).replace(f",{_NO_BREAK}", ", ").replace(f"{_NO_BREAK}+{_NO_BREAK}", "\n+ ")
    return wrap(whole, width).replace(_NO_BREAK, " ")


def _height(label: _Label) -> float:
    return _LINE * len(label)


def _write(axes: "Axes", label: _Label, box: _Box, sign: int) -> None:
    """Write a label beside a box, at its left or right (sign -1 or 1), or below it (0)."""
    x = {-1: box.left - 0.16, 0: box.x, 1: box.right + 0.16}[sign]
    top = (box.low - 0.14) if sign == 0 else (box.low + box.high) / 2 + _height(label) / 2
    for k, (line, look) in enumerate(label):
        across = {-1: "right", 0: "center", 1: "left"}[sign]
        axes.text(x, top - _LINE * (k + 0.5), plain(line), ha=across, va="center", **look)


def _color(stage: _Stage) -> str:
    if stage.name == "image":
        return _IMAGE
    return {"encoder": _ENCODER, "code": _CODE, "decoder": _DECODER}[stage.part]


def _arrow(axes: "Axes", former: _Box, latter: _Box) -> None:
    """From one box to the next: down, up, or aside to the code and from it."""
    falls = latter.y < former.y
    start = (former.x + former.deep / 2, (former.low - 0.04) if falls else (former.high + 0.04))
    end = (latter.x + latter.deep / 2, (latter.high + 0.04) if falls else (latter.low - 0.04))
    bend = "arc3"
    if latter.x == 0:
        end, bend = (latter.left - 0.06, latter.y), "angle3,angleA=-90,angleB=0"
    if former.x == 0:
        start, bend = (former.right + 0.06, former.y), "angle3,angleA=0,angleB=-90"
    _line(axes, start, end, color="0.35", connectionstyle=bend, linewidth=1.3)


def _past(axes: "Axes", maker: _Box, taker: _Box) -> None:
    """A map that goes past the code, from the stage that made it to the one that takes it."""
    start, end = (maker.right + 0.06, maker.y), (taker.left - 0.06, taker.y)
    _line(axes, start, end, color=_CODE, linestyle=(0, (4, 2.5)), linewidth=1.3)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.11)
    axes.text(*middle, "part of the code", fontsize=7.5, color=_CODE, ha="center", va="center")


def _line(axes: "Axes", start: tuple[float, float], end: tuple[float, float], **look: Any) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0, "zorder": 2} | look
    axes.annotate("", end, start, arrowprops=look)


def _canvas(high: float, low: float, title: str, caption: str) -> "Axes":
    """Axes over the whole of a figure, in inches from the middle of the code's box, with the words around it."""
    title, foot = wrap(title, 95), wrap(f"{caption}\n{_KEY}".strip(), 160)
    top = high + 0.52 + 0.24 * (title.count("\n") + 1)
    bottom = low + 0.3 + 1.1 * _LINE * (foot.count("\n") + 1)
    axes = blank((_WIDE, top + bottom)).add_axes((0, 0, 1, 1))
    axes.set_xlim(-_WIDE / 2, _WIDE / 2)
    axes.set_ylim(-bottom, top)
    axes.set_axis_off()
    left = 0.25 - _WIDE / 2
    axes.text(left, top - 0.2, plain(title), fontsize=13, weight="bold", va="top")
    axes.text(left, -low - 0.1, plain(foot), fontsize=8.5, color="0.3", va="top", linespacing=1.35)
    for heading, x, color in (("encoder", -_FAR, _ENCODER), ("decoder", _FAR, _DECODER)):
        axes.text(x, high + 0.12, heading, fontsize=11, weight="bold", color=color, ha="center")
    return axes


def _lighter(color: str, white: float) -> tuple[float, ...]:
    """A colour with that share of white in it."""
    return tuple(1 - (1 - int(color[k : k + 2], 16) / 255) * (1 - white) for k in (1, 3, 5))
