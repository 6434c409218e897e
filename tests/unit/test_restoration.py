"""Restored photographs keep size, mode, format and EXIF, without location."""

import logging
import struct

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F
from PIL import Image

import copyfold as cf
import png16
from copyfold import restoration as module
from copyfold.data import photographs, scenes
from copyfold.data.photographs import differences
from copyfold.data.reading.depth import numbers
from copyfold.errors import UsageError
from copyfold.restoration import restore, restore_file


def ready(model):
    """The model with averages that were recorded, in eval mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(10):
            model.train()(torch.rand(8, *model.shape))
    return model.eval()


def same(shape=(3, 16, 16)):
    """A model that gives back what it gets."""
    model = cf.UNet(shape, width=2, depth=1).eval()
    model.forward = lambda x: x
    return model


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_photograph_is_taken_apart_and_assembled_in_strips_as_in_one(kind, tmp_path, monkeypatch):
    rows, top = 2 * photographs.ROWS + 3, 1 if kind == np.float32 else 200
    array = (np.random.default_rng(0).random((rows, 5, 4)) * top).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unassalpha"])
    read = [photographs.Photograph.read(tmp_path / "a.tif", "a.tif", (0, top / 2))]
    monkeypatch.setattr(photographs, "ROWS", 10 * rows)
    read.append(photographs.Photograph.read(tmp_path / "a.tif", "a.tif", (0, top / 2)))
    monkeypatch.undo()
    assert read[0].values.dtype == np.float32
    np.testing.assert_array_equal(*(one.values for one in read))
    np.testing.assert_array_equal(read[0].assemble(read[0].values), read[0].found.array)  # also outside the range


def picture(width=37, height=29):
    return Image.fromarray(scenes(1, 64)[0]).resize((width, height))


MODELS = {
    "unet": lambda: cf.UNet((3, 16, 16), width=4, depth=2),
    "conv": lambda: cf.Conv((3, 16, 16), channels=(4, 8), norm="batch"),
    "conv of one size": lambda: cf.Conv((3, 9, 9), channels=(4, 8)),
    "instance": lambda: cf.UNet((3, 16, 16), width=4, depth=2, norm="instance"),
    "mlp": lambda: cf.MLP((3, 8, 8), hidden=(8,), latent_dim=4),
    "middle": lambda: cf.UNet((3, 16, 16), width=4, depth=2, middle=cf.Affine(8, 4)),
}


# ---------------------------------------------------------------- restore


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 2), (5, 40), (17, 23), (64, 48)])
def test_images_of_any_size_come_back_at_their_size(name, size):
    model = ready(MODELS[name]())
    model.statistics = "batch"
    for channels in (1, 3):
        x = torch.rand(2, channels, *size)
        out = restore(model, x)
        assert out.shape == x.shape
        assert ((out >= 0) & (out <= 1)).all()
    assert model.statistics == "batch"


def test_an_image_of_a_valid_size_is_the_model_s_output():
    model = ready(MODELS["unet"]())
    x = torch.rand(2, 3, 20, 12)
    with model.using("running"), torch.no_grad():
        assert torch.equal(restore(model, x), model(x).clamp(0, 1))
    with model.using("batch"), torch.no_grad():
        batch = model(x).clamp(0, 1)
    assert torch.equal(restore(model, x, "batch"), batch)
    assert not torch.allclose(restore(model, x), batch, atol=1e-3)


def test_an_image_is_reflection_padded_to_a_valid_size():
    model = ready(MODELS["unet"]())
    x = torch.rand(1, 3, 18, 13)
    with model.using("running"), torch.no_grad():
        mirrored = model(F.pad(x, (0, 3, 0, 2), mode="reflect"))[..., :18, :13].clamp(0, 1)
    assert torch.equal(restore(model, x), mirrored)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (31, 64), (100, 90)])
def test_an_identity_model_returns_the_image_unchanged(size, monkeypatch):
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "TILE", 32)
    x = torch.rand(1, 3, *size)
    assert torch.equal(restore(same(), x), x)
    assert torch.equal(restore(same(), x, strength=0.3), x)
    torch.testing.assert_close(restore(same(), x[:, :1]), x[:, :1])
    torch.testing.assert_close(restore(same((1, 16, 16)), x), x)  # there and back between colours and luminance


@pytest.mark.parametrize("name", ["unet", "conv"])
def test_tiles_equal_the_whole_image(name, monkeypatch):
    model = ready(MODELS[name]())
    x = torch.rand(2, 3, 101, 90)
    whole = restore(model, x)
    seen = []
    model.register_forward_hook(lambda _, given, __: seen.append(tuple(given[0].shape[2:])))
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "TILE", 32)
    torch.testing.assert_close(restore(model, x), whole, rtol=0, atol=1e-5)
    assert len(seen) == 24  # one image at a time
    assert max(max(size) for size in seen) <= 32 + 2 * 24
    monkeypatch.setattr(module, "MARGIN", 0)  # so that this test could fail
    assert not torch.allclose(restore(model, x), whole, rtol=0, atol=1e-3)


@pytest.mark.parametrize("channels", [2, 5])
def test_a_grey_model_restores_each_channel_by_itself(channels):
    model = ready(cf.UNet((1, 16, 16), width=4, depth=2))
    images = torch.rand(2, channels, 18, 22)
    out = restore(model, images)
    assert out.shape == images.shape
    for channel in range(channels):
        one = slice(channel, channel + 1)
        torch.testing.assert_close(out[:, one], restore(model, images[:, one]))


def test_a_grey_model_sees_colour_as_luminance_and_two_differences():
    model = ready(cf.UNet((1, 16, 16), width=4, depth=2))
    x = torch.rand(2, 3, 18, 22)
    red, green, blue = x.unbind(1)
    seen = [(red + green + blue) / 3, 0.5 + (red - blue) / 2**0.5, 0.5 + (red - 2 * green + blue) / 6**0.5]
    with torch.no_grad():
        luminance, first, second = (module.applied(model, y[:, None])[:, 0] for y in seen)
    first, second = first - 0.5, second - 0.5
    by_hand = [
        luminance + first / 2**0.5 + second / 6**0.5,
        luminance - 2 * second / 6**0.5,
        luminance - first / 2**0.5 + second / 6**0.5,
    ]
    torch.testing.assert_close(restore(model, x), torch.stack(by_hand, 1).clamp(0, 1))
    grey = x[:, :1].expand(-1, 3, -1, -1)
    white = module.OPPONENT @ module.OPPONENT.T
    torch.testing.assert_close(white, torch.eye(3))  # noise keeps its std and stays independent
    torch.testing.assert_close(module._opponent(grey)[:, 1:], torch.full((2, 2, 18, 22), 0.5))


def test_strength_is_the_share_of_the_change():
    model = ready(MODELS["unet"]())
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        change = module.applied(model, x) - x
    torch.testing.assert_close(restore(model, x, strength=0.25), (x + 0.25 * change).clamp(0, 1))
    assert torch.equal(restore(model, x, strength=0.0), x)
    with pytest.raises(UsageError, match=r"^strength=1.5 is invalid: expected a number from 0 to 1, or 'sure'$"):
        restore(model, x, strength=1.5)


def test_an_ensemble_is_the_mean_over_the_symmetries_of_the_square(monkeypatch):
    model = ready(MODELS["unet"]())
    x = torch.rand(2, 3, 18, 26)  # no multiple of what the network takes: padding differs between the turns
    elements = [(flips, swap) for flips in ((), (2,), (3,), (2, 3)) for swap in (False, True)]

    def moved(y, flips, swap):
        return y.flip(flips).transpose(2, 3) if swap else y.flip(flips)

    def back(y, flips, swap):
        return (y.transpose(2, 3) if swap else y).flip(flips)

    wanted = torch.stack([back(module.applied(model, moved(x, *g)), *g) for g in elements]).mean(0)
    found = restore(model, x, ensemble=True)
    torch.testing.assert_close(found, wanted.clamp(0, 1))
    for g in elements:  # so that what it makes of a turned image is its image turned, which one pass does not have
        torch.testing.assert_close(restore(model, moved(x, *g), ensemble=True), moved(found, *g))
    assert (restore(model, x.flip(3)) - restore(model, x).flip(3)).abs().max() > 1e-3
    torch.testing.assert_close(restore(model, x, strength=0.5, ensemble=True), ((x + wanted) / 2).clamp(0, 1))
    told = []
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "TILE", 32)
    restore(same(), torch.rand(1, 3, 40, 70), ensemble=True, progress=lambda *now: told.append(now[1:3]))
    assert told == [(k, 48) for k in range(1, 49)]
    told.clear()
    restore(same(), torch.rand(1, 3, 40, 70), strength="sure", progress=lambda *now: told.append(now[1:3]))
    assert told == [(k, 12) for k in range(1, 13)]


def test_the_strength_by_steins_estimate_is_that_of_the_least_error(monkeypatch):
    monkeypatch.setattr(module, "AROUND", 511)  # the whole image: one strength for all of a channel
    u = torch.arange(256.0)
    waves = torch.stack([torch.sin(u[:, None] / a) * torch.cos(u / b) for a, b in ((1.5, 40), (3, 9), (30, 50))])
    clean, model = 0.5 + 0.2 * waves[None], same((3, 256, 256))
    y = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    model.forward = cf.Blur(13, 2.0)
    change = model.forward(y) - y
    best = ((clean - y) * change).sum((2, 3)) / change.square().sum((2, 3))
    assert best.min() < 0.8 * best.max()  # the channels differ
    found = ((restore(model, y, strength="sure") - y) * change).sum((2, 3)) / change.square().sum((2, 3))
    torch.testing.assert_close(found, best, rtol=0.05, atol=0)


def test_the_strength_by_steins_estimate_follows_the_place():
    left, right = torch.zeros(1, 1, 96, 96), (torch.arange(96) // 3 % 2).float().expand(1, 1, 96, 96)
    clean, model = torch.cat([left, 0.6 * right], 3) + 0.2, same((1, 96, 192))
    y = clean + 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    model.forward = cf.Blur(13, 2.0)  # right for the flat half, wrong for the stripes
    parts = (slice(0, 72), slice(120, 192))  # away from where they meet
    errors = [[(z - clean)[..., part].square().mean() for part in parts] for z in (y, model.forward(y))]
    found = [(restore(model, y, strength="sure") - clean)[..., part].square().mean() for part in parts]
    assert found[0] < 1.1 * errors[1][0] < 0.05 * errors[0][0]
    assert found[1] < 1.1 * errors[0][1] < 0.1 * errors[1][1]


def test_by_steins_estimate_too_no_image_depends_on_the_others():
    model, x = ready(MODELS["unet"]()), torch.rand(3, 3, 24, 24)
    found = restore(model, x, strength="sure")
    torch.testing.assert_close(found[1:2], restore(model, x[1:2], strength="sure"))


def test_the_noise_of_two_rows_is_not_estimated():
    with pytest.raises(
        UsageError, match=r"^strength='sure' estimates the noise, which takes 3x3 pixels, and an image has 2x9"
    ):
        restore(same(), torch.rand(1, 3, 2, 9), strength="sure")


def test_progress_is_told_of_tiles(monkeypatch):
    monkeypatch.setattr(module, "WHOLE", 1000)
    monkeypatch.setattr(module, "TILE", 32)
    told = []
    restore(
        same(), torch.rand(1, 3, 40, 70), progress=lambda what, done, total, _: told.append((what, done, total))
    )
    assert told == [("tiles", k, 6) for k in range(1, 7)]


def test_a_colour_model_gets_grey_images_in_three_channels():
    model = ready(MODELS["unet"]())
    x = torch.rand(2, 1, 16, 16)
    with model.using("running"), torch.no_grad():
        expected = model(x.expand(-1, 3, -1, -1)).mean(1, keepdim=True).clamp(0, 1)
    torch.testing.assert_close(restore(model, x), expected)
    model = same()
    model.forward = lambda x: x * torch.tensor([0.2, 0.4, 0.9]).view(3, 1, 1)
    torch.testing.assert_close(restore(model, x), 0.5 * x)


def test_a_model_of_fixed_size_runs_at_that_size():
    model = ready(MODELS["mlp"]())
    sizes = []
    model.register_forward_hook(lambda _, given, __: sizes.append(tuple(given[0].shape)))
    flat = torch.full((1, 3, 50, 30), 0.5)
    out = restore(model, flat)
    assert sizes == [(1, 3, 8, 8)]
    with torch.no_grad():
        small = model(torch.full((1, 3, 8, 8), 0.5))
    expected = F.interpolate(small, (50, 30), mode="bicubic", align_corners=False).clamp(0, 1)
    torch.testing.assert_close(out, expected)


def test_other_channels_are_refused():
    model = cf.UNet((2, 16, 16), width=2, depth=1).eval()
    with pytest.raises(cf.UsageError, match="images of 3 channels are invalid for this model: expected 2"):
        restore(model, torch.rand(1, 3, 16, 16))


# ---------------------------------------------------------------- restore_file


def shade(size):
    """A transparency that is another in every column."""
    return Image.fromarray(np.tile(np.linspace(0, 255, size[0]).astype(np.uint8), (size[1], 1)))


def of_mode(mode):
    colour, grey = picture(), picture().convert("L")
    match mode:
        case "RGBA" | "LA":
            image = (colour if mode == "RGBA" else grey).copy()
            image.putalpha(shade(image.size))
            return image
        case "P":
            return colour.quantize(64)
        case "I;16":
            return Image.fromarray(np.asarray(grey).astype(np.uint16) * 257 + 1)
        case _:
            return colour.convert(mode)


LOSSLESS = [
    (mode, kind, after)
    for kind, modes in {
        "png": {"L": "L", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "P": "RGB", "1": "1", "I;16": "I;16"},
        "tiff": {
            "L": "L", "RGB": "RGB", "RGBA": "RGBA", "LA": "LA", "P": "RGB", "1": "1", "I;16": "I;16",
            "CMYK": "CMYK",
        },
        "bmp": {"L": "L", "RGB": "RGB", "P": "RGB", "1": "1"},
        "gif": {"L": "P", "P": "P", "1": "P"},
    }.items()
    for mode, after in modes.items()
]  # fmt: skip
LOSSY = [("L", "jpeg", "L"), ("RGB", "jpeg", "RGB"), ("CMYK", "jpeg", "CMYK"), ("RGB", "webp", "RGB"),
         ("RGBA", "webp", "RGBA")]  # fmt: skip


@pytest.mark.parametrize(("mode", "kind", "after"), [*LOSSLESS, *LOSSY])
def test_an_identity_model_keeps_every_pixel_of_a_file(mode, kind, after, tmp_path):
    source, target = tmp_path / f"a.{kind}", tmp_path / "out" / f"a.{kind}"
    of_mode(mode).save(source, **({"quality": 95} if kind in ("jpeg", "webp") else {}))
    restore_file(same(), source, target)
    with Image.open(source) as was, Image.open(target) as now:
        assert (now.size, now.format, now.mode) == (was.size, was.format, after)
        wide = mode == "I;16"
        pixels = [np.asarray(image if wide else image.convert("RGBA")).astype(float) for image in (was, now)]
    assert np.abs(pixels[0] - pixels[1]).max() <= (0 if (mode, kind, after) in LOSSLESS else 16)


def test_only_the_model_changes_a_photograph(tmp_path):
    model = ready(MODELS["unet"]())
    of_mode("RGBA").save(tmp_path / "a.png")
    restore_file(model, tmp_path / "a.png", tmp_path / "b.png", "batch")
    with Image.open(tmp_path / "a.png") as was, Image.open(tmp_path / "b.png") as now:
        x = torch.from_numpy(np.array(was.convert("RGB"))).permute(2, 0, 1)[None] / 255
        expected = restore(model, x, "batch")[0].permute(1, 2, 0).mul(255).round().byte()
        assert np.array_equal(np.asarray(now)[..., :3], expected.numpy())
        assert now.getchannel("A").tobytes() == was.getchannel("A").tobytes()


def test_wide_values_keep_their_kind_and_precision_or_are_refused(tmp_path):
    ramp = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    for values in (ramp / 4096, (ramp * 16).astype(np.uint16), (ramp * 16).astype(np.int32)):
        Image.fromarray(values).save(tmp_path / "a.tiff")
        restore_file(same(), tmp_path / "a.tiff", tmp_path / "b.tiff")
        with Image.open(tmp_path / "b.tiff") as now:
            assert np.asarray(now).dtype == values.dtype
            np.testing.assert_allclose(np.asarray(now).astype(np.float64), values.astype(np.float64), rtol=1e-6)
    for values in (ramp, ramp - 1, np.full_like(ramp, np.nan), (ramp * 100).astype(np.int32)):
        Image.fromarray(values).save(tmp_path / "a.tiff")
        with pytest.raises(cf.DataError, match=r"a\.tiff has values (from .* outside 0 to|that are NaN)"):
            restore_file(same(), tmp_path / "a.tiff", tmp_path / "c.tiff")
    assert not (tmp_path / "c.tiff").exists()
    Image.fromarray(ramp).save(tmp_path / "a.tiff")
    restore_file(same(), tmp_path / "a.tiff", tmp_path / "b.tiff", range=(0.0, 4095.0))
    with Image.open(tmp_path / "b.tiff") as now:
        np.testing.assert_allclose(np.asarray(now), ramp, atol=1e-3)


def test_a_model_restores_16_bits_at_their_depth(tmp_path):
    model = ready(MODELS["unet"]())
    array = np.random.default_rng(0).integers(0, 2**16, (20, 24, 4)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png16.png(array))
    restore_file(model, tmp_path / "a.png", tmp_path / "b.png")
    x = torch.from_numpy(array[..., :3].astype(np.float32) / 65535).permute(2, 0, 1)[None]
    expected = restore(model, x)[0].permute(1, 2, 0).double().mul(65535).round()
    found = numbers(str(tmp_path / "b.png")).array
    np.testing.assert_allclose(found[..., :3], expected.numpy(), atol=1)
    np.testing.assert_array_equal(found[..., 3], array[..., 3])
    assert (found[..., :3] % 257).any()  # which 8 bits are not


def test_8_bits_have_a_range_of_8_bits_as_in_training(tmp_path):
    dark = np.arange(16 * 16).reshape(16, 16).astype(np.uint8) // 4
    Image.fromarray(dark).save(tmp_path / "a.png")
    model = same((1, 16, 16))
    seen = []
    model.forward = lambda x: seen.append(x) or x / 2
    restore_file(model, tmp_path / "a.png", tmp_path / "b.png", range=(0.0, 63.0))
    trained = cf.Photos([tmp_path / "a.png"], 16, range=(0, 63), whole=True).images()
    torch.testing.assert_close(seen[0], trained, atol=1 / 255, rtol=0)
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "b.png")), dark / 2, atol=0.5)
    restore_file(model, tmp_path / "a.png", tmp_path / "b.png", range=(-1000.0, 3000.0))  # of others
    torch.testing.assert_close(seen[1][0, 0], torch.from_numpy(dark / np.float32(255)))


@pytest.mark.parametrize(("mode", "channels"), [("LA", 2), ("RGBA", 4)])
def test_a_model_of_transparency_restores_it_too(mode, channels, tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (16, 16, channels), np.uint8)
    Image.fromarray(values, mode).save(tmp_path / "a.png")
    model, seen = same((channels, 16, 16)), []
    model.forward = lambda x: seen.append(x) or 1 - x
    restore_file(model, tmp_path / "a.png", tmp_path / "b.png")
    trained = cf.Photos([tmp_path / "a.png"], 16, channels=channels, whole=True).images()
    torch.testing.assert_close(seen[0], trained)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), 255 - values)


def test_pages_of_a_tiff_are_all_restored(tmp_path):
    model = ready(MODELS["unet"]())
    pages = scenes(3, 16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="rgb", metadata=None)
    restore_file(model, tmp_path / "a.tif", tmp_path / "b.tif")
    for k, page in enumerate(pages):
        Image.fromarray(page).save(tmp_path / "one.tif")
        restore_file(model, tmp_path / "one.tif", tmp_path / "restored.tif")
        with Image.open(tmp_path / "b.tif") as now, Image.open(tmp_path / "restored.tif") as expected:
            assert now.n_frames == 3
            now.seek(k)
            assert np.array_equal(np.asarray(now), np.asarray(expected))


def test_a_page_that_cannot_be_restored_is_named_and_nothing_is_written(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(scenes(1, 16)[0], photometric="rgb", metadata=None)
        file.write(
            np.ones((16, 16, 5), np.float32), photometric="minisblack", planarconfig="contig", metadata=None
        )
    expected = r"a\.tif#0001 cannot be restored: images of 5 channels are invalid for this model: expected 3"
    with pytest.raises(cf.DataError, match=expected):
        restore_file(same(), tmp_path / "a.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_a_model_of_many_channels_restores_photographs_of_as_many(tmp_path):
    model = same((5, 16, 16))
    array = np.random.default_rng(0).random((16, 16, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig", metadata=None)
    restore_file(model, tmp_path / "a.tif", tmp_path / "b.tif")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "b.tif"), array, rtol=1e-6)


SECRET = b"1999:12:31"
CAMERA, ORIENTATION, TAKEN, WHEN = 0x010F, 0x0112, 0x8769, 0x9003


def located(orientation):
    """EXIF of a camera that says where and when it was."""
    exif = Image.Exif()
    exif[CAMERA], exif[ORIENTATION] = "A camera", orientation
    exif.get_ifd(TAKEN)[WHEN] = "2020:02:02 02:02:02"
    place = exif.get_ifd(photographs.GPS)
    place[1], place[2], place[0x1D] = "N", (48.0, 51.0, 12.3456), SECRET.decode()
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_exif_is_kept_without_location_and_the_photograph_is_upright(kind, orientation, tmp_path):
    source, target = tmp_path / f"a.{kind.lower()}", tmp_path / f"b.{kind.lower()}"
    picture(40, 24).save(source, exif=located(orientation), quality=95)
    assert SECRET in source.read_bytes()
    restore_file(same(), source, target)
    with Image.open(target) as image:
        exif = image.getexif()
        assert image.format == kind
        assert image.size == ((40, 24) if orientation == 1 else (24, 40))
        assert exif.get(ORIENTATION, 1) == 1
        assert exif[CAMERA] == "A camera"
        assert exif.get_ifd(TAKEN)[WHEN] == "2020:02:02 02:02:02"
        assert not exif.get_ifd(photographs.GPS)
        assert photographs.GPS not in exif
        turned = np.asarray(picture(40, 24).rotate(0 if orientation == 1 else 270, expand=True)).astype(float)
        assert np.abs(np.asarray(image.convert("RGB")).astype(float) - turned).mean() < 4
    assert SECRET not in target.read_bytes()
    assert b"A camera" in target.read_bytes()


def test_xmp_with_a_location_is_removed(tmp_path):
    picture().save(tmp_path / "a.jpg", xmp=b"<x:xmpmeta>exif:GPSLatitude='48,51.2N'</x:xmpmeta>")
    assert b"GPSLatitude" in (tmp_path / "a.jpg").read_bytes()
    restore_file(same(), tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert b"GPSLatitude" not in (tmp_path / "b.jpg").read_bytes()


@pytest.mark.parametrize("broken", [b"Exif\0\0garbage", b"Exif\0\0II*\0", b"Exif\0\0"])
def test_broken_exif_does_not_stop_restoration(broken, tmp_path):
    picture().save(tmp_path / "a.jpg", exif=broken)
    restore_file(same(), tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.size == (37, 29)


def test_unwritable_exif_is_left_out(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "copyfold")
    picture().save(tmp_path / "a.jpg", exif=located(1))

    def fails(*_):
        raise struct.error("'H' format requires 0 <= number <= 65535")

    monkeypatch.setattr(Image.Exif, "tobytes", fails)  # Pillow, of a camera that writes odd values
    restore_file(same(), tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert SECRET not in (tmp_path / "b.jpg").read_bytes()
    assert "the EXIF data of" in caplog.text


def test_colour_profile_and_resolution_are_kept(tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("png", "jpg", "tiff"):
        picture().save(tmp_path / f"a.{kind}", icc_profile=profile, dpi=(300, 300))
        restore_file(same(), tmp_path / f"a.{kind}", tmp_path / f"b.{kind}")
        with Image.open(tmp_path / f"b.{kind}") as image:
            assert image.info["icc_profile"] == profile
            assert [round(value) for value in image.info["dpi"]] == [300, 300]


def test_a_multi_picture_jpeg_is_restored(tmp_path):
    source = tmp_path / "a.jpg"
    picture().save(source, format="MPO", save_all=True, append_images=[picture()], exif=located(1))
    restore_file(same(), source, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert (image.format, image.getexif()[CAMERA]) == ("JPEG", "A camera")
    assert differences([source]) == ["of an animation only the first frame comes back (1 of 1 images)"]


def test_the_first_frame_of_an_animation_is_restored(tmp_path):
    frames = [Image.fromarray(pixels) for pixels in scenes(3, 16)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    restore_file(same(), tmp_path / "a.gif", tmp_path / "b.gif")
    with Image.open(tmp_path / "a.gif") as was, Image.open(tmp_path / "b.gif") as now:
        assert now.n_frames == 1
        assert np.array_equal(np.asarray(now.convert("RGB")), np.asarray(was.convert("RGB")))
    assert "of an animation only the first frame comes back (1 of 1 images)" in differences([tmp_path / "a.gif"])


def test_a_file_that_is_no_image_leaves_no_output(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    for name in ("a.png", "nothing.png"):
        with pytest.raises(cf.DataError, match=name):
            restore_file(same(), tmp_path / name, tmp_path / "out" / name)
    assert not (tmp_path / "out").exists()
