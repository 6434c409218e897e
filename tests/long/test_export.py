"""Every architecture and every part of it in ONNX."""

from importlib.util import find_spec

import pytest

import copyfold as cf
from copyfold import catalogue
from copyfold.export import NEEDED, export

ABSENT = [name for name in NEEDED if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(ABSENT), reason=f"{', '.join(ABSENT)} not installed: pip install copyfold[onnx]"
)

MODELS = {
    **{name: cls.tiny for name, cls in catalogue.classes(cf.Autoencoder).items()},
    "a U-Net with every skip": lambda: cf.UNet((3, 16, 16), 4, 2, skips="concat", residual=True, bias=False),
    "a U-Net that pads": lambda: cf.UNet((3, 18, 20), 4, 2, up="bilinear", norm="group"),
    "a U-Net with a vector": lambda: cf.UNet((1, 16, 16), 4, 2, middle=cf.models.unet.Affine(8, 4)),
    "a U-Net that pools by 3": lambda: cf.UNet((1, 20, 20), 4, 2, pool=3, norm="instance"),
    "dot-product attention": lambda: cf.AttentionUNet((1, 8, 8), 4, 1, kind="dot", heads=2, dim_head=4),
    "elu attention": lambda: cf.SingleAttention((1, 8, 8), "elu", 4, heads=2, dim_head=4),
}


@pytest.mark.parametrize("part", ["whole", "encoder", "decoder"])
@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_model_to_1e_5(name, part, tmp_path):
    assert export(MODELS[name](), tmp_path / "model.onnx", part).difference < 1e-5
