r"""
2. Denoising, and the score field
=================================

A denoising autoencoder sees a corrupted image and is trained to give back the clean one (Vincent et al., 2008):

.. math:: L(x) = \frac{1}{2} \lVert D(E(\tilde x)) - x \rVert^2, \qquad \tilde x \sim C(\tilde x \mid x)

The task is harder than copying, so the code may be large: the network cannot win by passing its input through. In
this part it removes noise from digits. Then, on points in a plane, we look at what it has learned: which way leads
to the data.
"""

import os

import torch

import copyfold as cf

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 2
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Noise removed from digits
# -------------------------
# The same network twice: once trained to copy, once trained to denoise. Its code has 256 numbers, as many as a
# digit has pixels.

photos = cf.Photos(size=16)
noise = cf.Gaussian(0.3)
plan = {"epochs": 2 if TINY else 60, "batch": 64, "lr": 2e-3, "overwrite": True}


def network():
    torch.manual_seed(0)
    return cf.MLP(photos.shape, hidden=[512], latent_dim=256)


copying = cf.fit(network(), cf.Classical(), photos, run="runs/copying", **plan).model
denoising = cf.fit(network(), cf.Classical(noise), photos, run="runs/denoising", **plan).model

# %%
# Both are given digits with noise of standard deviation 0.3 that they have not seen before.

x = photos.sample("held_out", 10).images
rng = torch.Generator().manual_seed(0)
noisy = noise(x, rng)
with torch.no_grad():
    rows = {"clean": x, "noisy": noisy, "trained to copy": copying(noisy), "trained to denoise": denoising(noisy)}
captions = {
    name: f"squared error {(images - x).square().mean():.4f}" for name, images in rows.items() if name != "clean"
}
cf.comparison(rows, captions, title="Noise of standard deviation 0.3")

# %%
# The network that was trained to copy removes much of the noise too, and leaves stains. The other one draws clean
# strokes.
#
# Always compare with simple filters
# ----------------------------------
# The probe :class:`copyfold.Denoising` fits classical denoisers on the training images and measures them on the
# same noisy digits.

held_out, train = photos.images("held_out"), photos.images("train", 512)
reading = cf.Denoising(noise, reference=train)(denoising, held_out, rng)
for name, errors in sorted(reading.numbers.items(), key=lambda item: float(item[1].mean())):
    print(f"{name:20s} squared error {float(errors.mean()):.4f}")

# %%
# "restored" is the network, "corrupted" is doing nothing, and "reconstruction" is what the network makes of clean
# digits. Digits are few and alike, and the network wins here. Its strongest opponent is PCA-Wiener, which knows
# the principal components of digits. On photographs simple filters are much harder to beat.
#
# What it has learned: the score
# ------------------------------
# For noise of standard deviation :math:`\sigma` the best denoiser :math:`r` is known (Miyasawa, 1961; Tweedie):
#
# .. math:: r(x) - x = \sigma^2 \nabla \log p_\sigma(x)
#
# Here :math:`p_\sigma` is the density of the *noisy* data. So the change that a denoiser makes points to where the
# data are denser. This can be seen in a plane, for a density that we know: eight Gaussians on a ring.

STD, STEPS = 0.2, 100 if TINY else 1500
torch.manual_seed(0)
density = cf.ring(count=8, radius=1.0, std=0.15)
model = cf.MLP((1, 1, 2), hidden=[64], latent_dim=64, activation="tanh", code_activation="tanh")
objective = cf.Classical(corruption=cf.Gaussian(STD))
optimizer = torch.optim.Adam(model.parameters())
for step in range(STEPS):
    optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / STEPS)
    points = density.sample(512).float().view(-1, 1, 1, 2)
    optimizer.zero_grad()
    sum(objective(model, points).values(), torch.tensor(0.0)).backward()
    optimizer.step()

# %%
# A point of the plane is an image of 1 x 2 pixels. We compare the network's arrows with the exact ones, where
# there are data.

axis = torch.linspace(-1.6, 1.6, 21)
points = torch.cartesian_prod(axis, axis)
log_density = density.log_prob(points.double(), noise=STD)
points = points[log_density > log_density.max() - 3]
score = STD**2 * density.score(points.double(), noise=STD).float()
with torch.no_grad():
    field = model(points.view(-1, 1, 1, 2)).view(-1, 2) - points
cosine = torch.nn.functional.cosine_similarity(field.flatten(), score.flatten(), dim=0)
print(f"cosine of the angle between both fields: {cosine:.3f}")
cf.arrows(
    points,
    {"what the network does: r(x) - x": field, "the score, times σ²": score},
    density.sample(1500),
    title="A denoising autoencoder learns which way leads to the data",
)

# %%
# What to remember
# ----------------
# * Denoising is a way to learn from images what images are like.
# * The change that a denoiser makes is the score of the noisy data, times the variance of the noise. That is how
#   diffusion models work, and how :doc:`/gallery/essay/plot_4_images_from_noise` makes images.
# * :class:`copyfold.Gaussian`, :class:`copyfold.Masking`, :class:`copyfold.Blur` and the other corruptions combine
#   with any network.
