"""What a notebook shows of what copyfold gives: pieces of HTML with their pictures in them, and short lines."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image

import copyfold as cf
from copyfold.data import Photos, Stream, scenes
from copyfold.pictures import embedded, table

PICTURE = re.compile(r'src="data:image/(png|gif);base64,([^"]+)"')


def pictures(thing) -> list[Image.Image]:
    """The pictures in what a notebook shows."""
    found = PICTURE.findall(thing if isinstance(thing, str) else thing._repr_html_())
    return [Image.open(io.BytesIO(b64decode(data))) for _, data in found]


def photos(count: int = 40) -> Photos:
    return Photos(scenes(count, size=16, channels=1, seed=3), 16)


def test_a_picture_comes_back_as_it_was():
    picture = cf.grid(torch.rand(3, 1, 8, 8), scale=1)
    (found,) = pictures(embedded(picture))
    assert (np.asarray(found) == picture).all()


def test_photos_show_some_of_them():
    seen = photos()
    assert repr(seen).endswith(": 36 images of 1x16x16, 4 held out)")
    (found,) = pictures(seen)
    assert found.size == (8 * 96 + 7 * 2, 2 * 96 + 2)
    assert "36 images of 1x16x16" in seen._repr_html_()


def test_a_stream_shows_those_held_out_and_reads_none(tmp_path, monkeypatch):
    for i, image in enumerate(scenes(40, 16)):
        Image.fromarray(image).save(tmp_path / f"{i:02}.png")
    stream = Stream(tmp_path, 16, held_out=4)
    assert repr(stream) == f"Stream({tmp_path}: 36 images of 3x16x16, 4 held out)"
    monkeypatch.setattr(Stream, "encoded", None)
    monkeypatch.setattr(Stream, "_read", None)
    (found,) = pictures(stream)
    assert found.size == (4 * 96 + 3 * 2, 96)


def test_a_run_shows_its_losses(tmp_path):
    assert pictures(cf.Run(tmp_path)) == []
    run = cf.fit(cf.MLP((1, 16, 16), hidden=(8,)), None, photos(), tmp_path / "a", epochs=2, batch=8)
    assert len(pictures(run)) == 1
    assert "<th>held_out_mse</th>" in run._repr_html_()
    assert repr(run) == f"Run({str(tmp_path / 'a')!r})"


def test_a_reading_says_its_numbers_and_shows_up_to_eight_images():
    numbers = {"far": torch.tensor([1.0, 2.0]), "nearest": torch.arange(9), "all": torch.tensor(0.25)}
    reading = cf.Reading(numbers, {"clean": torch.rand(9, 3, 8, 8)})
    assert repr(reading) == "Reading(far 2, nearest 9, all 0.25, clean 9x3x8x8)"
    shown = reading._repr_html_()
    assert "<td>1.5 (mean of 2)</td>" in shown
    assert "<td>0, 1, 2, 3, 4, 5, 6, 7, ...</td>" in shown
    assert "<td>0.25</td>" in shown
    assert [found.size for found in pictures(reading)] == [(8 * 96 + 7 * 2, 96)]


def test_a_report_is_a_page_in_a_frame():
    report = cf.Report({"a": 1.0}, {"q": "s"}, '<html lang="en">&amp;</html>', {"model": "UNet"}, {})
    assert repr(report) == "Report(UNet: 1 numbers, 1 sentences)"
    assert 'srcdoc="&lt;html lang=&quot;en&quot;&gt;&amp;amp;&lt;/html&gt;"' in report._repr_html_()


def test_a_model_says_what_it_is_and_print_shows_its_layers():
    model = cf.MLP((1, 16, 16), hidden=(8,), latent_dim=4)
    shown = model._repr_html_()
    assert f"MLP of (1, 16, 16): {model.summary()}" in shown
    assert "Linear(in_features=256, out_features=8" in shown
    assert "(encoder)" in shown
    assert (
        repr(model) == f"MLP((1, 16, 16), hidden=(8,), latent_dim=4, {2 * (256 * 8 + 8 * 4) + 276:,} parameters)"
    )
    assert repr(cf.UNet((3, 16, 16), width=4, depth=2)).startswith("UNet((3, 16, 16), width=4, depth=2, ")


def test_a_model_with_a_model_or_a_layer_in_it_is_printed_in_a_line():
    inside = cf.Conv((1, 16, 16), channels=[4])
    assert repr(cf.Variational(inside, 3)).startswith(f"Variational((1, 16, 16), core={inside!r}, latent_dim=3, ")
    adopted = cf.adopt(torch.nn.Conv2d(1, 1, 1), (1, 2, 2), encode="forward", decode="forward")
    assert repr(adopted).startswith("Conv2d((1, 2, 2), ")  # what a person calls it, and not the class around it
    assert "2 parameters)" in repr(adopted)
    assert "\n" not in repr(adopted)


def test_a_film_without_a_path_is_one_to_look_at():
    clip = cf.film(iter([torch.full((2, 1, 8, 8), value) for value in (0.0, 0.5, 1.0)]), columns=2, scale=1)
    (found,) = pictures(clip)
    assert (found.n_frames, found.size) == (3, (18, 8))
    assert repr(clip).startswith("Clip(3 frames, ")
    with pytest.raises(cf.UsageError, match=r"no frames"):
        cf.film([])


def test_what_a_name_holds_is_no_html():
    assert table({"<b>": "&"}) == "<table><tr><th>&lt;b&gt;</th><td>&amp;</td></tr></table>"
