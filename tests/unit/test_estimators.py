"""scikit-learn's estimators: its own checks, and what they are by the mathematics."""

import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import copyfold as cf
from copyfold.estimators import AutoencoderDetector, AutoencoderTransformer, DenoisingTransformer
from copyfold.training import Plan
from copyfold.training.in_memory import fit_array

QUICK = {"options": {"hidden": (8,)}, "epochs": 3}
ALL = (AutoencoderTransformer, DenoisingTransformer, AutoencoderDetector)


@parametrize_with_checks([kind(**QUICK) for kind in ALL], expected_failed_checks=lambda _: {})
def test_scikit_learn_s_own_checks_pass(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    """Images of 8x8, from 0 to 16, and what they show."""
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def principal(digits):
    """A linear autoencoder that is PCA on rows divided by 16, and that PCA."""
    rows, _ = digits
    pca, model = PCA(5).fit(rows / 16), cf.Linear((1, 8, 8), 5)
    model.project(torch.tensor(pca.components_).float(), torch.tensor(pca.mean_).float())
    return AutoencoderTransformer(model, epochs=0, range=(0, 16)).fit(rows), pca


def test_codes_copies_and_score_of_a_linear_model_are_those_of_pca(principal, digits):
    found, pca = principal
    rows = digits[0][:100]
    codes = found.transform(rows)
    np.testing.assert_allclose(codes, pca.transform(rows / 16), atol=1e-5)
    np.testing.assert_allclose(found.inverse_transform(codes), 16 * pca.inverse_transform(codes), atol=1e-4)
    assert found.score(digits[0]) == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-5)
    assert found.get_feature_names_out()[0] == "autoencodertransformer0"
    table = clone(found).set_output(transform="pandas").fit(digits[0]).transform(rows)
    assert list(table.columns) == list(found.get_feature_names_out())
    assert found.shape_ == (1, 8, 8)
    assert not found.loss_curve_


def test_a_given_model_is_copied_and_never_changed(principal, digits):
    model = principal[0].model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = AutoencoderTransformer(model, epochs=1, random_state=0).fit(digits[0][:200])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not torch.equal(found.model_.encoder[1].weight, before["encoder.1.weight"])


def test_every_way_to_name_an_architecture_makes_it(digits):
    rows = digits[0][:40]
    for model, more, kind, size in (
        ("Linear", {"latent_dim": 3}, cf.Linear, 3),
        (cf.MLP, {"options": {"hidden": (8,), "latent_dim": 4}}, cf.MLP, 4),
        ("Conv", {"options": {"channels": (4, 8)}}, cf.Conv, 8 * 2 * 2),
        (lambda shape: cf.UNet(shape, width=4, depth=2), {}, cf.UNet, 16 * 2 * 2),
        ("Variational", {"options": {"core": "Linear"}, "latent_dim": 2}, cf.Variational, 2),
        (cf.UNet, {"options": {"width": 4, "depth": 1, "skips": "concat"}}, cf.UNet, 8 * 16 + 4 * 64),
        ("MLP", {}, cf.MLP, 32),
        ("MLP", {"shape": (4, 4, 4)}, cf.MLP, 32),
    ):
        found = AutoencoderTransformer(model, epochs=1, **more).fit(rows)
        assert type(found.model_) is kind
        codes = found.transform(rows)
        assert codes.shape == (40, size)
        x = torch.from_numpy((rows - found.range_[0]) / (found.range_[1] - found.range_[0])).float()
        with torch.no_grad(), found.model_.using("running"):
            copies = found.model_(x.reshape(-1, *found.shape_)).flatten(1).numpy() * 16
        np.testing.assert_allclose(found.inverse_transform(codes), copies, atol=2e-4)


@pytest.mark.parametrize(
    ("features", "shape"), [(64, (1, 8, 8)), (192, (3, 8, 8)), (12, (1, 1, 12)), (7, (1, 1, 7)), (1, (1, 1, 1))]
)
def test_the_shape_of_rows_is_guessed(features, shape):
    rows = np.random.default_rng(0).random((10, features))
    assert AutoencoderTransformer(**QUICK).fit(rows).shape_ == shape


def test_a_code_has_at_most_half_as_many_numbers_as_a_row_unless_more_are_asked_for():
    rows = np.random.default_rng(0).random((10, 6))
    assert AutoencoderTransformer(**QUICK).fit_transform(rows).shape == (10, 3)
    assert AutoencoderTransformer(**QUICK, latent_dim=9).fit_transform(rows).shape == (10, 9)


@pytest.mark.parametrize(
    "objective",
    [
        "Classical",
        cf.Classical(cf.Masking(0.5), penalties=[cf.L1(0.1)]),
        {"class_path": "Classical", "init_args": {"fidelity": {"class_path": "AbsoluteError"}}},
    ],
)
def test_an_objective_is_named_described_or_given(objective, digits):
    found = AutoencoderTransformer(**QUICK, objective=objective, random_state=0).fit(digits[0][:64])
    assert found.loss_curve_[-1] < found.loss_curve_[0]
    assert clone(found).get_params()["objective"] == objective


def test_pipelines_searches_clones_and_copies_of_it_work(digits, tmp_path):
    rows, labels = digits[0][:150], digits[1][:150]
    line = make_pipeline(
        AutoencoderTransformer(options={"hidden": (32,)}, epochs=10, random_state=0), LogisticRegression()
    )
    search = GridSearchCV(line, {"autoencodertransformer__latent_dim": [1, 12]}, cv=2).fit(rows, labels)
    assert search.best_params_ == {"autoencodertransformer__latent_dim": 12}
    found = search.best_estimator_[0]
    joblib.dump(found, tmp_path / "found.joblib")
    for copy in (pickle.loads(pickle.dumps(found)), joblib.load(tmp_path / "found.joblib")):
        np.testing.assert_array_equal(copy.transform(rows), found.transform(rows))
    again = clone(found).fit(rows)
    np.testing.assert_array_equal(again.transform(rows), found.transform(rows))  # the same random_state


def test_random_state_decides_and_torch_s_own_numbers_are_left_alone(digits):
    rows = digits[0][:64]
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    codes = [AutoencoderTransformer(**QUICK, random_state=seed).fit_transform(rows) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(codes[0], codes[1])
    assert not np.allclose(codes[0], codes[2])


def test_the_share_contamination_of_training_rows_is_outliers_and_odd_ones_are(digits):
    rows, labels = digits
    zeros = rows[labels == 0]
    found = AutoencoderDetector(contamination=0.2, epochs=20, latent_dim=4, random_state=0).fit(zeros)
    assert (found.predict(zeros) == -1).sum() == round(0.2 * len(zeros))
    scores = found.score_samples(zeros)
    np.testing.assert_allclose(found.decision_function(zeros), scores - found.offset_)
    np.testing.assert_array_equal(found.predict(zeros), np.where(scores < found.offset_, -1, 1))
    odd = np.stack([16 - zeros[0], np.full(64, 16.0), np.random.default_rng(0).uniform(0, 16, 64)])
    assert found.score_samples(odd).max() < scores.min()
    assert (found.predict(rows[labels == 1]) == -1).mean() > 0.9
    rows = zeros[:5]
    given = found._images(rows).float()
    with torch.no_grad():
        errors = 256 * (found.model_(given) - given).square().flatten(1).mean(1)
    np.testing.assert_allclose(-found.score_samples(rows), errors, rtol=1e-3)


def test_noise_is_removed_in_the_units_of_the_rows(digits):
    rows = digits[0]
    found = DenoisingTransformer(std=0.25, epochs=12, random_state=0).fit(rows[:1500])
    clean = rows[1500:]
    noisy = clean + np.random.default_rng(0).normal(scale=4, size=clean.shape)
    left = np.square(found.transform(noisy) - clean).mean()
    assert left < 0.5 * np.square(noisy - clean).mean()
    assert left < 0.5 * np.square(clean - rows[:1500].mean(0)).mean()
    assert found.get_feature_names_out()[-1] == "x63"


def test_an_array_is_trained_on_by_the_steps_of_fit(tmp_path):
    photos = cf.Photos(np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8))
    plan = {"epochs": 3, "batch": 8, "seed": 5, "precision": "32"}
    torch.manual_seed(0)
    first = cf.MLP((1, 6, 6), (8,), 4)
    second = cf.MLP((1, 6, 6), (8,), 4)
    second.load_state_dict(first.state_dict())
    run = cf.fit(first, cf.Classical(cf.Gaussian(0.1)), photos, tmp_path / "run", **plan)
    losses = fit_array(second, cf.Classical(cf.Gaussian(0.1)), photos.train, Plan(**plan))
    assert all(torch.equal(tensor, run.model.state_dict()[name]) for name, tensor in second.state_dict().items())
    np.testing.assert_allclose(losses, run.history["loss"], rtol=1e-6)


def test_a_diverged_training_is_an_error(digits):
    with pytest.raises(cf.Diverged, match="lr below 1e\\+30"):
        AutoencoderTransformer(**QUICK, lr=1e30).fit(digits[0][:64])
    with pytest.raises(cf.Diverged, match="a weight became NaN or infinite by step 1"):  # which no loss has seen
        AutoencoderTransformer(options={"hidden": (8,)}, epochs=1, batch=64, lr=1e300).fit(digits[0][:64])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": "MLPP"}, "did you mean MLP"),
        ({"model": 3}, "model=3 is invalid"),
        ({"model": lambda shape: shape}, "expected an autoencoder"),
        ({"model": cf.Linear((1, 4, 4))}, r"for images of \(1, 4, 4\), and X has 64 features"),
        ({"model": cf.Linear((1, 8, 8)), "latent_dim": 3}, "leave them out"),
        ({"options": {"hiden": (8,)}}, "hiden"),
        ({"model": "Conv", "latent_dim": 3}, "latent_dim=3 is invalid"),
        ({"objective": "Classic"}, "did you mean Classical"),
        ({"shape": (1, 8, 9)}, "of 64 numbers"),
        ({"shape": (64,)}, "of 64 numbers"),
        ({"range": (1, 0)}, "the lower one first"),
        ({"epochs": -1}, "epochs=-1 is invalid"),
        ({"batch": 0}, "batch=0 is invalid"),
        ({"lr": 0}, "lr=0 is invalid"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(given, said, digits):
    with pytest.raises(cf.UsageError, match=said) as caught:
        AutoencoderTransformer(**given).fit(digits[0][:20])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("contamination", [0, 0.6, "auto", -0.1])
def test_a_share_of_outliers_that_cannot_be_is_refused(contamination, digits):
    with pytest.raises(cf.UsageError, match=r"contamination=.* is invalid"):
        AutoencoderDetector(contamination=contamination).fit(digits[0][:20])


def test_codes_of_another_length_are_refused(principal):
    with pytest.raises(cf.UsageError, match="X has 4 features, but the codes have 5"):
        principal[0].inverse_transform(np.zeros((2, 4)))
