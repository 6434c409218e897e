"""Runs are compared on the command line, and a linear autoencoder is solved there."""

import csv


def test_a_solved_linear_autoencoder_stands_beside_a_trained_network(run, photos, tmp_path, copyfold):
    solved = tmp_path / "solved"
    said = copyfold("train", photos, "--size=16", "--model=Linear", "--model.latent_dim=3", "--solve",
                    "--run", solved).done()  # fmt: skip
    assert said.out[0] == str(solved)
    assert any("3 principal components with" in line for line in said.err)
    said = copyfold("train", "--resume", "--run", solved).done()
    assert any("is finished already: it was solved" in line for line in said.err)
    copyfold("train", "--resume", "--run", solved, "--epochs=3").refused(2, "epochs")
    copyfold("probe", solved, "--probe=Nearest", "--count=2").done()

    said = copyfold("compare", run, solved, "--out", tmp_path / "out").done()
    assert said.out[0].split()[:2] == ["run", "left,"]
    assert said.out[-2:] == [str(tmp_path / "out" / name) for name in ("comparison.html", "comparison.csv")]
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == ["first", "solved"]
    assert all(float(row["left"]) > 0 for row in rows)
    for row, line in zip(rows, said.out[1:], strict=False):
        assert line.startswith(row["run"])
        assert f"{float(row['left']):.3g}" in line


def test_what_cannot_be_compared_is_refused(run, tmp_path, copyfold):
    copyfold("compare").refused(2, "RUNS")
    copyfold("compare", run).refused(2, "at least 2 runs")
    copyfold("compare", run, run).refused(2, "given twice")
    copyfold("compare", tmp_path, tmp_path / "no").refused(2, "is not a run")
    said = copyfold("compare", run, tmp_path, "--out", tmp_path / "out").done()
    assert f"Left out: {tmp_path} is not a run: there is no recipe.yaml in it." in said.out
    copyfold("compare", run, tmp_path, "--left").refused(2, "--left")
