"""Write a model to a file that runs without copyfold, ONNX or torch.export, and compare the two at once.

The batch is of any size, and so are height and width where the model takes other sizes. An ONNX file pads images
inside, as the model does; one of torch.export takes only multiples of the sides that the model works at. Batch
norms use running averages: an image's result depends on it alone. A code of several maps is as many outputs of the
encoder, and inputs of the decoder.

Beside model.onnx, model_onnx.py runs it with onnxruntime and numpy alone. A file that differs from the model by
more than 1e-4 is not written. ONNX needs `pip install copyfold[onnx]`.
"""

from collections.abc import Sequence

from copyfold.cli import _parsing, _screen


def command(arguments: Sequence[str]) -> int:
    """Export the model, and print the files."""
    from copyfold.export import SUFFIXES, export
    from copyfold.models.storing import load

    options = _parsing.parse(_parser(), arguments)
    name = "model" if options.part == "whole" else options.part
    out = options.out or f"{name}{SUFFIXES[options.format]}"
    made = export(load(options.run), out, options.part, options.format)
    _screen.log.info("in: %s; out: %s", "; ".join(made.inputs), "; ".join(made.outputs))
    kind = "torch.export" if made.opset is None else f"ONNX, opset {made.opset}"
    _screen.log.info("%s; the largest difference from the model is %.1e", kind, made.difference)
    print(made.path)
    if made.runner is not None:
        print(made.runner)
    return 0


def _parser() -> _parsing.Parser:
    from copyfold.export import Format, Part

    parser = _parsing.parser("export", __doc__)
    parser.add_argument("run", help="The folder of a run or of a model, or hf://owner/name.")
    parser.add_argument(
        "--out",
        type=str | None,
        help="The file to write, .onnx or .pt2; model.onnx, or of a part decoder.onnx, if omitted.",
    )
    parser.add_argument("--part", type=Part, default="whole", help="What is exported: all of it, or one half.")
    parser.add_argument(
        "--format",
        type=Format,
        default="onnx",
        help="onnx, or torch: a program of torch.export.",
    )
    return parser
