"""Errors are one line that says what to do, with an exit code; nothing existing is changed."""

import json
import math
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import copyfold as cf
from copyfold.cli.train import empty
from copyfold.data import scenes


@pytest.fixture
def pictures(tmp_path):
    """A folder of four small photographs."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k, pixels in enumerate(scenes(4, 16)):
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def bomb(side=60_000):
    """A PNG of a few bytes that says it is enormous."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- the command line


WRONG = {
    "tran": ("no command 'tran'", "did you mean train?"),
    "--verbose": (
        "no command '--verbose'",
        "choose one of compare, data, denoise, duplicates, embed, export, models, outliers, probe, push, report, "
        "restore, sample, similar, studio, study, train",
    ),
    "train --epochz=3": ("--epochz is not an option of copyfold train", "did you mean --epochs?"),
    "train --warm-up=-1": ("warm_up=-1 is invalid",),
    "train --save_steps 1 --skip_bad --steps 0": ("steps=0 is invalid",),
    "train --model MLP --model.code-activation x": ("--model.code_activation x is invalid",),
    "train --epoch=3": ("--epoch is not an option", "did you mean --epochs?"),
    "train --batch-size=8": ("--batch-size is not an option of copyfold train", "did you mean --batch?"),
    "train --width=8": ("--width is not an option of copyfold train", "did you mean --model.width?"),
    "train --objective.corruption=Blur --kernel=3": (
        "--kernel is not an option",
        "--objective.corruption.kernel?",
    ),
    "train --model-width=3": ("--model-width is not an option", "did you mean --model.width?"),
    "train --hyphen 3": ("--hyphen is not an option", "see copyfold train --help"),
    "train --resume=true": ("--resume takes no value", "--resume or --no-resume"),
    "train a b": ("unexpected argument 'b'", "copyfold train --help"),
    "train --run": ("--run needs a value", "expected a string"),
    "train --model=Unet": ("--model Unet is not known", "did you mean UNet?"),
    "train --model=Gaussian": ("--model Gaussian is not known", "choose one of", "Conv", "Linear", "MLP", "UNet"),
    "train --model=os.system": ("--model os.system is not known", "choose one of"),
    "train --model.help=Unet": ("--model.help Unet is not known", "did you mean UNet?"),
    "train --model.widht=4": ("--model.widht is not an option of UNet", "did you mean width?"),
    "train --model=Conv --model.width=4": ("--model.width is not an option of Conv", "channels"),
    "train --model.width=x": ("--model.width x is invalid", "a whole number"),
    "train --model.width": ("--model.width needs a value", "a whole number"),
    "train --model.width.x=3": ("--model.width has no options", "a whole number"),
    "train --model=3": ("--model 3 is invalid", "MLP, SingleAttention, UNet or Variational"),
    "train --model={a:1}": ("--model {'a:1': null} is invalid", "class_path and init_args"),
    "train --model.up=up": ("--model.up up is invalid", "transposed, bilinear or a list, as in [transposed]"),
    "train --model.width=-2": ("width=-2 is invalid", "at least 1"),
    "train --model.norm=btch": ("--model.norm btch is invalid", "batch, group, layer, instance or none"),
    "train --model=Conv --model.channels=3": ("--model.channels 3 is invalid", "a list"),
    "train --model.middle=Afine": ("--model.middle Afine is not known", "did you mean Affine?"),
    "train --model.middle=Affine --model.middle.hiden=3": ("middle.hiden is not an option of Affine", "hidden?"),
    "train --model.middle=Affine --model.middle.hidden=x": ("--model.middle.hidden x is invalid", "whole number"),
    "train --model.middle.hidden=3": ("--model.middle has no class yet", "Affine"),
    "train --objective.corruption=Gausian": ("--objective.corruption Gausian is not known", "mean Gaussian?"),
    "train --objective.corruption=UNet": ("--objective.corruption UNet is not known", "Blur, Clean, Gaussian"),
    "train --objective.corruption.std=1": (
        "--objective.corruption.std is not an option of Clean",
        "has no options",
    ),
    "train --objective.corruption=Gaussian --objective.corruption.std=-1": ("std", "at least 0", "-1"),
    "train --objective.fidelity=Bernouli": ("--objective.fidelity Bernouli is not known", "mean Bernoulli?"),
    "train --objective.penalties+=Gaussian": ("--objective.penalties Gaussian is not known", "L1"),
    "train --objective.penalties=L1": ("--objective.penalties L1 is invalid", "a list, as in ["),
    "train --objective.penalties=[L1,L2]": ("--objective.penalties L2 is not known", "KLSparsity"),
    "train --objective.penalties.weight=1": ("--objective.penalties has no class yet", "KLSparsity"),
    "train --epochs=many": ("--epochs many is invalid", "a whole number"),
    "train --epochs=0": ("epochs=0 is invalid", "at least 1"),
    "train --minutes=-1": ("minutes=-1.0 is invalid", "above 0"),
    "train --lr=-1": ("lr=-1.0 is invalid", "above 0"),
    "train --lr=x": ("--lr x is invalid", "a number"),
    "train --batch=0": ("batch=0 is invalid", "at least 1"),
    "train --seed=-1": ("seed=-1 is invalid", "at least 0"),
    "train --precision=fp8": ("--precision fp8 is invalid", "auto, 32, tf32, bf16 or 16"),
    "train --fit=strech": ("--fit strech is invalid", "crop, pad or stretch"),
    "train --limit=0": ("limit", "at least 1"),
    "train --size=-3": ("size", "-3", "at least 1"),
    "train --size=64x": ("size='64x' is invalid", "height x width as in 48x64"),
    "train --size": ("--size needs a value", "a whole number or height x width, as in 48x64"),
    "train --size=100000": ("--size 100000 is invalid", "10,000,000,000 numbers: expected at most 16,777,216"),
    "train --crop=5000x4000 --minutes=.1": ("--crop 5000x4000 is invalid", "at most 16,777,216 numbers"),
    "models UNet --size=5000": ("--size 5000 is invalid", "at most 16,777,216 numbers in an image"),
    "train --size=18 --model.depth=8": ("18x18", "would pad them to 256x256"),
    "train --model.depth=12": ("would pad them to 4096x4096", "fewer levels"),
    "train --config": ("--config", "needs a file"),
    "train --config=nothing.yaml": ("--config nothing.yaml", "does not exist"),
    "sample": ("copyfold sample needs RUN",),
    "sample nothing --steps 5": ("--steps is not an option of copyfold sample", "did you mean --sampler.steps?"),
    "probe nothing --probe=Nearest --probe.reference=x": (
        "--probe.reference is not an option of Nearest",
        "count",
    ),
    "probe nothing --probe=Inversion --probe.rate=1": (
        "--probe.rate 1 is invalid",
        "a list of 2 numbers, as in [",
    ),
    "study --budget=x": ("--budget x is invalid", "tiny, cpu or gpu"),
    "sample nothing": ("nothing is not a run", "copyfold train"),
    "denoise": ("copyfold denoise needs IMAGE",),
    "denoise nothing a.png": ("nothing does not exist: expected the folder of a run, or an image",),
    "restore": ("copyfold restore needs IMAGE",),
    "restore nothing a.png": ("restore needs --problem: one of Deblur, Enlarge, Inpaint, Missing",),
    "restore nothing a.png --problem=Deblur": ("nothing does not exist",),
    "restore nothing a.png b.png --problem=Deblur": ("nothing does not exist",),
    "restore nothing a.png --problem=Blur": ("--problem Blur is not known", "did you mean Deblur?"),
    "restore nothing a.png --problem=Enlarge --problem.factor=1.5": ("--problem.factor 1.5 is", "a whole number"),
    "restore nothing a.png --problem=Enlarge --problem.factor=1": ("factor=1 is invalid", "at least 2"),
    "restore nothing a.png --problem=Inpaint --problem.mask=a.png": ("--problem.mask is not an option",),
    "restore nothing a.png --problem=Deblur --samples=0": ("--samples 0 is invalid", "at least 1"),
    "restore nothing a.png --problem=Deblur --ascent.h0=2": ("h0=2", "is invalid"),
}


H = 2**62
LARGE = {
    f"train --size=8 --model=MLP --model.latent_dim={H}": (2, "the model is too large", "give smaller numbers"),
    f"train --size=8 --model=UNet --model.width={H}": (2, "the model is too large"),
    f"train --size=8 --model=Conv --model.channels=[{H}]": (2, "the model is too large"),
    f"train --size=8 --model=AttentionUNet --model.heads={H}": (2, "the model is too large"),
    f"train --size=8 --model=AttentionUNet --model.dim_head={H}": (2, "the model is too large"),
    f"train --size=8 --model=SingleAttention --model.channels={H}": (2, "the model is too large"),
    f"train --size=8 --model=DiffusionUNet --model.width={H}": (2, "the model is too large"),
    f"train --size=8 --model=Variational --core=Conv --model.latent_dim={H}": (2, "the model is too large"),
    f"models UNet --model.width={H}": (2, "the model is too large"),
    f"models Linear --size=4096 --channels=1 --model.latent_dim={10**12}": (2, "the model is too large"),
    f"models MLP --model.hidden=[{'8,' * 999}8]": (0,),
    f"models MLP --model.hidden=[{'8,' * 20_000}8]": (2, "--model.hidden [8,8", "at most 1,000 items"),
    f"train --objective.penalties=[{'L1,' * 20_000}L1]": (2, "--objective.penalties [L1,", "at most 1,000 items"),
    "train --lr=1e308": (2, "--lr 1e308 is invalid", "a number, no larger than 3.4e+38"),
    "train --lr=-1e308": (2, "--lr -1e308 is invalid", "a number, no larger than 3.4e+38"),
    "train --lr=.inf": (2, "lr=inf is invalid"),
    "train --range -1e300 1": (
        2,
        "--range [-1e300,1] is invalid",
        "a list of 2 numbers",
        "no larger than 3.4e+38",
    ),
    "train --objective.corruption=Gaussian --objective.corruption.std=1e39": (
        2,
        "std 1e39",
        "larger than 3.4e+38",
    ),
    "sample nothing --sampler=Ascent --sampler.from_std=1e308": (2, "--sampler.from_std 1e308", "3.4e+38"),
    "restore nothing a.png --problem=Deblur --problem.std=1e154": (2, "--problem.std 1e154", "3.4e+38"),
}


@pytest.mark.parametrize("line", LARGE, ids=lambda line: line[:70])
def test_numbers_and_lists_that_are_too_large_are_refused_at_once(line, tmp_path, monkeypatch, copyfold):
    monkeypatch.chdir(tmp_path)
    code, *words = LARGE[line]
    started = time.monotonic()
    said = copyfold(*line.split())
    assert time.monotonic() - started < 20  # twenty thousand layers took a minute
    said.refused(code, *words) if code else said.done()
    assert not list(tmp_path.iterdir())


def test_a_model_of_very_many_layers_is_refused_while_it_is_built():
    with pytest.raises(cf.UsageError, match="more than 20,000 layers and weights"):
        empty(partial(cf.MLP, hidden=[1] * 30_000), (1, 8, 8))


def test_more_images_than_can_be_counted_are_not_called_a_bug(run, copyfold):
    copyfold("sample", run, f"--count={2**62}").refused(1, "a number is too large")


@pytest.mark.parametrize("line", WRONG)
def test_usage_errors_say_what_is_valid(line, tmp_path, monkeypatch, copyfold):
    monkeypatch.chdir(tmp_path)
    copyfold(*line.split()).refused(2, *WRONG[line])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    {
        "--sampler=Renoisin": ("--sampler Renoisin is not known", "did you mean Renoising?"),
        "--sampler=Gaussian": ("--sampler Gaussian is not known", "did you mean FittedGaussian?"),
        "--sampler.stepz=3": ("--sampler.stepz is not an option of Renoising", "did you mean steps?"),
        "--sampler=Walk --sampler.mean=3": ("--sampler.mean is not an option of Walk", "std, steps"),
        "--sampler.schedule=Rampp": ("--sampler.schedule Rampp is not known", "did you mean Ramp?"),
        "--sampler.steps=0": ("steps=0 is invalid", "at least 1"),
        "--count=0": ("--count 0 is invalid", "at least 1"),
        "--seed=-1": ("--seed -1 is invalid", "at least 0"),
        "--statistics=none": ("--statistics none is invalid", "batch or running"),
        "--fps=0": ("frames per second", "0"),
        "--out=x.jpg": (".mp4, .gif, .png", "x.jpg"),
    }.items(),
)
def test_usage_errors_of_sample_say_what_is_valid(options, words, run, copyfold):
    copyfold("sample", run, *options.split()).refused(2, *words)


def test_bernoulli_with_a_linear_output_is_refused(photos, tiny, tmp_path, copyfold):
    line = ("train", photos, *tiny, "--objective.fidelity=Bernoulli", "--run", tmp_path / "r")
    copyfold(*line).refused(2, "Bernoulli", "--model.output sigmoid")


def test_running_out_of_memory_is_not_called_a_bug(photos, tmp_path, copyfold):
    line = ("train", photos, "--size=16", "--model.width=60000", "--run", tmp_path / "r")
    copyfold(*line).refused(1, "not enough memory", "smaller model")


def test_an_unexpected_error_is_called_a_bug(copyfold, monkeypatch):
    monkeypatch.setattr("copyfold.data.survey", lambda *_, **__: 1 / 0)
    said = copyfold("data")
    assert said.code == 1
    assert said.err == ["copyfold: ZeroDivisionError: division by zero; this is a bug in copyfold: "
                        "run again with --debug and report it"]  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        copyfold("data", "--debug")


# ---------------------------------------------------------------- a third-party recipe


STRANGE = {
    "a function": "model: os.system",
    "a class": "model: subprocess.Popen",
    "a function with arguments": "model: {class_path: os.system, init_args: {command: touch EXECUTED}}",
    "a module of their own": "model: evil.Evil",
    "within the model": "model: {class_path: UNet, init_args: {middle: evil.Evil}}",
    "as an option": "model: {class_path: UNet, init_args: {norm: {class_path: evil.Evil}}}",
    "in a list of numbers": "model: {class_path: Conv, init_args: {channels: [{class_path: evil.Evil}]}}",
    "as the objective": "objective: evil.Evil",
    "as a corruption": "objective: {class_path: Classical, init_args: {corruption: {class_path: evil.Evil}}}",
    "as a penalty": "objective: {class_path: Classical, init_args: {penalties: [evil.Evil]}}",
    "as text within text": r"""model: '{"class_path": "evil\u002eEvil"}'""",
    "in copyfold, but no model": "model: copyfold.models.storing.load",
    "through copyfold": "model: copyfold.training.distributed.launched",
    "in another file": "model: other.yaml",
    "in another recipe": "config: other.yaml",
    "as the run": "run: {class_path: evil.Evil}",
    "as the data": "data: {class_path: evil.Evil}",
    "as YAML's own": "model: !!python/object/apply:os.system ['touch EXECUTED']",
}


@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE)
def test_a_recipe_cannot_execute_code(body, tmp_path, monkeypatch, copyfold):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("open('EXECUTED', 'w')\nclass Evil:\n    pass\n")
    (tmp_path / "other.yaml").write_text("model: evil.Evil\n")
    (tmp_path / "strange.yaml").write_text(f"{body}\nepochs: 1\n")
    said = copyfold("train", "--config", "strange.yaml", "--run", "r")
    said.refused(2)
    assert not (tmp_path / "EXECUTED").exists()
    assert "evil" not in sys.modules
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("body", "words"),
    {
        "epoks: 3": ("epoks is not an option of copyfold train", "did you mean epochs?"),
        "model: {class_path: UNet, init_args: {widht: 3}}": ("--model.widht is not an option of UNet", "width?"),
        "epochs: '&a [*a]'": ("--epochs &a [*a] is invalid", "a whole number"),
        "model: {class_path: [UNet]}": ("--model {class_path: [UNet]} is invalid", "class_path and init_args"),
        "config: plain": ("config is not an option of copyfold train",),
        "epochs: many": ("--epochs many is invalid", "a whole number"),
        "- a\n- b": ("not a recipe", "option: value"),
        "a: [": ("cannot be read",),
        "\x00": ("cannot be read",),
    }.items(),
)
def test_an_invalid_recipe_is_refused_with_its_file(body, words, tmp_path, copyfold):
    (tmp_path / "r.yaml").write_text(body)
    copyfold("train", "--config", tmp_path / "r.yaml").refused(2, f"--config {tmp_path / 'r.yaml'}: ", *words)


def test_a_recipe_that_would_exhaust_memory_or_stack_is_refused(tmp_path, copyfold):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: " + "[" * 100_000)
    copyfold("train", "--config", recipe).refused(2, f"--config {recipe}", "too large for a recipe")
    recipe.write_text("model: " + "[" * 5_000)
    copyfold("train", "--config", recipe).refused(2, f"--config {recipe}", "cannot be read")
    layers = ["&a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    layers += [f"&a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 10)]
    recipe.write_text(f"data: [{', '.join(layers)}]")  # ten to the tenth
    copyfold("train", "--config", recipe).refused(2, f"--config {recipe}", "uses YAML aliases")


# ---------------------------------------------------------------- data


def test_missing_data_is_refused(tmp_path, copyfold):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    for command in ("train", "data"):
        copyfold(command, tmp_path / "nowhere").refused(3, f"there is no folder or file {tmp_path / 'nowhere'}")
        copyfold(command, tmp_path / "empty").refused(3, "contains no images", ".png")
        copyfold(command, tmp_path / "texts").refused(3, "contains no images", ".png")


def test_data_of_unreadable_images_alone_ends_with_an_error(tmp_path, copyfold):
    (tmp_path / "text.png").write_text("not an image")
    said = copyfold("data", tmp_path)
    said.refused(3, str(tmp_path), "no image can be used")
    assert any(line.startswith("text.png ") for line in said.out)


def test_three_unreadable_images_of_a_hundred_are_reported(tiny, tmp_path, copyfold):
    folder = tmp_path / "hundred"
    folder.mkdir()
    for k, pixels in enumerate(scenes(97, 16)):
        Image.fromarray(pixels).save(folder / f"{k:02d}.png")
    (folder / "cut.png").write_bytes((folder / "00.png").read_bytes()[:200])
    (folder / "text.png").write_text("not an image")
    (folder / "empty.jpg").write_bytes(b"")
    line = ("train", folder, *tiny, "--epochs=1", "--run", tmp_path / "r")
    names = ("cut.png", "text.png", "empty.jpg")
    copyfold(*line).refused(3, "3 of 100 images", *names, "--skip-bad")
    assert not (tmp_path / "r").exists()
    copyfold(*line, "--skip-bad").done()
    data = json.loads((tmp_path / "r" / "data.json").read_text())
    assert data["train"] + data["held_out"] == 97
    assert [name for name in names if any(name in note for note in data["notes"])] == list(names)
    assert not [name for name in names if name not in (tmp_path / "r" / "model" / "README.md").read_text()]
    said = copyfold("data", folder).done()
    assert [name for name in names if any(line.startswith(name) for line in said.out)] == list(names)


def test_a_decompression_bomb_is_refused(pictures, tiny, tmp_path, copyfold):
    (pictures / "bomb.png").write_bytes(bomb())
    line = ("train", pictures, *tiny, "--epochs=1", "--run", tmp_path / "r")
    copyfold(*line).refused(3, "bomb.png", "60000x60000", "100 megapixels", "--skip-bad")
    copyfold(*line, "--skip-bad").done()


ARRAYS = {
    "out of range": (np.full((4, 8, 8), 300.0), ("300", "[0, 1]")),
    "negative": (np.full((4, 8, 8), -0.5), ("-0.5", "[0, 1]")),
    "not a number": (np.full((4, 8, 8), np.nan), ("NaN", "[0, 1]")),
    "infinite": (np.full((4, 8, 8), np.inf), ("inf", "[0, 1]")),
    "ambiguous": (np.zeros((4, 3, 8, 3), np.uint8), ("4x3x8x3", "--layout NCHW or --layout NHWC")),
    "whole numbers": (np.full((4, 8, 8), 7), ("int64", "uint8")),
    "one number": (np.float32(1), ("N·H·W",)),
    "empty": (np.zeros((0, 8, 8), np.uint8), ("0x8x8", "no pixels")),
}


@pytest.mark.parametrize(("array", "words"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_are_not_images_are_refused(array, words, tmp_path, copyfold):
    np.save(tmp_path / "a.npy", array)
    copyfold("train", tmp_path / "a.npy", "--run", tmp_path / "r").refused(3, str(tmp_path / "a.npy"), *words)


def test_invalid_array_files_are_refused(tmp_path, copyfold):
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", images=np.array([{}]))
    (tmp_path / "text.npy").write_text("hello")
    np.savez_compressed(tmp_path / "a.npz", np.random.default_rng(0).integers(0, 255, (8, 12, 12), np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "changed.npz").write_bytes(whole[:400] + b"\xff\xff" + whole[402:])
    (tmp_path / "cut.npz").write_bytes(whole[:500])
    (tmp_path / "other.npz").write_bytes(whole[:4] + b"hello")
    for name in ("objects.npy", "objects.npz", "text.npy", "changed.npz", "cut.npz", "other.npz"):
        copyfold("train", tmp_path / name).refused(3, f"{name} is not an array file that can be read")
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    copyfold("train", tmp_path / "a.png").refused(3, "single image", "folder")


# ---------------------------------------------------------------- a run's folder


def test_a_folder_that_is_not_a_run_is_not_overwritten(pictures, tiny, tmp_path, copyfold):
    line = ("train", pictures, *tiny, "--run", pictures)
    copyfold(*line).refused(2, str(pictures), "not empty", "--overwrite")
    copyfold(*line, "--overwrite").refused(2, "0.png", "no run", "another --run")
    copyfold("train", pictures, "--run", pictures / "0.png").refused(2, "is no folder", "another --run")
    assert len(list(pictures.iterdir())) == 4
    copyfold("sample", pictures).refused(2, "not a run", "recipe.yaml")


def test_a_name_that_something_else_has_is_refused_before_any_work(run, pictures, tmp_path, monkeypatch, copyfold):
    for work in ("copyfold.detection.finding.outliers", "copyfold.report.diagnosis.diagnose"):
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("it worked"))
    file, folder, loop = tmp_path / "file", tmp_path / "folder.csv", tmp_path / "loop"
    file.touch()
    folder.mkdir()
    loop.symlink_to(loop)
    for place in (file, file / "deeper", loop):
        copyfold("probe", run, "--probe", "Quality", "--out", place).refused(2, "is no folder", "another name")
        copyfold("outliers", run, pictures, "--marks", place).refused(2, "is no folder", "another name")
        copyfold("outliers", run, pictures, "--out", place / "odd.csv").refused(2, "is no folder", "another name")
        copyfold("train", pictures, "--run", place).refused(2, "is no folder", "another --run")
    copyfold("outliers", run, pictures, "--out", folder).refused(2, "folder.csv is a folder", "name of a file")
    for flag in ("--out", "--marks"):
        copyfold("outliers", run, pictures, flag, "").refused(2, f"{flag} is empty", "leave it out")
    copyfold("train", "--run", "").refused(2, "--run is empty")


def test_an_unwritable_folder_is_refused(pictures, tiny, run, copyfold):
    copyfold("train", pictures, *tiny, "--run", "/proc/nowhere/r").refused(1, "/proc/nowhere")
    copyfold("sample", run, "--sampler.steps=1", "--out=/proc/x.png").refused(1, "cannot write /proc/x.png")


def test_a_run_in_use_is_refused(run, copied, copyfold):
    hold = (
        "import fcntl, os, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "f.write(str(os.getpid())); f.flush(); print('held', flush=True); sys.stdin.read()"
    )
    held = [sys.executable, "-c", hold, str(copied / ".lock")]
    with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for how in ("--resume", "--overwrite"):
            said = copyfold("train", "--config", copied / "recipe.yaml", "--run", copied, how, "--epochs=3")
            said.refused(1, str(copied), f"in use by process {other.pid}", "--run")
        assert (copied / "last.ckpt").read_bytes() == (run / "last.ckpt").read_bytes()
        other.kill()  # the lock dies with its process
    copyfold("train", "--run", copied, "--resume", "--epochs=3").done()


def spoil(path, how):
    """Replace a file of a run, as an attacker or a bad disk may."""
    config = {"architecture": "UNet", "shape": [3, 16, 16], "width": 4, "depth": 2}
    texts = {
        "broken": "{",
        "another's": '{"model_type": "bert"}',
        "a class that is not ours": json.dumps(config | {"architecture": "os.system"}),
        "nearly ours": json.dumps(config | {"architecture": "Unet"}),
        "an unknown option": json.dumps(config | {"widht": 4}),
        "an impossible option": json.dumps(config | {"width": -4}),
        "a model without end": json.dumps(config | {"width": 10**5}),
        "a size without end": json.dumps(config | {"width": 10**9}),
        "a depth without end": json.dumps(config | {"depth": 10**10}),
        "too large": " " * 2_000_000 + "{}",
        "a class within": json.dumps(config | {"middle": {"class_path": "os.system", "init_args": {}}}),
        "of another type": json.dumps(config | {"shape": "three"}),
        "deep": "[" * 100_000,
        "many layers": json.dumps({"architecture": "MLP", "shape": [1, 8, 8], "hidden": [1] * 100_000}),
        "cores within cores": json.dumps({"architecture": "Variational", "core": nested(200)}),
        "padded images": json.dumps(config | {"shape": [1, 1, 2**24]}),
        "large images": json.dumps({"architecture": "Conv", "shape": [1, 65_536, 65_536]}),
    }
    path.write_text(texts[how])


def nested(depth):
    """The description of a Variational in a Variational in a Variational, around a Conv."""
    if not depth:
        return {"class_path": "Conv", "init_args": {"shape": [1, 8, 8]}}
    return {"class_path": "Variational", "init_args": {"core": nested(depth - 1)}}


CONFIGS = {
    "cores within cores": ("config.json", "more than 20 deep"),
    "padded images": ("config.json", "padded to 4x16777216 by UNet", "at most 16,777,216 numbers in an image"),
    "broken": ("config.json", "JSON"),
    "another's": ("config.json", "architecture"),
    "a class that is not ours": ("config.json", "system is not known here", "came from os"),
    "nearly ours": ("Unet", "did you mean UNet?"),
    "an unknown option": ("config.json", "widht"),
    "an impossible option": ("config.json", "width=-4"),
    "a model without end": ("does not fit", "model.safetensors"),
    "a size without end": ("config.json", "the model is too large", "2^63"),
    "a depth without end": ("config.json", "depth=10000000000"),
    "too large": ("config.json", "larger than 1,000,000 bytes"),
    "many layers": ("config.json", "more than 20,000 layers and weights"),
    "large images": ("config.json", "expected at most 16,777,216 numbers in an image"),
    "a class within": ("config.json", "system is not known here", "came from os"),
    "of another type": ("config.json", "shape"),
    "deep": ("config.json", "JSON"),
}


@pytest.mark.parametrize("how", CONFIGS)
def test_an_invalid_config_is_refused(how, copied, copyfold):
    spoil(copied / "model" / "config.json", how)
    copyfold("sample", copied, "--sampler.steps=1").refused(2, *CONFIGS[how])


def test_weights_of_another_architecture_are_refused(copied, copyfold):
    path = copied / "model" / "model.safetensors"
    whole = path.read_bytes()
    tensors = load_file(path)
    name = next(iter(tensors))
    for changed in (
        {k: v for k, v in tensors.items() if k != name},
        tensors | {name: torch.zeros(7)},
        tensors | {name: tensors[name].half()},
        tensors | {"more": torch.zeros(1)},
    ):
        save_file(changed, path)
        copyfold("sample", copied).refused(2, "model.safetensors does not fit its config.json", "1 tensors differ")
    for cut in (whole[:-100], whole[:40], b"", b"\xff" * 100):
        path.write_bytes(cut)
        copyfold("sample", copied).refused(2, "model.safetensors cannot be read", "copy the model")
    path.unlink()
    copyfold("sample", copied).refused(2, "model.safetensors", "cannot be read")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_wherever_they_are_loaded(value, copied, copyfold, pictures):
    path = copied / "model" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[-1] = value
    save_file(tensors, path)
    for line in (["sample"], ["denoise", pictures], ["embed"], ["outliers", pictures], ["export"]):
        copyfold(line[0], copied, *line[1:]).refused(2, "model.safetensors", name, "not finite", "train again")


def test_only_a_buffer_may_be_infinite(tmp_path):
    class Least(cf.Linear):
        """It has a buffer for the least loss so far."""

        def __init__(self, shape, latent_dim=2):
            super().__init__(shape, latent_dim)
            self.register_buffer("least", torch.tensor(math.inf))

    Least((1, 4, 4)).save(tmp_path)
    model = cf.load(tmp_path)
    assert model.least == math.inf
    model.least.fill_(math.nan)
    model.save(tmp_path)
    with pytest.raises(cf.UsageError, match=r"numbers in least that are not finite"):
        cf.load(tmp_path)


def test_an_invalid_checkpoint_is_refused(copied, run, copyfold):
    line = ("train", "--run", copied, "--resume", "--epochs=3")
    for content in (b"", b"hello", (run / "last.ckpt").read_bytes()[:1000]):
        (copied / "last.ckpt").write_bytes(content)
        copyfold(*line).refused(2, "last.ckpt", "--overwrite")
    torch.save({"a": 1}, copied / "last.ckpt")
    copyfold(*line).refused(2, "last.ckpt", "not a checkpoint of copyfold")
    with zipfile.ZipFile(run / "last.ckpt") as whole, zipfile.ZipFile(copied / "last.ckpt", "w") as packed:
        for member in whole.infolist():
            packed.writestr(member.filename, whole.read(member), zipfile.ZIP_DEFLATED)
    copyfold(*line).refused(2, "last.ckpt", "is compressed", "--overwrite")
    assert (copied / "log.csv").read_bytes() == (run / "log.csv").read_bytes()


def test_files_of_a_run_that_are_pipes_are_refused_and_not_waited_for(copied, copyfold):
    for name in ("model/model.safetensors", "data.json"):
        (copied / name).unlink()
        os.mkfifo(copied / name)
    with pytest.raises(cf.UsageError, match=r"model.safetensors cannot be read: it is a pipe"):
        cf.load(copied)
    with pytest.raises(cf.UsageError, match=r"data.json cannot be read \(it is a pipe"):
        _ = cf.runs.open(copied).data
    os.mkfifo(copied / "a.npy")
    copyfold("data", copied / "a.npy").refused(3, "a.npy cannot be read as data", "it is a pipe")


def test_a_damaged_recipe_is_refused(copied, copyfold):
    (copied / "recipe.yaml").write_text("a: [")
    copyfold("train", "--run", copied, "--resume").refused(2, "recipe.yaml", "cannot be read")
    copyfold("sample", copied, "--sampler=Walk").refused(2, "recipe.yaml", "cannot be read")
    (copied / "recipe.yaml").unlink()
    copyfold("denoise", copied, "a.png").refused(2, "not a run", "recipe.yaml")


# ---------------------------------------------------------------- denoise


def test_unreadable_images_do_not_stop_denoise(run, pictures, tmp_path, copyfold):
    (pictures / "text.png").write_text("not an image")
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:200])
    (pictures / "bomb.png").write_bytes(bomb())
    out = tmp_path / "out"
    bad = [tmp_path / "nothing.png", *(pictures / name for name in ("text.png", "cut.png", "bomb.png"))]
    said = copyfold("denoise", run, pictures / "0.png", *bad, pictures / "1.png", "--out", out)
    said.refused(3, "4 of 6 images could not be read", *map(str, bad))
    assert sorted(p.name for p in out.iterdir()) == ["0.png", "1.png"]
    assert said.out == [str(out / "0.png"), str(out / "1.png")]
    for path in bad:
        assert [line for line in said.err if line.startswith(f"{path} ")], path
    said = copyfold("denoise", run, pictures, "--out", tmp_path / "all")
    said.refused(3, "3 of 7 images could not be read")
    assert len(list((tmp_path / "all").iterdir())) == 4


def test_a_photograph_that_cannot_be_written_loses_no_other(run, pictures, tmp_path, copyfold):
    out = tmp_path / "out"
    (out / "1.png").mkdir(parents=True)
    said = copyfold("denoise", run, pictures, "--out", out)
    said.refused(1, "1 of 4 images could not be written; the others are done", str(pictures / "1.png"))
    assert all((out / name).is_file() for name in ("0.png", "2.png", "3.png"))
    (pictures / "2.png").write_text("not an image")
    said = copyfold("denoise", run, pictures, "--out", out)
    said.refused(1, "1 of 4 images could not be read, and 1 could not be written; the others are done")


def test_photographs_with_long_names_are_denoised(run, pictures, tmp_path, copyfold):
    name = "a" * 251 + ".png"
    (pictures / "0.png").rename(pictures / name)
    copyfold("denoise", run, pictures, "--out", tmp_path / "out").done()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.png", "2.png", "3.png", name]


def test_a_full_disk_ends_denoise_at_once(run, pictures, tmp_path, copyfold):
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, former[1]))
    try:
        said = copyfold("denoise", run, pictures, "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    said.refused(1, "cannot write", "0.png", "free some space")
    assert not list((tmp_path / "out").iterdir())


def test_what_will_differ_is_said_before_the_first_photograph(run, pictures, tmp_path, copyfold):
    Image.open(pictures / "0.png").quantize(8).save(pictures / "palette.png")
    said = copyfold("denoise", run, pictures, "--out", tmp_path / "out").done()
    assert "palettes come back as full colour (1 of 5 images)" in said.err


def test_denoise_overwrites_no_photograph(run, pictures, tmp_path, copyfold):
    before = (pictures / "0.png").read_bytes()
    line = ("denoise", run, pictures / "0.png")
    copyfold(*line, "--out", pictures).refused(2, "would be overwritten", "another folder")
    copyfold(*line, pictures, "--out", tmp_path / "out").refused(2, "two of the images are called 0.png")
    copyfold(*line, "--out", pictures / "1.png").refused(1, "cannot write")
    (tmp_path / "empty").mkdir()
    copyfold("denoise", run, tmp_path / "empty").refused(3, "contains no images")
    assert (pictures / "0.png").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_photographs_are_read_with_the_model_s_channels(run, tmp_path, copyfold):
    np.save(tmp_path / "grey.npy", np.zeros((4, 16, 16), np.uint8))
    line = ("--start", tmp_path / "grey.npy", "--sampler=Walk", "--sampler.steps=1", "--out", tmp_path / "a.png")
    said = copyfold("sample", run, *line).done()
    assert any("3 channels" in line for line in said.err)


# ---------------------------------------------------------------- divergence, signals, a full disk


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_diverged_training_keeps_the_last_good_model(epochs, photos, tiny, tmp_path, copyfold):
    run = tmp_path / "r"
    line = ("train", photos, *tiny, "--limit=16", f"--epochs={epochs}", "--run", run)
    copyfold(*line, "--lr=1e30").refused(4, "nan", "step 1", str(run), "--resume", "lower --lr than 1e+30")
    assert all(tensor.isfinite().all() for tensor in cf.load(run).state_dict().values())
    state = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values())
    copyfold("train", "--run", run, "--resume", "--lr=1e-3").done()
    rows = cf.runs.open(run).history
    assert [row["step"] for row in rows] == list(range(1, epochs + 1))
    assert rows[-1]["held_out_loss"] < 1e4


def wait_for(path, process, seconds=300):
    """Wait until a file is there, as long as the process that should make it runs."""
    end = time.monotonic() + seconds
    while not path.is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_a_training_after_saving(signum, code, photos, tiny, tmp_path, start, ended, copyfold):
    run = tmp_path / "r"

    def heard():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored, and stays so

    process = start("train", photos, *tiny, "--epochs=100000", "--run", run, preexec_fn=heard)
    wait_for(run / "log.csv", process)
    process.send_signal(signum)
    ended(process).refused(code, f"stopped by {signum.name}", str(run), "--resume")
    rows = cf.runs.open(run).history
    state = torch.load(run / "last.ckpt", weights_only=True)
    assert state["global_step"] == rows[-1]["step"] > 0
    kept = {name.removeprefix("model."): tensor for name, tensor in state["state_dict"].items()}
    assert all(torch.equal(tensor, kept[name]) for name, tensor in cf.load(run).named_parameters())
    epochs = int(rows[-1]["epoch"]) + 2
    copyfold("train", "--run", run, "--resume", f"--epochs={epochs}").done()
    steps = [row["step"] for row in cf.runs.open(run).history]
    assert steps == sorted(set(steps))
    assert steps[-1] == 2 * epochs
    whole = tmp_path / "whole"
    if epochs < 200:  # what was interrupted is what was not
        copyfold("train", photos, *tiny, f"--epochs={epochs}", "--run", whole).done()
        assert (whole / "model" / "model.safetensors").read_bytes() == (
            run / "model" / "model.safetensors"
        ).read_bytes()


def test_a_full_disk_keeps_the_previous_checkpoint(run, copied, start, ended, copyfold):
    limit = (copied / "last.ckpt").stat().st_size // 2

    def full():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    said = ended(start("train", "--run", copied, "--resume", "--epochs=4", preexec_fn=full))
    said.refused(1, f"cannot write {copied / 'last.ckpt'}", "free some space", "--resume")
    assert (copied / "last.ckpt").read_bytes() == (run / "last.ckpt").read_bytes()
    assert not [p for p in copied.rglob(".*") if p.name != ".lock"]
    assert yaml.safe_load((copied / "recipe.yaml").read_text())["epochs"] == 4
    assert cf.load(copied)(torch.rand(2, 3, 16, 16)).isfinite().all()
    copyfold("train", "--run", copied, "--resume").done()
    assert [row["step"] for row in cf.runs.open(copied).history] == [2, 4, 6, 8]
