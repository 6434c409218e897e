"""An adopted third-party autoencoder gives exactly its own results, and works like copyfold's own models."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Generator, nn
from torch.distributions import Normal

import copyfold as cf
from copyfold import catalogue
from copyfold.models.base import Autoencoder


class Pythae(nn.Module):
    """A variational autoencoder in pythae's form: dicts in, objects out."""

    def __init__(self):
        super().__init__()
        self.encoder = _PythaeEncoder()
        self.decoder = _PythaeDecoder()

    def forward(self, inputs):
        found = self.encoder(inputs["data"])
        return SimpleNamespace(recon_x=self.decoder(found.embedding).reconstruction, z=found.embedding)


class _PythaeEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5)
        )
        self.embedding = nn.Linear(32, 6)
        self.log_var = nn.Linear(32, 6)

    def forward(self, x):
        h = self.layers(x)
        return SimpleNamespace(embedding=self.embedding(h), log_covariance=self.log_var(h))


class _PythaeDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))

    def forward(self, z):
        return SimpleNamespace(reconstruction=self.layers(z))


class Plain(nn.Module):
    """A third-party model with the usual method names; its code is two maps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding="same")
        self.back = nn.Conv2d(4, 3, 3, padding="same")

    def encode(self, x):
        z = self.conv(x)
        return z, z.mean((2, 3))

    def decode(self, z):
        return self.back(z[0]) + z[1].mean(1)[:, None, None, None]

    def forward(self, x):
        return self.decode(self.encode(x))


def kl():
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=16,
    )
    model = cf.adopt(
        vae,
        (3, 16, 16),
        encode=lambda x: vae.encode(2 * x - 1).latent_dist.mode(),
        decode=lambda z: (vae.decode(z).sample + 1) / 2,
        posterior=lambda x: Normal((d := vae.encode(2 * x - 1).latent_dist).mean, d.std),
    )
    return model, lambda x: (vae(2 * x - 1).sample + 1) / 2


def tiny():
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    )  # fmt: skip
    model = cf.adopt(
        vae,
        (3, 16, 16),
        encode=lambda x: vae.encode(2 * x - 1).latents,
        decode=lambda z: (vae.decode(z).sample + 1) / 2,
    )
    # Its forward() rounds the code to bytes in between
    return model, lambda x: (vae.decoder(vae.encoder(2 * x - 1)) + 1) / 2


def pythae():
    vae = Pythae()
    for _ in range(20):
        vae({"data": torch.rand(16, 1, 8, 8)})
    model = cf.adopt(
        vae,
        (1, 8, 8),
        encode=lambda x: vae.encoder(x).embedding,
        decode=lambda z: vae.decoder(z).reconstruction,
        posterior=lambda x: Normal((q := vae.encoder(x)).embedding, (q.log_covariance / 2).exp()),
    )
    return model, lambda x: vae({"data": x}).recon_x


def plain():
    module = Plain()
    return cf.adopt(module, (3, 8, 8)), module


THIRD_PARTY = (kl, tiny, pythae, plain)


def images(model, count=3):
    return torch.rand(count, *model.shape, generator=Generator().manual_seed(3))


@pytest.mark.parametrize("third_party", THIRD_PARTY)
def test_an_adopted_model_is_the_module_s_own_result(third_party):
    model, own = third_party()
    assert isinstance(model, Autoencoder)
    x = images(model)
    assert torch.equal(model(x), own(x))
    assert torch.equal(model.decode(model.encode(x)), own(x))


@pytest.mark.parametrize("third_party", THIRD_PARTY)
@pytest.mark.parametrize("sampler", [cf.Renoising(steps=3), cf.Walk(steps=3)])
def test_every_sampler_accepts_an_adopted_model(third_party, sampler):
    model, _ = third_party()
    x = images(model)
    once, again = (list(sampler(model, x, Generator().manual_seed(1))) for _ in range(2))
    assert [frame.shape for frame in once] == [x.shape] * 3
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("third_party", THIRD_PARTY)
def test_probes_accept_an_adopted_model(third_party):
    model, own = third_party()
    x = images(model)
    reading = cf.Denoising(cf.Gaussian(0.1))(model, x, Generator().manual_seed(1))
    expected = (own(x) - x).square().mean((1, 2, 3))
    torch.testing.assert_close(reading.numbers["reconstruction"], expected)
    assert reading.numbers["restored"].isfinite().all()


@pytest.mark.parametrize("third_party", THIRD_PARTY)
def test_the_summary_counts_the_adopted_module(third_party):
    model, _ = third_party()
    z = model.encode(images(model, 1))
    found = model.summary()
    assert found.parameters == sum(p.numel() for p in model.module.parameters())
    assert found.code_size == sum(m.numel() for m in (z if isinstance(z, tuple) else (z,)))
    assert found.input_size == images(model, 1).numel()
    assert (found.code_field, found.output_field) == (None, None)
    assert str(found).endswith(f"a code of {found.code_size:,} numbers for an image of {found.input_size:,}")


@pytest.mark.parametrize("third_party", THIRD_PARTY)
def test_an_objective_trains_an_adopted_model(third_party):
    model, _ = third_party()
    terms = cf.Classical()(model.train(), images(model))
    sum(terms.values()).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.module.parameters())


@pytest.mark.parametrize("third_party", [kl, pythae])
def test_samples_of_the_code_come_from_the_posterior(third_party):
    model, _ = third_party()
    assert model.stochastic
    x = images(model, 1)
    with torch.no_grad():
        q = model.posterior(x)
        draws = torch.cat([model.draw(x) for _ in range(100)])
    assert torch.equal(q.mean, model.encode(x))
    score = (draws - q.mean) / q.stddev
    assert score.mean().abs() < 4 / score.numel() ** 0.5
    assert (score.var() - 1).abs() < 4 * (2 / score.numel()) ** 0.5


def test_without_a_posterior_a_sample_is_the_code():
    model, _ = tiny()
    assert not model.stochastic
    assert model.posterior(images(model)) is None
    assert torch.equal(model.draw(images(model)), model.encode(images(model)))


def test_the_adopted_module_is_accessible():
    model, _ = pythae()
    vae = model.module
    assert not any(m.training for m in vae.modules())
    assert {k.removeprefix("module.") for k in model.state_dict()} == set(vae.state_dict())
    assert list(model.parameters()) == list(vae.parameters())
    model.train()
    assert all(m.training for m in vae.modules())
    model.eval().double()
    assert model(images(model).double()).dtype == torch.float64


def test_an_adopted_batch_norm_follows_its_mode_and_not_statistics():
    model, _ = pythae()
    x = images(model, 4)
    assert not model.has_statistics
    with model.using("batch"):
        torch.testing.assert_close(model(x)[:1], model(x[:1]))
    model.module.encoder.layers[4].eval()
    model.module.encoder.layers[2].train()
    assert (model(x)[:2] - model(x[:2])).abs().max() > 1e-4


def test_adoption_changes_nothing_but_the_mode():
    vae = Pythae()
    before = {k: v.clone() for k, v in vae.state_dict().items()}
    state = torch.get_rng_state()
    cf.adopt(vae, (1, 8, 8), lambda x: vae.encoder(x).embedding, lambda z: vae.decoder(z).reconstruction)
    assert all(torch.equal(v, before[k]) for k, v in vae.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_encode_and_decode_may_be_names_modules_or_functions():
    parts = nn.ModuleDict({"body": nn.ModuleDict({"there": nn.Flatten(), "back": nn.Unflatten(1, (1, 4, 4))})})
    x = torch.rand(2, 1, 4, 4)
    for there, back in (("body.there", "body.back"), (parts["body"]["there"], lambda z: z.view(-1, 1, 4, 4))):
        model = cf.adopt(parts, (1, 4, 4), there, back)
        assert torch.equal(model(x), x)
        assert model.encode(x).shape == (2, 16)
        assert not list(model.parameters())
        assert model.summary().parameters == 0


def test_a_copyfold_model_can_be_adopted_too():
    core = cf.MLP((1, 4, 4), hidden=(8,), latent_dim=3).eval()
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(cf.adopt(core, (1, 4, 4))(x), core(x))


@pytest.mark.parametrize("act", ["save", "config", "hub", "fit"])
def test_saving_an_adopted_model_is_refused_with_advice(act, tmp_path):
    model, _ = plain()
    acts = {
        "save": lambda: model.save(tmp_path / "model"),
        "config": lambda: model.config,
        "hub": lambda: model.save_pretrained(tmp_path / "model"),
        "fit": lambda: cf.fit(model, photos=_Photos(), run=tmp_path / "run", epochs=1),
    }
    with pytest.raises(cf.UsageError, match=r"Plain cannot be saved.*in its own format"):
        acts[act]()
    assert not list(tmp_path.rglob("*.safetensors"))


def _Photos():
    return cf.Photos(torch.randint(0, 256, (20, 8, 8, 3), dtype=torch.uint8).numpy(), size=8)


def test_the_catalogue_does_not_list_adopted_models():
    assert cf.adopt is catalogue.members("copyfold.models")["adopt"]
    assert not any("dopted" in name for name in catalogue.classes(Autoencoder))
    with pytest.raises(cf.UsageError, match="no Autoencoder is called"):
        catalogue.find(Autoencoder, "_Adopted")
    model = type(plain()[0]).tiny()
    x = images(model)
    assert torch.equal(model(x), x)


def failing(value):
    raise KeyError("sample\nand more")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module": "a/path"}, "a str cannot be adopted: give a torch module"),
        ({"shape": (3, 8)}, "(channels, height, width)"),
        ({"shape": (3, 0, 8)}, "height=0"),
        ({"encode": "encod"}, "Plain has no 'encod': give encode= as the name of one of its methods"),
        ({"decode": "conv.decode"}, "Plain has no 'conv.decode': give decode="),
        ({"shape": (1, 8, 8)}, "encode failed on a tensor of 2x1x8x8: RuntimeError: "),
        ({"encode": failing}, "KeyError: 'sample"),
        ({"encode": lambda x: SimpleNamespace(z=x)}, "encode returned a SimpleNamespace for a tensor of 2x3x8x8"),
        ({"encode": lambda x: None}, "encode returned None"),
        ({"encode": lambda x: (x, "z")}, "encode returned a tuple of (a tensor of 2x3x8x8, a str)"),
        ({"encode": lambda x: [x]}, "encode returned a list"),
        ({"encode": lambda x: x[0]}, "encode returned a tensor of 3x8x8 for"),
        ({"encode": lambda x: x.mean()}, "encode returned a tensor of no dimensions"),
        ({"encode": lambda x: x.argmax(1)}, "encode returned a tensor of 2x8x8 int64"),
        ({"encode": lambda x: x.mul_(0.5), "decode": lambda z: z}, "encode changes its input images in place"),
        ({"encode": torch.rand_like, "decode": lambda z: z}, "two different codes for the same images"),
        ({"decode": lambda z: z[0]}, "decode returned a tensor of 2x4x8x8 for the code of a tensor of 2x3x8x8"),
        ({"decode": lambda z: SimpleNamespace(sample=z)}, "decode returned a SimpleNamespace"),
        ({"decode": failing}, "decode failed on a tuple of (a tensor of 2x4x8x8, a tensor of 2x4): KeyError"),
        ({"decode": lambda z: z[0][:, :3].byte()}, "decode returned a tensor of 2x3x8x8 uint8"),
        ({"posterior": lambda x: x}, "posterior returned a tensor of 2x3x8x8 where encode returned a tuple"),
        (
            {"encode": lambda x: x, "decode": lambda z: z, "posterior": lambda x: Normal(x.mean(1), 1.0)},
            "posterior returned a Normal of a tensor of 2x8x8 where encode returned a tensor of 2x3x8x8",
        ),
    ],
)
def test_modules_that_do_not_fit_are_refused_in_one_line(change, words):
    with pytest.raises(cf.UsageError) as caught:
        cf.adopt(**{"module": Plain(), "shape": (3, 8, 8)} | change)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
