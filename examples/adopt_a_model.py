"""Adopt a network of your own, trained in your own way: every sampler and every probe works with it."""

import torch
from torch import nn

import copyfold as cf


class Mine(nn.Module):
    """A third-party network; it expects values in [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 8, 4, 2, 1))
        self.up = nn.Sequential(nn.ConvTranspose2d(8, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1))

    def forward(self, x):
        return self.up(self.down(x))


torch.manual_seed(0)
photos, net = cf.Photos(), Mine()
adam = torch.optim.Adam(net.parameters(), lr=3e-3)
for _ in range(4):
    for x in (2 * photos.images() - 1).split(32):
        adam.zero_grad()
        nn.functional.mse_loss(net(x), x).backward()
        adam.step()

model = cf.adopt(net, photos.shape, encode=lambda x: net.down(2 * x - 1), decode=lambda z: (net.up(z) + 1) / 2)
print(model.summary())
rng = torch.Generator().manual_seed(0)
reading = cf.Denoising(cf.Gaussian(0.2))(model, photos.sample("held_out", 8).images, rng)
cf.save_picture(cf.comparison(reading.images, title="Noise that it never saw"), "adopted/denoising.png")
cf.film(cf.Walk(steps=30)(model, photos.sample("held_out", 16).images, rng), "adopted/walk.gif")
print(reading.numbers["restored"].mean().item(), "squared error per pixel where noise of std 0.2 was added")
