"""Studies of attention on networks of which all is known; and the measures that they take."""

import dataclasses

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from copyfold.claims.attention.attention_cost import kept
from copyfold.claims.attention.conditioning_decides import (
    ConditioningDecides,
    DotProductAlone,
    correlation,
    full_rank,
    log_condition,
    small_values,
    spectrum,
)
from copyfold.claims.attention.linear_attention_copies import (
    AttentionInSkipsDenoisesPoorly,
    DotProductLessAccurate,
    LinearAttentionCopies,
)
from copyfold.claims.attention.perfect_copy_does_nothing import PerfectCopyDoesNothing, gaussian_images, off
from copyfold.models.dense import Linear
from copyfold.probes.baselines import PCAWiener
from copyfold.studies.base import Verdict
from copyfold.studies.budget import BUDGETS
from copyfold.studies.lab import Lab
from known import Blind, Identity


class Stretched(Identity):
    """It shrinks the right half of every image: the condition number of its Jacobian is a thousand."""

    def encode(self, x):
        weights = torch.ones_like(x[:1])
        weights[..., x.shape[3] // 2 :] = 1e-3
        return x * weights


class Ready(Lab):
    """A laboratory in which a training ends in the network that is given for its kind of attention."""

    def __init__(self, *given, networks, **named):
        super().__init__(*given, **named)
        self.networks = networks

    def trained(self, make, photos, seed, **plan):
        with torch.device("meta"):
            asked = make(photos.shape)
        kind = (getattr(asked, "kind", None), getattr(asked, "residual", None))
        network = next((n for of, n in self.networks.items() if of in (kind, kind[0])), Identity)
        return network(photos.shape).to(self.device)

    def untrained(self, make, photos, seed):
        return self.trained(make, photos, seed)


@pytest.fixture
def ready(tmp_path):
    def made(networks=None, steps=8, **of_kind):  # of searches for an image, as nothing is trained
        budget = dataclasses.replace(BUDGETS["tiny"], steps=steps)
        return Ready(budget, cache=tmp_path, networks=networks or of_kind)

    return made


def judged(study, lab):
    numbers = study.measure(lab).numbers
    return study.verdict(numbers), numbers


def test_the_identity_is_a_copier_and_the_blind_is_not(ready):
    verdict, numbers = judged(LinearAttentionCopies(), ready(softmax=Identity, steps=400))
    assert verdict == Verdict.HOLDS
    assert numbers["noise passed linear attention"].value == pytest.approx(1, abs=1e-4)
    assert numbers["error over doing nothing linear attention"].value == 1
    assert numbers["output over reference noise linear attention"].high < 1  # the search has ended
    verdict, numbers = judged(LinearAttentionCopies(), ready(softmax=Blind))
    assert verdict != Verdict.HOLDS
    assert numbers["noise passed linear attention"].value == pytest.approx(0, abs=1e-6)


def test_who_sees_less_represents_less_accurately(ready):
    assert judged(DotProductLessAccurate(), ready(dot=Blind, steps=100))[0] == Verdict.HOLDS
    assert judged(DotProductLessAccurate(), ready(softmax=Blind, steps=100))[0] == Verdict.FAILS


def test_the_same_network_is_no_worse_than_itself(ready):
    verdict, numbers = judged(AttentionInSkipsDenoisesPoorly(), ready(softmax=Identity))
    assert numbers["error attention unet over unet"].value == 1
    assert verdict != Verdict.HOLDS


def test_an_identity_is_not_singular_and_a_bottleneck_is(ready):
    verdict, numbers = judged(DotProductAlone(), ready(dot=Identity))
    assert numbers["full rank trained"].value == 1
    assert numbers["log10 condition trained"].value == 0
    assert verdict == Verdict.MIXED
    numbers = judged(DotProductAlone(), ready(dot=Linear))[1]  # 32 of 64
    assert numbers["full rank trained"].value == 0


def test_the_spectrum_is_that_of_the_matrix():
    model = Linear((1, 4, 4), latent_dim=9)
    whole = model.decoder[0].weight.double() @ model.encoder[1].weight.double()
    s = spectrum(model, torch.rand(3, 1, 4, 4))
    assert s.dtype == torch.float64
    assert s.allclose(torch.linalg.svdvals(whole).expand(3, 16))
    assert next(model.parameters()).dtype == torch.float32


def test_ranks_and_conditions():
    s = torch.tensor([[1.0, 0.1, 1e-3], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], dtype=torch.float64)
    assert full_rank(s).tolist() == [1, 0, 1]
    assert log_condition(s).tolist() == pytest.approx([3, 15.65, 0], abs=0.01)
    assert small_values(s).tolist() == pytest.approx([1 / 3, 1 / 3, 0])


def test_a_correlation_is_pearsons():
    rng = torch.Generator().manual_seed(0)
    xs = [torch.randn(2, 40, generator=rng, dtype=torch.float64) for _ in range(3)]
    ys = [x + 0.5 * torch.randn(x.shape, generator=rng, dtype=torch.float64) for x in xs]
    pairs = torch.stack((torch.cat(xs, 1).flatten(), torch.cat(ys, 1).flatten()))
    found = correlation(xs, ys)
    assert found.value == pytest.approx(torch.corrcoef(pairs)[0, 1].item())
    assert found.low < found.value < found.high
    assert correlation(xs, [-2 * x for x in xs]).value == pytest.approx(-1)
    few = correlation([x[:, :2] for x in xs], [-x[:, :2] for x in xs])
    assert -1 <= few.low <= few.high <= 1


def test_conditions_without_and_with_residual_are_told_apart(ready):
    numbers = ConditioningDecides().measure(ready({("dot", False): Stretched})).numbers
    assert numbers["log10 condition dot product"].value == pytest.approx(3)
    assert numbers["log10 condition without minus with residual"].value == pytest.approx(3)
    assert numbers["share of small singular values dot product"].value == 0.5
    whole, regular = (numbers[f"correlation{end}"] for end in ("", " without the singular linear one"))
    assert 0 < regular.value != whole.value
    verdict, numbers = judged(ConditioningDecides(), ready())
    assert numbers["log10 condition without minus with residual"].value == pytest.approx(0)
    assert verdict != Verdict.HOLDS


def test_a_denoiser_that_copies_does_not_make_the_claim_hold(ready):
    verdict, numbers = judged(PerfectCopyDoesNothing(), ready())
    assert numbers["denoiser over copy"].value == numbers["copier over copy"].value == 1
    assert numbers["optimum over copy"].high < 1
    assert verdict != Verdict.HOLDS


def test_images_are_drawn_from_the_law_and_its_optimum_is_known():
    law = PCAWiener.fit(torch.rand(300, 1, 4, 4), 0)
    rng = torch.Generator().manual_seed(0)
    x = gaussian_images(law, torch.empty(20_000, 1, 4, 4), rng)
    covariance = law.directions * law.variances @ law.directions.T
    assert x.flatten(1).mean(0).allclose(law.mean, atol=0.02)
    assert x.flatten(1).T.cov().allclose(covariance, atol=0.01)
    restored = law(x + 0.2 * torch.randn(x.shape, generator=rng), 0.2)
    least = (law.variances * 0.04 / (law.variances + 0.04)).mean().item()
    assert (restored - x).square().mean().item() == pytest.approx(least, rel=0.02)


def test_off_is_relative():
    assert off([torch.full((4,), 1.1)], [torch.ones(4)]).value == pytest.approx(0.1, abs=1e-6)
    assert off([torch.full((4,), 0.9)], [torch.ones(4)]).value == pytest.approx(0.1, abs=1e-6)


@pytest.mark.parametrize("kind", ["softmax", "elu"])
def test_linear_attention_keeps_four_times_as_much_for_four_times_the_positions(kind):
    cpu = torch.device("cpu")
    assert kept(kind, 32, cpu) / kept(kind, 16, cpu) < 4.1


def test_the_dot_product_keeps_all_pairs_where_it_is_written_out():
    small, large = (kept("dot", side, torch.device("meta"), sdpa_kernel(SDPBackend.MATH)) for side in (16, 32))
    assert large > 4 * 32**4  # heads and pairs
    assert large / small > 10
    assert kept("dot", 32, torch.device("cpu")) < 32**4


def test_without_addresses_a_tensor_is_still_counted_once():
    sizes = {kept("dot", 16, torch.device(d), sdpa_kernel(SDPBackend.MATH)) for d in ("cpu", "meta")}
    assert len(sizes) == 1
