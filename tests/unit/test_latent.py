"""Warnings about codes with each known problem; the distribution of codes, against scikit-learn."""

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

import copyfold as cf
from copyfold.probes.latent import code_warnings, principal, purity


class Given(cf.Linear):
    """A model whose codes are given."""

    def __init__(self, code: torch.Tensor) -> None:
        super().__init__((1, 2, 2), latent_dim=code.shape[1])
        self.code = code

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.code


def read(model) -> dict[str, torch.Tensor]:
    return cf.CodeStatistics()(model, torch.rand(40, *model.shape), torch.Generator()).numbers


def test_dead_and_active_units_are_counted():
    code = torch.rand(40, 5)
    code[:, 1] = 0  # dead
    code[:, 2] = torch.arange(40) % 2  # on for half of the images
    code[:, 3] = 0.5  # always on, and says nothing
    code[:, 4] = -1 - torch.rand(40)  # always on too: how far from 0 counts
    found = read(Given(code))
    assert found["units"] == 5
    assert found["dead_units"] == 1
    assert found["active_units"] == 3
    assert found["on"][2] == 0.5
    assert found["always_on_units"] == 2
    torch.testing.assert_close(found["mean"], code.mean(0))
    torch.testing.assert_close(found["variance"], code.var(0, correction=0))
    assert "saturation" not in found


def test_saturation_is_measured_for_logistic_units_only():
    code = torch.full((40, 4), 0.5)
    for low, high in ((0.001, 0.999), (0.0, 1.0)):  # the latter by rounding
        code[:, 0], code[:, 1] = low, high
        assert read(Given(code))["saturation"] == 0.5


def test_collapsed_dimensions_are_counted_and_reported():
    model = cf.Variational(cf.Linear((1, 4, 4), 6), latent_dim=3).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
        model.head.weight[0] = 5.0  # the mean of the first dimension follows the image
    found = read(model)
    assert found["active_units"] == 1
    torch.testing.assert_close(found["kl"][1:], torch.zeros(2))
    assert found["kl"][0] > 0.1
    (said,) = [s for s in code_warnings(found) if "collapsed" in s]
    assert said.startswith("2 of 3 latent dimensions")


def test_images_are_encoded_a_batch_at_a_time_with_the_statistics_asked_for():
    model = cf.MLP((1, 4, 4), hidden=(8,), latent_dim=3, norm="batch").eval()
    x, rng = torch.rand(10, 1, 4, 4), torch.Generator()
    whole, parts = (cf.CodeStatistics(batch=n)(model, x, rng).numbers for n in (10, 3))
    torch.testing.assert_close(whole["mean"], parts["mean"])
    other = cf.CodeStatistics("batch", batch=10)(model, x, rng).numbers
    assert not torch.allclose(whole["mean"], other["mean"])
    assert model.statistics == "batch"


@pytest.mark.parametrize(
    ("code", "sparse", "words"),
    [
        (torch.rand(40, 4) + 0.5, True, "4 of 4 units are on for every image"),
        (torch.rand(40, 4) * torch.tensor([0, 0, 0, 1]), True, "3 of 4 units are dead"),
        (torch.ones(40, 4), False, "100% of the logistic units"),
    ],
)
def test_each_problem_of_a_code_is_reported_once(code, sparse, words):
    said = code_warnings(read(Given(code)), sparse)
    assert len([s for s in said if words in s]) == 1


def test_values_outside_the_range_are_reported_with_and_without_a_code():
    for numbers in ({}, read(Given(torch.randn(40, 4)))):
        (said,) = code_warnings(numbers, outside=0.25)
        assert "25.0% of the output's values are outside" in said


def test_a_healthy_code_gives_no_warning():
    assert code_warnings(read(Given(torch.randn(40, 4)))) == []
    assert code_warnings({}) == []


# ---------------------------------------------------------------- how codes lie


def look(code: torch.Tensor, seed: int = 0, **fields) -> dict[str, torch.Tensor]:
    x = torch.rand(len(code), 1, 2, 2)
    probe = cf.Latent(**{"batch": len(code)} | fields)
    found = probe(Given(code), x, torch.Generator().manual_seed(seed)).numbers
    assert all(v.isfinite().all() for v in found.values())
    return found


@pytest.mark.parametrize("shape", [(60, 8), (20, 60), (30, 30), (40, 2)])
def test_components_equal_scikit_learn_s(shape):
    code = 3 + torch.randn(shape) * torch.linspace(1, 3, shape[1])
    found, theirs = look(code), PCA(2, svd_solver="full").fit_transform(code.double().numpy())
    theirs = torch.from_numpy(theirs).float()
    signs = (found["pca"] * theirs).sum(0).sign()
    torch.testing.assert_close(found["pca"] * signs, theirs, rtol=1e-4, atol=1e-4)
    shares = PCA(svd_solver="full").fit(code.double().numpy()).explained_variance_ratio_.cumsum()
    assert found["components"] == (shares < 0.95).sum() + 1
    torch.testing.assert_close(found["mean"], code.mean(0))
    torch.testing.assert_close(found["std"], code.std(0, correction=0))


def test_equal_codes_have_no_variance_at_all():
    """Not even that of rounding in their mean."""
    code = torch.full((37, 3), 0.1)
    assert (code - code.mean(0)).any()
    variances, scores = principal(code)
    assert not variances.any()
    assert not scores.any()


@pytest.mark.parametrize("variances", [[1.0] * 6, [1.0] + [0.0] * 5, [4.0, 2.0, 1.0, 0.5, 0.25, 0.0]])
def test_the_effective_dimension_is_the_participation_ratio(variances):
    """Codes whose covariance is this matrix exactly, turned into any direction."""
    white = torch.linalg.qr(torch.cat((torch.ones(50, 1), torch.randn(50, 6)), dim=1).double()).Q[:, 1:] * 50**0.5
    turned = torch.linalg.qr(torch.randn(6, 6).double()).Q
    l = torch.tensor(variances).double()  # noqa: E741 - as in the docstring
    found = look((white * l.sqrt() @ turned).float())
    assert found["effective dimension"].item() == pytest.approx((l.sum() ** 2 / l.square().sum()).item(), rel=1e-4)
    assert found["components"] == {6: 6, 1: 1, 5: 4}[int((l > 0).sum())]


def clusters(count: int, size: int, dimensions: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count).repeat(size)
    return 20 * torch.eye(count, dimensions)[labels] + torch.randn(count * size, dimensions), labels


def test_separated_clusters_are_pure_in_the_code_and_on_the_map():
    code, labels = clusters(3, 20)
    found = look(code, labels=labels)
    assert found["purity"] == 1
    assert found["purity by chance"].item() == pytest.approx(19 / 59)
    on_the_map = torch.cdist(found["map"], found["map"]).fill_diagonal_(torch.inf).argmin(1)
    assert (labels[on_the_map] == labels).float().mean() > 0.95


def test_shuffled_labels_have_chance_purity():
    """The mean of 40 shuffles of labels of unequal counts, within 4 standard errors."""
    code, labels = torch.randn(90, 4), torch.tensor([0] * 60 + [1] * 25 + [2] * 5)
    found = [purity(code, labels[torch.randperm(90)], 10) for _ in range(40)]
    values = torch.stack([f["purity"] for f in found])
    error = values.std() / 40**0.5
    assert abs(values.mean() - found[0]["purity by chance"]) < 4 * error
    assert error < 0.01


def test_purity_equals_that_of_scikit_learn_s_neighbours():
    code, labels = torch.randn(50, 3), torch.randint(0, 4, (50,))
    index = NearestNeighbors(n_neighbors=8).fit(code.numpy()).kneighbors(code.numpy())[1][:, 1:]
    expected = (labels[torch.from_numpy(index)] == labels[:, None]).float().mean()
    torch.testing.assert_close(purity(code, labels, 7)["purity"], expected)


def test_the_map_is_a_function_of_the_generator():
    """And of the codes: a large one goes through its first 50 components, which here are all that varies."""
    code = clusters(3, 10)[0]
    once, again = look(code, 1), look(code, 1)
    assert torch.equal(once["map"], again["map"])
    wide = look(code @ torch.linalg.qr(torch.randn(80, 5)).Q.T, 1)
    assert wide["map"].shape == once["map"].shape == (30, 2)


@pytest.mark.parametrize("code", [torch.rand(4, 1), torch.ones(6, 3), torch.rand(5, 200), torch.rand(4, 2)])
def test_few_or_identical_codes_are_mapped_too(code):
    found = look(code, labels=torch.arange(len(code)) % 2)
    assert found["map"].shape == found["pca"].shape == (len(code), 2)
    if code.shape[1] == 1:
        assert found["effective dimension"].item() == pytest.approx(1)
    if code.std() == 0:
        assert found["effective dimension"] == found["components"] == 0


def test_a_code_of_maps_is_flattened():
    model = cf.UNet((1, 8, 8), width=2, depth=2, skips="concat").eval()
    found = cf.Latent()(model, torch.rand(5, 1, 8, 8), torch.Generator()).numbers
    assert len(found["mean"]) == model.summary().code_size


def test_invalid_uses_of_the_probe_are_refused():
    with pytest.raises(cf.UsageError, match="3 labels for 5 images"):
        look(torch.rand(5, 2), labels=torch.arange(3))
    with pytest.raises(cf.UsageError, match="expected 4 or more"):
        look(torch.rand(3, 2))
    with pytest.raises(cf.UsageError, match="perplexity"):
        cf.Latent(perplexity=0.5)
    with pytest.raises(cf.UsageError, match="nearest"):
        cf.Latent(nearest=0)
