"""The studio as a person uses it, in Debian's chromium: from dropping 30 photos to what can be made of them."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from copyfold import runs
from copyfold.data import scenes

pytest.importorskip("gradio", reason="gradio is not here: pip install copyfold[studio]")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not here: pip install playwright")

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here"),
    pytest.mark.filterwarnings("ignore"),
]
PICTURES = os.environ.get("COPYFOLD_PICTURES")
"""A folder for screenshots, to be looked at."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with forty photos, which are normal."""
    folder = tmp_path / "root" / "normal"
    folder.mkdir(parents=True)
    for k, pixels in enumerate(scenes(40, 48, seed=1)):
        Image.fromarray(pixels).save(folder / f"{k:02d}.png")
    return folder.parent


@pytest.fixture
def dropped(tmp_path: Path) -> list[Path]:
    """Thirty photos, of which one is full of noise and one has a name that is markup."""
    folder = tmp_path / "dropped"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k, pixels in enumerate(scenes(30, 48, seed=2)):
        if k == 3:
            pixels = np.clip(pixels + rng.normal(0, 40, pixels.shape), 0, 255).astype(np.uint8)
        name = "<img src=x onerror=alert(1)>" if k == 7 else f"photo-{k:02d}"
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def opened(root: Path) -> Any:
    """A function that starts the studio as a command; gives the process and its address."""
    started: list[subprocess.Popen[str]] = []

    def opened() -> tuple["subprocess.Popen[str]", str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        line = [sys.executable, "-m", "copyfold", "studio", "--root", str(root), "--port", str(port)]
        started.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
        said = started[-1].stdout.readline()  # pyright: ignore[reportOptionalMemberAccess]
        assert f"http://127.0.0.1:{port}/" in said
        return started[-1], f"http://127.0.0.1:{port}/"

    yield opened
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


class Page:
    """The page in the browser, with the names that a person sees."""

    def __init__(self, browser: Any, address: str, scheme: str = "light") -> None:
        self.outside: list[str] = []
        self.wrong: list[str] = []
        self.scheme = scheme
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
        self.page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("request", lambda request: self._asked(request.url, address))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: self.wrong.append(f"a script ran: {dialog.message}"))
        self.page.goto(address)
        self.page.get_by_role("heading", name="copyfold studio").wait_for()

    def _asked(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:", "blob:")):
            self.outside.append(url)

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).locator("visible=true").click()

    def fill(self, label: str, value: str) -> None:
        self.page.get_by_label(label).locator("visible=true").first.fill(value)

    def done(self, seconds: float = 240) -> str:
        """Wait until an action has ended well; gives what it said."""
        told = self.page.locator(".said.working").locator("visible=true")
        told.first.wait_for()
        self.page.wait_for_function(
            "() => ![...document.querySelectorAll('.said.working')].some(e => e.offsetParent)",
            timeout=seconds * 1000,
        )
        wrong = self.page.locator(".said.wrong").locator("visible=true").all_inner_texts()
        assert wrong == []
        return " ".join(self.page.locator(".said").locator("visible=true").all_inner_texts())

    def by_hand(self) -> str:
        """The command and the Python that do the same."""
        label = self.page.get_by_text("The same by hand").locator("visible=true")
        label.click()
        self.page.wait_for_timeout(500)
        found = " ".join(self.page.locator(".by-hand .cm-content").locator("visible=true").all_inner_texts())
        label.click()
        return found

    def shot(self, name: str) -> None:
        if PICTURES:
            self.page.wait_for_timeout(800)
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(PICTURES) / f"{name}-{self.scheme}.png")


@pytest.fixture
def visit() -> Any:
    """A function that opens a page in the browser."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield lambda address, scheme="light": Page(browser, address, scheme)
        browser.close()


def wait(found: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until
        time.sleep(0.2)


def train(page: Page, minutes: str = "0.2") -> None:
    page.tab("Train")
    page.fill("minutes", minutes)
    page.fill("size", "32")
    page.press("Start")
    page.page.locator("td.running").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_from_thirty_photos_to_what_they_give(  # noqa: PLR0915 - it is one walk through the page
    opened, visit, root, dropped, scheme
):
    """Dropped, described, trained on, denoised, a film, a report and a page of outliers; and nothing leaves."""
    process, address = opened()
    page = visit(address, scheme)
    page.page.locator("input[type=file]").first.set_input_files(list(map(str, dropped)))
    page.page.locator(".thumbs figure").first.wait_for()
    page.press("What is in it? (copyfold data)")
    page.done()
    assert "30 images" in page.page.locator("pre.output").locator("visible=true").first.inner_text()
    assert "copyfold data photos" in page.by_hand()
    page.shot("photos")

    train(page)
    page.page.locator("figure.wide img").locator("visible=true").first.wait_for(timeout=60_000)
    page.page.get_by_text("runs/1 is trained").wait_for(timeout=120_000)
    page.page.get_by_text("runs/1 is in the queue").wait_for(state="hidden")
    assert "cf.fit(" in page.by_hand()
    page.shot("train")
    assert len(runs.open(root / "runs" / "1").history) > 1

    page.tab("Repair")
    page.page.get_by_label("Or one of the photos chosen in Photos").click()
    page.page.get_by_role("option", name="photo-03.png").click()
    page.page.get_by_text("Chosen: photo-03.png").wait_for()
    page.page.get_by_label("the chosen run").locator("visible=true").check()
    page.press("Denoise")
    assert re.search(r"noise of std [\d.]+ of 255", page.done())
    page.page.get_by_text("Before and after").locator("visible=true").first.wait_for()
    assert "restore_file(" in page.by_hand()
    page.shot("repair")

    page.tab("Make")
    page.press("Make")
    page.done()
    film = page.page.locator("video").locator("visible=true").first
    film.wait_for()
    page.page.wait_for_function("() => [...document.querySelectorAll('video')].some(v => v.videoWidth > 0)")
    assert "cf.film(" in page.by_hand()
    page.shot("make")

    page.tab("Look")
    page.page.get_by_label("the photos chosen in Photos").locator("visible=true").check()
    page.press("Write the report")
    page.done(400)
    frame = page.page.frame_locator("iframe.page >> visible=true")
    frame.get_by_role("heading", name="What UNet learned").wait_for()
    page.shot("look")

    page.tab("Find")
    page.fill("Compared with", "normal")
    page.fill("rate", "0.2")
    page.press("Find outliers")
    page.done()
    frame = page.page.frame_locator("iframe.page >> visible=true")
    frame.get_by_role("heading", name="Outliers of photos").wait_for()
    assert frame.locator(".row img").count() > 2
    page.page.locator("iframe.page").locator("visible=true").scroll_into_view_if_needed()
    page.shot("find")

    assert page.outside == []
    assert page.wrong == []
    page.page.context.close()
    temporary = Path(tempfile.gettempdir())
    wait(lambda: not list(temporary.glob(f"copyfold-studio-{process.pid}-*/*/photos")))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not list(temporary.glob(f"copyfold-studio-{process.pid}-*"))


def test_two_photos_and_the_directions_of_the_code(opened, visit, dropped):
    _, address = opened()
    page = visit(address)
    page.press("Use the embedded digits")
    page.page.get_by_text("Chosen: the digits").wait_for()
    page.tab("Train")
    page.page.get_by_label("Recipe").click()
    page.page.get_by_role("option", name="vae", exact=True).click()
    page.fill("minutes", "0.1")
    page.press("Start")
    page.page.get_by_text("runs/1 is trained").wait_for(timeout=120_000)
    page.tab("Make")
    page.page.get_by_role("tab", name="Between two photos").click()
    page.press("Show the run's photos")
    photos = page.page.locator("button.thumbnail-item").locator("visible=true")
    photos.first.wait_for()
    photos.nth(0).click()
    page.page.get_by_text("click the second").wait_for()
    photos.nth(1).click()
    page.page.get_by_text("t = 0.50").wait_for()
    page.shot("between")
    page.press("Make the film")
    page.done()
    page.page.locator("video").locator("visible=true").first.wait_for()
    page.page.get_by_role("tab", name="Directions of the code").click()
    page.page.get_by_label("number input for Direction 1").fill("2")
    page.page.keyboard.press("Enter")
    page.page.get_by_text("decoded").locator("visible=true").first.wait_for()
    page.shot("directions")
    assert page.wrong == []


def test_paint_and_fill_in(opened, visit, dropped):
    pytest.importorskip("copyfold_weights", reason="copyfold-weights is not here: pip install ./weights")
    _, address = opened()
    page = visit(address)
    page.tab("Repair")
    page.page.locator("input[type=file]").locator("nth=1").set_input_files(str(dropped[5]))
    page.page.get_by_text("Chosen: photo").wait_for()
    page.page.get_by_role("tab", name="Paint and fill in").click()
    page.press("Fill in")
    page.page.get_by_text("nothing is painted").wait_for()
    canvas = page.page.locator("canvas").locator("visible=true").first
    page.page.wait_for_timeout(2000)
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.page.mouse.move(middle[0] - 30, middle[1])
    page.page.mouse.down()
    page.page.mouse.move(middle[0] + 30, middle[1], steps=6)
    page.page.mouse.up()
    page.page.wait_for_timeout(1000)
    page.press("Fill in")
    assert re.search(r"% of the pixels are missing", page.done())
    page.page.get_by_text("Before and after").locator("visible=true").first.wait_for()
    page.shot("paint")


def test_a_killed_studio_loses_nothing(opened, visit, root):
    """The training goes on without a page and without a studio, and another studio finds it."""
    process, address = opened()
    page = visit(address)
    page.fill("Or a folder, .zip or array below the root", "normal")
    page.press("Use this folder")
    page.page.get_by_text("Chosen: normal").wait_for()
    train(page, "9")
    page.page.context.close()

    def history() -> int:
        return len(runs.Run(root / "runs" / "1").history)

    wait(history)
    process.kill()
    process.wait()
    before = history()
    wait(lambda: history() > before)

    _, address = opened()
    page = visit(address)
    page.tab("Train")
    page.page.get_by_text("runs/1 is being trained").wait_for()
    page.press("Stop and save")
    page.page.locator("td", has_text="stopped").wait_for(timeout=60_000)
    assert runs.open(root / "runs" / "1").checkpoint.is_file()
    before = history()
    page.press("Resume the chosen run")
    page.page.locator("td.running").wait_for(timeout=60_000)
    wait(lambda: history() > before)
    page.press("Stop and save")
    page.page.locator("td.running").wait_for(state="detached", timeout=60_000)
