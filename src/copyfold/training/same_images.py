"""Whether images are those that a run was trained on, and whether those held out are among them.

The first is what data.json says of them, compared before a resume; the second is warned of before the first step.
"""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, cast

import numpy as np

from copyfold import runs
from copyfold.data import Photos, Sample, Stream
from copyfold.data.sampling import EVALUATED, as_images, stratified
from copyfold.errors import UsageError, option
from copyfold.measures import mean_image, mse

log = logging.getLogger("copyfold")

AVERAGED, VALUES = 1024, 2**26  # images of which the mean is taken, and pixel values of all of them
COMPARED = 256  # training images, and as many held out, of which each has a digest
DIGITS = 8  # of such a digest
FEW = 0.1  # share of these that may have changed: files that were edited or mended, not another set of images
NAMED = 3
HASHED = 2**29  # bytes of pixels that copies are looked for in, which takes some tenths of a second
APART = ("data", "flip", "turn", "buffer", "whole")
"""Arguments of photos that do not change which images there are."""


@dataclass(frozen=True)
class Measured:
    """What is known of the images themselves: `data` is written to data.json."""

    data: dict[str, Any]
    """"digest" identifies all images (of a stream those held out), wherever their files are; "image_digests" has
    one each of up to 256 training and held-out images. "mean_error" is the squared error per pixel of the mean
    training image (of up to 1,024) on the held-out images that every row of the log is over, and
    "held_out_digest" identifies their pixels; "selection" is the same for other sizes of the same images."""
    names: dict[str, tuple[str, ...]]
    """The names of the images that have a digest each."""


def measured(photos: Photos | Stream) -> Measured:
    """Look at the images, once: those of a stream are read for it."""
    most = max(1, min(AVERAGED, VALUES // math.prod(photos.shape)))
    training = photos.sample("train", most)
    compared = {"train": training.some(COMPARED), "held_out": photos.sample("held_out", min(COMPARED, most))}
    options = {name: value for name, value in photos.recipe().items() if name not in APART}
    data = {
        "shape": list(photos.shape),
        "train": len(photos),
        "held_out": len(photos.held_out),
        "classes": photos.classes,
        "options": json.loads(json.dumps(options, default=str)),
        "fingerprint": photos.fingerprint,
        "selection": photos.selection,
        "digest": photos.digest,
        "image_digests": {which: _each(sample) for which, sample in compared.items()},
        "mean_error": None,
        "held_out_digest": None,
    }
    seen = photos.held_out[stratified(len(photos.held_out), EVALUATED)]
    if len(seen):
        x = as_images(seen)
        digest = hashlib.blake2b(repr(seen.shape).encode() + seen.tobytes(), digest_size=16)
        data["mean_error"] = mse(mean_image(training.images).expand_as(x), x).mean().item()
        data["held_out_digest"] = digest.hexdigest()
    return Measured(data, {which: sample.names for which, sample in compared.items()})


def compare(run: runs.Run, images: Measured) -> None:
    """Refuse to go on with other images than a run was trained on, before anything of it is overwritten.

    UsageError where there are more or fewer of them, of another shape or otherwise divided, or where more than a
    tenth have changed; where fewer have, a warning says which. Where their files are does not matter.
    """
    before, now = run.data, images.data
    if not before:
        log.warning("%s has no data.json, so nothing says whether it was trained on these images", run.folder)
        return
    kept = ("digest", "image_digests") if "digest" in before else ("held_out_digest",)
    if all(before.get(name) == now[name] for name in ("shape", "train", "held_out", *kept)):
        return
    said = _sizes(before, now)
    if not said:
        share, sentence = _changed(before.get("image_digests"), images)
        if share <= FEW:
            log.warning(
                "%s: %s since it was trained: training goes on with them as they are", run.folder, sentence
            )
            return
        said = [sentence]
    said += _options(before.get("options"), now["options"])
    raise UsageError(
        f"{run.checkpoint} is of other images: {'; '.join(said)}: continue with the same images and options; or "
        f"train a new run on these, with its weights by fit(cf.load({str(run.folder)!r}), photos=...) in Python, "
        f"or from scratch with another {option('run')} or {option('overwrite', True)}"
    )


def warn_of_copies(photos: Photos | Stream) -> None:
    """Warn where held-out images are copies of training images, pixel by pixel, at the size that is trained on.

    They are not looked for where that takes long, in a stream or in more than half a gigabyte, nor among crops,
    many of which are flat and equal in photographs that are not.
    """
    if isinstance(photos, Stream) or not isinstance(photos.train, np.ndarray) or len(photos) == 1:
        return
    train, held_out = photos.train, photos.held_out
    if train.nbytes + held_out.nbytes > HASHED:
        return
    known = set(_pixels(held_out))
    copied = {pixels for pixels in _pixels(train) if pixels in known}
    if count := sum(pixels in copied for pixels in _pixels(held_out)):
        said = "are copies of training images" if count > 1 else "is a copy of a training image"
        log.warning(
            "%d of %d held-out images %s, pixel by pixel, so the held-out error is lower than of new images: "
            "copyfold duplicates names them",
            *(count, len(held_out), said),
        )


def _pixels(images: np.ndarray) -> Iterator[bytes]:
    """The bytes of every image."""
    return (image.tobytes() for image in np.asarray(images))


def _sizes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs in the shape and the numbers of images."""
    said: list[str] = []
    shape, was = now["shape"], before.get("shape")
    if isinstance(was, list) and len(cast("list[Any]", was)) == len(shape):
        if was[0] != shape[0]:
            said.append(
                f"they have {_plural(shape[0], 'channel')}, and had {was[0]} ({option('channels', was[0])})"
            )
        if was[1:] != shape[1:]:
            said.append(f"they are {shape[1]}x{shape[2]}, and were {was[1]}x{was[2]}")
    if any(before.get(name) != now[name] for name in ("train", "held_out")):
        said.append(
            f"there are {now['train']} to train on and {now['held_out']} held out, and there were "
            f"{before.get('train')} and {before.get('held_out')}"
        )
    return said


def _options(before: Any, now: Mapping[str, Any]) -> list[str]:
    """What differs in how they are read."""
    if not isinstance(before, Mapping):  # of an earlier version
        return []
    was = cast("Mapping[str, Any]", before)
    return [
        f"{name} is {value}, and was {was[name]}"
        for name, value in now.items()
        if name in was and was[name] != value and name != "skip_bad"
    ]


def _changed(before: Any, images: Measured) -> tuple[float, str]:
    """The share of the images that are compared that have changed, and a sentence on them."""
    if not isinstance(before, Mapping):  # of an earlier version
        return 1.0, "those held out are others"
    was, count, changed = cast("Mapping[str, Any]", before), 0, list[str]()
    for which, text in images.data["image_digests"].items():
        now, names = _split(text), images.names[which]
        count += len(now)
        pairs = zip_longest(now, _split(str(was.get(which))), names)
        changed += [name or "" for new, old, name in pairs if new != old]
    total = images.data["train"] + images.data["held_out"]
    some = f"{len(changed)} of {count} images" + " that are compared" * (count < total)
    if not changed:
        return 0.0, f"images have changed, none of the {count} that are compared"
    return len(changed) / max(count, 1), f"{some} have changed ({_named(changed)})"


def _named(names: Sequence[str]) -> str:
    return ", ".join([*names[:NAMED], *["..."] * (len(names) > NAMED)])


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _each(sample: Sample) -> str:
    """A short digest of every image, one behind the other in hexadecimal."""
    images = (image.contiguous().numpy().tobytes() for image in sample.images)
    return "".join(hashlib.blake2b(image, digest_size=DIGITS // 2).hexdigest() for image in images)


def _split(text: str) -> list[str]:
    return [text[k : k + DIGITS] for k in range(0, len(text), DIGITS)]
