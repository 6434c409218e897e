#!/usr/bin/env bash
# Makes the pictures of README and docs: docs/pictures.sh LANDSCAPES (a folder of images or a dataset folder); those of
# benchmarks (ascent*.png, restore*.jpg) are made as docs/measurements.md says, with
# --picture FILE or --pictures FOLDER
# Two trainings of five minutes each on two slow cores, and a browser for the pictures of pages. What is in runs/
# already is taken from there.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p docs/pictures
train=(copyfold train "$1" --size 64 --model UNet --model.width 32 --model.depth 2 --steps 3700 --flip --resume)
"${train[@]}" --run runs/landscapes
"${train[@]}" --run runs/landscapes-skips --model.skips concat
python docs/front_picture.py "$1" runs/landscapes
python docs/denoiser_picture.py  # needs the package copyfold-weights
copyfold models UNet --model.width 64 --model.skips self --size 128 --picture docs/pictures/unet.png
(cd docs/pictures && python ../../examples/score_field.py)
copyfold sample runs/landscapes --out docs/pictures/from-noise.png
copyfold sample runs/landscapes-skips --out docs/pictures/from-noise-skips.png
copyfold report runs/landscapes
(cd "$(dirname "$1")" && copyfold duplicates "$(basename "$1")" --out "$OLDPWD/runs/duplicates.csv")
shot() { chromium --headless --hide-scrollbars --window-size="$3" --screenshot="docs/pictures/$2" "file://$PWD/$1"; }
shot runs/landscapes/report.html report.png 900,1560
shot runs/duplicates.html duplicates.png 760,820
