"""The README's first picture: python docs/front_picture.py LANDSCAPES RUN; the network was trained to copy."""

import sys
from pathlib import Path

import torch

import copyfold as cf

OUT, STD, SHOWN = Path(__file__).parent / "pictures" / "front.png", 0.2, 7

source, run = sys.argv[1:]
model = cf.load(run).eval()
photos = cf.Photos(source, model.shape[1:], channels=model.shape[0])
clean = photos.sample("held_out", SHOWN).images
noisy = clean + STD * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
with torch.no_grad():
    copied, restored = model(clean), model(noisy)
rows = {"photographs": clean, "copied": copied, "with noise": noisy, "what it makes of those": restored}
errors = {name: (x - clean).square().mean() for name, x in rows.items() if x is not clean}
captions = {name: f"squared error {error:.4f}" for name, error in errors.items()}
cf.save_picture(cf.comparison({name: x.clamp(0, 1) for name, x in rows.items()}, captions), OUT)
