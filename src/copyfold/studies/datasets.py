"""The data sets that studies use, and where they are."""

from collections.abc import Sequence
from pathlib import Path

from copyfold.errors import DataError, UsageError

HUB = {
    "cifar10": "hf://uoft-cs/cifar10",
    "fashion_mnist": "hf://zalando-datasets/fashion_mnist",
    "churches": "hf://tglcourse/lsun_church_train",
}
SETS = ("landscapes", *HUB)


def sources(given: Sequence[str]) -> dict[str, str]:
    """Where the sets are, from what --data says.

    A folder with a local dataset called after each set; NAME=SOURCE, where SOURCE is what `train` takes as DATA;
    or "hub" for the sets that have an id on the Hugging Face Hub, which are downloaded. Later ones override
    earlier ones.
    """
    found: dict[str, str] = {}
    for word in given:
        name, equals, source = word.partition("=")
        if word == "hub":
            found |= HUB
        elif equals and name in SETS:
            found[name] = source
        elif Path(word).is_dir():
            inside = {name: str(Path(word) / name) for name in SETS if (Path(word) / name).exists()}
            if not inside:
                raise DataError(f"{word} holds none of {', '.join(SETS)}: give the folder that they lie in")
            found |= inside
        else:
            raise UsageError(
                f"--data {word} is neither a folder nor NAME=SOURCE with one of {', '.join(SETS)}, nor hub"
            )
    return found
