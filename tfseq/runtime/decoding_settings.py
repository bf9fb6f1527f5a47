"""Run-time decoding settings of an exported file: names, defaults and range checks."""

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.printable import shown
from tfseq.runtime.setting import Setting

INT32 = np.iinfo(np.int32)
MAX_LENGTH = 200  # where neither the caller nor the file says anything

# Of files that do not say it themselves; newer ones describe their settings.
_KNOWN: dict[str, dict[str, Any]] = {
    "min_length": {"neutral": 0, "low": 0},
    "temperature": {"neutral": 1.0, "low": 0},
    "top_k": {"neutral": 0, "low": 0},
    "top_p": {"neutral": 1.0, "low": 0, "high": 1, "above": True},
    "seed": {"neutral": 0},
    "length_penalty": {"neutral": 1.0},
    "repetition_penalty": {"neutral": 1.0, "low": 0, "above": True},
}
_LENGTHS = ("max_length", "new_tokens")  # the first files that tfseq wrote say new_tokens


def setting_specs(manifest: Manifest) -> dict[str, TensorSpec]:
    """The settings among the inputs of a generation graph: its scalars but for lengths, positions and states."""
    other = {*_LENGTHS, "position", "index", *(state.input for state in manifest.states)}
    return {spec.name: spec for spec in manifest.inputs if spec.shape == () and spec.name not in other}


def described_settings(manifest: Manifest) -> dict[str, Setting]:
    """What the file, or else this version, knows of each setting, by name.

    Raises:
        ArtefactError: the file describes a setting in a way that can't be read.
    """
    decoding = manifest.decoding or {}
    described = decoding.get("settings") or {}
    if not isinstance(described, Mapping):
        raise ArtefactError("The manifest is damaged: its settings are no JSON object.")
    found = {}
    for name, spec in setting_specs(manifest).items():
        known = described.get(name, _KNOWN.get(name, {}))
        setting = Setting.from_json(name, {"dtype": spec.dtype, **known} if isinstance(known, Mapping) else known, None)
        found[name] = replace(setting, default=decoding.get(name, setting.neutral))
    return found


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
    specs, described = setting_specs(manifest), described_settings(manifest)
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in specs:
            has = ", ".join(["max_length", *specs])
            strategy = (manifest.decoding or {}).get("strategy")
            fixed = f" It was exported with the strategy {strategy!r}." if strategy else ""
            raise InputError(f"This file has no setting {shown(name)}; it has {has}.{fixed}")
    values = {}
    for name, spec in specs.items():
        value = given.get(name, described[name].default)
        if value is None:
            raise InputError(f"The setting {name!r} has no default; give it: {spec}.")
        values[name] = checked_setting(name, value, spec.dtype, described[name])
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


def checked_setting(name: str, value: Any, to: str, setting: Setting) -> Any:
    """A value of a setting as a scalar of the type `to`.

    Raises:
        InputError: it is none, or out of range.
    """
    dtype = np.dtype(to)
    low, high, inclusive = setting.low, setting.high, not setting.above
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return dtype.type(_whole(name, value, int(max(low, info.min)), int(min(high, info.max))))
    number = _number(value, dtype)
    if number is None:
        raise InputError(f"{name} is {shown(value)}; expected {_range(low, high, inclusive)}.")
    if not (np.isfinite(number) and low <= number <= high and (inclusive or number != low)):
        raise InputError(f"{name} is {number:g}; expected {_range(low, high, inclusive)}.")
    return number


def _number(value: Any, dtype: np.dtype) -> Any:
    """A number as a scalar of a float type; None if it is none, or one without an end."""
    try:
        array = np.asarray(value)
        if array.ndim or array.dtype.kind not in "fiub":
            return None
        with np.errstate(over="ignore"):
            return dtype.type(array)
    except Exception:  # whatever an object's own conversion raises
        return None


def _range(low: float, high: float, inclusive: bool) -> str:
    ends = [] if low == -math.inf else [f"{low:g} or more" if inclusive else f"more than {low:g}"]
    ends += [] if high == math.inf else [f"{high:g} at most"]
    return "a number" + "".join(f", {end}" for end in ends)


def _whole(name: str, value: Any, low: float, high: float) -> int:
    try:
        number = operator.index(value)
    except Exception:  # whatever an object's own conversion raises
        raise InputError(f"{name} is {shown(value)}; expected a whole number.") from None
    if not low <= number <= high:
        raise InputError(f"{name} is {shown(number)}; expected {low} to {high}.")
    return number
