"""Images that are alike: neighbours against scikit-learn, thumbnails against scipy's transform, and copies."""

import csv
import io
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from sklearn.neighbors import NearestNeighbors

import copyfold as cf
from copyfold.data import scenes
from copyfold.detection.codes import Space, Vectors
from copyfold.detection.copies import SIMILAR, Duplicates, _components
from copyfold.detection.thumbnails import SIDE, alignment, described, thumbnails


class Copy(cf.Autoencoder):
    """An autoencoder whose code is the image."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape)

    def encode(self, x):
        return x

    def decode(self, z):
        return z


@pytest.fixture(scope="module")
def photos():
    return cf.Photos(scenes(60, 16), progress=False)


def spaced(x):
    """Where images are in the space of their codes, by hand: standardised, and at length 1."""
    z = x.flatten(1).double()
    spread = z.std(0)
    z = (z - z.mean(0)) / torch.where(spread > 0, spread, 1)
    return (z / z.norm(dim=1, keepdim=True)).numpy()


# ---------------------------------------------------------------- similar


def test_neighbours_are_those_of_the_standardised_codes(photos):
    """In all dimensions, of which there are fewer than images: against scikit-learn's neighbours."""
    x = torch.cat([photos.images("train"), photos.images("held_out")])
    space = Space(Vectors(grid=1), Copy(photos.shape), photos.images("train"))
    places = space(x)
    found = cf.similar(Copy(photos.shape), photos, count=4, progress=False)
    distances, rows = NearestNeighbors(n_neighbors=5).fit(places.numpy()).kneighbors(places.numpy())
    assert np.array_equal(found.rows, rows[:, 1:])
    np.testing.assert_allclose(found.distances, distances[:, 1:], rtol=1e-4, atol=1e-5)
    assert list(found.names) == [*photos.names, *photos.held_out_names] == list(found.queries)


def test_a_space_is_standardised_and_keeps_angles(photos):
    """With as many directions as there are, nothing is lost."""
    x = photos.images("train")
    places = Space(Vectors(grid=0), Copy(photos.shape), x, numbers=1000)(x).numpy()
    np.testing.assert_allclose(places @ places.T, spaced(x) @ spaced(x).T, atol=1e-4)
    few = Space(Vectors(grid=0), Copy(photos.shape), x, numbers=5)(x)
    assert few.shape == (len(x), 5)
    torch.testing.assert_close(few.norm(dim=1), torch.ones(len(x)))


def test_the_neighbours_of_another_image_are_found(photos):
    asked = cf.Photos(photos.train[7:8], whole=True, progress=False)
    found = cf.similar(Copy(photos.shape), photos, asked, 3, grid=4, progress=False)
    assert found.rows[0, 0] == 7
    assert found.distances[0, 0] == pytest.approx(0, abs=1e-3)
    assert (np.diff(found.distances[0]) >= 0).all()


def test_equal_images_are_each_other_s_neighbours_and_not_their_own():
    pixels = scenes(12, 16)
    photos = cf.Photos(np.concatenate([pixels, pixels[:3], pixels[:1]]), whole=True, progress=False)
    found = cf.similar(Copy(photos.shape), photos, count=2, progress=False)
    assert not (found.rows == np.arange(16)[:, None]).any()
    assert set(found.rows[0]) == {12, 15}
    assert found.rows[1, 0] == 13
    assert found.rows[14, 0] == 2


def test_a_table_of_neighbours_has_a_row_each(photos, tmp_path):
    found = cf.similar(Copy(photos.shape), photos, count=2, progress=False)
    with found.save(tmp_path / "found.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    assert [row["rank"] for row in rows[:4]] == ["1", "2", "1", "2"]
    assert rows[3]["neighbour"] == found.names[found.rows[1, 1]]
    assert float(rows[3]["distance"]) == found.distances[1, 1]


def test_there_are_no_more_neighbours_than_other_images(photos):
    assert cf.similar(Copy(photos.shape), photos, count=99, progress=False).rows.shape == (60, 59)
    alone = cf.Photos(scenes(1, 16), whole=True, progress=False)
    with pytest.raises(cf.UsageError, match="there is no other image to search"):
        cf.similar(Copy(photos.shape), alone, progress=False)
    with pytest.raises(cf.UsageError, match="the model is for images of"):
        cf.similar(Copy((3, 8, 8)), photos, progress=False)


# ---------------------------------------------------------------- thumbnails


def small(count=6, seed=0):
    return thumbnails(torch.from_numpy(scenes(count, 64, 3, seed)).permute(0, 3, 1, 2).float() / 255)


def test_the_signs_of_a_description_are_a_perceptual_hash():
    """The numbers that a hash takes the signs of: scipy's transform, weighted, at length 1."""
    pictures = small()
    frequencies = np.sqrt(np.hypot(*np.mgrid[:12, :12]))
    waves = dctn(pictures.double().numpy(), axes=(1, 2), norm="ortho")[:, :12, :12] * frequencies
    waves = waves.reshape(6, -1)[:, 1:]
    by_hand = waves / np.linalg.norm(waves, axis=1, keepdims=True)
    np.testing.assert_allclose(described(pictures).numpy(), by_hand, atol=1e-5)


def test_brightness_and_contrast_do_not_matter_and_an_empty_image_has_no_description():
    pictures = small()
    torch.testing.assert_close(described(0.5 * pictures + 0.3), described(pictures), rtol=1e-3, atol=1e-5)
    assert not described(torch.full((1, SIDE, SIDE), 0.4)).any()


def test_crops_are_compared_as_if_they_were_cut_out():
    """The whole image is among them; and a crop of a larger picture has one that is almost it."""
    whole = torch.from_numpy(scenes(4, 96, 1, seed=3)).permute(0, 3, 1, 2).float() / 255
    places = described(thumbnails(whole))
    own = alignment(thumbnails(whole), places[:, None])
    torch.testing.assert_close(own, torch.ones(4, 1), rtol=1e-5, atol=1e-5)
    left = whole[:, :, 4:92, 6:94]  # 92 % of each side
    resized = torch.nn.functional.interpolate(left, (96, 96), mode="bilinear", antialias=True)
    others = described(thumbnails(resized))
    near, plain = alignment(thumbnails(whole), others[:, None])[:, 0], (places * others).sum(1)
    assert (near > 0.99).all()
    assert (near > plain + 0.01).all()
    assert not alignment(torch.full((1, SIDE, SIDE), 0.4), others[:1, None]).any()


# ---------------------------------------------------------------- duplicates


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twenty photographs, and copies of some of them."""
    folder = tmp_path_factory.mktemp("twice")
    rng = np.random.default_rng(0)
    for row in range(20):  # smooth noise: no two of them are alike
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        coarse.resize((120, 90), Image.Resampling.BICUBIC).save(folder / f"{row:02d}.png")

    def copied(row, name, change, **options):
        change(Image.open(folder / f"{row:02d}.png")).save(folder / name, **options)

    copied(0, "00-again.bmp", lambda image: image)
    copied(1, "01-again.png", lambda image: image)
    copied(1, "01-third.png", lambda image: image)
    copied(2, "02-encoded.jpg", lambda image: image, quality=40)
    copied(3, "03-small.png", lambda image: image.resize((70, 52)))
    copied(4, "04-cropped.png", lambda image: image.crop((5, 4, 115, 87)))
    copied(5, "05-bright.png", lambda image: image.point(lambda value: min(255, int(1.25 * value))))
    copied(5, "05-both.png", lambda image: image.crop((0, 3, 116, 90)).point(lambda value: 0.8 * value))
    copied(6, "06-mirrored.png", lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    other = Image.open(folder / "08.png")
    copied(7, "07-alike.png", lambda image: Image.blend(image, other, 0.35))
    Image.new("RGB", (40, 40), (9, 9, 9)).save(folder / "black.png")
    Image.new("RGB", (60, 60), (250, 250, 250)).save(folder / "white.png")
    return folder


def grouped(found, groups):
    return [{found.names[row] for row in group} for group in groups]


def test_exact_and_near_copies_are_found_and_no_others(folder):
    found = cf.duplicates(folder, progress=False)
    assert grouped(found, found.exact) == [{"00.png", "00-again.bmp"}, {"01.png", "01-again.png", "01-third.png"}]
    assert sorted(map(sorted, grouped(found, found.near))) == [
        ["02-encoded.jpg", "02.png"],
        ["03-small.png", "03.png"],
        ["04-cropped.png", "04.png"],
        ["05-both.png", "05-bright.png", "05.png"],
    ]
    assert [{found.names[row] for row in pair[:2]} for pair in found.similar] == [{"07.png", "07-alike.png"}]
    assert repr(found) == "Duplicates(32 images: 2 exact and 4 near groups, 1 similar pairs)"
    assert found._repr_html_().count("<img") == 6
    for group in found.near:
        assert not any({pair.first, pair.second} <= set(group) for pair in found.similar)
    assert 0.3 < found.similar[0].distance < SIMILAR
    assert sorted(folder.iterdir()) == sorted(folder / name for name in found.names)  # nothing is deleted


def test_two_seas_with_one_horizon_are_not_one_picture():
    """Bright above and dark below is what they share, and most of their contrast; the waves are their own."""
    rng = np.random.default_rng(0)
    sky = np.repeat(np.where(np.arange(64) < 28, 210, 90), 64).reshape(64, 64)
    seas = np.clip(sky + [np.kron(rng.normal(0, 25, (16, 16)), np.ones((4, 4))) for _ in range(4)], 0, 255)
    copy = np.clip(1.1 * seas[:1] - 5, 0, 255)
    found = cf.duplicates(np.concatenate([seas, copy]).astype(np.uint8), near=0.35, progress=False)
    assert found.near == [[0, 4]]


def test_equal_small_versions_are_no_exact_copies(tmp_path):
    """An image of one colour in two sizes: equal as thumbnails, but not in every pixel."""
    for side in (40, 60):
        Image.new("RGB", (side, side), (7, 7, 7)).save(tmp_path / f"{side}.png")
    assert cf.duplicates(tmp_path, progress=False).exact == []


def test_how_near_and_how_many_similar_are_options(folder):
    none = cf.duplicates(folder, near=0.0, similar=3, progress=False)
    assert none.near == []
    assert len(none.similar) == 3
    pairs = cf.duplicates(folder, near=0.0, similar=99, progress=False).similar
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)
    assert max(pair.distance for pair in pairs) <= SIMILAR
    every = cf.duplicates(folder, near=1.99, similar=0, progress=False)
    assert len(every.near) == 1
    assert every.similar == []
    for wrong in ({"near": -1.0}, {"near": 2.0}, {"similar": -1}):
        with pytest.raises(cf.UsageError, match=f"{next(iter(wrong))}=.* is invalid"):
            cf.duplicates(folder, progress=False, **wrong)


def test_with_a_model_pairs_are_similar_by_its_codes(folder):
    model = cf.Conv((3, 32, 32), channels=[4, 8]).eval()
    found = cf.duplicates(folder, model, similar=5, progress=False)
    photos = cf.Photos(folder, 32, whole=True, progress=False)
    near = cf.similar(model, photos, count=8, progress=False)
    for pair in found.similar:
        place = list(near.rows[pair.first]).index(pair.second)
        assert near.distances[pair.first, place] == pytest.approx(pair.distance, abs=1e-4)
    assert grouped(found, found.exact) == grouped(found, cf.duplicates(folder, progress=False).exact)


def test_the_distance_of_a_group_is_the_largest_of_its_pairs():
    """Of many made groups, by looking at all pairs for each; the distances are gone through once."""
    rng = np.random.default_rng(0)
    rows = rng.permutation(300).tolist()
    near = [sorted(rows[start : start + 3]) for start in range(0, 240, 3)]
    pairs = {(i, j): float(rng.uniform(0, 0.3)) for group in near[:-1] for i, j in combinations(group, 2)}
    pairs |= {(min(pair), max(pair)): 1.0 for pair in pairwise(rows[::3])}  # of two groups, or of none

    class Counted(dict):
        read = 0

        def items(self):
            Counted.read += 1
            return super().items()

    photos = cf.Photos(scenes(2, 16), whole=True, progress=False)
    found = Duplicates(list(map(str, range(300))), photos, [], near, [], Counted(pairs))
    by_hand = [max([pairs[pair] for pair in combinations(group, 2) if pair in pairs] or [0.0]) for group in near]
    assert [(kind, rows, far) for kind, rows, far in found.groups()] == [
        ("near", group, far) for group, far in zip(near, by_hand, strict=True)
    ]
    assert min(by_hand[:-1]) > by_hand[-1] == 0
    assert Counted.read == 1


def test_arrays_have_duplicates_too():
    pixels = scenes(10, 32)
    found = cf.duplicates(np.concatenate([pixels, pixels[3:5]]), progress=False)
    assert found.exact == [[3, 10], [4, 11]]


def test_a_table_has_a_row_for_every_image_of_a_group(folder, tmp_path):
    found = cf.duplicates(folder, similar=1, progress=False)
    text = found.save(tmp_path / "found.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["kind"] for row in rows] == ["exact"] * 5 + ["near"] * 9 + ["similar"] * 2
    assert [row["group"] for row in rows[:5]] == ["1", "1", "2", "2", "2"]
    assert {float(row["distance"]) for row in rows[:5]} == {0.0}
    assert all(0 < float(row["distance"]) <= 0.2 for row in rows[5:14])


def test_one_image_and_none_of_a_kind(tmp_path):
    Image.fromarray(scenes(1, 40)[0]).save(tmp_path / "one.png")
    found = cf.duplicates(tmp_path, progress=False)
    assert (found.exact, found.near, found.similar) == ([], [], [])
    assert found.save(tmp_path / "none.csv").read_text() == "kind,group,path,distance\n"
    with pytest.raises(cf.DataError):
        cf.duplicates(tmp_path / "nowhere", progress=False)


def test_components_join_what_pairs_connect():
    assert _components([(1, 2), (5, 6), (2, 9), (9, 6), (20, 21)]) == [[1, 2, 5, 6, 9], [20, 21]]
    assert _components([]) == []
