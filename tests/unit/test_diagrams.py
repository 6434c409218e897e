"""The outline of an architecture agrees with the architecture, and its diagram is legible."""

from itertools import combinations

import pytest
import torch
from torch import nn

import copyfold as cf
from copyfold import catalogue, pictures
from copyfold.models.base import Autoencoder, Chain
from copyfold.models.outline import Stage, outline

MODELS = list(catalogue.classes(Autoencoder).values())


def without_memory(make):
    with torch.device("meta"):
        return make()


KINDS = {
    "none": lambda: cf.UNet((3, 128, 128)),
    "concat": lambda: cf.UNet((3, 128, 128), width=128, depth=5, skips="concat"),
    "middle": lambda: cf.UNet((3, 64, 64), skips="concat", up="bilinear", middle=cf.Affine()),
    "instance": lambda: cf.UNet((1, 32, 32), depth=2, norm="instance"),
    "one position": lambda: cf.UNet((3, 16, 16)),
    "mlp": lambda: cf.MLP((1, 28, 28), hidden=[100], latent_dim=30),
    "layers": lambda: cf.MLP((1, 8, 8), hidden=[9] * 12, norm="layer"),
    "conv": lambda: cf.Conv((1, 28, 28), norm="batch"),
    "linear": lambda: cf.Linear((3, 32, 32)),
}


def the_code(stages):
    (code,) = (stage for stage in stages if stage.part == "code")
    return code


def test_the_stages_of_a_small_unet_are_known():
    conv = "two 3×3 convolutions + batch norm, ReLU"
    down, up = f"2×2 max pooling, {conv}", f"2×2 transposed convolution, {conv}"
    # 3x3 convolutions without a bias, and a weight and a bias of the norm for every map
    assert outline(cf.UNet.tiny()) == [
        Stage("image", "what goes in", (3, 16, 16), 0, "encoder"),
        Stage("encoder.stem", conv, (4, 16, 16), 9 * (3 * 4 + 4 * 4) + 16, "encoder"),
        Stage("encoder.down1", down, (8, 8, 8), 9 * (4 * 8 + 8 * 8) + 32, "encoder"),
        Stage("encoder.down2", down, (16, 4, 4), 9 * (8 * 16 + 16 * 16) + 64, "code"),
        Stage("decoder.up1", up, (8, 8, 8), 16 * 16 * 4 + 16 + 9 * (16 * 8 + 8 * 8) + 32, "decoder"),
        Stage("decoder.up2", up, (4, 16, 16), 8 * 8 * 4 + 8 + 9 * (8 * 4 + 4 * 4) + 16, "decoder"),
        Stage("decoder.head", "1×1 convolution", (3, 16, 16), 4 * 3 + 3, "decoder"),
    ]


def test_murphy_s_perceptron_is_its_linear_layers():
    found = [(s.name, s.what, s.shape, s.part) for s in outline(without_memory(KINDS["mlp"]))]
    assert found == [
        ("image", "what goes in", (1, 28, 28), "encoder"),
        ("encoder.1", "linear layer + GELU", (100,), "encoder"),
        ("encoder.4", "linear layer", (30,), "code"),
        ("decoder.0", "linear layer + GELU", (100,), "decoder"),
        ("decoder.3", "linear layer", (1, 28, 28), "decoder"),
    ]


def test_skips_lead_from_the_stage_that_computes_a_map_to_the_one_that_uses_it():
    stages = outline(without_memory(KINDS["middle"]))
    assert {s.name: s.skips for s in stages if s.skips} == {
        "decoder.up1": ("encoder.down3",),
        "decoder.up2": ("encoder.down2",),
        "decoder.up3": ("encoder.down1",),
        "decoder.up4": ("encoder.stem",),
    }
    assert the_code(stages).name == "encoder.squeeze"
    assert the_code(stages).shape == (100,)
    assert next(s for s in stages if s.name == "decoder.up1").what.startswith("bilinear upsampling, two 3×3")


class Joining(Autoencoder):
    """Two maps as a code, joined outside of any module, a layer that only training uses, and a free parameter."""

    def __init__(self) -> None:
        super().__init__((2, 8, 8), "linear")
        self.encoder = nn.ModuleDict({"stem": nn.Conv2d(2, 4, 1), "down": nn.Conv2d(4, 5, 2, stride=2)})
        self.decoder = nn.ModuleDict({"up": nn.ConvTranspose2d(5, 4, 2, stride=2), "head": nn.Conv2d(8, 2, 1)})
        self.unused = nn.Linear(10, 7)
        self.scale = nn.Parameter(torch.ones(3))

    def encode(self, x):
        above = self.encoder["stem"](x)
        return self.encoder["down"](above), above

    def logits(self, z):
        return self.decoder["head"](torch.cat((self.decoder["up"](z[0]), z[1]), 1))

    @classmethod
    def tiny(cls):
        return cls()


def test_skips_without_a_layer_and_parameters_outside_the_stages_are_shown():
    model = Joining()
    stages = outline(model)
    assert {s.name: s.skips for s in stages if s.skips} == {"decoder.head": ("encoder.stem",)}
    assert the_code(stages).what == "strided 2×2 convolution"
    assert the_code(stages).parameters == 4 * 5 * 4 + 5 + (10 * 7 + 7) + 3


class Nothing(Chain):
    """The identity, around one parameter."""

    def __init__(self) -> None:
        super().__init__((1, 4, 4), "linear")
        self.encoder, self.decoder = nn.Identity(), nn.Identity()
        self.useless = nn.Parameter(torch.zeros(1))

    @classmethod
    def tiny(cls):
        return cls()


def test_a_model_without_layers_has_a_code_too():
    stages = outline(Nothing())
    assert [(s.part, s.shape) for s in stages] == [(p, (1, 4, 4)) for p in ("encoder", "code", "decoder")]
    assert len(pictures.png(pictures.diagram(stages))) > 1000


@pytest.mark.parametrize("cls", MODELS)
def test_every_architecture_has_an_outline_and_a_diagram(cls):
    model = cls.tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stages = outline(model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in model.parameters())
    assert stages[0].shape == stages[-1].shape == model.shape
    with torch.no_grad():
        z = model.eval().encode(torch.zeros(2, *model.shape))
    assert the_code(stages).shape == (z[0] if isinstance(z, tuple) else z).shape[1:]
    assert sum(len(stage.skips) for stage in stages) == (len(z) - 1 if isinstance(z, tuple) else 0)
    assert len({stage.name for stage in stages}) == len(stages)
    layers = dict(model.named_modules())
    assert all(stage.name in layers for stage in stages[1:] if stage.parameters)
    assert all(stage.what for stage in stages)
    readable(pictures.diagram(stages, cls.__name__, str(model.summary())))


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_of_a_diagram_does_not_overlap(kind):
    model = without_memory(KINDS[kind])
    stages = outline(model)
    assert sum(stage.parameters for stage in stages) == sum(p.numel() for p in model.parameters())
    title = f"{type(model).__name__} " + "with a long title, " * 12
    figure = pictures.diagram(stages, title, str(model.summary()))
    said = "\n".join(text.get_text() for text in figure.axes[0].texts)
    assert all(stage.name in said for stage in stages)
    assert said.count("part of the code") == sum(len(stage.skips) for stage in stages)
    assert said.count("code: ") == 1
    readable(figure)


def readable(figure):
    """No text lies on another or on a box, and nothing is cut off."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    texts = [(text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text()]
    boxes = [patch.get_window_extent() for patch in axes.patches]
    for text, place in texts:
        assert place.x0 > 0, text
        assert place.y0 > 0, text
        assert place.x1 < figure.bbox.width, text
        assert place.y1 < figure.bbox.height, text
        assert not any(place.overlaps(box) for box in boxes), text
    for (a, one), (b, other) in combinations(texts, 2):
        assert not one.padded(-1).overlaps(other.padded(-1)), (a, b)


def test_a_larger_map_is_a_larger_box():
    stages = outline(without_memory(KINDS["none"]))
    figure = pictures.diagram(stages)
    faces = [patch.get_xy() for patch in figure.axes[0].patches[::3]]
    sizes = [(max(x) - min(x), max(y) - min(y)) for x, y in (face.T for face in faces)]
    widths, heights = ([round(v, 6) for v in column] for column in zip(*sizes, strict=True))
    middle = len(stages) // 2
    assert widths[1 : middle + 1] == sorted(set(widths[1 : middle + 1]))
    assert heights[1 : middle + 1] == sorted(set(heights[1 : middle + 1]), reverse=True)
    assert (widths, heights) == (widths[::-1], heights[::-1])


def test_tokens_are_a_map_of_as_many_positions():
    stages = [
        Stage("image", "what goes in", (1, 8, 8), 0, "encoder"),
        Stage("map", "as a map", (5, 4, 4), 1, "encoder"),
        Stage("tokens", "as tokens", (16, 5), 1, "code"),
        Stage("head", "a layer", (1, 8, 8), 1, "decoder"),
    ]
    figure = pictures.diagram(stages)
    _, one, other, _ = (patch.get_xy() for patch in figure.axes[0].patches[::3])
    assert one.max(0) - one.min(0) == pytest.approx(other.max(0) - other.min(0))
    assert "code: 16 × 5 = 80 numbers" in [text.get_text() for text in figure.axes[0].texts]
    readable(figure)


def test_a_model_without_a_code_is_refused():
    with pytest.raises(cf.UsageError, match="exactly one stage"):
        pictures.diagram([Stage("image", "what goes in", (1, 4, 4), 0, "encoder")])
