"""Settings as fields: `setting` declares one, `Configured` checks, lists and replaces those of a strategy or a rule."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.setting import Setting

INT32 = np.iinfo(np.int32)
TAKEN = ("max_length", "new_tokens", "position", "index", "tokens", "prompt", "prompt_length", "start", "end")


def setting(
    default: float,
    description: str = "",
    *,
    neutral: float | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    above: bool = False,
    optional: bool = False,
    hint: str = "",
    tried: Sequence[float] = (),
) -> Any:
    """A dataclass field that is an input of the exported graph, () int32 or float32 by the type of `default`.

    Its name, range and description go into the file, so that every client knows them.

    Args:
        default: where a call leaves it out.
        description: what it does, in a few words.
        neutral: the value at which it does nothing.
        low, high: the smallest and the largest value.
        above: whether it has to be larger than `low`.
        optional: leaves it out of graphs whose strategy has it at `neutral`, which then pay nothing for it.
        hint: what a message says behind the range, such as "0 is greedy".
        tried: values that an export is verified with; some of its range if ().
    """
    dtype = "int32" if is_integer(default) else "float32"
    if dtype == "int32":
        low, high = max(low, INT32.min), min(high, INT32.max)
    spec = Setting(default, dtype, neutral, low, high, above, description)
    return field(default=default, metadata={"setting": spec, "optional": optional, "hint": hint, "tried": tried})


class Configured:
    """A frozen dataclass whose fields are run-time settings, made by `setting`, or fixed in a traced loop.

    Attributes:
        NAME: in manifests; a class that does not say has its own name, in small letters.
    """

    NAME: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "NAME" not in vars(cls):
            cls.NAME = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self):
        for name, declared in _declared(type(self)).items():
            _check(name, getattr(self, name), declared["setting"], declared["hint"])

    @property
    def own_settings(self) -> dict[str, float]:
        """Every run-time setting by name, as it is by default."""
        return {name: getattr(self, name) for name in _declared(type(self))}

    @property
    def read_settings(self) -> dict[str, Setting]:
        """Those that a traced loop reads, in order: all but optional ones that are neutral."""
        values = self.own_settings
        return {
            name: replace(declared["setting"], default=values[name])
            for name, declared in _declared(type(self)).items()
            if not (declared["optional"] and values[name] == declared["setting"].neutral)
        }

    @property
    def fixed_fields(self) -> dict[str, Any]:
        """What is no run-time setting, by name."""
        declared = _declared(type(self))
        return {each.name: getattr(self, each.name) for each in fields(cast(Any, self)) if each.name not in declared}

    @property
    def fixed(self) -> tuple:
        """What a traced loop holds; all else is read at run time."""
        return type(self), *self.fixed_fields.values(), tuple(self.read_settings)

    def tried(self, name: str) -> Sequence[float]:
        """Values of a setting to verify an export with; () for any integer."""
        declared = _declared(type(self))[name]
        values = declared["tried"] or _some_values(declared["setting"])
        return [value for value in values if not (declared["optional"] and value == declared["setting"].neutral)]

    def to_json(self) -> dict[str, Any]:
        """Fields of JSON's own types, by name; a class with others writes and reads them itself."""
        values = {**self.fixed_fields, **self.own_settings}
        return {name: None if value == math.inf else value for name, value in values.items()}  # JSON has no infinity

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`; a field that is not there has its default.

        Raises:
            ArtefactError: a value that can't be.
        """
        given = {each.name: value[each.name] for each in fields(cast(Any, cls)) if each.name in value}
        given |= {name: math.inf for name, part in given.items() if part is None}
        given |= {name: tuple(part) for name, part in given.items() if isinstance(part, list)}
        try:
            return cls(**given)
        except (InputError, TypeError) as error:
            raise ArtefactError(f"The manifest's {cls.NAME} is damaged: {error}") from None


def _declared(kind: Any) -> dict[str, Mapping[str, Any]]:
    """What `setting` said of each run-time setting of a class, by name; optional ones last."""
    found = {each.name: each.metadata for each in fields(kind) if "setting" in each.metadata}
    return dict(sorted(found.items(), key=lambda item: item[1]["optional"]))


def find_class(base: type[Configured], name: str) -> type[Configured] | None:
    """The class of that NAME among those derived from `base`: tfseq's own, or else the one defined last."""
    found, kinds = None, [base]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind is not base and name == kind.NAME and not (found and found.__module__.startswith("tfseq.")):
            found = kind
    return found


def _check(name, value, spec, hint):
    if spec.dtype == "int32":
        require_integer(name, value, int(spec.low), int(spec.high))
        return
    inside = is_number(value) and math.isfinite(value) and spec.low <= value <= spec.high
    if not inside or (spec.above and value == spec.low):
        ends = [] if spec.low == -math.inf else [f"above {spec.low:g}" if spec.above else f"of at least {spec.low:g}"]
        ends += [] if spec.high == math.inf else [f"up to {spec.high:g}"]
        expected = " ".join(["a number", " and ".join(ends)]).rstrip()
        raise InputError(f"{name} is {value!r}; expected {expected}{f' ({hint})' if hint else ''}.")


def _some_values(spec: Setting) -> Sequence[float]:
    """Of a setting's range, beside its default: what it is neutral at, and others."""
    if spec.dtype == "int32" and (spec.low, spec.high) == (INT32.min, INT32.max):
        return ()  # such as a seed
    assert spec.default is not None
    if math.isfinite(spec.high - spec.low) and spec.high < INT32.max:
        others = [spec.low + part * (spec.high - spec.low) for part in (0.25, 0.5, 0.75)]
    else:
        others = [spec.default * factor + (factor > 1) for factor in (0.5, 2, 3)]
    others = [min(max(value, spec.low), spec.high) for value in others]
    kept = [value for value in others if not (spec.above and value == spec.low)]
    values = [spec.default, *([] if spec.neutral is None else [spec.neutral]), *kept]
    return [int(value) for value in values] if spec.dtype == "int32" else values


def require_integer(name: str, value: object, lowest: int, highest: int = INT32.max) -> None:
    if not is_integer(value) or not lowest <= value <= highest:  # type: ignore[operator]
        if (lowest, highest) == (INT32.min, INT32.max):
            expected = "an integer that fits 32 bits"
        elif highest == INT32.max:
            expected = f"an integer of at least {lowest}"
        else:
            expected = f"an integer from {lowest} to {highest}"
        raise InputError(f"{name} is {value!r}; expected {expected}.")


def is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
