"""`Setting`, what a run-time decoding setting is: its type, default, neutral value, range and description."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tfseq.errors import ArtefactError
from tfseq.runtime.printable import shown


@dataclass(frozen=True)
class Setting:
    """A number that a file that generates takes at each call.

    Attributes:
        default: what it is where a call leaves it out; None if it has to be given.
        dtype: "float32" or "int32".
        neutral: the value at which it does nothing; None if there is none, or it is not known.
        low, high: the smallest and the largest value.
        above: whether it has to be larger than `low`.
        description: what it does, in a few words.
    """

    default: float | None
    dtype: str = "float32"
    neutral: float | None = None
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        """As manifests hold it: without the default, which stands beside it, and without what is not limited."""
        value = {name: part for name, part in asdict(self).items() if part != _DEFAULTS.get(name)}
        del value["default"]
        return {"dtype": self.dtype, **value}

    @classmethod
    def from_json(cls, name: str, value: Any, default: float | None) -> "Setting":
        """The inverse of `to_json`; keys that this version does not know are ignored.

        Raises:
            ArtefactError: `value` does not describe a setting.
        """
        if not isinstance(value, Mapping):
            raise ArtefactError(f"The manifest is damaged: it describes the setting {name!r} as {shown(value)}.")
        known = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        for part, kinds in _TYPES.items():
            given = known.get(part)
            if part in known and (not isinstance(given, kinds) or (isinstance(given, bool) and kinds is not bool)):
                raise ArtefactError(f"The manifest is damaged: {part} of the setting {name!r} is {shown(given)}.")
        return cls(**{**known, "default": default})


_DEFAULTS = {field.name: field.default for field in fields(Setting)}
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("neutral", "low", "high"), (int, float)),
    **dict.fromkeys(("dtype", "description"), str),
    "above": bool,
}
