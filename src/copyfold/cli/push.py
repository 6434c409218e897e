"""Push a run to the Hugging Face Hub, with a card; hf://owner/name then stands for its folder in every command.

The model is pushed as safetensors and JSON, with its recipe, its log, the pictures of RUN/findings, and a card
that has its data, its numbers, its limits and its licence. Paths and names of files of this machine are not. A new
model is private unless --public. The pictures show held-out images: --no-pictures leaves them out. --out writes
all of it into a folder instead, to look at, and calls no one.

You have to be logged in once: hf auth login.
"""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ActionYesNo

from copyfold.cli import _parsing, _screen


def command(arguments: Sequence[str]) -> int:
    """Push the run, and print its page; or write its files, and print them."""
    from copyfold import publishing, runs
    from copyfold.hub import Address

    options = _parsing.parse(_parser(), arguments)
    name, run = Address.of(f"hf://{options.name.removeprefix('hf://')}").name, runs.open(options.run)
    if options.out:
        publishing.check_folder(Path(options.out))
        for path in publishing.gathered(run, Path(options.out), name, options.licence, options.pictures):
            print(path)
        return 0
    if not options.licence:
        _screen.log.info("no --licence is given: the card tells others to ask you before they use it")
    print(
        publishing.push(
            run,
            name,
            public=options.public,
            overwrite=options.overwrite,
            licence=options.licence,
            pictures=options.pictures,
        )
    )
    return 0


def _parser() -> _parsing.Parser:
    parser = _parsing.parser("push", __doc__)
    parser.add_argument("run", help="The folder of a run.")
    parser.add_argument("name", help="What it is called on the Hub: owner/name.")
    parser.add_argument("--licence", type=str | None, help="Of the model, as the Hub names it, such as mit.")
    parser.add_argument("--public", action="store_true", help="Let everyone see a new model.")
    parser.add_argument("--overwrite", action="store_true", help="Replace the files of a model that is there.")
    parser.add_argument(
        "--pictures", action=ActionYesNo(no_prefix="no-"), default=True, help="Push the pictures of findings/ too."
    )
    parser.add_argument("--out", type=str | None, help="A new folder to write to, instead of pushing.")
    return parser
