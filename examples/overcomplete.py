"""The essay's overcomplete network: what it copies, and what it makes of noise it was never shown.

Five hidden layers, each of a third more units than an image has numbers, trained only to copy. On digits in
seconds; on CIFAR-10, as in the essay but at half the side, in twenty minutes:
python examples/overcomplete.py hf://uoft-cs/cifar10
"""

import sys
from math import prod

import torch

import copyfold as cf

SOURCE = sys.argv[1] if len(sys.argv) > 1 else None
photos = cf.Photos(SOURCE, size=16 if SOURCE else 8)
units = round(1.3 * prod(photos.shape))
model = cf.MLP(photos.shape, [units, units], units, activation="gelu", code_activation="gelu")
epochs, lr = (20, 3e-4) if SOURCE else (150, 3e-3)
run = cf.fit(
    model, cf.Classical(), photos, run="runs/overcomplete", epochs=epochs, batch=64, lr=lr, optimizer=cf.Adam()
)
x, seen = photos.images("held_out", 256), photos.images("train", 512)
found = cf.Denoising(cf.Mix(keep=0.5), reference=seen)(run.model, x, torch.Generator().manual_seed(0))
nothing, left = found.numbers["corrupted"].mean(), found.numbers["reconstruction"].mean()
print(f"{photos.shape} to {units} units: a copy leaves {left / found.numbers['mean image'].mean():.1%}")
for name in ("restored", "7x7 filter", "mean image"):
    print(f"{name}: {found.numbers[name].mean() / nothing:.3f} of the squared error of doing nothing")
rows = {"clean": "clean", "copy": "reconstruction", "with noise": "corrupted", "what comes out": "restored"}
cf.save_picture(cf.comparison({row: found.images[name][:8] for row, name in rows.items()}), "overcomplete.png")
