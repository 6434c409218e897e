"""Missing pixels: NaN, and masks beside the images."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from copyfold.data import Photos, survey
from copyfold.data.sampling import as_images, to_values
from copyfold.errors import DataError

RNG = np.random.default_rng(0)


def whole(photos: Photos) -> np.ndarray:
    """All images as stored, in the order of the source."""
    pixels, names = [*photos.train, *photos.held_out], photos.names + photos.held_out_names
    return np.stack([pixel for _, pixel in sorted(zip(names, pixels, strict=True), key=lambda pair: pair[0])])


@pytest.fixture
def images() -> np.ndarray:
    return RNG.random((20, 16, 16)).astype(np.float32)


@pytest.fixture
def observed() -> np.ndarray:
    return RNG.random((20, 16, 16)) > 0.3


def test_nan_is_missing_and_stays_nan(images: np.ndarray, observed: np.ndarray) -> None:
    photos = Photos(np.where(observed, images, np.nan))
    assert photos.missing
    assert not Photos(images).missing
    np.testing.assert_array_equal(whole(photos)[..., 0], np.where(observed, images, np.nan))
    x = photos.images("train")
    assert x.isnan().any()
    assert torch.equal(x.isnan(), photos.sample("train").images.isnan())
    batch = to_values(next(iter(photos.batches(18))))
    np.testing.assert_allclose(batch.nansum(), x.nansum(), rtol=1e-6)
    share = 100 * (1 - observed.mean())
    assert any(f"{share:.2g} % of the pixel values are missing" in note for note in photos.notes)
    assert any(
        "of the pixel values are missing" in line for line in survey(np.where(observed, images, np.nan)).lines()
    )


@pytest.mark.parametrize("form", ["bool", "uint8", "float", "channel", "tensor", "npy"])
def test_a_mask_is_an_array_that_is_not_zero_where_pixels_are_observed(
    form: str, images: np.ndarray, observed: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "masks.npy", observed)
    masks = {
        "bool": observed,
        "uint8": observed.astype(np.uint8) * 255,
        "float": observed * 0.1,
        "channel": observed[:, None],
        "tensor": torch.from_numpy(observed),
        "npy": tmp_path / "masks.npy",
    }[form]
    photos = Photos(images, masks=masks)
    np.testing.assert_array_equal(whole(photos)[..., 0], np.where(observed, images, np.nan))
    said = photos.recipe()["masks"]
    assert said == str(tmp_path / "masks.npy") if form == "npy" else "masks" in said


def test_every_channel_may_have_its_own_mask(observed: np.ndarray) -> None:
    colour = RNG.random((20, 3, 16, 16)).astype(np.float32)
    own = RNG.random((20, 3, 16, 16)) > 0.3
    found = whole(Photos(colour, masks=own)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found, np.where(own, colour, np.nan))
    found = whole(Photos(colour, masks=observed)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found, np.where(observed[:, None], colour, np.nan))


def test_values_behind_a_mask_are_not_looked_at(images: np.ndarray, observed: np.ndarray) -> None:
    hidden = np.where(observed, images, -9999)
    np.testing.assert_array_equal(
        whole(Photos(hidden, masks=observed))[..., 0], np.where(observed, images, np.nan)
    )
    ct = np.where(observed, RNG.integers(-1000, 3000, observed.shape), -32768).astype(np.int16)
    photos = Photos(ct, masks=observed, range=(-1000, 3000))
    np.testing.assert_allclose(whole(photos)[..., 0], np.where(observed, (ct + 1000.0) / 4000, np.nan), atol=1e-6)
    assert not any("outside the range" in note for note in photos.notes)
    with pytest.raises(DataError, match=r"range=\(-1000, 29\d\d\)"):
        Photos(ct, masks=observed)


def test_images_that_are_all_observed_have_the_values_of_images_without_masks(tmp_path: Path) -> None:
    for k in range(12):
        Image.fromarray(RNG.integers(0, 256, (16, 16, 3), np.uint8)).save(tmp_path / f"{k:02d}.png")
    plain = Photos(tmp_path)
    masked = Photos(tmp_path, masks=np.ones((12, 16, 16), bool))
    np.testing.assert_array_equal(as_images(plain.train), as_images(masked.train))
    assert masked.missing
    assert masked.fingerprint != plain.fingerprint


def test_a_folder_of_masks_has_those_of_the_images_names(tmp_path: Path) -> None:
    pictures = RNG.integers(0, 256, (12, 16, 16, 3), np.uint8)
    observed = RNG.random((12, 16, 16)) > 0.5
    (tmp_path / "images" / "deep").mkdir(parents=True)
    (tmp_path / "masks" / "deep").mkdir(parents=True)
    for k in range(12):
        place = "deep/" if k % 2 else ""
        Image.fromarray(pictures[k]).save(tmp_path / "images" / f"{place}{k:02d}.tif")
        mask = Image.fromarray(observed[k].astype(np.uint8) * (255 if k % 3 else 1))
        mask = (mask, mask.convert("RGBA"), Image.fromarray(observed[k]))[k % 3]
        mask.save(tmp_path / "masks" / f"{place}{k:02d}.png")
    Image.new("L", (16, 16)).save(tmp_path / "masks" / "another.png")
    photos = Photos(tmp_path / "images", masks=tmp_path / "masks")
    rows = [int(Path(name).stem) for name in photos.names]
    expected = np.where(observed[..., None], pictures.astype(np.float32) / np.float32(255), np.nan)
    np.testing.assert_array_equal(photos.train, expected[rows])
    again = Photos(**{name if name != "data" else "source": value for name, value in photos.recipe().items()})
    np.testing.assert_array_equal(again.train, photos.train)
    assert again.fingerprint == photos.fingerprint
    (tmp_path / "masks" / "deep" / "03.png").unlink()
    with pytest.raises(DataError, match=r"1 of 12 images have no mask of their name in .*deep/03\.tif"):
        Photos(tmp_path / "images", masks=tmp_path / "masks")


def test_pages_of_files_have_the_masks_of_their_numbers(tmp_path: Path) -> None:
    pictures, observed = RNG.integers(0, 256, (6, 16, 16), np.uint8), RNG.random((6, 16, 16)) > 0.5
    for folder, pages in (("images", pictures), ("masks", observed.astype(np.uint8))):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", pages[:3], photometric="minisblack")
        tifffile.imwrite(tmp_path / folder / "b.tif", pages[3:], photometric="minisblack")
    photos = Photos(tmp_path / "images", masks=tmp_path / "masks", whole=True)
    assert photos.names == [f"{file}.tif#000{k}" for file in "ab" for k in range(3)]
    np.testing.assert_array_equal(np.isnan(photos.train[..., 0]), ~observed)
    tifffile.imwrite(tmp_path / "masks.tiff", observed[:3].astype(np.uint8), photometric="minisblack")
    alone = Photos(tmp_path / "images" / "a.tif", masks=tmp_path / "masks.tiff", whole=True)
    np.testing.assert_array_equal(np.isnan(alone.train[..., 0]), ~observed[:3])


def test_masks_in_a_zip_have_the_names_of_the_images(tmp_path: Path) -> None:
    observed = {"c": RNG.random((16, 16)) > 0.5, "c.d": RNG.random((16, 16)) > 0.5}
    (tmp_path / "images").mkdir()
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        for name, mask in observed.items():
            Image.new("L", (16, 16), 9).save(tmp_path / "images" / f"{name}.bmp")
            Image.fromarray(mask).save(tmp_path / "mask.png")
            archive.write(tmp_path / "mask.png", f"masks/{name}.png")
    photos = Photos(tmp_path / "images", masks=tmp_path / "masks.zip", whole=True)
    assert list(photos.names) == ["c.bmp", "c.d.bmp"]  # of .png the other comes first
    np.testing.assert_array_equal(np.isnan(photos.train[..., 0]), ~np.stack([*observed.values()]))
    with zipfile.ZipFile(tmp_path / "masks.zip", "a") as archive:
        archive.write(tmp_path / "mask.png", "masks/c.tif")
    with pytest.raises(DataError, match=r"two masks of one name, masks/c\.png and masks/c\.tif"):
        Photos(tmp_path / "images", masks=tmp_path / "masks.zip", whole=True)


def test_masks_of_splits_belong_to_the_images_of_these(tmp_path: Path) -> None:
    images, observed = RNG.integers(0, 256, (12, 16, 16), np.uint8), RNG.random((12, 16, 16)) > 0.5
    np.savez(tmp_path / "images.npz", x_train=images[:9], x_test=images[9:])
    np.savez(tmp_path / "masks.npz", x_test=observed[9:], x_train=observed[:9])
    photos = Photos(tmp_path / "images.npz", masks=tmp_path / "masks.npz", whole=True)
    np.testing.assert_array_equal(np.isnan(photos.train[..., 0]), ~observed)
    np.savez(tmp_path / "masks.npz", x_test=observed[:9], x_train=observed[9:])
    with pytest.raises(DataError, match="holds 3 masks for the 9 images of the split train"):
        Photos(tmp_path / "images.npz", masks=tmp_path / "masks.npz")


def test_masks_that_do_not_fit_are_refused(images: np.ndarray, observed: np.ndarray) -> None:
    with pytest.raises(DataError, match="holds 19 masks for 20 images"):
        Photos(images, masks=observed[1:])
    with pytest.raises(DataError, match="has a mask of 8x16, and is 16x16"):
        Photos(images, masks=observed[:, 8:])
    with pytest.raises(DataError, match="has 1 channels, and its mask 3"):
        Photos(images, masks=observed[:, None].repeat(3, 1))
    with pytest.raises(DataError, match=r"masks .*nothing\.npy cannot be read"):
        Photos(images, masks="nothing.npy")


def test_an_image_of_which_nothing_is_observed_is_refused(images: np.ndarray, observed: np.ndarray) -> None:
    observed[4] = False
    with pytest.raises(DataError, match=r"1 of 20 images .*04 has no pixel that is observed"):
        Photos(images, masks=observed)
    photos = Photos(images, masks=observed, skip_bad=True)
    assert sorted(photos.names + photos.held_out_names) == [f"{k:02d}" for k in range(20) if k != 4]
    with pytest.raises(DataError, match="holds NaN alone"):
        Photos(np.full((10, 16, 16), np.nan))


def test_a_tiff_with_nan_needs_masks(tmp_path: Path, images: np.ndarray) -> None:
    images[:, 3, 4] = np.nan
    for k, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{k:02d}.tif")
    with pytest.raises(DataError, match=r"holds NaN.*masks="):
        Photos(tmp_path)
    np.testing.assert_array_equal(whole(Photos(tmp_path, masks=np.ones((20, 16, 16))))[..., 0], images)


def test_a_scaled_pixel_is_the_mean_of_what_is_observed() -> None:
    images = np.full((10, 16, 16), 0.25, np.float32)
    images[:, :, 8:] = 0.75
    images[:, ::2] = np.nan
    images[:, :, 12:] = np.nan  # of these too little is observed
    small = whole(Photos(images, 8))[..., 0]
    np.testing.assert_allclose(small[:, 1:-1, :3], 0.25, atol=1e-6)
    assert np.isnan(small[:, :, 7]).all()
    assert not np.isnan(small[:, 1:-1, :5]).any()
    padded = whole(Photos(np.full((10, 16, 8), 0.5, np.float32), 16, fit="pad", masks=np.ones((10, 16, 8))))
    assert np.isnan(padded[:, :, :4]).all()  # nothing is known of what was added
    assert (padded[:, :, 4:12] == 0.5).all()


def test_colour_is_composited_and_greyed_around_missing_pixels() -> None:
    grey = RNG.random((12, 16, 16, 1)).repeat(3, 3)
    grey[:, 5, 5] = np.nan
    assert Photos(grey).shape == (1, 16, 16)
    colour = RNG.random((12, 16, 16, 4))
    colour[:, 5, 5, 0] = np.nan
    found = whole(Photos(colour))
    assert np.isnan(found[:, 5, 5]).tolist() == [[True, False, False]] * 12
