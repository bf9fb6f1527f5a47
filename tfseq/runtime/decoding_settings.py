"""Run-time decoding settings of an exported file: names, defaults and range checks."""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfseq.errors import InputError
from tfseq.runtime.manifest import Manifest, TensorSpec

INT32 = np.iinfo(np.int32)
MAX_LENGTH = 200  # where neither the caller nor the file says anything

# the neutral value of a setting, and its range: lowest, highest, whether the lowest is included
_KNOWN: dict[str, tuple[float, float, float, bool]] = {
    "min_length": (0, 0, INT32.max, True),
    "temperature": (1.0, 0, math.inf, True),
    "top_k": (0, 0, INT32.max, True),
    "top_p": (1.0, 0, 1, False),
    "seed": (0, INT32.min, INT32.max, True),
    "length_penalty": (1.0, -math.inf, math.inf, False),
    "repetition_penalty": (1.0, 0, math.inf, False),
}
_LENGTHS = ("max_length", "new_tokens")  # the first files that tfseq wrote say new_tokens


def setting_specs(manifest: Manifest) -> dict[str, TensorSpec]:
    """The settings among the inputs of a generation graph: its scalars but for lengths, positions and states."""
    other = {*_LENGTHS, "position", "index", *(state.input for state in manifest.states)}
    return {spec.name: spec for spec in manifest.inputs if spec.shape == () and spec.name not in other}


def length_name(inputs: Iterable[TensorSpec]) -> str:
    """What a generation graph calls the number of new tokens."""
    names = {spec.name for spec in inputs}
    return next((name for name in _LENGTHS if name in names), _LENGTHS[0])


def checked_settings(manifest: Manifest, given: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each setting: the given one, or else the file's default.

    Args:
        manifest: of the file.
        given: values by name; None stands for the file's default.

    Returns:
        scalars of the types that the graph takes.

    Raises:
        InputError: the file has no such setting, or a value is out of range.
    """
    specs = setting_specs(manifest)
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in specs:
            has = ", ".join(["max_length", *specs])
            strategy = (manifest.decoding or {}).get("strategy")
            fixed = f" It was exported with the strategy {strategy!r}." if strategy else ""
            raise InputError(f"This file has no setting {name!r}; it has {has}.{fixed}")
    defaults = {name: known[0] for name, known in _KNOWN.items()} | dict(manifest.decoding or {})
    values = {}
    for name, spec in specs.items():
        value = given.get(name, defaults.get(name))
        if value is None:
            raise InputError(f"The setting {name!r} has no default; give it: {spec}.")
        values[name] = _checked(name, value, np.dtype(spec.dtype))
    return values


def checked_length(manifest: Manifest, max_length: Any, already: int = 0) -> int:
    """The number of new tokens, at most; None is the file's default, or less where the model has no more positions.

    Args:
        manifest: of the file.
        max_length: as the caller gave it.
        already: tokens that the model has read or will have read before it writes, a prompt or a start token.

    Raises:
        InputError: it is no whole number, or out of range; the model has too few positions.
    """
    positions = (manifest.decoding or {}).get("max_positions")
    room = INT32.max if positions is None else positions - already + 1  # the last token is written and not read
    if room < 1:
        raise InputError(f"The text has {already} tokens; this model reads {positions} at most.")
    if max_length is None:
        return min(_whole("max_length", (manifest.decoding or {}).get("max_length", MAX_LENGTH), 0, INT32.max), room)
    length = _whole("max_length", max_length, 0, INT32.max)
    if length > room:
        raise InputError(
            f"max_length is {length}; after {already} tokens there is room for {room}, as this model reads {positions}."
        )
    return length


def _checked(name: str, value: Any, dtype: np.dtype) -> Any:
    _, low, high, inclusive = _KNOWN.get(name, (0, -math.inf, math.inf, False))
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(_whole(name, value, max(low, info.min), min(high, info.max)))
    try:
        with np.errstate(over="ignore"):
            number = dtype.type(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, str):
        raise InputError(f"{name} is {value!r}; expected {_range(low, high, inclusive)}.")
    if not (np.isfinite(number) and low <= number <= high and (inclusive or number != low)):
        raise InputError(f"{name} is {number:g}; expected {_range(low, high, inclusive)}.")
    return number


def _range(low: float, high: float, inclusive: bool) -> str:
    ends = [] if low == -math.inf else [f"{low:g} or more" if inclusive else f"more than {low:g}"]
    ends += [] if high == math.inf else [f"{high:g} at most"]
    return "a number" + "".join(f", {end}" for end in ends)


def _whole(name: str, value: Any, low: float, high: float) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; expected a whole number.") from None
    if not low <= number <= high:
        raise InputError(f"{name} is {number}; expected {low} to {high}.")
    return number
