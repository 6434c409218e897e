"""An example for each public name, shown on its page of the reference and run by tests/unit/test_snippets.py.

Every example starts from what the first cell makes: a cell is a script of its own.
"""

# %%
import torch

import copyfold as cf

photos = cf.Photos(size=16, limit=64)
x = photos.images("held_out", 8)
rng = torch.Generator().manual_seed(0)
model = cf.MLP(photos.shape, hidden=[32], latent_dim=8).eval()

# %% UNet
net = cf.UNet((3, 64, 64), width=8, depth=3)
print(net.summary())
