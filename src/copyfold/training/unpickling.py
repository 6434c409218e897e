"""What the pickle in a checkpoint asks torch.load to make: followed on paper, before anything is made."""

import pickletools
from typing import Any, BinaryIO

import torch

from copyfold.errors import LARGEST

MOST = 5_000_000
"""Values of a checkpoint, counted in every place where they stand: 20,000 weights, Adam and an average make 3.5
million."""

DEEPEST = 50
"""Containers within containers: a checkpoint of copyfold has eight."""

NUMBERS = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
STORAGES = {f"torch {kind}Storage" for kind in (*NUMBERS, "ComplexDouble", "ComplexFloat")}
DTYPES = {str(kind).replace(".", " ") for kind in vars(torch).values() if isinstance(kind, torch.dtype)}
ORDERED = "collections OrderedDict"
CALLED = {f"torch._utils _rebuild_{what}" for what in ("parameter", "tensor_v2", "tensor_v3")} | {ORDERED}
NAMES = STORAGES | DTYPES | CALLED | {"torch.storage UntypedStorage"}
"""What a pickle may name, and of it call: all that numbers, words and tensors in lists and dictionaries need."""


class _Name(tuple[str]):
    """A class or a function that a pickle names."""


class _Dict(list[Any]):
    """The keys and values of a dictionary."""


def check_pickle(file: BinaryIO) -> None:
    """Raise ValueError where torch.load may make more of a file than is in it, or what no training writes.

    Its own `weights_only` allows more than a checkpoint needs: bytearray(6 * 10**9) is a few bytes of pickle, and
    a tuple of itself twice, 40 times over, is hashed in hours where it is a key.
    """
    file.seek(0)
    if file.read(4) != b"PK\3\4":  # torch.load reads another format then, whatever follows
        raise ValueError("it is not a file of torch.save")
    file.seek(0)
    # torch's own reader, because zipfile may find another member of that name: DATA.PKL, or one of two
    reader = torch._C.PyTorchFileReader(file)  # pyright: ignore[reportPrivateUsage]
    made = _followed(reader.get_record("data.pkl"))
    file.seek(0)
    try:
        size, depth = _unfolded(made, {})
    except RecursionError:
        size, depth = 0, DEEPEST + 1
    if depth > DEEPEST:
        raise ValueError(f"it has values more than {DEEPEST} deep in each other")
    if size > MOST:
        raise ValueError(f"it unfolds to more than {MOST:,} values")


def _followed(pickle: bytes) -> Any:
    """What a pickle makes: a list for whatever holds other values, words and numbers as they are."""
    machine = _Machine()
    for count, (operation, value, _) in enumerate(pickletools.genops(pickle)):
        if count > MOST:
            raise ValueError(f"it has more than {MOST:,} values")
        if operation.name != "STOP":
            machine.step(operation.name, value)
    return machine.stack.pop()


class _Machine:
    """The stack of a pickle, on which its operations make values of those before."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, operation: str, value: Any) -> None:
        """One operation, of those alone that torch.save writes."""
        match operation:
            case "PROTO":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "BININT" | "BININT1" | "BININT2" | "BINFLOAT" | "BINUNICODE":
                self.stack.append(value)
            case "LONG1" if abs(value) <= LARGEST:
                self.stack.append(value)
            case "EMPTY_LIST" | "EMPTY_TUPLE":
                self.stack.append([])
            case "EMPTY_DICT":
                self.stack.append(_Dict())
            case "GLOBAL":
                if value not in NAMES:
                    raise ValueError(f"it names {str(value)[:60]!r}, which no checkpoint of copyfold needs")
                self.stack.append(_Name((value,)))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[value] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[value])
            case "MARK":
                self.outer.append(self.stack)
                self.stack = []
            case _:
                self._combine(operation)

    def _combine(self, operation: str) -> None:
        """An operation that makes one value of several."""
        match operation:
            case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = self._taken(operation)
                self.stack.append(items)
            case "APPEND" | "APPENDS":
                items = self._taken(operation)
                self.stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._taken(operation)
                if not all(type(key) in (str, int, float) for key in items[::2]):  # others are hashed at length
                    raise ValueError("it has a key that is neither a number nor a word")
                self.stack[-1].extend(items)
            case "REDUCE":
                given = self.stack.pop()
                self.stack[-1] = _called(self.stack[-1], given)
            case "BUILD":
                state = self.stack.pop()
                if not isinstance(state, _Dict):
                    raise ValueError("it sets the attributes of something from what is no dictionary")
                self.stack[-1].append(state)
            case "BINPERSID":
                self.stack[-1] = _storage(self.stack[-1])
            case _:
                raise ValueError(f"it has a {operation}, which torch.save does not write in a checkpoint")

    def _taken(self, operation: str) -> list[Any]:
        """Take the last values from the stack: one, two or three, or all since the last mark."""
        many = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2}.get(operation)
        if many is None:
            items, self.stack = self.stack, self.outer.pop()
        else:
            items, self.stack[-many:] = self.stack[-many:], []
        return items


def _called(named: Any, given: Any) -> list[Any]:
    """What a function makes of its arguments; an OrderedDict begins empty, so that its keys are looked at."""
    if not isinstance(named, _Name) or named[0] not in CALLED or (named[0] == ORDERED and given != []):
        raise ValueError("it calls a function in a way that torch.save does not write")
    return _Dict() if named[0] == ORDERED else [given]


def _storage(key: Any) -> list[Any]:
    """The memory of a tensor, by the number of its member; by other names one could be read many times over."""
    if not (isinstance(key, list) and len(key) == 5 and isinstance(key[2], str) and key[2].isdecimal()):
        raise ValueError("it has a tensor of no numbered member")
    return []


def _unfolded(value: Any, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values one is with all that it holds, and how deep they lie; RecursionError without end."""
    if not isinstance(value, list) or not value:
        return 1, 0
    if id(value) not in known:
        sizes, depths = zip((0, 0), *(_unfolded(item, known) for item in value), strict=True)
        known[id(value)] = 1 + sum(sizes), 1 + max(depths)
    return known[id(value)]
