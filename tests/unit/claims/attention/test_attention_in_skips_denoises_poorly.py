"""The U-Net with attention in its skips, where it is known what each network does with noise."""

from dataclasses import replace

import pytest
import torch

from copyfold.claims.attention import attention_in_skips_denoises_poorly as study
from copyfold.claims.attention.attention_in_skips_denoises_poorly import AttentionInSkipsDenoisesPoorly
from copyfold.models.attention import AttentionUNet
from copyfold.studies.base import Verdict
from copyfold.studies.toolkit.denoising import mean_image
from copyfold.studies.toolkit.training import Look
from labs import Known


def dulled(lab, share):
    """This share of the way to the mean image: it leaves the square of it, and passes the rest of noise."""
    mean = mean_image(lab, lab.photos("landscapes"))
    return Known(lambda y: (1 - share) * y + share * mean)


def knowing(lab, share):
    """The held-out image nearest to the input, dulled."""
    x, after = lab.images(lab.photos("landscapes")), dulled(lab, share)
    return Known(lambda y: after.function(x[torch.cdist(y.flatten(1), x.flatten(1)).argmin(1)]) + 0 * y)


@pytest.mark.parametrize(
    ("attention", "plain", "verdict"),
    [
        ((dulled, 0.1), (knowing, 0.1), Verdict.HOLDS),
        ((knowing, 0.1), (dulled, 0.1), Verdict.DOES_NOT_HOLD),
        ((dulled, 0.05), (knowing, 0.1), Verdict.UNDECIDED),  # it copies better, and passes more for that reason
        ((dulled, 0.3), (knowing, 0.1), Verdict.NOT_IN_REGIME),
    ],
)
def test_a_copy_is_told_from_a_denoiser_at_equal_quality(lab, monkeypatch, attention, plain, verdict):
    nets = {name: make(lab, share) for name, (make, share) in {"at": attention, "plain": plain}.items()}

    def looks(lab, make, photos, seed, steps, lefts):
        kind = make(photos.shape)
        plain = not isinstance(kind, AttentionUNet) and kind.config["skips"] == "self"
        assert (steps == lab.budget.steps) is plain
        return [Look(1, 0.05, Known()), Look(2, 0.019, nets["plain" if plain else "at"]), Look(9, 0.001, Known())]

    monkeypatch.setattr(study, "on_the_way", looks)
    found = AttentionInSkipsDenoisesPoorly().measure(lab)
    tight = {name: replace(e, low=e.value, high=e.value) for name, e in found.numbers.items()}
    assert AttentionInSkipsDenoisesPoorly().verdict(tight, copying=found.copying) is verdict
    assert found.numbers["noise passed, attention U-Net, end"].value == pytest.approx(1)
    assert found.numbers["error over doing nothing, PCA of 100 components"].high < 0.5
    assert found.captions.keys() == found.figures.keys()


def test_the_networks_are_trained_and_looked_at(lab):
    found = AttentionInSkipsDenoisesPoorly().measure(lab)
    assert found.copying["attention U-Net"].steps > 0
    assert AttentionInSkipsDenoisesPoorly().verdict(found.numbers, copying=found.copying) is Verdict.NOT_IN_REGIME
