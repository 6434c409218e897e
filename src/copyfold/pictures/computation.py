"""A VAE's computation as a graph: what its bound is made of, what is drawn, and where gradients go."""

from typing import TYPE_CHECKING, Any, NamedTuple

from copyfold.pictures.figures import PALETTE, blank, plain, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Node(NamedTuple):
    """A quantity: what is written in its box, its place in inches, and its kind."""

    text: str
    x: float
    y: float
    kind: str


EDGES = (
    ("image", "posterior"),
    ("posterior", "code"),
    ("noise", "code"),
    ("code", "decoded"),
    ("posterior", "divergence"),
    ("prior", "divergence"),
    ("decoded", "likelihood"),
    ("image", "likelihood"),
    ("divergence", "loss"),
    ("likelihood", "loss"),
)
"""What is computed from what."""

GIVEN = ("image", "noise", "prior")
"""What is not computed, so that no gradient is of it."""

LOSS = PALETTE[3]
COLOURS = {"given": "#8A8A8A", "encoder": PALETTE[0], "code": PALETTE[1], "decoder": PALETTE[2], "loss": LOSS}
WIDE, HIGH, BOX = 11.0, 5.6, (2.3, 0.72)  # inches
KEY = (
    "Arrows: what is computed from what. Dashed: the gradient, back along every arrow but to what is given: noise "
    "is drawn beside the encoder and not by it, so that the gradient passes through the code (reparameterisation)."
)


def nodes(latent_dim: int) -> dict[str, Node]:
    """The quantities of a VAE with so many numbers in its code, by name."""
    return {
        "prior": Node("prior p(z) = N(0, I)", 3.6, 4.7, "given"),
        "noise": Node(f"noise e ~ N(0, I)\n{latent_dim} numbers, drawn", 6.3, 4.7, "given"),
        "posterior": Node("encoder: q(z | x) =\nN(mu(x), diag sigma(x)^2)", 1.5, 3.5, "encoder"),
        "code": Node(f"code z = mu + sigma e\n{latent_dim} numbers", 6.3, 3.5, "code"),
        "decoded": Node("decoder: p(x | z)", 9.6, 3.5, "decoder"),
        "divergence": Node("KL(q(z | x) || p(z))", 3.6, 2.2, "loss"),
        "loss": Node("loss = -ELBO, their sum:\nat least -log p(x)", 6.3, 2.2, "loss"),
        "likelihood": Node("-log p(x | z)", 9.6, 2.2, "loss"),
        "image": Node("image x", 1.5, 1.0, "given"),
    }


def gradients() -> list[tuple[str, str]]:
    """The edges that the gradient goes back along, from the loss: all that do not lead to what is given."""
    return [(made, source) for source, made in reversed(EDGES) if source not in GIVEN]


def elbo_graph(latent_dim: int, title: str = "") -> "Figure":
    """Draw how a VAE computes its loss, the negative evidence lower bound, and where its gradient goes.

    11 inches wide. Kingma and Welling, "Auto-encoding variational Bayes" (2014, arXiv:1312.6114).
    """
    figure = blank((WIDE, HIGH))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDE)
    axes.set_ylim(0, HIGH)
    axes.set_axis_off()
    placed = nodes(latent_dim)
    for source, made in EDGES:
        _arrow(axes, placed[source], placed[made], "0.35", aside=0.0)
    for made, source in gradients():
        _arrow(axes, placed[made], placed[source], LOSS, aside=0.13, dashed=True)
    for node in placed.values():
        _box(axes, node)
    axes.text(0.35, HIGH - 0.35, plain(wrap(title, 95)), fontsize=13, weight="bold", va="center")
    axes.text(0.35, 0.3, plain(wrap(KEY, 150)), fontsize=8.5, color="0.3", va="center", linespacing=1.35)
    return figure


def _box(axes: "Axes", node: Node) -> None:
    """A quantity in its box."""
    box = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": COLOURS[node.kind], "linewidth": 1.6}
    look: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "fontsize": 9.5,
        "linespacing": 1.3,
        "zorder": 4,
        "bbox": box,
    }
    axes.text(node.x, node.y, plain(node.text), **look)


def _arrow(axes: "Axes", start: Node, end: Node, color: str, aside: float, dashed: bool = False) -> None:
    """From the edge of one box to the edge of another, `aside` inches beside the line between their middles."""
    across, up = end.x - start.x, end.y - start.y
    length = (across**2 + up**2) ** 0.5
    x, y = -up / length * aside, across / length * aside
    ends = [
        (node.x + sign * share * across + x, node.y + sign * share * up + y)
        for node, sign, share in ((start, 1, _inside(across, up)), (end, -1, _inside(across, up)))
    ]
    look = {
        "arrowstyle": "-|>",
        "mutation_scale": 11,
        "shrinkA": 0,
        "shrinkB": 0,
        "color": color,
        "linewidth": 1.3,
    }
    axes.annotate(
        "", ends[1], ends[0], zorder=2, arrowprops=look | ({"linestyle": (0, (4, 2.5))} if dashed else {})
    )


def _inside(across: float, up: float) -> float:
    """The share of the line between two middles that is within a box."""
    wide, high = BOX
    return min(wide / 2 / abs(across) if across else 1.0, high / 2 / abs(up) if up else 1.0)
