"""Whether a penalty is on the divergence of each image, or on that of all images together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor
from torch.distributions import Normal

from copyfold import pictures
from copyfold.corruptions import noise_like
from copyfold.errors import UsageError
from copyfold.models.base import Autoencoder
from copyfold.objectives.penalties import KLSparsity, divergence
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.codes import flat_codes
from copyfold.studies.toolkit.notes import ELBO, LONG, TARGET, fashion, learned, sparse_models, variational
from copyfold.types import Images


@dataclass(frozen=True)
class PaidByEachOrByAll(Study):
    """A VAE penalises each image's divergence, a sparse autoencoder that of all.

    The VAE of T30 has the penalty mean_x KL(q(z|x) || N(0, I)), the sparse autoencoder of 300 units sum_k KL(p ||
    q_k), with q_k the mean activation of unit k. Either divergence can be taken for each held-out image alone
    ("each"), and for all images together ("aggregate"). For the sparse one, "each" takes an image's own activation
    as q_k. For the VAE, "aggregate" takes the mean of the posteriors as q(z), for every latent dimension
    separately, as the sparse one is for every unit separately.

    Controls: the network of 300 units without a penalty, whose aggregate is not constrained; how far a unit's mean
    is from p, and how far its activation in an image is; the variance of a posterior over that of the aggregate,
    which is 0 where the code of an image is a point, as in a deterministic autoencoder.

    The histograms have one value for each unit over all images (aggregate) or for each image (each), for both
    models.
    """

    claim: ClassVar[str] = "aggregate"
    place: ClassVar[str] = 'notes on Murphy, "20.3.5.1 Training VAEs": different from sparse AEs'
    items: ClassVar[tuple[int, ...]] = (156,)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A VAE's divergence constrains every image, a sparsity penalty the average of a unit.",
        PARTLY: "In one of the two models the divergence of each and that of all are nearly the same.",
        Verdict.DOES_NOT_HOLD: "The difference is only in the formulas: in trained models, each and all differ "
        "little.",
    }

    each_over_aggregate_sparse: Above = Above(2.0)
    aggregate_over_each_variational: Below = Below(0.5)

    controls: ClassVar[Mapping[str, Control]] = {
        "each over aggregate no penalty": (
            Below(2.0),
            "Without a penalty it is above 2 too, as the divergence is convex: only a value far above counts.",
        )
    }

    def measure(self, lab: Lab) -> Finding:
        """Compute both divergences of both models."""
        photos = fashion(lab)
        x = lab.images(photos, count=4 * lab.budget.measured)
        models = lab.each(
            lambda seed: (sparse_models(lab, seed), learned(lab, variational, photos, seed, LONG, ELBO), seed)
        )
        numbers: dict[str, Estimate] = {}
        for kind, name in {"sparse": "KL", "no penalty": "no penalty"}.items():
            numbers |= self._sparse(kind, [of[name] for of, _, _ in models], x)
        posteriors = [(posterior(vae, x), seed) for _, vae, seed in models]
        each = [divergence(q).sum(1) for q, _ in posteriors]
        drawn = [aggregate(q, lab.rng(seed, "draws")) for q, seed in posteriors]
        widths = [q.variance.sum(1) for q, _ in posteriors]
        whole = [q.variance.sum(1) + (q.mean - q.mean.mean(0)).square().sum(1) for q, _ in posteriors]
        numbers |= {
            "aggregate over each variational": statistics.ratio(drawn, each),
            "each in nats, variational": statistics.mean(each),
            "aggregate in nats, variational": statistics.mean(drawn),
            "variance of a posterior over the aggregate's": statistics.ratio(widths, whole),
        }
        figure = self._histograms(flat_codes(models[0][0]["KL"], x), posteriors[0][0])
        return Finding(numbers, {"each-and-all": figure})

    def _sparse(self, kind: str, nets: list[Autoencoder], x: Images) -> dict[str, Estimate]:
        """Both divergences of networks with units that are on or off."""
        codes = [flat_codes(net, x) for net in nets]
        pairs = [(apart(net, x, z), together(net, x, z)) for net, z in zip(nets, codes, strict=True)]
        return {
            f"each over aggregate {kind}": statistics.over_seeds([float(a.mean() / b) for a, b in pairs], "log"),
            f"each in nats, {kind}": statistics.mean([a for a, _ in pairs]),
            f"aggregate in nats, {kind}": statistics.over_seeds([float(b) for _, b in pairs]),
            f"unit's mean from p, {kind}": statistics.over_seeds(
                [float((z.mean(0) - TARGET).abs().mean()) for z in codes]
            ),
            f"activation from p, {kind}": statistics.mean([(z - TARGET).abs().mean(1) for z in codes]),
        }

    def _histograms(self, z: Tensor, q: Normal) -> Any:
        """One value for a unit and all images, or for each image, of both models."""
        spread = (q.variance + (q.mean - q.mean.mean(0)).square()).mean(0).sqrt()
        return pictures.histograms(
            {
                "sparse, aggregate: a unit's mean": z.mean(0),
                "sparse, each: an activation": z.flatten(),
                "VAE, aggregate: std of a dimension": spread,
                "VAE, each: std of a posterior": q.stddev.flatten(),
            },
            "value",
            logy=True,
        )


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
