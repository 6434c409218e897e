"""The classifiers on the digits, against thresholds that were fixed before they were measured."""

import pytest
import torch

import copyfold as cf


@pytest.mark.parametrize(("make", "epochs", "least"), [(cf.CNN, 8, 0.97), (cf.ViT, 30, 0.90)])
def test_held_out_digits_are_classified(make, epochs, least):
    photos = cf.Photos(size=16)
    assert photos.labels is not None
    model = make(photos.shape, 10)
    cf.fit_classifier(model, photos.images("train"), photos.labels, epochs=epochs)
    with torch.no_grad():
        guessed = model(photos.images("held_out")).argmax(1)
    assert (guessed == torch.from_numpy(photos.held_out_labels)).float().mean() >= least
