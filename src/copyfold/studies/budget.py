"""How much a study may spend: three budgets, by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How much a study may spend.

    Args:
        seeds: Trainings of every model, each with its own weights, order and noise.
        side: Pixels of an image's side.
        large: The same for studies that need larger images.
        width: Channels of a U-Net's first stage, at `side`.
        slim: The same at `large`.
        depth: Halvings of a U-Net at `side`, one more at `large`.
        steps: Batches of 16 that a U-Net learns from, and of 64 that a smaller network does.
        hidden: Units of a hidden layer of an overcomplete network, as a multiple of the image's numbers.
        measured: Held-out images that are measured.
        limit: The largest number of images of a data set to train on.
    """

    name: str
    seeds: int
    side: int
    large: int
    width: int
    slim: int
    depth: int
    steps: int
    hidden: float
    measured: int
    limit: int | None

    @property
    def decides(self) -> bool:
        """Whether it is large enough for a verdict."""
        return self.seeds > 1

    def scaled(self, count: int) -> int:
        """A count given for the cpu budget, scaled in proportion to `steps` at another; at least 2."""
        return max(2, round(count * self.steps / BUDGETS["cpu"].steps))


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("tiny", 1, 16, 16, 4, 4, 2, 8, 1.1, 16, 64),
        Budget("cpu", 3, 32, 64, 32, 16, 3, 2500, 1.3, 128, None),
        Budget("gpu", 3, 64, 128, 64, 64, 4, 40_000, 1.3, 512, None),
    )
}
