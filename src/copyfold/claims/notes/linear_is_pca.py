"""T32: is a linear autoencoder PCA, and a nonlinear one better?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.notes import BOTTLENECK
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.models.dense import MLP, Linear
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.codes import copy_errors, output, pca
from copyfold.studies.toolkit.notes import CODE, LONG, fashion, learned


@dataclass(frozen=True)
class LinearIsPCA(Study):
    """A linear autoencoder is PCA, and a nonlinear one is strictly better.

    A network of two linear layers, D -> 30 -> D, learns to copy Fashion-MNIST by its squared error, and is
    compared with scikit-learn's PCA with 30 components of the same images. "Error over PCA" is for training
    images, which the theorem is about. The overlap is the mean squared cosine of the principal angles between the
    two spaces of outputs, 1 where they are the same. The nonlinear network is the notes' perceptron,
    D-100-30-100-D; its error over PCA's is for held-out images.

    Controls: the linear network before training, whose space is no nearer than chance; the mean image; how far the
    network's matrix W2 W1 is from the projection onto the principal components, over its norm. The largest
    of the 30 angles does not decide: components of nearly the same variance can be swapped at hardly any cost.

    The curve shows the cosine of each angle, the largest first. The images, rows from the top: held-out images,
    and each one's output for them.
    """

    claim: ClassVar[str] = "T32"
    place: ClassVar[str] = f"{BOTTLENECK}: x^ = W2 W1 x, equivalent to PCA; nonlinear, strictly more powerful"
    items: ClassVar[tuple[int, ...]] = (154,)
    data: ClassVar[tuple[str, ...]] = ("fashion_mnist",)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Without a nonlinearity use PCA, which is exact and takes a second; with one, copying "
        "improves.",
        PARTLY: "Not all of it. If only space or error differ, descent has not reached PCA in this "
        "time; if only the perceptron fails, its layers are not worth their training.",
        Verdict.DOES_NOT_HOLD: "Descent does not find PCA in this time, and more layers do not help: use PCA.",
    }

    error_over_pca: Below = Below(1.05)
    overlap: Above = Above(0.95)
    nonlinear_error_over_pca: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Compare errors and spaces."""
        photos = fashion(lab)
        x, seen = lab.images(photos), lab.images(photos, "train")
        everything = lab.images(photos, "train", len(photos))
        exact = pca(everything, CODE)
        linear = partial(Linear, latent_dim=exact.latent_dim)
        perceptron = partial(MLP, hidden=[100], latent_dim=exact.latent_dim)
        train = partial(learned, lab, photos=photos, epochs=LONG, schedule="cosine", precision="32")
        models = lab.each(
            lambda seed: (
                train(make=linear, seed=seed, lr=1e-2),  # smaller steps leave out one component or another
                train(make=perceptron, seed=seed),
                lab.untrained(linear, photos, seed),
            )
        )
        ours, nonlinear, first = zip(*models, strict=True)
        best, times = mse(output(exact, x), x), len(models)
        mean = mse(everything.mean(0).expand_as(x), x)
        cosines = {
            name: torch.stack([shared(model, exact) for model in of])
            for name, of in {"trained": ours, "untrained": first}.items()
        }
        angles = torch.rad2deg(torch.acos(cosines["trained"][:, -1].clamp(max=1)))
        numbers = {
            "error over pca": statistics.ratio(copy_errors(ours, seen), [mse(output(exact, seen), seen)] * times),
            "overlap": statistics.over_seeds(cosines["trained"].square().mean(1).tolist()),
            "nonlinear error over pca": statistics.ratio(copy_errors(nonlinear, x), [best] * times),
            "error over pca, held out": statistics.ratio(copy_errors(ours, x), [best] * times),
            "error over pca, mean image": statistics.ratio([mean] * times, [best] * times),
            "overlap, untrained": statistics.over_seeds(cosines["untrained"].square().mean(1).tolist()),
            "largest angle in degrees": statistics.over_seeds(angles.tolist()),
            "from the projection": statistics.over_seeds([_from_projection(m, exact) for m in ours]),
        }
        rows = {"clean": x, "PCA": output(exact, x), "linear": output(ours[0], x)}
        rows |= {"nonlinear": output(nonlinear[0], x)}
        return Finding(numbers, {"angles": self._angles(cosines), "images": first_images(rows)})

    def _angles(self, cosines: dict[str, Tensor]) -> Any:
        """The cosine of the angle of every shared direction, over the seeds."""
        return pictures.curves(
            {name: (list(range(1, c.shape[1] + 1)), c.mean(0)) for name, c in cosines.items()},
            "shared direction, the best first",
            "cosine of the angle",
            bands={name: (c.amin(0), c.amax(0)) for name, c in cosines.items()},
        )


def shared(model: Autoencoder, other: Autoencoder) -> Tensor:
    """The cosines of the angles between the spaces that two linear decoders span, the largest first."""
    a, b = (torch.linalg.qr(m.decoder[0].weight.detach()).Q for m in (model, other))
    return torch.linalg.svdvals(a.T @ b)


def _from_projection(model: Autoencoder, exact: Autoencoder) -> float:
    """||W2 W1 - P|| / ||P||, P the projection onto the principal components."""
    a, b = (m.decoder[0].weight.detach() @ m.encoder[1].weight.detach() for m in (model, exact))
    return float((a - b).norm() / b.norm())
