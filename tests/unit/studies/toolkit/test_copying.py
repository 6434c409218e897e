"""How well networks copy: known networks leave what they must."""

import pytest
import torch

from copyfold.measures import psnr
from copyfold.probes.base import Reading
from copyfold.studies.base import Copying
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab, Training
from copyfold.studies.toolkit.codes import output, pca
from copyfold.studies.toolkit.copying import copying, left, linear_left, qualities
from copyfold.studies.toolkit.denoising import mean_image
from known import Constant, Identity
from labs import Centred, fixed


@pytest.fixture
def lab(tmp_path):
    return Lab(BUDGETS["tiny"], cache=tmp_path)


def test_a_copy_leaves_nothing_and_the_mean_image_everything(lab):
    photos = lab.photos("landscapes")
    x, mean = lab.images(photos), mean_image(lab, photos)
    assert left(Identity(photos.shape), x, mean) == 0
    assert left(fixed(lambda x: mean + 0 * x), x, mean) == pytest.approx(1)
    half = fixed(lambda x: (x + mean) / 2)
    assert left(half, x, mean) == pytest.approx(0.25)
    assert left(Constant(photos.shape), x, mean) > 1


def test_pca_leaves_what_its_network_leaves(lab):
    photos = lab.photos("landscapes")
    x, mean = lab.images(photos), lab.images(photos, "train", 2048).mean(0)
    curve = linear_left(lab, photos)
    assert curve[0] == pytest.approx(1)
    assert (curve.diff() <= 0).all()
    exact = pca(lab.images(photos, "train", 2048), 9)
    assert curve[9].item() == pytest.approx(left(exact, x, mean), rel=1e-3)
    assert output(exact, x).shape == x.shape
    assert linear_left(lab, photos, "training")[-1] < 1e-6  # 64 images span themselves


def test_the_numbers_of_every_seed_become_a_table(lab):
    photos = lab.photos("landscapes")
    exact = pca(lab.images(photos, "train", 2048), 9)
    lab.trainings[exact] = Training(100, 2.5, 1.0)
    readings = [Reading(copying(lab, "PCA: nine", exact, photos) | {"other": torch.ones(3)})] * 2
    (found,) = qualities(readings).values()
    assert qualities(readings).keys() == {"PCA: nine"}
    assert isinstance(found, Copying)
    assert found.left["held out"].value == pytest.approx(found.pca["held out"], rel=1e-3)
    assert found.left["training"].value < found.left["held out"].value
    assert (found.numbers, found.components, found.steps, found.epochs) == (9, pytest.approx(9, abs=1), 100, 2.5)
    x = lab.images(photos)
    assert found.psnr["held out"].value == pytest.approx(psnr(output(exact, x), x).mean().item(), rel=1e-4)
    assert found.left["held out"].seeds[0] == found.left["held out"].seeds[1]


def test_batches_have_numbers_of_their_own(lab):
    photos = lab.photos("landscapes")
    found = copying(lab, "all", Identity(photos.shape), photos)
    assert found["copying of all: pca, held out"] == 0  # as many numbers as pixels
    assert found["copying of all: components"] > 9
    assert found["copying of all: steps"] == 0
    centred = copying(lab, "one", Centred(photos.shape), photos)
    assert centred["copying of one: left, held out, batches of 64"] > 0.5
