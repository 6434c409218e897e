"""The pictures of the denoiser, the README's and that of its Jacobian in docs/using.md, and their numbers.

python docs/denoiser_picture.py, with the package copyfold-weights.
"""

from pathlib import Path

import numpy as np
import torch
from skimage.data import camera

import copyfold as cf
from copyfold import pictures
from copyfold.measures import psnr
from copyfold.restoration import restore

OUT, STD = Path(__file__).parent / "pictures", 25

clean = torch.from_numpy(np.array(camera())).div(255)[None, None]
noisy = clean + STD / 255 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
restored = restore(cf.pretrained(), noisy).clamp(0, 1)
print(*(f"{psnr(x, clean).item():.2f}" for x in (noisy, restored)))
shown = [x[..., 40:296, 130:386] for x in (clean, noisy, restored)]
pictures.save_picture(pictures.grid(torch.cat(shown), columns=3, scale=1), OUT / "denoiser.png")

patches = torch.cat([clean[..., 60:124, 200:264], clean[..., 80:144, 220:284]])
basis = cf.Eigenbasis(levels=(0.025, 0.05, 0.1, 0.2))(cf.pretrained(), patches, torch.Generator().manual_seed(0))
for name, values in basis.numbers.items():
    print(name, values)
columns = [patches, *(x.clamp(0, 1) for x in basis.images.values())]
pictures.save_picture(
    pictures.grid(torch.stack(columns, 1).flatten(0, 1), len(columns), scale=1), OUT / "eigenbasis.png"
)
