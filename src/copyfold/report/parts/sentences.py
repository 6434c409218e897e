"""What the numbers say in plain words: every sentence follows from the thresholds here and from nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass

BELOW = float("-inf")


@dataclass(frozen=True)
class Scale:
    """A number, and what is said of it: the words of the highest level that it reaches."""

    number: str
    meaning: str
    levels: tuple[tuple[float, str], ...]
    """(from, words), rising, the first from minus infinity; the words may quote any number."""

    def says(self, numbers: Mapping[str, float]) -> str:
        """The words for these numbers; nothing where the number could not be had."""
        value = numbers.get(self.number, float("nan"))
        reached = [words for least, words in self.levels if value >= least]
        known = {name.replace(" ", "_"): number for name, number in numbers.items()}
        return reached[-1].format_map(known) if reached else ""


SENTENCES: dict[str, tuple[Scale, ...]] = {
    "What it keeps": (
        Scale(
            "kept",
            "1 - mse(D(E(x)), x) / mse(mean of the reference, x), over the images measured",
            (
                (
                    BELOW,
                    "It does not give images back: what comes out is farther from an image than the mean image",
                ),
                (-0.05, "It keeps nothing: it gives images back no better than the mean image would"),
                (0.10, "It keeps little: {kept:.0%} of what tells one image from another"),
                (0.60, "It keeps the broad shape of images: {kept:.0%} of what tells one from another"),
                (0.90, "It keeps most of an image: {kept:.1%} of what tells one from another"),
                (0.98, "It keeps nearly everything: {kept:.1%} of what tells one image from another"),
            ),
        ),
        Scale(
            "varied",
            "variance of the outputs over images / variance of the images",
            (
                (BELOW, ", and nearly the same image comes out whatever goes in."),
                (0.05, " ({psnr:.1f} dB)."),
            ),
        ),
        Scale(
            "used",
            "share of the latent dimensions whose mean varies (by more than 0.01); of variational models",
            (
                (BELOW, " Its code has collapsed: it says nothing about the image."),
                (0.01, " Of its latent dimensions {used:.0%} are in use."),
                (0.95, ""),
            ),
        ),
    ),
    "Does it copy?": (
        Scale(
            "passed",
            "<O(a + n) - O(a), n> / ||n||^2, n noise of std 0.2, median over images: 1 for the identity",
            (
                (BELOW, "It is no copying machine: of what is added to an image {passed:z.0%} comes out again."),
                (0.10, "It copies in part: of what is added to an image {passed:z.0%} comes out again."),
                (0.50, "It is near the identity: of what is added to an image {passed:z.0%} comes out again."),
                (0.90, "It has become the identity: of what is added to an image {passed:z.0%} comes out again."),
            ),
        ),
    ),
    "What noise it removes": (
        Scale(
            "noise left",
            "mse(restored, x) / mse(corrupted, x), noise of std 0.2, means over images",
            (
                (BELOW, "It removes noise: of the squared error of noise of std 0.2 it leaves {noise_left:.0%}"),
                (
                    0.25,
                    "It removes some noise: of the squared error of noise of std 0.2 it leaves {noise_left:.0%}",
                ),
                (
                    0.80,
                    "It hardly removes noise: of the squared error of noise of std 0.2 it leaves {noise_left:.0%}",
                ),
                (
                    1.00,
                    "It removes no noise: its output is farther from the image than one with noise of std 0.2 is",
                ),
            ),
        ),
        Scale(
            "rival",
            "mse(restored, x) / mse(best classical denoiser, x), noise of std 0.2",
            (
                (BELOW, ", less than the best classical denoiser, tuned on the same photos ({rival_left:.0%})."),
                (0.95, ", as the best classical denoiser does, tuned on the same photos ({rival_left:.0%})."),
                (1.05, "; the best classical denoiser, tuned on the same photos, leaves {rival_left:.0%}."),
            ),
        ),
    ),
    "Is its manifold stable?": (
        Scale(
            "walking",
            "fraction of images that D(E(.)), applied again and again, carries off (95 % interval beside it)",
            (
                (BELOW, "Fed with its own output, it holds on to images: {walking:.0%} wander off"),
                (0.25, "Fed with its own output, some images wander off: {walking:.0%}"),
                (0.75, "Fed with its own output, nearly every image wanders off: {walking:.0%}"),
            ),
        ),
        Scale(
            "blown up",
            "fraction of images whose values then leave the range of images by more than 1, root mean square",
            ((BELOW, ""), (0.05, ", {blown_up:.0%} out of all bounds")),
        ),
        Scale(
            "stretch",
            "largest singular value of the Jacobian of D(E(.)) at images, median",
            (
                (
                    BELOW,
                    "; a small change of an image shrinks in every direction (to {stretch:.2f} of it at most).",
                ),
                (0.95, "; a small change of an image keeps its size at most ({stretch:.2f} of it)."),
                (1.20, "; a small change of an image can grow {stretch:.1f} times."),
            ),
        ),
    ),
    "What it makes": (
        Scale(
            "likeness",
            "sliced Wasserstein distance of samples to photos / the same of other real photos",
            (
                (BELOW, "What it makes from noise has the texture of the photos at every scale"),
                (1.50, "What it makes from noise resembles the photos from afar"),
                (3.00, "What it makes from noise does not look like the photos"),
            ),
        ),
        Scale(
            "novelty",
            "distance of samples to their nearest training image / that of held-out images, medians",
            (
                (
                    BELOW,
                    " ({likeness:.1f} times as far as real ones), and is remembered: training images come back.",
                ),
                (0.50, " ({likeness:.1f} times as far as real ones), and is no training image remembered."),
            ),
        ),
    ),
}
"""The sentences at the top of the page, in order: each is what its scales say, one after the other."""


def sentences(numbers: Mapping[str, float]) -> dict[str, str]:
    """One sentence per question, from numbers by name."""
    said = {topic: "".join(scale.says(numbers) for scale in scales) for topic, scales in SENTENCES.items()}
    return {topic: text if text.endswith(".") or not text else f"{text}." for topic, text in said.items()}
