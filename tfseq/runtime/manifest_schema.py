"""What a manifest is, field by field: the kinds of its values, and what one field has to do with another.

`clients/js/src/manifest.js` has the same description.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfseq.errors import ArtefactError
from tfseq.runtime.printable import shown
from tfseq.runtime.schema import Anything, Either, Flag, Kind, ListOf, MapOf, Number, OrNone, Record, Text, Whole

TASKS = ("predict", "generate", "stream_generate")
WIDTHS = {
    **{"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4, "uint32": 4, "float32": 4},
    **{"int64": 8, "uint64": 8, "float64": 8, "string": 8},
}  # bytes of an element
MOST_STATE = 2**30  # bytes that the states of one row may have before the first chunk
_TOKEN = Whole(0, 2**31 - 1)
_COUNT = Whole(0)
_AXIS = Either(Whole(0, 2**31 - 1), Text(1))
_TENSOR = Record({"name": Text(1), "dtype": Text(among=tuple(WIDTHS)), "shape": ListOf(_AXIS, most=32)})
_STATE = Record({"input": Text(1), "output": Text(1), "initial": Either(Number(), ListOf(Anything()))})
_SETTING = Record(
    {},
    {
        **{"dtype": Text(among=("float32", "int32", "float64", "int64")), "above": Flag(), "description": Text()},
        **dict.fromkeys(("neutral", "low", "high"), OrNone(Number(nan=False))),
    },
)
_DECODING = Record(
    {},
    {
        "strategy": Text(),
        "rules": OrNone(ListOf(Record({}, {"rule": Text()}))),
        "start": OrNone(_TOKEN),
        "end": OrNone(Either(_TOKEN, ListOf(_TOKEN))),
        "max_positions": OrNone(Whole(1, 2**31 - 1)),
        "max_length": OrNone(Whole(0, 2**31 - 1)),
        "settings": OrNone(MapOf(_SETTING)),
    },
)
_CHECK = Record(
    {},
    {
        **dict.fromkeys(("name", "of", "against", "where", "on"), Text()),
        **dict.fromkeys(("cases", "sequences", "identical", "ties"), _COUNT),
        **dict.fromkeys(("worst_absolute", "worst_relative"), Number()),
        "tolerance": OrNone(Number()),
    },
)
_BEFORE_AND_AFTER: dict[str, Kind] = {"before": Number(), "after": Number()}
_SPEED = Record(
    {**_BEFORE_AND_AFTER, **dict.fromkeys(("faster", "low", "high"), Number()), "rounds": _COUNT, "of": Text()}
)
_QUANTIZATION = Record(
    {
        "to": Text(),
        "weights": Record(dict.fromkeys(("multiplied", "stored", "kept"), _COUNT)),
        "bytes": Record({"before": _COUNT, "after": _COUNT}),
        "milliseconds": _SPEED,
        "gate": Record({"metric": Text(), "tolerance": Number()}),
        "scores": ListOf(Record({"what": Text(), "metric": Text(), "loss": Number(), **_BEFORE_AND_AFTER})),
        "contrib": Flag(),
        "data": Text(),
    },
    {"block_size": OrNone(_COUNT)},
)
MANIFEST = Record(
    {
        "format": Whole(1),
        "name": Text(),
        "task": Text(among=TASKS),
        "inputs": ListOf(_TENSOR, least=1),
        "outputs": ListOf(_TENSOR, least=1),
        "operators": MapOf(_COUNT),
        "opset": Whole(0, 10**6),
    },
    {
        "tokenizer": OrNone(Record({"kind": Text()})),
        "labels": OrNone(ListOf(Text())),
        "decoding": OrNone(_DECODING),
        "provenance": OrNone(MapOf(Anything())),
        "states": OrNone(ListOf(_STATE)),
        "notes": OrNone(ListOf(Text())),
        "parity": OrNone(Record({"passed": Flag()}, {"checks": ListOf(_CHECK)})),
        "quantization": OrNone(_QUANTIZATION),
        "external_data": Anything(),  # `ExternalData.from_json` describes it
        "vocabulary_sizes": OrNone(MapOf(Whole(1))),
        "sampling_rate": OrNone(Whole(1, 2**31 - 1)),
        "graph_sha256": OrNone(Text(1)),
    },
)


def check_manifest(value: Mapping[str, Any]) -> None:
    """Whether each field is what it has to be, and they go together; the graph is not looked at.

    Args:
        value: a manifest as JSON.

    Raises:
        ArtefactError: it is something else.
    """
    MANIFEST.check(value, "")
    inputs = {spec["name"]: spec for spec in value["inputs"]}
    outputs = {spec["name"]: spec for spec in value["outputs"]}
    for side, by_name in (("inputs", inputs), ("outputs", outputs)):
        if len(by_name) < len(value[side]):
            raise _damaged(f"two of its {side} have one name")
    _check_states(value.get("states") or (), inputs, outputs)
    _check_labels(value.get("labels") or (), value["outputs"][0])
    _check_generation(value, inputs, outputs)
    unknown = [name for name in value.get("vocabulary_sizes") or () if name not in inputs]
    if unknown:
        raise _damaged(f"vocabulary_sizes names the input {shown(unknown[0])}, which it lacks")


def _check_states(states: Sequence[Any], inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    size = 0
    for side, known in (("input", inputs), ("output", outputs)):
        names = [state[side] for state in states]
        for name in names:
            if name not in known or names.count(name) > 1:
                raise _damaged(f"a state has the {side} {shown(name)}; expected one of its {side}s, once each")
    for state in states:
        spec = inputs[state["input"]]
        if spec["dtype"] == "string":
            raise _damaged(f"the state {shown(state['input'])} is text; expected numbers")
        shape = [axis if isinstance(axis, int) else 1 for axis in spec["shape"]]
        size += math.prod(shape) * WIDTHS[spec["dtype"]]
        if size > MOST_STATE:
            raise _damaged(f"its states have more than {MOST_STATE:,} bytes for each row")
        if not _fits(state["initial"], spec["shape"][1:] if spec["shape"] else []):
            raise _damaged(f"the state {shown(state['input'])} begins with {shown(state['initial'])}; expected numbers")


def _fits(initial: Any, shape: Sequence[Any]) -> bool:
    """Whether it is a number, or nested lists of numbers that are as many as each axis has, or 1."""
    if not isinstance(initial, list | tuple):
        return isinstance(initial, int | float) and abs(initial) < 2**63
    axes = _axes(initial)
    if axes is None or len(axes) > len(shape):
        return False
    return all(size in (1, axis) or isinstance(axis, str) for size, axis in zip(axes[::-1], shape[::-1]))


def _axes(value: Any) -> list[int] | None:
    """The sizes of nested lists of numbers; None if they are ragged, or hold something else."""
    if not isinstance(value, list | tuple):
        return [] if isinstance(value, int | float) and abs(value) < 2**63 else None
    inner = [_axes(each) for each in value]
    if not inner or inner[0] is None or any(axes != inner[0] for axes in inner):
        return None
    return [len(value), *inner[0]]


def _check_labels(labels: Sequence[str], output: Mapping[str, Any]) -> None:
    if not labels:
        return
    classes = output["shape"][-1] if output["shape"] else 0
    if isinstance(classes, int) and classes != len(labels) and (classes, len(labels)) != (1, 2):
        raise _damaged(f"it names {len(labels)} classes; its output {shown(output['name'])} has {classes}")


# Of outputs, names and axes; lengths count tokens.
_WRITTEN = {"generate": {"tokens": 2}, "stream_generate": {"log_probability": 1}}


def _check_generation(value: Mapping[str, Any], inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
    task = value["task"]
    if task == "predict":
        return
    for name, axes in _WRITTEN[task].items():
        if name not in outputs or len(outputs[name]["shape"]) != axes:
            raise _damaged(f"it has no output {name!r} of {axes} axes, which files for {task} have")
    if task == "stream_generate" and len(value["inputs"][0]["shape"]) not in (1, 2):
        raise _damaged("its first input takes no tokens, of 1 or 2 axes")
    for name in ("tokens", "lengths"):
        if name in outputs and task == "generate" and outputs[name]["dtype"] not in ("int32", "int64"):
            raise _damaged(f"its output {name!r} is {outputs[name]['dtype']}; expected int32")
    decoding = value.get("decoding") or {}
    for name, spec in inputs.items():
        default = decoding.get(name)
        if spec["shape"]:
            continue
        if spec["dtype"] in ("string", "bool"):
            raise _damaged(f"its setting {shown(name)} is a {spec['dtype']}; expected a number")
        if default is not None:
            Number().check(default, f"decoding.{name}")


def _damaged(what: str) -> ArtefactError:
    return ArtefactError(f"The manifest is damaged: {what}.")
