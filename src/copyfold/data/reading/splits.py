"""Which part of a set an image belongs to, by the names of folders, files and splits: one rule for all sources."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

WORDS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev"),
}
"""The words of each role, as the `datasets` library has them. Where a source has several, test is held out."""

ROLE = {word: role for role, words in WORDS.items() for word in words}
LEVELS = 4  # folders below the outermost in which splits are looked for
SHARDED = re.compile(r"(?:.*/)?data/([^/]+)-\d{5}-of-\d{5}[^/]*")
TRAIN = "train"


@dataclass(frozen=True)
class Parted:
    """The splits that are trained on, held out, and not used; none held out where it has to be drawn."""

    train: list[str]
    held_out: list[str]
    unused: list[str]


@dataclass(frozen=True)
class Arranged:
    """Files in splits and classes, by their paths."""

    splits: dict[str, np.ndarray]
    labels: list[int] | None
    classes: list[str] | None
    notes: list[str] = field(default_factory=list)


def parted(names: Iterable[str]) -> Parted:
    """Say what each split of a source is for, whatever its spelling: Train, TRAIN, training; test, eval; val, dev.

    Held out is the test split, or else the validation split. A split of another name is trained on where there is
    none called train.
    """
    names = list(names)
    found = roles(names)
    held = next((role for role in ("test", "validation") if role in found.values()), None)
    held_out = [name for name in names if found.get(name) == held and held is not None]
    rest = [name for name in names if found.get(name) in (None, "train")]
    train = [name for name in rest if found.get(name) == "train"] or rest
    if not train:  # all are held out by their names: a tenth of all is drawn
        return Parted(names, [], [])
    return Parted(train, held_out, [name for name in names if name not in train and name not in held_out])


def roles(names: Iterable[str]) -> dict[str, str]:
    """The role of each split that has one: train, test or validation.

    A name that is the word itself (Train, test2017) counts before one that has it among others (train_small).
    """
    names = list(names)
    exact = {name: role for name in names if (role := _exact(name))}
    loose = {name: role for name in names if (role := _role(name)) and role not in exact.values()}
    return exact | loose


def arranged(paths: Sequence[str]) -> Arranged:
    """Splits and classes of image files, by their paths with forward slashes.

    Folders that contain all the others are passed over. Below them, folders named for train and test (or
    validation) are splits, in any spelling, also one level further down where every folder has them. Of what is
    left of a path the first folder is the class, where every image lies in one and there are two or more, as in
    the imagefolder of `datasets`.
    """
    folders = [path.split("/")[:-1] for path in paths]
    outer = _outer(folders)
    deepest = max(map(len, folders), default=0)
    for level in range(outer, min(deepest, outer + LEVELS)):
        tops = np.array([parts[level] if len(parts) > level else "" for parts in folders])
        named = _split_folders(set(tops.tolist()) - {""})
        if _divides(named, tops, folders, outer, level):
            return _arranged(folders, tops, named, outer, level)
    labels, classes = _classes([parts[outer:] for parts in folders], np.arange(len(folders)))
    return Arranged({"": np.arange(len(paths))}, labels, classes)


def of_files(paths: Iterable[str], saved: bool = False) -> tuple[dict[str, list[str]], list[str]]:
    """Files that hold many images, by split, as `datasets` finds them; and those that are in none of the splits.

    In this order: data/NAME-00000-of-00001, folders named for a split, files named for one; else all are train.
    With `saved`, as `save_to_disk` writes a set of splits, the outermost folder is the split.
    """
    paths = list(paths)
    ways = [
        {path: found[1] for path in paths if (found := SHARDED.fullmatch(path))},
        {path: role for path in paths if (role := _by_folder(path))},
        {path: role for path in paths if (role := _role(path.rpartition("/")[2].rpartition(".")[0]))},
    ]
    if saved:
        ways.insert(0, {path: path.split("/")[0] for path in paths if "/" in path})
    found = next((way for way in ways if way), dict.fromkeys(paths, TRAIN))
    splits: dict[str, list[str]] = {}
    for path in paths:
        if path in found:
            splits.setdefault(found[path], []).append(path)
    order = sorted(splits, key=lambda name: (list(WORDS).index(_role(name) or "train"), name != TRAIN))
    return {name: splits[name] for name in order}, [path for path in paths if path not in found]


def _words(name: str) -> list[str]:
    return re.findall("[a-z]+", name.lower())


def _exact(name: str) -> str | None:
    words = _words(name)
    return ROLE.get(words[0]) if len(words) == 1 else None


def _role(name: str) -> str | None:
    """The role of the one word of a name that has one."""
    found = [ROLE[word] for word in _words(name) if word in ROLE]
    return found[0] if len(found) == 1 else None


def _rest(name: str) -> tuple[str, ...]:
    """What a name says beside its role."""
    return tuple(word for word in _words(name) if word not in ROLE)


def _by_folder(path: str) -> str | None:
    found = [role for part in path.split("/")[:-1] if (role := _role(part))]
    return found[0] if len(set(found)) == 1 else None


def _outer(folders: list[list[str]]) -> int:
    """How many folders contain all the others and are no splits themselves."""
    first, last = min(folders, default=[]), max(folders, default=[])
    count = 0
    while count < min(len(first), len(last)) and first[count] == last[count] and not _exact(first[count]):
        count += 1
    return count


def _split_folders(names: set[str]) -> dict[str, str]:
    """The folders beside each other that are splits: named train, or seg_train with a seg_test beside it."""
    exact = {name: role for name in names if (role := _exact(name))}
    loose = {name: role for name in names - exact.keys() if (role := _role(name))}
    trained = {_rest(name) for name, role in loose.items() if role == "train"}
    held = {_rest(name) for name, role in loose.items() if role != "train"}
    return exact or {name: role for name, role in loose.items() if _rest(name) in trained & held}


def _divides(named: dict[str, str], tops: np.ndarray, folders: list[list[str]], outer: int, level: int) -> bool:
    """Whether these folders are splits, and not classes that happen to be called so."""
    kinds = set(named.values())
    if level == outer:
        # A lone folder called train among others is a class (of pictures of trains), not a split.
        return bool(kinds) and (kinds != {"train"} or bool(np.isin(tops, list(named)).all()))
    if "train" not in kinds or len(kinds) == 1:
        return False
    above = {tuple(parts[outer:level]) for parts in folders if len(parts) >= level}
    having = {tuple(parts[outer:level]) for parts in folders if len(parts) > level and parts[level] in named}
    return above == having


def _arranged(
    folders: list[list[str]], tops: np.ndarray, named: dict[str, str], outer: int, level: int
) -> Arranged:
    everything, notes = np.arange(len(tops)), list[str]()
    order = sorted(named, key=lambda name: (list(WORDS).index(named[name]), name))
    splits = {name: everything[tops == name] for name in order}
    rest = everything[~np.isin(tops, order)]
    if len(rest) and "train" in named.values():
        many = f"{len(rest)} images" if len(rest) > 1 else "1 image"
        notes.append(f"{many} outside of {', '.join(order)} {'are' if len(rest) > 1 else 'is'} not used")
    elif len(rest):
        splits[TRAIN] = rest
    inside = [parts[outer:] for parts in folders]
    for name in order:
        for index in splits[name].tolist():
            parts = folders[index]
            below = parts[level + 1 :]
            # seg_train/seg_train/buildings: the split's folder within itself
            inside[index] = parts[outer:level] + (below[1:] if below[:1] == [name] else below)
    # A whole split may be without classes, as test images are in a contest.
    without = [name for name, rows in splits.items() if not any(inside[row] for row in rows.tolist())]
    classed = [rows for name, rows in splits.items() if name not in without]
    labels, classes = _classes(inside, np.concatenate(classed)) if classed else (None, None)
    return Arranged(splits, labels, classes, notes)


def _classes(inside: list[list[str]], used: np.ndarray) -> tuple[list[int] | None, list[str] | None]:
    """First folders of what is left of the paths, as numbers into their sorted list; -1 for images not used."""
    found = [""] * len(inside)
    for index in used.tolist():
        if not inside[index]:
            return None, None
        found[index] = inside[index][0]
    classes = sorted(set(found) - {""})
    if len(classes) < 2:
        return None, None
    number = {name: k for k, name in enumerate(classes)} | {"": -1}
    return [number[name] for name in found], classes
