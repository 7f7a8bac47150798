"""Fuzz the readers of recipes and IDX files with atheris.

    python scripts/fuzz.py text -max_total_time=600

The options after the target's name are libFuzzer's. A target may refuse an input with the errors that it
documents. Any other error is a finding: it ends the run, and libFuzzer saves the input.
"""

import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


atheris: Any = importlib.import_module("atheris")  # pip install atheris; no test needs it

with atheris.instrument_imports(include=["jaxlr.convert", "jaxlr.train.data", "gzip", "struct"]):
    import jaxlr
    from jaxlr.convert import port
    from jaxlr.convert.classes import CLASSES
    from jaxlr.train.data.mnist import read_idx
    from jaxlr.train.errors import DataError

_SECONDS = 1.0  # seconds that reading a text may take
_LONGEST_MESSAGE = 1000  # a message may quote several shortened texts, each character as an escape of ten
# The words of the grammar, separated by spaces.
_ATOMS = (
    "0 1 2 30 -1 0.1 1e9 1e400 2**63 10**18 True None 'cos' 'max' '' [] () f'' x y e z math.pi args.lr "
    "self.y[0] optimizer *y **y x:=3"
)
_BINARY = "+ - * / // % ** < >= == != @ >> , and or in"
_FUNCTIONS = (
    "int float round range len min max list tuple sum abs pow sorted bool eval open x.y math.exp math.log "
    "math.floor sqrt np.cos np.minimum"
)
_NAMES = {"x": 3, "y": [1, 2], "args.lr": 0.5}


class Writer:
    """A writer of recipes. It follows a grammar, and the fuzzer makes the choices."""

    def __init__(self, choices: Any):
        self._choices = choices

    def recipe(self) -> str:
        """Write some assignments and a constructor."""
        lines = [f"{self._pick(['x', 'z', 'y'])} = {self._value(3)}" for _ in range(self._number(2))]
        return "\n".join([*lines, self._pick(["", "s = ", "return ", "  "]) + self._constructor(3)])

    def _constructor(self, depth: int) -> str:
        name = self._pick([*CLASSES, "torch.optim.lr_scheduler.StepLR", "Exit"])
        parameters = CLASSES[name].parameters if name in CLASSES else ["step_size", "gamma"]
        arguments = [self._pick(["optimizer", "self.o[0]", "", "1"])]
        for _ in range(self._number(5)):
            prefix = self._pick(["", f"{self._pick(parameters)}="])
            arguments.append(prefix + (self._value(depth) if self._number(3) else self._list(depth)))
        return f"{name}({', '.join(arguments)})"

    def _list(self, depth: int) -> str:
        if depth == 0:
            return "[]"
        items = [self._pick([self._constructor, self._value])(depth - 1) for _ in range(self._number(3))]
        return f"[{', '.join(items)}]"

    def _value(self, depth: int) -> str:
        if depth == 0:
            return self._pick(_ATOMS.split())
        one, two, three = (lambda: self._value(depth - 1) for _ in range(3))
        match self._number(8):
            case 0 | 1:
                return self._pick(_ATOMS.split())
            case 2 | 3:
                return f"({one()} {self._pick(_BINARY.split())} {two()})"
            case 4:
                arguments = [self._value(depth - 1) for _ in range(self._number(3))]
                return f"{self._pick(_FUNCTIONS.split())}({', '.join(arguments)})"
            case 5:
                return f"lambda {self._pick(['e', 'x', 'e, n=2', '*e'])}: {one()}"
            case 6:
                return f"({one()} if {two()} else {three()})"
            case 7:
                return f"[{one()} for x in {two()} if {three()}]"
            case _:
                return f"{self._pick(['-', '+', ' not ', '~', 'await '])}{one()}"

    def _pick(self, items: list[Any]) -> Any:
        return items[self._number(len(items) - 1)]

    def _number(self, largest: int) -> int:
        return self._choices.ConsumeIntInRange(0, largest)


def fuzz_text(data: bytes) -> None:
    """Check that any recipe is read or refused at once, by a ValueError or TypeError of one line."""
    choices = atheris.FuzzedDataProvider(data)
    is_raw = choices.ConsumeIntInRange(0, 9) == 0
    text = choices.ConsumeUnicodeNoSurrogates(2000) if is_raw else Writer(choices).recipe()
    start = time.process_time()
    try:
        scheduler = jaxlr.from_string(text, 0.1, _NAMES, num_steps=10)
        if callable(scheduler):
            scheduler(3)
        port(text, 0.1, _NAMES, num_steps=10)
    except (ValueError, TypeError) as error:
        if "\n" in str(error) or len(str(error)) > _LONGEST_MESSAGE:
            raise AssertionError(f"a long message for {text!r}: {error}") from error
    except Exception as error:
        raise AssertionError(f"{text!r} is a finding") from error
    if time.process_time() - start > _SECONDS:
        raise AssertionError(f"{text!r} takes {time.process_time() - start:.1f} s")


def fuzz_idx(content: bytes) -> None:
    """Check that any bytes are read as an array no larger than they unpack to, or refused in one line."""
    _IDX.write_bytes(content)
    try:
        array = read_idx(_IDX)
    except DataError as error:
        assert str(_IDX) in str(error)
        assert len(str(error).splitlines()) == 1
    else:
        assert array.dtype == "uint8"
        assert 1 <= array.ndim <= 3
        assert 0 < array.size < 2000 * len(content)  # gzip compresses at most a little over 1000 to 1


_TARGETS = {"text": fuzz_text, "idx": fuzz_idx}
_IDX = Path(tempfile.mkdtemp()) / "file"


if __name__ == "__main__":
    target = _TARGETS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if target is None:
        sys.exit(f"usage: python scripts/fuzz.py {{{','.join(_TARGETS)}}} [libFuzzer options]")
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()
