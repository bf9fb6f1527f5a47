"""Settings that are checked when they are made: each field says its range beside its type, `units: Size = 64`."""

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tfseq.errors import TrainingError


@dataclass(frozen=True)
class Range:
    """Numbers that a setting can be.

    Attributes:
        least: the smallest of them, or with `above` what they are larger than.
        most: the largest of them, or with `below` what they are smaller than.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: Any) -> bool:
        try:
            if not math.isfinite(value):
                return False
        except OverflowError:  # an integer beyond all numbers of floating point
            return False
        low = value > self.least if self.above else value >= self.least
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        ends = []
        if math.isfinite(self.least):
            ends.append(f"{'above' if self.above else 'at least'} {self.least:g}")
        if math.isfinite(self.most):
            ends.append(f"{'below' if self.below else 'at most'} {self.most:.10g}")
        return " and ".join(ends) or "a finite number"


@dataclass(frozen=True)
class Matching:
    """Texts that a setting can be: those that match `pattern` as a whole, `what` in words."""

    pattern: str
    what: str


Size = Annotated[int, Range(1, 65_536)]  # widths of layers and images, and how many heads, filters or kernels
Depth = Annotated[int, Range(1, 1_000)]
Count = Annotated[int, Range(1, 10**9)]  # of examples, steps, tokens
CountOrNone = Annotated[int, Range(0, 10**9)]  # where 0 stands for none
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what NumPy takes
Share = Annotated[float, Range(0, 1)]
ShareBelowOne = Annotated[float, Range(0, 1, below=True)]  # rates of dropout among them
Amount = Annotated[float, Range(0)]
PositiveAmount = Annotated[float, Range(0, above=True)]
Number = Annotated[float, Range()]
Text = Annotated[str, Matching(r"(?s).+", "a text that is not empty")]
Name = Annotated[
    str, Matching(r"(?!\.{1,2}$)[^\x00-\x1f\x7f/\\]{1,100}", "a name for a folder, 1 to 100 characters without / or \\")
]


class CheckedSettings:
    """A base of dataclasses whose fields' types hold ranges: values out of them are refused.

    Raises:
        TrainingError: a setting is of another type or out of its range; it names all of them.
    """

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        _check(type(self), {name: getattr(self, name) for name in names})


def checked(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose arguments are checked as the fields of `CheckedSettings` are, before it begins."""

    @functools.wraps(function)
    def check_and_call(*arguments: Any, **more: Any) -> None:
        given = inspect.signature(function).bind(*arguments, **more).arguments
        _check(function, given)
        function(*arguments, **more)

    return check_and_call


def _check(typed: Any, values: Mapping[str, Any]) -> None:
    hints = get_type_hints(typed, include_extras=True)
    wrong = [
        f"{name} is {_shown(value)}; expected {expected}"
        for name, value in values.items()
        if (expected := _expected(hints[name], value)) is not None
    ]
    if wrong:
        raise TrainingError(". ".join(wrong) + ".")


def check_heads(units: int, heads: int) -> None:
    """Attention's heads share the units equally.

    Raises:
        TrainingError: they can't.
    """
    if units % heads:
        raise TrainingError(f"units is {units} and heads {heads}; expected units that are a multiple of heads.")


def _expected(hint: Any, value: Any) -> str | None:
    """What a value of this type should have been, in words; None if it is right."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if (wanted := _expected(parts[0], value)) is not None:
            return f"{wanted}, {parts[1]}" if isinstance(parts[1], Range) else wanted
        return _out_of(parts[1], value)
    if origin in (Union, UnionType):
        found = [_expected(part, value) for part in parts]
        return None if None in found else " or ".join(dict.fromkeys(what for what in found if what))
    if origin is Literal:
        return None if value in parts else f"one of {', '.join(map(str, parts))}"
    if origin is tuple:
        return _expected_in_tuple(parts, value)
    if is_dataclass(hint):
        return None if isinstance(value, hint) else f"{hint.__name__}"  # type: ignore[arg-type, union-attr]
    accepted, what = _KINDS[hint]
    right = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
    return None if right else what


_KINDS: dict[Any, tuple[Any, str]] = {
    int: (Integral, "an integer"),
    float: (Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "a text"),
    Path: ((Path, str), "a path"),
    NoneType: (NoneType, "none"),
}


def _out_of(allowed: Any, value: Any) -> str | None:
    if isinstance(allowed, Range):
        return None if value in allowed else str(allowed)
    return None if re.fullmatch(allowed.pattern, value) else allowed.what


def _expected_in_tuple(parts: tuple[Any, ...], value: Any) -> str | None:
    endless = parts[-1] is Ellipsis
    if not isinstance(value, (tuple, list)) or not (value if endless else len(value) == len(parts)):
        return "one value or more" if endless else f"{len(parts)} values"
    for part, one in zip([parts[0]] * len(value) if endless else parts, value):
        if (wanted := _expected(part, one)) is not None:
            return f"each to be {wanted}"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
