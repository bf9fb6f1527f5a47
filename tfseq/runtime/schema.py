"""Kinds of JSON values, put together to describe a document; `check` says where a value is of another kind."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tfseq.errors import ArtefactError
from tfseq.runtime.printable import shown

LARGEST = 2**63 - 1  # of whole numbers
DEEPEST = 32  # of values in values


class Kind(Protocol):
    """What a value may be."""

    def check(self, value: Any, where: str) -> None:
        """
        Raises:
            ArtefactError: `value`, which is found at `where`, is of another kind.
        """


@dataclass(frozen=True)
class Text:
    """A text; of a given number of characters at least, or one out of a few."""

    least: int = 0
    among: Collection[str] = ()

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, str) or len(value) < self.least or (self.among and value not in self.among):
            expected = f"one of {', '.join(self.among)}" if self.among else "a text"
            raise _other(where, value, expected + " that is not empty" * bool(self.least and not self.among))


@dataclass(frozen=True)
class Whole:
    """A whole number."""

    low: int = -LARGEST
    high: int = LARGEST

    def check(self, value: Any, where: str) -> None:
        if type(value) is not int or not self.low <= value <= self.high:
            limits = "" if self.high == LARGEST == -self.low else f", {self.low} or more"
            raise _other(
                where, value, f"a whole number{limits}{'' if self.high == LARGEST else f', {self.high} at most'}"
            )


@dataclass(frozen=True)
class Number:
    """A number; infinity, which Python writes, too, and nan where that is allowed."""

    nan: bool = True

    def check(self, value: Any, where: str) -> None:
        if (
            type(value) not in (int, float)
            or (type(value) is int and abs(value) > LARGEST)
            or (value != value and not self.nan)
        ):
            raise _other(where, value, "a number")


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, bool):
            raise _other(where, value, "true or false")


@dataclass(frozen=True)
class Anything:
    """Any value, of limited depth and with numbers of limited size."""

    def check(self, value: Any, where: str) -> None:
        _check_anything(value, where, DEEPEST)


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind."""

    kind: Kind
    least: int = 0
    most: int = LARGEST

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            count = f" of {self.least} or more" if self.least else f" of {self.most} at most" * (self.most < LARGEST)
            raise _other(where, value, f"a list{count}")
        for place, each in enumerate(value):
            self.kind.check(each, f"{where}[{place}]")


@dataclass(frozen=True)
class MapOf:
    """An object whose values, whatever their names, are of one kind."""

    kind: Kind

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise _other(where, value, "an object")
        for name, each in value.items():
            self.kind.check(each, _below(where, name))


@dataclass(frozen=True)
class Record:
    """An object of named fields; others are of the kind `others`, such as those of later versions."""

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind] = field(default_factory=dict)
    others: Kind = field(default_factory=Anything)

    def check(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _other(where, value, f"an object of {', '.join([*self.required, *self.optional])}")
        missing = [name for name in self.required if name not in value]
        if missing:
            raise _other(where, value, f"an object with {', '.join(missing)}, too")
        kinds = {**self.optional, **self.required}
        for name, each in value.items():
            kinds.get(name, self.others).check(each, _below(where, name))


@dataclass(frozen=True)
class OrNone:
    """A value of a kind, or null."""

    kind: Kind

    def check(self, value: Any, where: str) -> None:
        if value is not None:
            self.kind.check(value, where)


@dataclass(frozen=True)
class Either:
    """A value of one of two kinds: the first for what is no list and no text, the second for others."""

    single: Kind
    other: Kind

    def check(self, value: Any, where: str) -> None:
        (self.other if isinstance(value, list | tuple | str) else self.single).check(value, where)


def parsed_json(text: str | bytes, what: str) -> Any:
    """The value in a JSON text.

    Args:
        what: is damaged if it is none, for the message.

    Raises:
        ArtefactError: it is not JSON, or too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ArtefactError(f"{what} is damaged: its values are nested too deeply.") from None
    except ValueError:
        raise ArtefactError(f"{what} is damaged: it is not JSON.") from None


def _check_anything(value: Any, where: str, deeper: int) -> None:
    if deeper == 0:
        raise ArtefactError(f"The manifest is damaged: {shown_place(where)} is nested more than {DEEPEST} levels deep.")
    if isinstance(value, Mapping):
        for name, each in value.items():
            _check_anything(each, _below(where, name), deeper - 1)
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            _check_anything(each, f"{where}[{place}]", deeper - 1)
    elif isinstance(value, int | float):
        (Flag() if isinstance(value, bool) else Number()).check(value, where)


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def shown_place(where: str) -> str:
    """A place in a document, for a message."""
    return shown(where or "it")[1:-1]


def _other(where: str, value: Any, expected: str) -> ArtefactError:
    return ArtefactError(f"The manifest is damaged: {shown_place(where)} is {shown(value)}; expected {expected}.")
