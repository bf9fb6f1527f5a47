"""What a check of a model found, in words: `Finding`, and values and errors in a line."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.reasons import first_line


@dataclass(frozen=True)
class Finding:
    """Something that a generator does otherwise than the protocol says; as a string, one sentence.

    Attributes:
        rule: what it is about: an attribute or a method of `Generator`, or one of `class`, `state`, `growing state`,
            `memory`, `logits`, `random`, `padding`, `neighbours`, `beams`, `call and step`, `read and step`.
        saw: what the model declares, returns or raises.
        expected: what the protocol wants in its place.
        write: what to write or change in the model.
    """

    rule: str
    saw: str
    expected: str
    write: str

    def __str__(self) -> str:
        return f"{self.saw}; expected {self.expected}: {self.write}."


class Findings(list[Finding]):
    """What was found so far, each thing once."""

    def note(self, rule: str, saw: str, expected: str, write: str) -> None:
        """Adds a finding, unless one of that rule says to write the same."""
        if (rule, write) not in {(finding.rule, finding.write) for finding in self}:
            self.append(Finding(rule, saw, expected, write))

    def of(self, *rules: str) -> bool:
        """Whether there is one about any of these."""
        return any(finding.rule in rules for finding in self)


def is_array(value: Any) -> bool:
    """Whether it is a tensor, of the backend or of NumPy."""
    return ops.is_tensor(value) or isinstance(value, np.ndarray | keras.Variable)


def kind_of(value: Any) -> str:
    """The name of its class."""
    return type(value).__name__


def in_short(value: Any) -> str:
    """A value in a few words."""
    if is_array(value):
        return f"{keras.backend.standardize_dtype(value.dtype)} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple) and any(map(is_array, value)):
        return f"a {kind_of(value)} of {len(value)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"a {kind_of(value)}"


def cause_of(error: BaseException | None) -> str:
    """What went wrong in one line: the exception and its reason."""
    line = " ".join(first_line(error).split()).rstrip(". ")
    line = line if len(line) <= 200 else f"{line[:200]}..."
    return kind_of(error) if line in ("", kind_of(error)) else f"{kind_of(error)} ({line})"
