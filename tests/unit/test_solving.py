"""A linear autoencoder solved exactly is PCA; one trained by steps says how far from it it is."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA

import copyfold as cf
from copyfold.data import Photos, Stream, scenes
from copyfold.training import solving

CLOSE = 1e-4


def solved(folder, photos, k, **options):
    return cf.fit(cf.Linear(photos.shape, k, **options), photos=photos, run=folder, solve=True)


def rows(images) -> np.ndarray:
    return images.flatten(1).double().numpy()


def explained(run) -> dict[str, list[float]]:
    return json.loads((run.folder / "findings" / "pca.json").read_text())


def is_pca(run, seen, others) -> None:
    """The run has the variances of scikit-learn's PCA, and reconstructs as it does."""
    pca = PCA(run.model.latent_dim, svd_solver="full").fit(rows(seen))
    np.testing.assert_allclose(explained(run)["explained_variance"], pca.explained_variance_, rtol=CLOSE)
    np.testing.assert_allclose(
        explained(run)["explained_variance_ratio"], pca.explained_variance_ratio_, rtol=CLOSE
    )
    expected = pca.inverse_transform(pca.transform(rows(others)))
    with torch.no_grad():
        assert np.abs(rows(run.model(others)) - expected).max() < CLOSE


@pytest.mark.parametrize("k", [2, 30])
def test_it_is_pca_of_the_digits(k, tmp_path):
    photos = Photos(size=8)
    run = solved(tmp_path, photos, k)
    is_pca(run, photos.images("train"), photos.images("held_out"))


def test_it_is_pca_of_fashion_mnist(fashion_mnist, tmp_path):
    photos = Photos(fashion_mnist, 28, limit=3000)
    for k in (2, 30):
        is_pca(solved(tmp_path / str(k), photos, k), photos.images("train"), photos.images("held_out", 500))


def test_its_run_is_whole_and_its_log_has_the_errors_of_the_model(tmp_path):
    photos = Photos(size=8)
    model = cf.Linear(photos.shape, 5)
    run = cf.fit(model, photos=photos, run=tmp_path / "a", solve=True)
    found = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    model_files = {"model/config.json", "model/model.safetensors", "model/README.md"}
    assert (
        found - {".lock"} == {"recipe.yaml", "log.csv", "data.json", "env.json", "findings/pca.json"} | model_files
    )
    (row,) = run.history
    x = photos.images("held_out")
    with torch.no_grad():
        error = (run.model(x) - x).square()
        assert torch.equal(run.model(x), model(x))
    assert row["held_out_mse"] == pytest.approx(error.mean().item(), rel=1e-5)
    assert row["held_out_loss"] == pytest.approx(32 * error.mean().item(), rel=1e-5)
    assert row["held_out_psnr"] == pytest.approx(-10 * error.flatten(1).mean(1).log10().mean().item(), rel=1e-5)
    assert 0 < row["mse"] < 1.1 * row["held_out_mse"]
    assert run.recipe["solve"]
    assert run.recipe["epochs"] is run.recipe["optimizer"] is run.recipe["lr"] is None


def test_a_stream_is_solved_too_with_every_image(tmp_path):
    (tmp_path / "images").mkdir()
    for n, pixels in enumerate(scenes(59, size=8, channels=1, seed=1)):  # 53 to train on: in no equal batches
        Image.fromarray(pixels.squeeze()).save(tmp_path / "images" / f"{n}.png")
    photos = Stream(tmp_path / "images", 8)
    assert len(photos) == 53
    run = solved(tmp_path / "run", photos, 6)
    is_pca(run, photos.images("train", len(photos)), photos.images("held_out"))


def test_a_resume_says_that_it_is_finished_and_another_model_is_refused(tmp_path, caplog):
    photos = Photos(size=8)
    run = solved(tmp_path, photos, 3)
    before, again = (tmp_path / "log.csv").read_bytes(), cf.Linear(photos.shape, 3)
    with caplog.at_level(logging.INFO, "copyfold"):
        cf.fit(again, photos=photos, run=tmp_path, solve=True, resume=True)
    assert "is finished already: it was solved" in caplog.text
    assert (tmp_path / "log.csv").read_bytes() == before
    assert torch.equal(again.decoder[0].weight, run.model.decoder[0].weight)
    with pytest.raises(cf.UsageError, match="is of another model"):
        cf.fit(cf.Linear(photos.shape, 4), photos=photos, run=tmp_path, solve=True, resume=True)
    with pytest.raises(cf.UsageError, match="was solved and cannot be trained by steps"):
        cf.fit(again, photos=photos, run=tmp_path, resume=True)
    cf.fit(again, photos=photos, run=tmp_path, overwrite=True, epochs=1, batch=500)
    with pytest.raises(cf.UsageError, match="was trained by steps and cannot be solved"):
        cf.fit(again, photos=photos, run=tmp_path, solve=True, resume=True)


@pytest.mark.parametrize(
    ("model", "objective", "plan", "message"),
    [
        (cf.MLP((1, 8, 8), latent_dim=3), None, {}, "MLP is not linear"),
        (cf.Linear((1, 8, 8), 3, output="sigmoid"), None, {}, r"Linear\(output='sigmoid'\) is not linear"),
        (cf.Linear((1, 8, 8), 65), None, {}, "latent_dim=65 is invalid for solve.*at most 64"),
        (cf.Linear((1, 8, 8), 3), cf.Classical(cf.Gaussian(0.1)), {}, "Gaussian.*give Classical"),
        (cf.Linear((1, 8, 8), 3), cf.Classical(fidelity=cf.AbsoluteError()), {}, "AbsoluteError"),
        (cf.Linear((1, 8, 8), 3), cf.Classical(penalties=(cf.L1(),)), {}, "L1"),
        (cf.Linear((1, 8, 8), 3), None, {"epochs": 3}, "solve takes no training steps, for which epochs is"),
        (cf.Linear((1, 8, 8), 3), None, {"lr": 0.1}, "for which lr is"),
    ],
)
def test_what_has_no_closed_form_is_refused_in_one_line(model, objective, plan, message, tmp_path):
    with pytest.raises(cf.UsageError, match=message) as refused:
        cf.fit(model, objective, Photos(size=8), tmp_path / "a", solve=True, **plan)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("whole", [4096, 0])
@pytest.mark.parametrize("centred", [True, False])
def test_parts_and_the_whole_give_the_same_components_by_either_way(whole, centred, monkeypatch):
    """Also without centring: then of the second moment. 64 values: no component is forgotten."""
    monkeypatch.setattr(solving, "WHOLE", whole)
    x = Photos(size=8).images("train").flatten(1).double()
    found = solving.principal(x.split(500), 5, centred)
    mean = x.mean(0) if centred else torch.zeros(64, dtype=x.dtype)
    moment = (x - mean).T @ (x - mean) / (len(x) - centred)
    variances, directions = torch.linalg.eigh(moment)
    assert torch.allclose(found.variances, variances.flip(0)[:5], rtol=1e-3)  # of 2 n - 1 values, or n
    assert found.total == pytest.approx(moment.trace().item(), rel=1e-3)
    assert torch.allclose(found.mean, mean, atol=1e-9)
    expected = directions.flip(1)[:, :5]
    assert torch.allclose(found.directions.T @ found.directions, expected @ expected.T, atol=1e-6)
    assert (found.directions.gather(1, found.directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_without_bias_it_is_the_best_map_through_the_origin(tmp_path):
    photos = Photos(size=8)
    run = solved(tmp_path, photos, 4, bias=False)
    x = rows(photos.images("train"))
    v = np.linalg.svd(x, full_matrices=False)[2][:4]
    with torch.no_grad():
        found = rows(run.model(photos.images("train", 50)))
    np.testing.assert_allclose(found, x[:50] @ v.T @ v, atol=CLOSE)


def test_parts_of_few_components_are_near_pca_where_the_covariance_is_too_large(monkeypatch):
    monkeypatch.setattr(solving, "WHOLE", 0)
    monkeypatch.setattr(solving, "SPARE", 8)
    x = Photos(size=8).images("train").flatten(1)
    found = solving.principal(x.split(200), 4)
    pca = PCA(4).fit(x.numpy())
    np.testing.assert_allclose(found.variances, pca.explained_variance_, rtol=0.01)


# ---------------------------------------------------------------- how far one trained by steps is from it


def test_how_far_from_pca_is_said_in_per_cent(tmp_path, caplog):
    photos = Photos(size=8)
    model = cf.Linear(photos.shape, 6)
    with caplog.at_level(logging.INFO, "copyfold"):
        cf.fit(model, photos=photos, run=tmp_path / "short", epochs=1, batch=400)
    (said,) = [line for line in caplog.messages if "PCA" in line]
    assert "fitted to 1,617 training images; solve=True (--solve)" in said
    exact = solved(tmp_path / "exact", photos, 6)
    x = photos.images("held_out")
    with torch.no_grad():
        ours, best = ((m(x) - x).square().mean().item() for m in (model, exact.model))
    per_cent = float(said.partition("error is ")[2].partition(" %")[0].replace(",", ""))
    assert per_cent == pytest.approx(100 * (ours / best - 1), abs=1)
    (said,) = solving.above_pca(exact.model, cf.Classical(), photos)
    assert said == "its held-out error is that of PCA with as many numbers, fitted to 1,617 training images"


def test_nothing_is_said_of_pca_where_it_is_not_the_optimum():
    photos = Photos(size=8)
    assert solving.above_pca(cf.MLP(photos.shape, latent_dim=3), cf.Classical(), photos) == []
    assert solving.above_pca(cf.Linear(photos.shape, 3), cf.Classical(cf.Gaussian(0.1)), photos) == []
    assert solving.above_pca(cf.Linear(photos.shape, 70), cf.Classical(), photos) == []


def test_a_plan_as_it_is_brings_a_linear_one_near_pca(tmp_path):
    photos = Photos(size=8)
    run = cf.fit(cf.Linear(photos.shape, 10), photos=photos, run=tmp_path / "a", epochs=12, precision="32")
    exact = solved(tmp_path / "b", photos, 10)
    assert run.history[-1]["held_out_mse"] < 1.05 * exact.history[-1]["held_out_mse"]


def test_a_code_of_one_number_is_the_first_component(tmp_path):
    photos = Photos(size=8)
    is_pca(solved(tmp_path, photos, 1), photos.images("train"), photos.images("held_out"))


def test_images_that_are_all_the_same_have_no_variance_to_explain(tmp_path):
    photos = Photos(np.full((20, 8, 8, 1), 51, np.uint8), 8)
    run = solved(tmp_path, photos, 1)
    assert explained(run)["explained_variance_ratio"] == [0.0]
    with torch.no_grad():
        assert run.model(photos.images("held_out")).allclose(torch.tensor(0.2))


def test_a_single_image_is_refused_in_plain_words(tmp_path):
    one = Photos(np.zeros((1, 8, 8, 1), np.uint8), 8)
    with pytest.raises(cf.UsageError, match=r"^solve finds PCA, and a single image has no .*: give more images$"):
        solved(tmp_path, one, 1)


def test_the_run_of_another_model_is_refused_in_one_line(tmp_path):
    photos = Photos(size=8)
    solved(tmp_path / "a", photos, 3)
    with pytest.raises(
        cf.UsageError, match=r"^.* is of another model, Linear with shape=.*latent_dim=3, .*$"
    ) as said:
        cf.fit(cf.Linear(photos.shape, 4), photos=photos, run=tmp_path / "a", solve=True, resume=True)
    assert "\n" not in str(said.value)
