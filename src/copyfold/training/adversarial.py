"""`fit_adversarial`: training to copy against a critic, who learns to tell copies from images."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.data.batches import Batches
from copyfold.errors import Diverged, UsageError, at_least, within
from copyfold.models.base import Autoencoder
from copyfold.types import Images


def fit_adversarial(
    model: Autoencoder,
    critic: nn.Module,
    x: Images,
    *,
    epochs: int,
    weight: float = 0.01,
    batch: int = 64,
    lr: float = 1e-4,
    seed: int = 0,
) -> list[dict[str, float]]:
    r"""Train an autoencoder against a critic of images, both in place, and return the mean losses of every epoch.

        model:   mean |x^ - x| + weight BCE(critic(x^), 1)              x^ = model(x)
        critic:  1/2 BCE(critic(x), 1) + 1/2 BCE(critic(x^), 0)         x^ held fixed

    A step of the model, then one of the critic on the same copies; BCE is the cross-entropy of scores (logits) in
    nats, log 2 for a critic that knows nothing. Neither step leaves a gradient in the other network. The losses
    are called "copy" (the mean absolute error per pixel value), "fooling" and "critic".

    The game is that of Goodfellow et al. (2014, arXiv:1406.2661) on whole images; the adversarial autoencoder of
    Makhzani et al. (2015, arXiv:1511.05644) plays it on codes. The essay's author has a script with these losses,
    whose critic learns through copies that are not held fixed and keeps the gradient of being fooled. Adam for
    both; the order of the images depends on (seed, epoch) alone, as in `Batches`, and an incomplete last batch is
    dropped. Both are in eval mode afterwards.

    Args:
        model: Its code is drawn where it has a distribution, as in other training.
        critic: Images b x c x h x w to one score each, high for images; for example
            `nn.Sequential(CNN(shape, 16), nn.Linear(16, 1))`.
        x: The images to learn from, in [0, 1].
        epochs: Passes over the images.
        weight: Of fooling the critic; 0 is plain copying.
        batch: Images per step.
        lr: Of both.
        seed: Of the order.

    Raises UsageError where images, model and critic do not fit, Diverged when a loss becomes NaN or infinite.
    """
    at_least(1, epochs=epochs, batch=batch)
    within("(0, inf)", lr=lr)
    within("[0, inf)", weight=weight)
    device = next(model.parameters()).device
    x = x.to(device)
    _check(model, critic, x)
    order = Batches(np.arange(len(x)).reshape(-1, 1, 1, 1), batch, seed)  # of row numbers, in place of pixels
    ours, theirs = (torch.optim.Adam(network.parameters(), lr=lr) for network in (model, critic))
    losses: list[dict[str, float]] = []
    model.train()
    critic.train()
    for epoch in range(epochs):
        total: dict[str, float] = {"copy": 0.0, "fooling": 0.0, "critic": 0.0}
        for rows in order:
            real = x[rows.flatten().to(device)]

            # The model copies, and looks real to the critic, who does not learn from that
            critic.requires_grad_(False)
            copies = model.decode(model.draw(real))
            copy, fooling = (copies - real).abs().mean(), _cross_entropy(critic(copies), 1.0)
            ours.zero_grad()
            (copy + weight * fooling).backward()
            ours.step()

            # The critic tells them apart; the copies are held fixed
            critic.requires_grad_(True)
            told = _cross_entropy(critic(real), 1.0) / 2 + _cross_entropy(critic(copies.detach()), 0.0) / 2
            theirs.zero_grad()
            told.backward()
            theirs.step()
            for name, value in (("copy", copy), ("fooling", fooling), ("critic", told)):
                total[name] += value.item() / len(order)
        if not all(map(math.isfinite, total.values())):
            raise Diverged(f"a loss became NaN or infinite in epoch {epoch + 1}: give an lr below {lr:g}")
        losses.append(total)
    model.eval()
    critic.eval()
    return losses


def _cross_entropy(scores: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))


@torch.no_grad()
def _check(model: Autoencoder, critic: nn.Module, x: Images) -> None:
    """UsageError where the images are not of the model's shape, or the critic does not give one score an image."""
    if x.shape[1:] != model.shape or not len(x):
        raise UsageError(f"images {tuple(x.shape)} are invalid: expected some of the model's shape {model.shape}")
    scores = critic.eval()(x[:2])
    if scores.numel() != len(x[:2]):
        raise UsageError(
            f"the critic returned {tuple(scores.shape)} for {len(x[:2])} images: expected one score for each"
        )
