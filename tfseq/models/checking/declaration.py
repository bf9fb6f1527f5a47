"""What a `Generator` declares: its attributes and its sources, checked, and completed where they lack something."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfseq.models.checking.findings import cause_of, in_short, kind_of
from tfseq.models.checking.rows import TIME
from tfseq.models.generator import Generator

GUESSED_SOURCE = keras.InputSpec(shape=(None, None), dtype="int32", name="source")
GUESSED_START = 1


class Declaration:
    """A generator's attributes as it declares them, or as they may have been meant, so that a check can go on.

    Args:
        model: a `Generator`.
        note: called with `rule`, `saw`, `expected` and `write` of a `Finding`.

    Attributes:
        vocabulary: its vocabulary_size; None where that is missing or malformed.
        start: id of the token that it begins with; None for a language model.
        specs: its sources, each with name, dtype and shape.
        time: tokens of a row, as many as its max_positions allow.
    """

    def __init__(self, model: Generator, note: Callable[[str, str, str, str], None]):
        self.model, self.name, self.note = model, kind_of(model), note
        self.vocabulary: int | None = None
        self.start: int | None = None
        self.specs: tuple[keras.InputSpec, ...] = ()
        self.time = TIME

    def attributes(self):
        vocabulary = self._integer("vocabulary_size")
        if vocabulary is not None and vocabulary > 0:
            self.vocabulary = vocabulary
        elif self.attribute("vocabulary_size") is not None:
            self._malformed("vocabulary_size", "a number of tokens, an int of at least 1", "self.vocabulary_size = ...")
        for name in ("start", "end", "max_positions"):
            value = self.attribute(name)
            several = name == "end" and isinstance(value, Sequence) and not isinstance(value, str)
            for each in value if several else [] if value is None else [value]:
                least, most = (1, None) if name == "max_positions" else (0, self.vocabulary)
                whole = isinstance(each, int | np.integer) and not isinstance(each, bool)
                if not whole or each < least or (most is not None and each >= most):
                    ids = f"a token id below {most}" if most else "a token id"
                    wanted = "a number of tokens" if name == "max_positions" else ids
                    self._malformed(name, f"{wanted}, or None", f"self.{name} = ...")
        if not isinstance(self.attribute("shares_memory"), bool):
            self._malformed("shares_memory", "True or False", "shares_memory = False")
        for method in ("initial_state", "step"):
            if getattr(type(self.model), method) is getattr(Generator, method):
                arguments = "memory, batch_size" if method == "initial_state" else "tokens, state, memory=()"
                self.note(
                    method, f"{self.name} does not define {method}", "a method", f"define `{method}(self, {arguments})`"
                )
        if (room := self._integer("max_positions")) is not None and room > 0:
            self.time = min(TIME, room)

    def attribute(self, name):
        try:
            return getattr(self.model, name, None)
        except Exception as error:
            self.note(name, f"{self.name}.{name} raised {cause_of(error)}", "a value", f"set `self.{name}` in __init__")
            return None

    def _integer(self, name):
        value = self.attribute(name)
        return int(value) if isinstance(value, int | np.integer) and not isinstance(value, bool) else None

    def _malformed(self, name, wanted, line):
        self.note(name, f"{self.name}.{name} is {self.attribute(name)!r}", wanted, f"write `{line}`")

    def sources(self):
        declared = self.attribute("sources")
        encodes = type(self.model).encode is not Generator.encode
        line = f"write `sources = ({_line(GUESSED_SOURCE)},)`"
        tuple_of_specs = "a tuple of one keras.InputSpec with name, dtype and shape for each input that encode reads"
        if not isinstance(declared, list | tuple):
            saw = f"{self.name}.sources is {in_short(declared)}"
            spec = declared if isinstance(declared, keras.InputSpec) else GUESSED_SOURCE
            self.note("sources", saw, tuple_of_specs, f"write `sources = ({_line(spec)},)`")
            declared = (declared,) if isinstance(declared, keras.InputSpec) else ()
        self.specs = tuple(self._spec(i, spec, tuple_of_specs) for i, spec in enumerate(declared))
        names = [spec.name for spec in self.specs]
        if len({*names, "target"}) <= len(names):
            self.note(
                "sources",
                f"The sources of {self.name} are named {', '.join(names)}",
                'names that differ from each other and from "target"',
                "rename one",
            )
        if not self.specs and encodes and (raised := self._raised(self.model.encode)):
            saw = f"{self.name}.sources is () though encode reads inputs: encode() raised {raised}"
            self.note("sources", saw, tuple_of_specs, line)
            self.specs = (GUESSED_SOURCE,)
        if self.specs and not encodes:
            saw = f"{self.name} has sources and does not define encode"
            self.note("encode", saw, "a method that reads them once", "define `encode(self, inputs=None)`")
        self._start()

    def _spec(self, i, spec, wanted):
        """The source as it is declared, or as it may have been meant."""
        if not isinstance(spec, keras.InputSpec):
            meant = keras.InputSpec(shape=(None, None), dtype="int32", name=spec if isinstance(spec, str) else "source")
            self.note("sources", f"{self.name}.sources[{i}] is {in_short(spec)}", wanted, f"write `({_line(meant)},)`")
            return meant
        name = spec.name if isinstance(spec.name, str) and spec.name else "source" if i == 0 else f"source_{i}"
        shape = tuple(spec.shape) if spec.shape else (None, None)
        meant = keras.InputSpec(shape=(None, *shape[1:]), dtype=spec.dtype or "int32", name=name)
        lacks = [what for what in ("name", "dtype", "shape") if not getattr(spec, what)]
        if lacks:
            saw = f"{self.name}.sources[{i}] is an InputSpec without {' and '.join(lacks)}"
            self.note("sources", saw, "all of name, dtype and shape", f"write `{_line(meant)}`")
        elif shape[0] is not None:
            saw = f"{self.name}.sources[{i}] is an InputSpec of shape {shape}"
            self.note("sources", saw, f"None for the batch, {meant.shape}", f"write `{_line(meant)}`")
        return meant

    def _start(self):
        start = self._integer("start")
        if self.specs and self.attribute("start") is None:
            self.note(
                "start",
                f"{self.name} has sources and start is None",
                "the id of the token that decoding begins with",
                f"write `start = {GUESSED_START}`, with the id that your targets begin with",
            )
        if not self.specs and start is not None:
            self.note(
                "start",
                f"{self.name} has no sources and start is {start}",
                "None, as a language model continues a prompt",
                "write `start = None`, or name its sources",
            )
        self.start = (GUESSED_START if start is None else max(start, 0)) if self.specs else None

    def _raised(self, function, *inputs):
        try:
            function(*inputs)
        except Exception as error:
            return cause_of(error)
        return None


def _line(spec):
    return f'keras.InputSpec(shape={tuple(spec.shape)}, dtype="{spec.dtype}", name="{spec.name}")'
