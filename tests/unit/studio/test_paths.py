"""Paths that a visitor gives lead nowhere but below the root."""

import os

import pytest

from copyfold.errors import UsageError
from copyfold.studio.paths import Root


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "photos").mkdir(parents=True)
    (tmp_path / "root" / "photos" / "a.png").write_bytes(b"")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.png").write_bytes(b"")
    (tmp_path / "root-too").mkdir()
    return Root(tmp_path / "root")


@pytest.mark.parametrize("given", ["photos", "./photos", "photos/../photos", " photos "])
def test_a_folder_below_the_root(root, given):
    assert root.images(given) == root.folder / "photos"
    assert root.name(root.images(given)) == "photos"


@pytest.mark.parametrize(
    "given",
    [
        "../secret", "photos/../../secret", "/etc", "/etc/passwd", "../root-too", "~", "photos\0/../../secret",
        "http://example.org/a.png", "hf://owner/name", "file:///etc/passwd", ".hidden", "x" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_refused(root, given):
    (root.folder / ".hidden").mkdir(exist_ok=True)
    with pytest.raises(UsageError):
        root.images(given)


def test_a_link_out_of_the_root_is_not_followed(root):
    (root.folder / "out").symlink_to(root.folder.parent / "secret")
    with pytest.raises(UsageError, match="not below the root"):
        root.images("out")
    (root.folder / "photos" / "deep").symlink_to(root.folder.parent / "secret" / "key.png")
    with pytest.raises(UsageError, match="a link that leads out of the root"):
        root.images("photos")


def test_a_link_to_a_folder_with_a_link_out_is_not_followed(root):
    (root.folder / "others").mkdir()
    (root.folder / "others" / "out.png").symlink_to("/etc/passwd")
    (root.folder / "photos" / "more").symlink_to(root.folder / "others")
    with pytest.raises(UsageError, match="a link that leads out of the root"):
        root.images("photos")


def test_links_within_the_root_and_in_circles(root):
    (root.folder / "photos" / "again").symlink_to(root.folder / "photos")
    assert root.images("photos")


def test_runs_are_found_the_newest_first_and_over_no_link(root, tmp_path):
    for number, place in enumerate([root.folder / "old", root.folder / "runs" / "new", tmp_path / "secret"]):
        place.mkdir(parents=True, exist_ok=True)
        (place / "recipe.yaml").write_text("{}")
        os.utime(place / "recipe.yaml", (number, number))
    (root.folder / "linked").symlink_to(tmp_path / "secret")
    assert root.runs() == ["runs/new", "old"]
    with pytest.raises(UsageError):
        root.run("linked")
    with pytest.raises(UsageError, match="no run is chosen"):
        root.run(None)


def test_a_run_with_a_link_out_of_the_root_is_refused(root):
    (root.folder / "run").mkdir()
    (root.folder / "run" / "recipe.yaml").write_text("{}")
    assert root.run("run") == root.folder / "run"
    (root.folder / "run" / "report.html").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="a link that leads out of the root"):
        root.run("run")
    with pytest.raises(UsageError, match="is not a run yet"):
        root.run("none")


def test_a_new_run_takes_no_place_that_is_taken(root):
    assert root.new("runs/1") == root.folder / "runs" / "1"
    for given in ("photos", "", ".", "../x", "photos/a.png"):
        with pytest.raises(UsageError):
            root.new(given)
