"""Train on the digits that come with scikit-learn, then make digits from noise."""

import torch

import copyfold as cf

photos = cf.Photos()  # or cf.Photos("a/folder/of/images", size=64)
run = cf.fit(cf.UNet(photos.shape, width=8, depth=3), cf.Classical(), photos, run="runs/digits", epochs=3)
rng = torch.Generator().manual_seed(0)
sampler = cf.Renoising(steps=30)
frames = sampler(run.model, sampler.noise(16, photos.shape, rng), rng)
cf.film(frames, "runs/digits/films/from-noise.gif")
print(run.history[-1]["held_out_mse"], "squared error per pixel on held-out images")
