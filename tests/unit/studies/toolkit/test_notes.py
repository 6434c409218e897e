"""The notes' networks have their sizes."""

import pytest
import torch

from copyfold.studies.toolkit.notes import LATENT, contestants, plain_autoencoder, variational

SHAPE = (1, 8, 8)


@pytest.mark.parametrize("side", [16, 28])
def test_the_contestants_are_as_large_as_they_should_be(side: int) -> None:
    mlp, cnn, narrow, small = (make((1, side, side)).summary() for make in contestants((1, side, side)))
    assert mlp.code_size == 30
    assert 20 < narrow.code_size <= 30
    assert 0.98 * cnn.parameters < small.parameters <= cnn.parameters
    if side == 28:
        assert (mlp.parameters, cnn.code_size) == (163_814, 576)


def test_the_vae_has_the_layers_of_the_plain_autoencoder_and_its_code() -> None:
    alone, vae = plain_autoencoder(SHAPE), variational(SHAPE)
    assert alone.code_shapes() == vae.code_shapes() == ((LATENT,),)
    # the VAE can be the plain one: its core's code goes through to the mean, and back
    state = vae.core.state_dict()
    for name, value in alone.state_dict().items():
        state[name] = torch.cat((value, torch.zeros_like(value))) if state[name].shape[0] != len(value) else value
        if state[name].shape != vae.core.state_dict()[name].shape:
            state[name] = torch.cat((value, torch.zeros_like(value)), dim=1)
    vae.core.load_state_dict(state)
    eye = torch.eye(LATENT)
    vae.head.weight.data = torch.zeros_like(vae.head.weight)
    vae.head.weight.data[:LATENT, :LATENT] = eye
    vae.lift.weight.data = torch.cat((eye, torch.zeros_like(eye)))
    vae.head.bias.data.zero_()
    vae.lift.bias.data.zero_()
    x = torch.rand(3, *SHAPE)
    torch.testing.assert_close(vae(x), alone(x))
