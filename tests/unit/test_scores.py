"""Scores of outliers: against closed forms and scikit-learn; images that anyone would call odd come first."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import copyfold as cf
from copyfold.data import scenes
from copyfold.detection.base import Scored, Seen, in_parts
from copyfold.detection.codes import Gaussian, Vectors
from copyfold.detection.combination import Combined
from copyfold.measures import mse

SIDE = 32


class Copy(cf.Autoencoder):
    """An autoencoder whose code is the image, and whose error is as asked: D(E(x)) = x + offset."""

    def __init__(self, shape: tuple[int, int, int], offset: float = 0.0) -> None:
        super().__init__(shape)
        self.offset = offset

    def encode(self, x):
        return x

    def decode(self, z):
        return z + self.offset


class Middle(Copy):
    """Its reconstruction is the mean of each image."""

    def decode(self, z):
        return z.mean((1, 2, 3), keepdim=True).expand_as(z)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count, seed=0):
    return torch.from_numpy(scenes(count, SIDE, 1, seed)).permute(0, 3, 1, 2).float() / 255


def auroc(normal, odd):
    return roc_auc_score([0] * len(normal) + [1] * len(odd), np.concatenate([normal, odd]))


# ---------------------------------------------------------------- distances of codes


@pytest.mark.parametrize(("count", "numbers"), [(200, 6), (40, 90)])
def test_the_distance_is_that_of_ledoit_and_wolf_in_scikit_learn(count, numbers):
    rows = torch.randn(count, numbers, generator=seeded()) @ torch.randn(numbers, numbers, generator=seeded(1))
    others = 2 * torch.randn(30, numbers, generator=seeded(2))
    theirs = LedoitWolf().fit(rows.double().numpy())
    ours = Gaussian(rows)
    assert ours.shrinkage == pytest.approx(theirs.shrinkage_, rel=1e-6)
    expected = theirs.mahalanobis(others.double().numpy()) ** 0.5
    np.testing.assert_allclose(ours.distance(others).numpy(), expected, rtol=1e-4)


def test_one_of_the_normal_rows_is_as_far_as_if_it_were_left_out():
    """Against a fit to the others, with the shrinkage of all."""
    rows = torch.randn(25, 4, generator=seeded(), dtype=torch.float64)
    whole = Gaussian(rows)
    own = whole.distance(rows, torch.ones(25, dtype=torch.bool))
    for k in (0, 7):
        left = torch.cat([rows[:k], rows[k + 1 :]])
        mean, a = left.mean(0), whole.shrinkage
        covariance = (left - mean).T @ (left - mean) / 24
        target = torch.eye(4, dtype=torch.float64) * (rows - rows.mean(0)).square().mean()
        # the scale of n / (n - 1) of the rest is not followed
        inverse = torch.linalg.inv((1 - a) * covariance * 24 / 25 + a * target)
        expected = ((rows[k] - mean) @ inverse @ (rows[k] - mean)).sqrt()
        assert own[k].item() == pytest.approx(expected.item(), rel=0.01)
        assert own[k] > whole.distance(rows)[k]


def test_the_distance_to_neighbours_is_scikit_learn_s():
    x, others = torch.rand(80, 1, 4, 4, generator=seeded()), torch.rand(20, 1, 4, 4, generator=seeded(1))
    found = cf.NeighbourDistance(count=3)(Copy((1, 4, 4)), x)(others).scores
    spread = x.flatten(1).std(0)
    tree = NearestNeighbors(n_neighbors=3).fit((x.flatten(1) / spread).numpy())
    distances, _ = tree.kneighbors((others.flatten(1) / spread).numpy())
    np.testing.assert_allclose(found.numpy(), distances.mean(1) / 4, rtol=1e-4)


@pytest.mark.parametrize("score", [cf.NeighbourDistance(), cf.Mahalanobis()])
def test_an_image_that_is_among_the_normal_ones_is_no_nearer_for_it(score):
    x = torch.rand(120, 1, 3, 3, generator=seeded())
    detect = score(Copy((1, 3, 3)), x[:100])
    inside, outside = detect(x[:100]).scores, detect(x[100:]).scores
    assert inside.mean().item() == pytest.approx(outside.mean().item(), rel=0.1)
    assert inside.min() > 0.1 * outside.mean()


def test_too_few_normal_images_for_the_neighbours_are_refused():
    with pytest.raises(cf.UsageError, match=r"NeighbourDistance\(count=5\) needs more normal images .* are 5"):
        cf.NeighbourDistance()(Copy((1, 3, 3)), torch.rand(5, 1, 3, 3))


def test_vectors_are_codes_averaged_to_a_grid():
    x = torch.rand(3, 2, 8, 8, generator=seeded())
    model = Copy((2, 8, 8))
    assert torch.equal(Vectors(grid=0)(model, x), x.flatten(1))
    assert torch.equal(Vectors(grid=8)(model, x), x.flatten(1))
    torch.testing.assert_close(Vectors(grid=1)(model, x), x.mean((2, 3)))
    by_hand = x.reshape(3, 2, 2, 4, 2, 4).mean((3, 5)).flatten(1)
    torch.testing.assert_close(Vectors(grid=2)(model, x), by_hand)
    net = cf.Conv((1, 16, 16), channels=[4])
    layer = next(name for name, module in net.named_modules() if isinstance(module, torch.nn.Conv2d))
    assert Vectors(layer, 1)(net, torch.rand(2, 1, 16, 16)).shape == (2, 4)
    with pytest.raises(cf.UsageError, match="has no layer 'nothing'"):
        Vectors("nothing")(net, torch.rand(2, 1, 16, 16))


# ---------------------------------------------------------------- errors


def test_the_relative_error_of_an_image_like_the_others_is_a_standard_deviation():
    """Errors drawn from one distribution, whatever the place and the contrast: their z has a mean square of 1."""
    x = torch.rand(200, 1, 12, 12, generator=seeded())
    found = cf.RelativeError()(Middle((1, 12, 12)), x)
    z = found(torch.rand(200, 1, 12, 12, generator=seeded(1))).maps
    assert z.min() >= 0
    assert z.square().mean().sqrt().item() == pytest.approx(1, abs=0.05)


def test_the_relative_error_knows_what_is_usual_at_a_place():
    """An error that is usual in one half of the images is unusual in the other."""

    class Sides(Copy):
        def decode(self, z):
            left = torch.arange(16) < 8
            if self.offset:  # the same error everywhere
                left = torch.ones(16, dtype=torch.bool)
            return z + torch.where(left, 0.2, 0.02) * (1 + z)

    x = torch.rand(100, 1, 16, 16, generator=seeded())
    usual, everywhere = Sides((1, 16, 16)), Sides((1, 16, 16), 1.0)
    detect = cf.RelativeError(window=1.0)(usual, x)
    z = detect(x).maps
    assert z[..., :5].square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert z[..., 11:].square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    usual.offset = everywhere.offset
    z = detect(x).maps
    assert z[..., :5].square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert z[..., 11:].mean() > 5


def test_the_relative_error_is_large_on_both_sides():
    x = pictures(100)
    model = Middle((1, SIDE, SIDE))
    detect = cf.RelativeError()(model, x)
    normal, flat = detect(pictures(40, 1)).scores, detect(torch.full((5, 1, SIDE, SIDE), 0.5)).scores
    assert mse(model(x), x).min() > mse(torch.full((1, 1, 4, 4), 0.5), torch.full((1, 1, 4, 4), 0.5)).item()
    assert flat.min() > normal.quantile(0.9)


def test_the_map_of_the_relative_error_is_hot_where_an_image_is_copied_too_well():
    """The score is the root mean square of the map, so that what raises the one is seen on the other."""
    x = 0.3 + 0.4 * torch.rand(100, 1, 16, 16, generator=seeded())
    detect = cf.RelativeError(window=1.0)(Middle((1, 16, 16)), x)
    smooth = x[:20].clone()
    smooth[..., 10:] = smooth.mean((1, 2, 3), keepdim=True)  # its copy has hardly an error there
    found = detect(smooth)
    torch.testing.assert_close(found.scores, found.maps.flatten(1).square().mean(1).sqrt())
    assert (found.scores > detect(x).scores.max()).all()
    assert (found.maps[..., 13:].mean((1, 2)) > 3 * found.maps[..., :7].mean((1, 2))).all()


def test_the_restoration_error_is_the_change_over_what_is_usual():
    """The largest hundredth of a map in standard deviations: by hand, with a window too small to matter."""
    x = torch.rand(300, 1, 10, 10, generator=seeded())
    detect = cf.RestorationError(window=0.1, share=0.01)(Middle((1, 10, 10)), x)
    changes = (x - x.mean((1, 2, 3), keepdim=True)).abs()
    found = detect(x[:5])
    by_hand = (changes[:5, 0] - changes.mean()) / changes.std()
    torch.testing.assert_close(found.maps, by_hand, rtol=0.2, atol=0.2)
    torch.testing.assert_close(found.scores, found.maps.flatten(1).amax(1))


def test_a_defect_is_where_the_map_says():
    """A network that repairs: it returns the picture without the spot."""
    clean = pictures(60)

    class Repaired(Copy):
        def decode(self, z):
            return torch.where(z > 0.999, 0.5, z) + 0.01 * (z - z.mean())

    x = clean * 0.9
    spoiled = x[:8].clone()
    spoiled[..., 10:14, 20:24] = 1.0
    found = cf.RestorationError()(Repaired((1, SIDE, SIDE)), x[8:])(spoiled)
    inside = found.maps[:, 10:14, 20:24].mean((1, 2))
    assert (inside > 5 * found.maps.flatten(1).median(1).values.abs()).all()
    assert (found.maps.flatten(1).argmax(1) // SIDE - 12).abs().max() <= 3


def test_missing_pixels_are_left_out_of_the_error():
    x = pictures(60)
    holes = x.clone()
    holes[:, :, 4:9, 4:9] = torch.nan
    model = Copy((1, SIDE, SIDE), 0.1)
    for score in (cf.RelativeError(), cf.RestorationError(), Combined()):
        found = in_parts(score(model, holes), holes)
        assert found.scores.isfinite().all()
        assert found.maps.isfinite().all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: cf.RelativeError(window=0.0), "RelativeError(window=0.0) is invalid"),
        (lambda: cf.RelativeError(levels=1), "levels=1 is invalid"),
        (lambda: cf.RestorationError(share=0.0), "is invalid: expected a number above 0 and at most 1"),
        (lambda: cf.NeighbourDistance(count=0), "count=0 is invalid"),
        (lambda: cf.Combined(()), "expected at least one score"),
        (lambda: Vectors(grid=-1), "grid=-1 is invalid"),
    ],
)
def test_invalid_arguments_are_refused(make, said):
    with pytest.raises(cf.UsageError) as found:
        make()
    assert said in str(found.value)


# ---------------------------------------------------------------- the combination


class Brightness(cf.Score):
    """The mean of an image, and a map that says so."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def __call__(self, model, normal):
        return lambda x: Scored(self.sign * x.mean((1, 2, 3)), x[:, 0])


def test_a_combination_is_a_smooth_maximum_of_what_is_above_the_usual():
    x = torch.rand(2000, 1, 4, 4, generator=seeded())
    means = x.mean((1, 2, 3))
    both = Combined((Brightness(), Brightness(-1.0)))(Copy((1, 4, 4)), x)(x)
    # about a normal distribution: one is above the median by as much as the other is below it
    by_hand = torch.cosh((means - means.median()) / means.std()).log()
    torch.testing.assert_close(both.scores, by_hand, rtol=0.15, atol=0.05)
    torch.testing.assert_close(both.maps, x[:, 0])


def test_what_one_score_alone_finds_a_combination_finds():
    x = 0.4 + 0.2 * torch.rand(500, 1, 4, 4, generator=seeded())
    detect = Combined((Brightness(), Brightness(0.0), Brightness(0.0)))(Copy((1, 4, 4)), x)
    assert detect(torch.ones(1, 1, 4, 4)).scores > detect(x).scores.max() + 10


class Counting(Middle):
    """It counts the images that its encoder and its decoder are given."""

    def __init__(self, shape):
        super().__init__(shape)
        self.encoded, self.decoded = 0, 0

    def encode(self, x):
        self.encoded += len(x)
        return super().encode(x)

    def decode(self, z):
        self.decoded += len(z)
        return super().decode(z)


class Doubled(Counting):
    """Its own pass is more than its decoder after its encoder."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_scores_that_are_combined_share_one_pass_through_the_model():
    x = pictures(90)
    for model, passes in ((Counting(x.shape[1:]), 1), (Doubled(x.shape[1:]), 2)):
        detect = Combined((*Combined().scores, Brightness()))(model, x)
        assert (model.encoded, model.decoded) == (90 * passes, 90)
        alone = [score(model, x) for score in (*Combined().scores, Brightness())]
        model.encoded, model.decoded = 0, 0
        found = detect(x[:7])
        assert (model.encoded, model.decoded) == (7 * passes, 7)
        usual = [one(x).scores.sort().values for one in alone]
        z = [1.28155 * (one(x[:7]).scores - s[45]) / (s[81] - s[45]) for one, s in zip(alone, usual, strict=True)]
        torch.testing.assert_close(found.scores, torch.stack(z).exp().mean(0).log(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [Counting, Doubled])
def test_the_error_is_that_of_the_models_own_pass(kind):
    x = pictures(40)
    model = kind(x.shape[1:])
    found = cf.RestorationError().look(Seen(model, x))
    expected = cf.Blur(7, 1.5)((model(x) - x).abs()).mean(1)
    torch.testing.assert_close(found, expected)


def odd_images(kind, count=30):
    rng = np.random.default_rng(0)
    if kind == "black":
        return 0.02 * torch.rand(count, 1, 1, 1, generator=seeded()).expand(-1, 1, SIDE, SIDE)
    if kind == "noise":
        return torch.rand(count, 1, SIDE, SIDE, generator=seeded())
    sheets = []
    for _ in range(count):
        sheet = Image.new("L", (SIDE, SIDE), 255)
        draw = ImageDraw.Draw(sheet)
        for line in range(3):
            draw.text((1, 10 * line), "".join(rng.choice(list("abcdefghij "), 8)), fill=0)
        sheets.append(np.asarray(sheet))
    return torch.from_numpy(np.stack(sheets))[:, None].float() / 255


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small convolutional autoencoder of small landscapes, and images to learn from."""
    torch.manual_seed(0)
    photos = cf.Photos(scenes(400, SIDE, 1), seed=0, progress=False)
    run = cf.fit(
        cf.Conv(photos.shape, channels=[8, 16]), photos=photos, run=tmp_path_factory.mktemp("conv"), steps=250,
        batch=16, precision="32", progress=False,
    )  # fmt: skip
    return run.model, photos.images("train")


@pytest.mark.parametrize("kind", ["black", "noise", "text"])
def test_odd_images_come_first_among_landscapes(trained, kind):
    model, learned = trained
    detect = Combined()(model, learned)
    normal, odd = pictures(200, seed=5), odd_images(kind)
    with torch.no_grad(), model.using("running"):
        found = auroc(in_parts(detect, normal).scores, in_parts(detect, odd).scores)
    assert found > 0.97
