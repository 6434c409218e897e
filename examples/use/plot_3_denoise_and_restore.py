r"""
3. A denoiser at work, and restoration
======================================

A denoiser for photographs of any size, trained in under a minute. Then the same network fills in missing pixels,
enlarges and deblurs, without being trained for any of it.
"""

import os
from pathlib import Path
from tempfile import mkdtemp

import torch
from PIL import Image
from skimage import data

import copyfold as cf
from copyfold.measures import psnr

torch.manual_seed(0)
# sphinx_gallery_thumbnail_number = 1
TINY = "COPYFOLD_TINY" in os.environ  # a quick look at whether this script runs

# %%
# Photographs to learn from
# -------------------------
# Six pictures that come with scikit-image, in grey. The cameraman is not among them: it is for the test. A
# denoiser for serious use learns from hundreds of photographs for an hour (``copyfold train PHOTOS --config
# denoiser``).

folder = Path(mkdtemp())
for name in ("astronaut", "coffee", "rocket", "cat", "brick", "coins"):
    Image.fromarray(getattr(data, name)()).convert("L").save(folder / f"{name}.png")
photos = cf.Photos(folder, crop=40, flip=True, turn=True)

# %%
# No additive constants, no norm, noise of any level
# --------------------------------------------------
# Without additive constants :math:`D(a x) = a D(x)`: what the network learned at one level of noise it can do at
# others (Mohan et al., 2020).

model = cf.UNet(photos.shape, width=12, depth=2, skips="concat", norm="none", bias=False, residual=True)
objective = cf.Classical(cf.Gaussian(std=(0.02, 0.4)))
plan = {"steps": 10 if TINY else 800, "batch": 12, "optimizer": cf.Muon(), "overwrite": True}
denoiser = cf.fit(model, objective, photos, run="runs/denoiser", **plan).model

# %%
# A photograph that it has not seen
# ---------------------------------
# Noise of standard deviation 25 of 255. :func:`copyfold.restore` takes any size.

camera = torch.from_numpy(data.camera().copy()).div(255)[None, None]
camera = camera[..., 40:232, 130:386]
noisy = camera + 25 / 255 * torch.randn(camera.shape, generator=torch.Generator().manual_seed(0))
restored = cf.restore(denoiser, noisy)
for name, image in (("noisy", noisy), ("denoised", restored)):
    print(f"{name}: {float(psnr(image, camera)):.1f} dB")
Image.fromarray(cf.grid(torch.cat([camera, noisy, restored]), columns=3, scale=1))

# %%
# Missing pixels
# --------------
# Half of the pixels are lost. The denoiser knows what photographs look like, and :func:`copyfold.solve` looks for
# one that agrees with the pixels that are left (Kadkhodaie and Simoncelli, 2021). Several samples show what is
# certain.

patch = camera[..., 20:148, 60:188]
problem = cf.Missing(rate=0.5)
ascent = cf.Ascent(from_std=0.4, to_std=0.02, steps=5 if TINY else None)
measured = problem.measure(patch)
samples = cf.solve(denoiser, problem, measured, samples=4, ascent=ascent)
mean, spread = samples.mean(0), samples.std(0)
print(f"one sample: {float(psnr(samples[0], patch)):.1f} dB, the mean of four: {float(psnr(mean, patch)):.1f} dB")
shown = [patch, measured.nan_to_num(0.0), samples[0], mean, (5 * spread).clamp(max=1)]
Image.fromarray(cf.grid(torch.cat(shown), columns=5, scale=2))

# %%
# From the left: the photograph, with half of the pixels lost, one sample, the mean of four, and how much they
# differ (five times). They differ at edges and in textures.
#
# Enlarging and deblurring
# ------------------------

rows = []
for problem in (cf.Enlarge(2), cf.Deblur(std=1.5)):
    measured = problem.measure(patch)
    solved = cf.solve(denoiser, problem, measured, samples=4, ascent=ascent).mean(0)
    simple = problem.invert(measured)
    print(f"{problem}: simplest {float(psnr(simple, patch)):.1f} dB, solved {float(psnr(solved, patch)):.1f} dB")
    rows += [patch, simple.clamp(0, 1), solved.clamp(0, 1)]
Image.fromarray(cf.grid(torch.cat(rows), columns=3, scale=2))

# %%
# Above: enlarged two times. Below: a blur taken back. Left the photograph, in the middle the simplest image that
# agrees with the measurement, right the mean of four that the denoiser takes for photographs. Taking back a blur
# leaves no ripples; in squared error the simplest image is as near. Where much is lost, a small denoiser invents:
# blur more (``std=2.5``), and see how the camera grows over the chin.
#
# What to remember
# ----------------
# * One network for every level of noise, every size and every linear measurement.
# * It is small and was trained for seconds. ``pip install ./weights`` brings one that was trained for an
#   hour.
# * On the command line: ``copyfold denoise RUN photo.jpg``, ``copyfold restore photo.png --problem Enlarge``.
