#!/usr/bin/env bash
# Makes every picture of README and docs: docs/pictures.sh LANDSCAPES (a folder of images or a dataset folder)
# Two trainings of about twelve minutes each and one of four on two slow cores, and a browser for the picture
# of a report. What is in runs/ already is taken from there.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/pictures
before=(--optimizer Adam --lr 1e-3 --schedule constant)  # as in 0.1, whose pictures README shows
train=(copyfold train "$1" --size 64 --model UNet --model.width 32 --epochs 30 --flip --resume "${before[@]}")
"${train[@]}" --run runs/landscapes
"${train[@]}" --run runs/landscapes-skips --model.skips concat
cp runs/landscapes/findings/denoising-gaussian.png docs/pictures/denoising.png
cp runs/landscapes/findings/denoising-mix.png docs/pictures/denoising-mix.png
cp runs/landscapes/findings/loss.png docs/pictures/loss.png
python docs/denoiser_picture.py  # needs the package copyfold-weights
copyfold models UNet --model.width 64 --model.skips self --size 128 --picture docs/pictures/unet.png
(cd docs/pictures && python ../../examples/score_field.py)
copyfold sample runs/landscapes --out docs/pictures/from-noise.png
copyfold sample runs/landscapes-skips --out docs/pictures/from-noise-skips.png
copyfold train "$1" --size 64 --model UNet --model.width 16 --minutes 4 "${before[@]}" --run runs/plain --resume
copyfold report runs/plain
chromium --headless --hide-scrollbars --window-size=900,1560 --screenshot=docs/pictures/report.png \
  "file://$PWD/runs/plain/report.html"
