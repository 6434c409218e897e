"""`fit_classifier`: a short training loop, for the classifiers whose layers the claims compare."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from copyfold.data.batches import Batches
from copyfold.errors import Diverged, UsageError, at_least, within
from copyfold.types import Images


def fit_classifier(
    model: nn.Module,
    x: Images,
    y: Tensor | np.ndarray,
    *,
    epochs: int,
    batch: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    """Train a classifier in place and return the mean loss of every epoch, in nats per image.

        L = -log softmax(model(x))[y]

    AdamW (Loshchilov and Hutter, 2019, arXiv:1711.05101); its learning rate rises to `lr` and falls to about 0 in
    one cycle (Smith and Topin, 2018, arXiv:1708.07120). The order of the images depends on (seed, epoch) alone, as
    in `Batches`; an incomplete last batch is dropped. The model is in eval mode afterwards.

    Args:
        model: Images b x c x h x w to scores b x classes.
        x: The images to learn from, in [0, 1].
        y: Their class numbers 0 .. classes - 1, such as `Photos.labels`.
        epochs: Passes over the images.
        batch: Images per step.
        lr: The highest learning rate.
        seed: Of the order.

    Raises UsageError where images, labels and model do not fit, Diverged when the loss becomes NaN or infinite.
    """
    at_least(1, epochs=epochs, batch=batch)
    within("(0, inf)", lr=lr)
    device = next(model.parameters()).device
    x, y = x.to(device), torch.as_tensor(y, device=device)
    _check(model, x, y)
    order = Batches(np.arange(len(x)).reshape(-1, 1, 1, 1), batch, seed)  # of row numbers, in place of pixels
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * len(order))
    model.train()
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for rows in order:
            chosen = rows.flatten().to(device)
            loss = F.cross_entropy(model(x[chosen]), y[chosen].long())
            if not math.isfinite(value := loss.item()):
                raise Diverged(f"the loss became {value} in epoch {epoch + 1}: start again, with lr below {lr:g}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            total += value
        losses.append(total / len(order))
    model.eval()
    return losses


@torch.no_grad()
def _check(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """UsageError where labels are not one class number per image, of a class that the model has."""
    if y.shape != x.shape[:1] or y.is_floating_point() or not len(x):
        raise UsageError(
            f"{tuple(y.shape)} labels of {y.dtype} do not fit {len(x)} images: give one whole number per image"
        )
    scores = model.eval()(x[:1])
    if scores.ndim != 2:
        raise UsageError(f"the model returned {tuple(scores.shape)} for one image: expected (1, classes)")
    low, high, classes = int(y.min()), int(y.max()), scores.shape[1]
    if low < 0 or high >= classes:
        raise UsageError(
            f"the labels go from {low} to {high}, the model's classes from 0 to {classes - 1}: "
            "leave out images without a label (-1), or make the model with more classes"
        )
