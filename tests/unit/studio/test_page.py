"""The page: forms from signatures, what is shown of files, and attacks on a studio that runs."""

import base64
import json
import re
import socket
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass

import pytest
import torch
from PIL import Image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    gr = pytest.importorskip("gradio")

import copyfold as cf
from copyfold import catalogue
from copyfold.cli import _imports, _parsing
from copyfold.errors import UsageError
from copyfold.samplers.base import Sampler
from copyfold.studio.answers import in_fields, page, pre, said, shown, wrong
from copyfold.studio.forms import Classes, Field, Form, flowing, parser
from copyfold.studio.python import python, text
from copyfold.studio.thumbnails import thumbnails

pytestmark = pytest.mark.filterwarnings("ignore")

SCRIPT = "<script>alert(1)</script>"


@dataclass(frozen=True)
class Sideways(Sampler):
    """Goes sideways, as no sampler of copyfold does."""

    speed: float = 2.5
    kind: str = "a"

    def __call__(self, model, x, rng):
        yield x


# ---------------------------------------------------------------- forms


@pytest.mark.parametrize("name", ["sampler", "probe", "model", "score", "problem"])
def test_every_class_that_is_known_is_in_the_form(name):
    command = {"sampler": "sample", "probe": "probe", "model": "train", "score": "outliers", "problem": "restore"}[
        name
    ]
    choice = Classes(command, name)
    base = {
        "sampler": cf.Sampler,
        "probe": cf.Probe,
        "model": cf.Autoencoder,
        "score": cf.Score,
        "problem": cf.Problem,
    }
    assert set(choice.known) >= set(catalogue.classes(base[name]))


def test_a_class_of_a_plug_in_is_in_the_form_by_itself(monkeypatch):
    monkeypatch.setattr(_imports, "offered", lambda base: [Sideways] if issubclass(Sideways, base) else [])
    with gr.Blocks():
        form = Form("sample", ("count",), Classes("sample", "sampler"))
        form.build("Sampler")
    assert "Sideways" in form.classes[0].known
    values = [component.value for component in form.inputs]
    values[0] = "Sideways"
    place = 1 + sum(len(fields) for name, fields in form.classes[0].fields.items() if name != "Sideways")
    values[place] = "7"
    assert form.words(values) == ["--sampler=Sideways", "--sampler.speed=7"]


def test_what_is_left_as_it_is_adds_no_word():
    for command, flags, names in (
        ("sample", ("count", "seed"), ("sampler",)),
        ("train", ("flip", "size"), ("model",)),
    ):
        with gr.Blocks():
            form = Form(command, flags, *(Classes(command, name, optional=command == "train") for name in names))
            form.build("one")
        assert form.words([component.value for component in form.inputs]) == []


def test_words_are_read_by_the_command():
    with gr.Blocks():
        form = Form("sample", ("count", "statistics"), Classes("sample", "sampler"))
        form.build("one")
    values = [component.value for component in form.inputs]
    values[0], values[-2], values[-1] = "Walk", "3", "running"
    before = 0
    for name, fields in form.classes[0].fields.items():
        if name == "Walk":
            before += [field.flag for field in fields].index("--sampler.steps")
            break
        before += len(fields)
    steps = 1 + before
    values[steps] = "5"
    options = _parsing.parse(parser("sample"), ["run", *form.words(values)])
    assert (options.sampler.steps, options.count, options.statistics) == (5, 3, "running")


@pytest.mark.parametrize("value", ["3 --import=x", "--import=x", "3\n--overwrite", "'; rm -rf /", "$(id)"])
def test_a_value_is_one_word_and_no_flag(value):
    field = Field("--count", int, 16, "")
    (word,) = field.words(value)
    assert word.startswith("--count=")
    with pytest.raises(UsageError):
        _parsing.parse(parser("sample"), ["run", word])


def test_what_a_class_says_of_itself_is_wrapped_by_the_page_and_its_equations_stay():
    class Said:
        """First line.

            y = x
            z = y

        One sentence that
        goes on.

        - one
          of a list
        - another
        """

    equation, sentence, parts = (
        "    y = x\n    z = y",
        "One sentence that goes on.",
        "- one\n  of a list\n- another",
    )
    assert flowing(Said) == "\n\n".join(("First line.", equation, sentence, parts))


def test_a_value_has_a_length():
    with pytest.raises(UsageError, match="too long"):
        Field("--count", int, 16, "").words("1" * 400)


def test_switches():
    field = Field("--flip", bool, False, "", True)
    assert [field.words(value) for value in (False, True)] == [[], ["--flip"]]
    assert Field("--a.b", bool, True, "").words(False) == ["--a.b=false"]


# ---------------------------------------------------------------- errors in the words of the fields


@pytest.fixture(scope="module")
def labels():
    with gr.Blocks():
        form = Form("train", ("minutes", "size", "flip"), Classes("train", "model", optional=True))
        form.build("Architecture")
    return {**form.labels, "--run": "Name of the run"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--minutes=abc"], '"minutes" abc is invalid: expected a number'),
        (["--model=UNet", "--model.width=abc"], '"width" abc is invalid: expected'),
        (["--model=Unett"], '"Architecture" Unett is not known'),
    ],
)
def test_what_the_command_says_of_its_flags_is_said_of_the_fields(labels, words, said):
    with pytest.raises(UsageError) as error:
        _parsing.parse(parser("train"), words)
    assert in_fields(str(error.value), labels).startswith(said)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "r is not empty: give another --run, or a smaller --size",
            'another "Name of the run", or a smaller "size"',
        ),
        ("--flip and --no-flip", '"flip" and "flip" off'),
        ("give --size 32.", 'give "size" 32.'),
        ("see copyfold train --size --help: or", "see copyfold train --size --help: or"),
        ("my--size.png a-b --- -- 5", "my--size.png a-b --- -- 5"),
        (
            "(--fit pad keeps all)",
            "(--fit pad keeps all)\nThere is no field for --fit here: give it in a terminal",
        ),
        (
            "give --import mine",
            "give --import mine\nHere: end copyfold studio, and start it again with that --import.",
        ),
    ],
)
def test_a_flag_without_a_field_is_said_to_be_of_a_terminal(labels, text, told):
    assert told in in_fields(text, labels)
    assert in_fields(text, labels).count("\n") == told.count("\n")


def test_every_flag_that_a_form_gives_has_a_label():
    with gr.Blocks():
        form = Form("outliers", ("rate", "show"), Classes("outliers", "score"))
        form.build("Score")
    values = ["0.05" if component.label == "rate" else component.value for component in form.inputs]
    assert [form.labels[word.partition("=")[0]] for word in form.words(values)] == ["rate"]
    assert form.labels["--score"] == "Score"


def test_an_error_in_a_box_is_text(labels):
    assert "<script" not in wrong(f"{SCRIPT} --size", labels)
    assert "&quot;size&quot;" in wrong("give --size", labels)


# ---------------------------------------------------------------- what is shown


def test_names_of_files_and_classes_are_text(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / f"{SCRIPT.replace('/', '')}.png")
    (tmp_path / "<img src=x onerror=alert(1)>").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "<img src=x onerror=alert(1)>" / "a.png")
    made = thumbnails(tmp_path)
    assert "<script" not in made
    assert "&lt;script" in made
    assert made.count("<figure") == 2
    for told in (said(SCRIPT), pre([SCRIPT])):
        assert "<script" not in told


def test_a_page_runs_nothing(tmp_path):
    (tmp_path / "a.html").write_text(f"<p>{SCRIPT}</p>")
    made = page(tmp_path / "a.html")
    assert 'sandbox=""' in made
    assert "<script" not in made


def test_dropped_files_have_their_names_alone(tmp_path):
    assert shown(["denoise", f"{tmp_path}/my photo.png"], tmp_path) == "copyfold denoise 'my photo.png'"


def test_thumbnails_of_the_digits_and_of_bombs(tmp_path):
    assert thumbnails(None, 4).count("<img") == 4
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    assert thumbnails(tmp_path).count("<img") == 1


# ---------------------------------------------------------------- the Python that does the same


def test_objects_as_python():
    objective = cf.Classical(corruption=cf.Gaussian(0.2), penalties=(cf.L1(2.0),))
    made = text(objective)
    assert eval(made, {"cf": cf}) == objective
    assert text(cf.Renoising()) == "cf.Renoising()"


@pytest.mark.parametrize(
    "words",
    [
        ["data"], ["data", "a b"], ["train", "--run=r", "--minutes=2"], ["train", "--run=r", "--config=vae"],
        ["train", "photos", "--run=r", "--config=denoiser", "--model.width=8"],
        ["denoise", "a.png", "--strength=0.5"], ["denoise", "a.png", "--strength=sure", "--ensemble"],
        ["restore", "a.png", "--problem=Inpaint", "--mask=m.png", "--out=b.png"],
        ["restore", "a.png", "--problem=Deblur", "--problem.std=2"], ["duplicates", "photos"],
    ],
)  # fmt: skip
def test_python_can_be_read(words):
    made = python(words)
    compile(made, "made", "exec")
    assert made.startswith("import copyfold as cf")


@pytest.fixture
def run(tmp_path):
    photos = cf.Photos(None, 8, limit=60)
    return cf.fit(cf.UNet(photos.shape, width=2, depth=1), cf.Classical(), photos, run=tmp_path / "run", steps=2)


def test_python_makes_the_same_picture(run, tmp_path, monkeypatch):
    from copyfold.cli import main

    monkeypatch.chdir(tmp_path)
    for sampler in ("Renoising", "Walk", "FittedGaussian"):
        words = ["sample", "run", f"--sampler={sampler}", "--count=3", "--seed=4", "--out=made.png"]
        assert main(words) == 0
        first = (tmp_path / "made.png").read_bytes()
        (tmp_path / "made.png").unlink()
        exec(python(words), {})
        assert (tmp_path / "made.png").read_bytes() == first


@pytest.mark.parametrize(
    "words", [["probe", "run"], ["similar", "run", "--count=2"], ["outliers", "run", "--rate=0.9"]]
)
def test_python_of_a_run_runs(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    exec(python(words), {})


def test_a_report_of_an_earlier_step_says_so(run, tmp_path):
    from copyfold.report.diagnosis import trained
    from copyfold.studio.tabs.look import _older

    report = run.folder / "report.json"
    assert _older(run.folder) == ""
    report.write_text(json.dumps({"facts": {"training": trained(run)}}))
    assert _older(run.folder) == ""
    report.write_text(json.dumps({"facts": {"training": "Trained 1 epoch, 1 steps."}}))
    assert _older(run.folder).startswith("This report was made at an earlier step")
    report.write_text("[")
    assert _older(run.folder) == ""


def test_few_images_are_the_only_error_that_others_help_against(run):
    from copyfold.studio.tabs.look import FEW, _hint

    with pytest.raises(UsageError) as error:
        cf.diagnose(run.model, cf.Photos(None, 8, limit=3))
    assert _hint(str(error.value)) == FEW
    assert _hint("Tiny is not known here: it came from mine; import that first, or give --import mine") == ""


def test_what_is_said_of_a_training_goes_when_it_is_in_another_state(tmp_path):
    from types import SimpleNamespace

    from copyfold.studio.tabs.train import _stage
    from copyfold.studio.trainings import Job

    state = {1: "done", 2: "waiting"}
    jobs = [Job(1, "runs/1", ()), Job(2, "runs/1", ())]
    trainings = SimpleNamespace(jobs=lambda: jobs, state=lambda job: state[job.number])
    studio = SimpleNamespace(trainings=trainings)
    assert [_stage(studio, run) for run in ("runs/1", "runs/2")] == ["waiting", ""]
    state[2] = "failed"
    assert _stage(studio, "runs/1") == "failed"


# ---------------------------------------------------------------- a studio that runs


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The address of a studio and its root."""
    from copyfold.studio import served

    root = tmp_path_factory.mktemp("root")
    (root.parent / "secret.txt").write_text("secret")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        with served(root, port) as address:
            yield address, root
    torch.set_num_threads(threads)


def asked(studio, path, headers=None, data=None):
    """The status and text of an answer."""
    request = urllib.request.Request(studio[0].rstrip("/") + path, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode("utf-8", "replace")


def test_it_answers_on_this_machine_alone(studio):
    status, text = asked(studio, "/")
    assert status == 200
    assert "copyfold studio" in text
    port = int(studio[0].rstrip("/").rpartition(":")[2])
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"} - {a for a in addresses if a.startswith("127.")}:
        with socket.socket() as other:
            other.settimeout(2)
            assert other.connect_ex((address, port)) != 0


def test_it_refuses_other_pages(studio):
    assert asked(studio, "/", {"Host": "evil.example"})[0] == 403
    assert asked(studio, "/gradio_api/queue/join", {"Origin": "http://evil.example"}, b"{}")[0] == 403


@pytest.mark.parametrize("path", ["{root}/../secret.txt", "/etc/passwd", "{root}/.studio/.lock", "../secret.txt"])
def test_it_gives_no_file_that_it_did_not_make(studio, path):
    place = path.format(root=studio[1])
    status, text = asked(studio, f"/gradio_api/file={place}")
    assert status in (403, 404)
    assert "root:" not in text
    assert text != "secret"


def events(studio, kind="click"):
    """The numbers and outputs of the page's events."""
    config = json.loads(asked(studio, "/config")[1])
    return [d for d in config["dependencies"] if any(target[1] == kind for target in d["targets"])], config


def called(studio, number, data, session="abc"):
    """What an event answers, as the page asks for it."""
    body = json.dumps({"data": data, "fn_index": number, "session_hash": session}).encode()
    status, text = asked(studio, "/gradio_api/queue/join", {"Content-Type": "application/json"}, body)
    assert status == 200, text
    request = urllib.request.Request(f"{studio[0]}gradio_api/queue/data?session_hash={session}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        for line in answer:
            found = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if found.get("msg") == "process_completed":
                return found
    return None


def below(studio):
    """The event of the button Use this folder."""
    found, config = events(studio)
    names = {component["id"]: component["props"].get("value") for component in config["components"]}
    return next(d for d in found if names[d["targets"][0][0]] == "Use this folder")


def test_paths_out_of_the_root_are_refused_in_words(studio):
    (studio[1] / "out").symlink_to(studio[1].parent)
    for path in ("../", "/etc", "out", "http://169.254.169.254/latest", "hf://owner/name"):
        told = json.dumps(called(studio, below(studio)["id"], [path]))
        assert "said wrong" in told, path
        assert "secret" not in told


def test_a_folder_below_the_root_is_shown(studio):
    (studio[1] / "photos").mkdir(exist_ok=True)
    Image.new("RGB", (30, 20), (200, 30, 30)).save(studio[1] / "photos" / "a.png")
    told = json.dumps(called(studio, below(studio)["id"], ["photos"]))
    assert "Chosen: photos" in told
    picture = re.search(r"base64,([A-Za-z0-9+/=]+)", told)
    assert picture
    assert base64.b64decode(picture[1]).startswith(b"\xff\xd8")


def test_a_file_that_was_not_uploaded_is_not_taken(studio):
    found, _ = events(studio, "upload")
    for path in ("/etc/passwd", str(studio[1].parent / "secret.txt")):
        data = [[{"path": path, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}]]
        answer = called(studio, found[0]["id"], data)
        assert answer is not None
        assert answer["success"] is False


def test_it_names_no_event_for_other_programs(studio):
    _, config = events(studio)
    assert {d["api_visibility"] for d in config["dependencies"]} == {"private"}


def test_it_names_no_other_machine_as_a_font_or_a_script(studio):
    text = asked(studio, "/")[1]
    assert not re.search(r"<(script|link)[^>]+(src|href)=.?https?://(?!127)", text)
