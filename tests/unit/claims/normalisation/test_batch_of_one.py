"""T22 on a copy, and on a network that subtracts the mean of its batch."""

from copyfold.claims.normalisation.batch_of_one import BatchOfOne
from copyfold.studies.base import Verdict
from known import Identity
from labs import Centred


def test_doing_nothing_is_not_counted_as_denoising(always):
    numbers = BatchOfOne().measure(always(Identity)).numbers
    assert numbers["rho one over sixteen mix"].value == 1
    assert numbers["rho mix batches of 1"].value == 1
    assert BatchOfOne().verdict(numbers) != Verdict.HOLDS


def test_statistics_of_one_image_differ_from_those_of_sixteen(always):
    numbers = BatchOfOne().measure(always(Centred)).numbers
    alone, usual = (numbers[f"copying error, {way}"].value for way in ("16, used by 1", "batches of 16"))
    assert alone > usual
