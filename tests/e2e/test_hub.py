"""Models on the Hub, against a local stand-in: pushed, fetched, and used by every command that takes a run."""

import json
import os
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

import copyfold as cf
from copyfold import publishing, runs
from copyfold.hub import Address
from standin import TOKEN, VERSION, hub

PROGRAM = """
import contextlib, io, json, sys
from copyfold.cli import main
for line in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line)
    print(json.dumps([code, out.getvalue().splitlines(), err.getvalue().splitlines()]))
"""

ADDRESS = "hf://somebody/digits"


@pytest.fixture
def called(tmp_path):
    """Run commands, one after the other, in a process whose Hub is a stand-in: which one is read at import."""

    def called(server, *lines, token=TOKEN, **more):
        outside = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        there = {
            "HF_ENDPOINT": server if isinstance(server, str) else server.address,
            "HF_HOME": str(tmp_path / "hf"),
        }
        environment = outside | there | ({"HF_TOKEN": token} if token else {}) | more
        words = json.dumps([[str(word) for word in line] for line in lines])
        command = [sys.executable, "-c", PROGRAM]
        (tmp_path / "here").mkdir(exist_ok=True)
        done = subprocess.run(
            command,
            input=words,
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path / "here",
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return called


@pytest.fixture
def gathered(run, tmp_path):
    """What is pushed of the run, by path."""
    publishing.gathered(runs.open(run), tmp_path / "gathered")
    files = (path for path in (tmp_path / "gathered").rglob("*") if path.is_file())
    return {str(path.relative_to(tmp_path / "gathered")): path.read_bytes() for path in files}


def test_a_run_is_pushed_and_used_from_there_by_every_command(run, photos, tmp_path, called):
    photo, here = photos / "00.png", tmp_path / "here"
    with hub() as server:
        push = ["push", run, "somebody/digits", "--licence=mit"]
        first, again, over, load = called(
            server, push, push, [*push, "--overwrite", "--no-pictures"], ["denoise", ADDRESS, photo, "--out=out"]
        )
        assert first[0] == 0, first
        assert first[1] == [f"{server.address}/somebody/digits"]
        assert server.private == {"somebody/digits"}
        assert again[0] == 2
        assert "is there already" in again[2][-1]
        assert "--overwrite" in again[2][-1]
        assert over[0] == 0
        assert load[0] == 0, load
        assert any(VERSION[:12] in line for line in load[2])
        with Image.open(here / "out" / photo.name) as restored, Image.open(photo) as given:
            assert restored.size == given.size
        kept = server.models["somebody/digits"]
        assert {"README.md", "config.json", "model.safetensors", "recipe.yaml", "log.csv"} <= set(kept)
        (tmp_path / "model.safetensors").write_bytes(kept["model.safetensors"])
        assert all(
            torch.equal(tensor, cf.load(run).state_dict()[name])
            for name, tensor in load_file(tmp_path / "model.safetensors").items()
        )
        before = len(server.calls)
        server.models["somebody/bare"] = {name: kept[name] for name in ("config.json", "model.safetensors")}
        lines = [
            ["sample", ADDRESS, "--count=2", "--sampler.steps=2"],
            ["probe", ADDRESS, photos, "--probe=CodeStatistics", "--count=4"],
            ["embed", f"{ADDRESS}@{VERSION}", photos, "--out=codes.parquet"],
            ["compare", ADDRESS, run],
            ["export", ADDRESS, "--format=torch", "--part=encoder"],
            ["denoise", "hf://somebody/bare", photo, "--out=bare"],  # a model that was pushed without its run
            ["embed", ADDRESS],
            ["sample", "hf://somebody/bare"],
        ]
        *done, unasked, bare = called(server, *lines)
        assert [code for code, *_ in done] == [0] * len(done), done
        assert {path.name for path in here.iterdir()} >= {"digits", "codes.parquet", "comparison", "encoder.pt2"}
        assert (here / "digits" / "films" / "renoising.png").is_file()
        assert (here / "digits" / "findings" / "codestatistics.json").is_file()
        assert unasked[0] == 2
        assert "names the images 'not published'" in unasked[2][-1]
        assert f"copyfold embed {ADDRESS} DATA" in unasked[2][-1]
        assert bare[0] == 2
        assert "hf://somebody/bare is not a run" in bare[2][-1]
        assert not [call for call in server.calls[before:] if "/somebody/digits/resolve/" in call]  # they are kept


def test_what_cannot_be_fetched_or_pushed_is_said_in_a_line(run, photos, called):
    photo = photos / "00.png"
    with hub() as server:
        server.models["somebody/other"] = {"config.json": b'{"hidden_size": 12}', "model.safetensors": b""}
        server.models["somebody/secret"] = {"config.json": b"{}"}
        server.private.add("somebody/secret")
        cases = {
            ("denoise", "hf://somebody/none", photo): (2, "is not on the Hub, or is private", "hf auth login"),
            ("report", "hf://somebody/secret"): (2, "is private"),
            ("denoise", "hf://somebody/other@v2", photo): (2, "no such revision"),
            ("denoise", "hf://somebody/other", photo): (2, "is not a config of copyfold"),
            ("sample", "hf://somebody/other"): (2, "is not a run"),
            ("denoise", "hf://nobody", photo): (2, "expected hf://owner/name"),
            ("denoise", "hf://somebody/other"): (2, "needs photographs"),
            ("push", run, "somebody/mine"): (1, "401 Unauthorized", "hf auth login"),
            ("push", run, "mine"): (2, "expected hf://owner/name"),
        }
        for (code, words), (found, _, err) in zip(
            ((code, words) for code, *words in cases.values()), called(server, *cases, token=""), strict=True
        ):
            assert found == code, err
            assert err[-1].startswith("copyfold: ")
            assert not [word for word in words if word not in err[-1]], err[-1]
            assert "bug" not in err[-1]
        address = server.address
    gone = [["export", "hf://somebody/digits"], ["push", run, "somebody/digits"]]
    for found, _, err in called(address, *gone):  # nobody answers any more
        assert found == 1, err
        assert "cannot be reached" in err[-1]
    ((found, _, err),) = called(address, gone[0], HF_HUB_OFFLINE="1")
    assert (found, "HF_HUB_OFFLINE is set" in err[-1]) == (1, True), err


def test_a_run_on_the_hub_is_a_recipe(run, gathered, photos, tmp_path, called):
    """Its recipe alone is fetched, once for a command; the images are those that are given."""
    with hub() as server:
        server.models["somebody/digits"] = gathered
        server.models["somebody/bare"] = {name: gathered[name] for name in ("config.json", "model.safetensors")}
        foreign = gathered["recipe.yaml"].replace(b"class_path: UNet", b"class_path: my_models.Tiny")
        server.models["somebody/own"] = {"recipe.yaml": foreign}
        train = ["train", photos, "--no-pictures", "--config"]
        done, unasked, bare, none, own = called(
            server,
            [*train, ADDRESS, "--run=again"],
            ["train", "--config", ADDRESS, "--run=b"],
            [*train, "hf://somebody/bare", "--run=b"],
            [*train, "hf://somebody/none", "--run=b"],
            [*train, "hf://somebody/own", "--run=b"],
        )
        asked = [call for call in server.calls if "/somebody/digits/resolve/" in call]
    assert done[0] == 0, done
    assert {call.rpartition("/")[2] for call in asked} == {"recipe.yaml"}
    assert sum("fetching" in line for line in done[2]) == 1
    here = runs.open(tmp_path / "here" / "again")
    assert here.recipe == runs.open(run).recipe
    assert all(torch.equal(tensor, run_of) for tensor, run_of in _weights(here.folder, run))
    for found, words in (
        (unasked, f"{ADDRESS}/recipe.yaml names the images 'not published'"),
        (unasked, f"copyfold train --config {ADDRESS} --run=b DATA"),
        (bare, "--config hf://somebody/bare is not a run: there is no recipe.yaml in it"),
        (none, "hf://somebody/none is not on the Hub"),
        (own, "--config hf://somebody/own/recipe.yaml: "),
        (own, "--import my_models"),
    ):
        assert found[0] == 2
        assert words in found[2][-1]
    assert not (tmp_path / "here" / "b").exists()


def _weights(*folders):
    """The weights of runs, side by side."""
    return zip(*(cf.load(folder).state_dict().values() for folder in folders), strict=True)


def test_without_the_network_the_version_that_was_fetched_is_used(gathered, photos, called):
    with hub() as server:
        server.models["somebody/digits"] = gathered
        line = ["denoise", ADDRESS, photos / "00.png", "--out=out"]
        assert called(server, line)[0][0] == 0
        asked = {call.rpartition("/")[2] for call in server.calls if "/resolve/" in call}
        assert asked == {"config.json", "model.safetensors", "recipe.yaml", "log.csv", "data.json"}
    assert called(server, line)[0][0] == 0


def test_nothing_is_called_to_write_the_files(run, tmp_path, copyfold):
    """Calls are forbidden here: HF_HUB_OFFLINE is set for all tests."""
    line = ("push", run, "somebody/digits", "--out", tmp_path / "new")
    assert str(tmp_path / "new" / "README.md") in copyfold(*line).done().out
    copyfold(*line).refused(2, "is not an empty folder")
    copyfold(*line[:3]).refused(1, "cannot be reached", "HF_HUB_OFFLINE is set")
    assert cf.load(tmp_path / "new").shape == cf.load(run).shape
    assert runs.open(tmp_path / "new").history == runs.open(run).history


def test_no_path_and_no_name_of_this_machine_is_pushed(run, photos, gathered):
    recipe = yaml.safe_load(gathered["recipe.yaml"])
    assert recipe["data"] == publishing.UNPUBLISHED
    assert recipe | {"data": str(photos)} == runs.open(run).recipe
    texts = [data.decode() for path, data in gathered.items() if not path.endswith((".png", ".safetensors"))]
    assert not [text for text in texts if str(photos) in text or photos.name in text or "01.jpg" in text]
    assert set(gathered) == {
        *("README.md", "config.json", "data.json", "log.csv", "model.safetensors", "recipe.yaml"),
        *(f"findings/{path.name}" for path in (run / "findings").glob("*.png")),
    }


def test_the_card_says_data_numbers_limits_and_licence(run, copied, tmp_path):
    publishing.gathered(runs.open(run), tmp_path, "somebody/scenes", "cc-by-4.0")
    text = (tmp_path / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    meta = yaml.safe_load(head)
    assert meta["license"] == "cc-by-4.0"
    assert meta["library_name"] == "copyfold"
    assert "More Information Needed" not in text
    last = runs.open(run).history[-1]
    assert f"{last['held_out_mse']:.4g}" in body
    assert "36 images of 3x16x16" in body
    assert "4 were held out" in body
    assert 'cf.load("hf://somebody/scenes")' in body
    assert "trained only to copy" in body
    assert all((tmp_path / name.split(")")[0]).is_file() for name in body.split("](")[1:])
    (copied / "report.json").write_text(json.dumps({"sentences": {"copies": "It copies badly.", "none": ""}}))
    publishing.gathered(runs.open(copied), tmp_path / "b", pictures=False)
    bare = (tmp_path / "b" / "README.md").read_text()
    assert "ask its author" in bare
    assert "## What it learned\n\n- It copies badly.\n\n" in bare
    assert "What it learned" not in text
    assert "](findings" not in bare


def test_the_card_names_the_values_and_the_module_that_a_person_needs(copied, tmp_path, copyfold):
    own = copied / "own_models.py"
    own.write_text("import copyfold as cf\n\n\nclass Plain(cf.Linear):\n    pass\n")
    line = ("train", "--import", own, "--model=Plain", "--model.latent_dim=2", "--limit=20", "--epochs=1")
    copyfold(*line, "--run", tmp_path / "r", "--no-pictures").done()
    recipe = yaml.safe_load((tmp_path / "r" / "recipe.yaml").read_text()) | {"range": [-1000.0, 3000.0]}
    (tmp_path / "r" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    copyfold("push", tmp_path / "r", "a/b", "--out", tmp_path / "out", "--import", own).done()
    text = (tmp_path / "out" / "README.md").read_text()
    assert "import own_models  # of its author: it defines Plain\n" in text
    assert "values in [0, 1], which were -1000 to 3000 in its images" in text


@pytest.mark.parametrize(
    ("data", "shown"),
    [(None, None), ("hf://a/b@main", "hf://a/b@main"), ("/home/me/x", "not published"), (["x"], "not published")],
)
def test_of_its_images_only_an_address_is_pushed(data, shown, copied, tmp_path):
    recipe = yaml.safe_load((copied / "recipe.yaml").read_text()) | {"data": data, "masks": deepcopy(data)}
    (copied / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    publishing.gathered(runs.open(copied), tmp_path / "out")
    found = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert (found["data"], found["masks"]) == (shown, shown)
    text = (tmp_path / "out" / "README.md").read_text()
    assert ("datasets:\n- a/b" in text) == (data == "hf://a/b@main")
    assert ("scikit-learn's digits" in text) == (data is None)


@pytest.mark.parametrize("text", ["hf://", "hf://a", "hf://a/b/c", "hf://a/b@", "hf://../b c", "hf://a/b?x"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(cf.UsageError, match="expected hf://owner/name"):
        Address.of(text)


def test_the_card_of_push_to_hub_has_no_gaps(tmp_path):
    cf.Linear.tiny().save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "More Information Needed" not in text
    assert "cf.load" in text
