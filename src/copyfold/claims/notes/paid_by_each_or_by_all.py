"""Whether a penalty is on the divergence of each image, or on that of all images together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.distributions import Normal

from copyfold import pictures
from copyfold.corruptions import noise_like
from copyfold.data import Photos
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.objectives.penalties import KLSparsity, divergence
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.codes import flat_codes
from copyfold.studies.toolkit.notes import ELBO, LONG, TARGET, fashion, learned, sparse_models, variational
from copyfold.types import Images

KINDS = {"sparse": "KL", "no penalty": "no penalty"}
"""Networks of 300 units by the names of their penalties."""
SHOWN = "shown: "  # begins the names of values that are only drawn
FEW = 64  # images whose activations are drawn


@dataclass(frozen=True)
class PaidByEachOrByAll(Study):
    """A VAE penalises each image's divergence, a sparse autoencoder that of all.

    The VAE of T30 has the penalty mean_x KL(q(z|x) || N(0, I)), the sparse autoencoder of 300 units sum_k KL(p ||
    q_k), with q_k the mean activation of unit k. Either divergence can be taken for each held-out image alone
    ("each"), and for all images together ("aggregate"). For the sparse one, "each" takes an image's own activation
    as q_k. For the VAE, "aggregate" takes the mean of the posteriors as q(z), for every latent dimension
    separately, as the sparse one is for every unit separately.

    Two numbers decide. Each over aggregate of the sparse network, over the same of its control, the network of 300
    units without a penalty: above 2. A divergence is convex, so that each is above the aggregate without any
    penalty too, wherever activations vary; twice as far apart is what no one would put down to that. And aggregate
    over each of the VAE: below a half, the same factor, as before. Shown: both divergences in nats; how far a
    unit's mean is from p, and how far its activation in an image is; the variance of a posterior over that of the
    aggregate, which is 0 where the code of an image is a point, as in a deterministic autoencoder.

    Formerly (0.1.0) each over aggregate of the sparse network alone decided, 200 [89, 311], with the control that
    without a penalty it is below 2: it was 3.2, as it has to be, so that the claim could not hold.

    The histograms have one value for each unit over all images (aggregate) or for each image (each), for both
    models.
    """

    claim: ClassVar[str] = "aggregate"
    place: ClassVar[str] = 'notes on Murphy, "20.3.5.1 Training VAEs": different from sparse AEs'
    items: ClassVar[tuple[int, ...]] = (156,)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    asked: ClassVar[str] = (
        "Does a penalty on the code constrain the code of every image, or only what all codes together look like?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A VAE's divergence constrains every image, a sparsity penalty the average of a unit.",
        PARTLY: "In one of the two models the divergence of each and that of all are nearly the same.",
        Verdict.DOES_NOT_HOLD: "The difference is only in the formulas: in trained models, each and all differ "
        "little.",
        Verdict.UNDECIDED: "Measure more seeds: they differ as much as each and all do.",
    }
    seeds: ClassVar[int] = 5

    each_over_aggregate_sparse_over_no_penalty: Above = Above(2.0)
    aggregate_over_each_variational: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Compute both divergences of both models."""
        photos = fashion(lab)
        x = lab.images(photos, count=4 * lab.budget.measured)
        found = lab.by_seed(lambda seed: _look(lab, photos, x, seed))
        both = {name: [_each_over_aggregate(r, name) for r in found] for name in KINDS}

        def of(what: str) -> list[Tensor]:
            return [r.numbers[what] for r in found]

        def over_seeds(what: str) -> Estimate:
            return statistics.over_seeds([value.item() for value in of(what)])

        numbers: dict[str, Estimate] = {
            "each over aggregate sparse over no penalty": statistics.ratio_over_seeds(*both.values()),
            "aggregate over each variational": statistics.ratio(
                of("variational: aggregate"), of("variational: each")
            ),
        }
        for kind in KINDS:
            numbers |= {
                f"each over aggregate {kind}": statistics.over_seeds(both[kind], "log"),
                f"each in nats, {kind}": statistics.mean(of(f"{kind}: each")),
                f"aggregate in nats, {kind}": over_seeds(f"{kind}: aggregate"),
                f"unit's mean from p, {kind}": over_seeds(f"{kind}: unit from p"),
                f"activation from p, {kind}": statistics.mean(of(f"{kind}: activation from p")),
            }
        numbers |= {
            "each in nats, variational": statistics.mean(of("variational: each")),
            "aggregate in nats, variational": statistics.mean(of("variational: aggregate")),
            "variance of a posterior over the aggregate's": statistics.ratio(
                of("variational: width"), of("variational: whole")
            ),
        }
        first = found[0].numbers
        drawn = {name.removeprefix(SHOWN): first[name] for name in first if name.startswith(SHOWN)}
        return Finding(
            numbers,
            {"each-and-all": pictures.histograms(drawn, "value", logy=True)},
            came_out="The divergence of each image is "
            f"{numbers['each over aggregate sparse'].value:.3g} times that of all together in the sparse network, "
            f"{numbers['each over aggregate no penalty'].value:.3g} times without a penalty; in the VAE that of "
            f"all is {numbers['aggregate over each variational'].value:.2g} of each image's.",
            captions={
                "each-and-all": "One value for each unit over all images (aggregate), or for each image (each), "
                "of the sparse network's activations and of the VAE's standard deviations"
            },
        )


def _look(lab: Lab, photos: Photos, x: Images, seed: int) -> Reading:
    """One seed: both divergences of the sparse network, of that without a penalty, and of the VAE, per image."""
    nets, numbers = sparse_models(lab, seed), dict[str, Tensor]()
    for kind, name in KINDS.items():
        z = flat_codes(nets[name], x)
        numbers |= {
            f"{kind}: each": apart(nets[name], x, z),
            f"{kind}: aggregate": together(nets[name], x, z),
            f"{kind}: unit from p": (z.mean(0) - TARGET).abs().mean(),
            f"{kind}: activation from p": (z - TARGET).abs().mean(1),
        }
    q = posterior(learned(lab, variational, photos, seed, LONG, ELBO), x)
    beyond = (q.mean - q.mean.mean(0)).square()
    numbers |= {
        "variational: each": divergence(q).sum(1),
        "variational: aggregate": aggregate(q, lab.rng(seed, "draws")),
        "variational: width": q.variance.sum(1),
        "variational: whole": (q.variance + beyond).sum(1),
    }
    z = flat_codes(nets[KINDS["sparse"]], x)
    numbers |= {
        f"{SHOWN}sparse, aggregate: a unit's mean": z.mean(0),
        f"{SHOWN}sparse, each: an activation": z[:FEW].flatten(),
        f"{SHOWN}VAE, aggregate: std of a dimension": (q.variance + beyond).mean(0).sqrt(),
        f"{SHOWN}VAE, each: std of a posterior": q.stddev.flatten(),
    }
    return Reading({name: value.detach().clone() for name, value in numbers.items()})


def _each_over_aggregate(found: Reading, kind: str) -> float:
    return float(found.numbers[f"{kind}: each"].mean() / found.numbers[f"{kind}: aggregate"])


def together(model: Autoencoder, x: Images, z: Tensor) -> Tensor:
    """The sparsity divergence of all images' codes together, in nats: the penalty of training."""
    return KLSparsity(1.0, TARGET)(model, x, z)


def apart(model: Autoencoder, x: Images, z: Tensor) -> Tensor:
    """The same for each image's code alone."""
    alone = [together(model, image[None], code[None]) for image, code in zip(x, z, strict=True)]
    return torch.stack(alone)


def aggregate(q: Normal, rng: Generator) -> Tensor:
    """Of one draw z for each posterior, sum_k log q(z_k) - log p(z_k); the mean is the aggregate's divergence.

    q(z_k) is the mean of all these posteriors, of dimension k alone. The posterior that z was drawn from is among
    them, so that with few images the divergence is estimated too large.
    """
    z = q.mean + q.stddev * noise_like(q.mean, rng=rng)
    mixed = q.log_prob(z[:, None]).logsumexp(1) - math.log(len(z))  # draws, posteriors and dimensions to draws
    prior = Normal(torch.zeros_like(z), torch.ones_like(z), validate_args=False)
    return (mixed - prior.log_prob(z)).sum(1)


@torch.no_grad()
def posterior(model: Autoencoder, x: Images) -> Normal:
    """The posterior of every image; UsageError for a model that has none."""
    q = model.posterior(x)
    if q is None:
        raise UsageError(f"a {type(model).__name__} has no posterior: a Variational has")
    return q
