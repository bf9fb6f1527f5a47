"""A manifest as a text table, as `tfseq inspect` and `str(manifest)` show it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfseq.runtime.printable import printable

Rows = list[Sequence[str]]
_TASKS = {
    "predict": "predict: arrays in, arrays out",
    "generate": "generate: {} out",
    "stream_generate": "stream_generate: {} out, token by token",
}


def describe(manifest: Any, size: int | None = None) -> str:
    """An aligned table: task, signature, tokenizer, decoding defaults, operators, size, parity and provenance.

    Args:
        manifest: a `Manifest`, whose class imports this module.
        size: of its .onnx file, in bytes; None leaves it out.
    """
    sections: list[tuple[str, Rows]] = [
        ("name", [[manifest.name]]),
        ("task", [[_task(manifest)]]),
        ("inputs", _signature(manifest.inputs)),
        ("sound", [] if manifest.sampling_rate is None else [[f"{manifest.sampling_rate} samples a second"]]),
        ("outputs", _signature(manifest.outputs)),
        ("states", [_carried(state) for state in manifest.states]),
        ("tokenizer", [[_tokenizer(manifest.tokenizer)]]),
        ("labels", [[_labels(manifest.labels)]] if manifest.labels else []),
        ("decoding", [[_decoding(manifest.decoding)]]),
        ("settings", _settings(manifest.decoding)),
        ("operators", _operators(manifest.operators, manifest.opset)),
        ("notes", [[note] for note in manifest.notes]),
        ("size", [] if size is None else [[_size(size, manifest.external_data)]]),
        ("weights", _beside(manifest.external_data)),
        ("graph", [] if manifest.graph_sha256 is None else [["sha256:", manifest.graph_sha256]]),
        ("quantized", _quantization(manifest.quantization)),
        ("parity", _parity(manifest.parity, of_original=manifest.quantization is not None)),
        ("provenance", _flatten(manifest.provenance)),
    ]
    return "\n".join(_lines(sections))


def _task(manifest: Any) -> str:
    in_and_out = "a prompt in, its continuation" if manifest.continues_prompts else "a source in, its answer"
    if manifest.takes_prefix:
        in_and_out = "a source and a prompt in, what follows"
    return _TASKS[manifest.task].format(in_and_out)


def _size(size: int, external: Any) -> str:
    if external is None:
        return f"{size / 1e6:.2f} MB"
    return f"{(size + external.bytes) / 1e6:.2f} MB, {size / 1e6:.2f} of them without {external.file}"


def _beside(external: Any) -> Rows:
    if external is None:
        return []
    return [["file:", external.file], ["size:", f"{external.bytes / 1e6:.2f} MB"], ["sha256:", external.sha256]]


def _labels(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more


_NAMED = 12


def describe_parity(parity: Mapping[str, Any] | None) -> str:
    """The same table's rows about parity.

    Args:
        parity: a report as `Manifest.parity` has it.
    """
    return "\n".join(_lines([("parity", _parity(parity))]))


def describe_quantization(quantization: Mapping[str, Any]) -> str:
    """The same table's rows about a quantized file.

    Args:
        quantization: a record as `Manifest.quantization` has it.
    """
    return "\n".join(_lines([("quantized", _quantization(quantization))]))


def _quantization(record: Mapping[str, Any] | None) -> Rows:
    if record is None:
        return []
    weights, size, speed, gate = record["weights"], record["bytes"], record["milliseconds"], record["gate"]
    operators = "com.microsoft's operators beside standard ones" if record["contrib"] else "standard operators"
    to, block = record["to"], record.get("block_size")
    multiplied = f"multiplied as {to} in blocks of {block}" if block else "multiplied as integers"
    parts = {multiplied: weights["multiplied"], "only stored so" if block else f"stored as {to}": weights["stored"]}
    became = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    before, after = size["before"], size["after"]
    rows: Rows = [
        [f"to {record['to']}, {operators}"],
        ["weights:", f"{became}, {weights['kept']:,} in float32"],
        ["size:", f"{before / 1e6:.2f} MB -> {after / 1e6:.2f} MB, {before / max(after, 1):.1f} times smaller"],
        [
            "speed:",
            f"{speed['before']:.3g} ms -> {speed['after']:.3g} ms, {speed['faster']:.2f} times as fast "
            f"({speed['low']:.2f} to {speed['high']:.2f} in {speed['rounds']} rounds) at {speed['of']}",
        ],
    ]
    for score in record["scores"]:
        text = f"{score['what']} {score['before']:.4g} -> {score['after']:.4g}"
        if score["metric"] == gate["metric"]:
            text += f", lost {score['loss']:.3g} (at most {gate['tolerance']:g})"
        rows.append([f"{score['metric'].replace('_', ' ')}:", text])
    return [*rows, ["measured:", f"on {record['data']}"]]


def _parity(parity: Mapping[str, Any] | None, of_original: bool = False) -> Rows:
    if parity is None:
        return [["not verified"]]
    by = ", by the float32 original" if of_original else ""
    rows: Rows = [["passed" + by if parity.get("passed") else "FAILED" + by]]
    for check in parity.get("checks", ()):
        rows.append(
            [f"{check.get('name', '?')}:", f"{check.get('of', '?')} = {check.get('against', '?')}", _result(check)]
        )
    return rows


def _result(check: Mapping[str, Any]) -> str:
    parts = ["FAILED"] if _fails(check) else []
    if "sequences" in check:
        parts.append(f"{check.get('identical')} of {check['sequences']} sequences identical")
    if check.get("ties"):
        parts.append(f"{check['ties']} part at a tie")
    if "worst_absolute" in check:
        parts.append(f"worst error {check['worst_absolute']:.1e}")
    if "worst_relative" in check:
        tolerance = check.get("tolerance")
        limit = "" if tolerance is None else f" (at most {tolerance:.0e})"
        parts.append(f"relative {check['worst_relative']:.1e}{limit}")
    elif "tolerance" in check:
        parts.append(f"relative error at most {check['tolerance']:.0e}")
    if "cases" in check:
        parts.append(f"{check['cases']} cases" + (f" ({check['on']})" if check.get("on") else ""))
    if check.get("where"):
        parts.append(f"first at {check['where']}" if "sequences" in check else f"at {check['where']}")
    return ", ".join(parts)


def _fails(check: Mapping[str, Any]) -> bool:
    if "sequences" in check:
        return check.get("identical", 0) + check.get("ties", 0) < check["sequences"]
    return not check.get("worst_relative", 0) <= check.get("tolerance", float("inf"))


def _carried(state: Any) -> list[str]:
    start = "from learned values" if isinstance(state.initial, list) else f"from {state.initial}"
    return [state.output, "->", state.input, start]


def _signature(specs: Iterable[Any]) -> Rows:
    return [[spec.name, spec.dtype, f"({', '.join(map(str, spec.shape))})"] for spec in specs]


def _tokenizer(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "none"
    symbols = value.get("symbols")
    if isinstance(symbols, Sequence):
        return f"{value.get('kind')}, {len(symbols)} symbols"
    words = value.get("words")
    if isinstance(words, Sequence):
        return f"{value.get('kind')}, {len(words):,} tokens by {value.get('split')}"
    try:
        model = json.loads(value["json"])["model"]
        return f"{value.get('kind')}, {model['type']} of {len(model['vocab']):,} tokens"
    except (KeyError, TypeError, ValueError, RecursionError):
        return str(value.get("kind"))


def _decoding(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "none"
    apart = ("strategy", "rules", "settings")
    settings = [f"{name} {setting}" for name, setting in value.items() if name not in apart and setting is not None]
    return ", ".join([str(value.get("strategy")), *settings, *map(_rule, value.get("rules") or ())])


def _rule(value: Mapping[str, Any]) -> str:
    """A rule with what it holds, but for tables."""
    shown = {name: part for name, part in value.items() if name != "rule" and len(str(part)) <= _LONGEST}
    if "described" in value:
        shown = {"": _cut(str(value["described"]))}
    return " ".join([str(value.get("rule")), *(f"{name} {part}".strip() for name, part in shown.items())])


def _cut(text: str) -> str:
    return text if len(text) <= 2 * _LONGEST else text[: 2 * _LONGEST - 3] + "..."


_LONGEST = 40  # characters of what is shown of a rule


def _settings(decoding: Mapping[str, Any] | None) -> Rows:
    """Each setting that the file describes: its default, its range, what it does."""
    described = (decoding or {}).get("settings")
    if decoding is None or not isinstance(described, Mapping):
        return []
    return [
        [name, str(decoding.get(name)), _range(spec), str(spec.get("description", ""))]
        for name, spec in described.items()
        if isinstance(spec, Mapping)
    ]


def _range(spec: Mapping[str, Any]) -> str:
    low, high = spec.get("low"), spec.get("high")
    whole = spec.get("dtype") == "int32"
    if whole and high == 2**31 - 1:
        low, high = None if low == -(2**31) else low, None
    ends = [] if low is None else [f"above {low:g}" if spec.get("above") else f"from {low:g}"]
    ends += [] if high is None else [f"to {high:g}"]
    return " ".join(ends) or ("any whole number" if whole else "any number")


def _operators(counts: Mapping[str, int], opset: int) -> Rows:
    if not counts:  # a SavedModel
        return []
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    listed = [f"{name} {count}" for name, count in by_count]
    rows: Rows = [[f"{sum(counts.values())} of opset {opset}"]]
    rows += [["  ".join(listed[i : i + 6])] for i in range(0, len(listed), 6)]
    return rows


def _flatten(value: Mapping[str, Any], prefix: str = "") -> Rows:
    rows: Rows = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            rows += _flatten(item, f"{prefix}{key}.")
        elif item is not None:
            rows.append([f"{prefix}{key}", f"{item:,}" if type(item) is int else str(item)])
    return rows


def _lines(sections: Iterable[tuple[str, Rows]]) -> Iterable[str]:
    for title, rows in sections:
        for i, line in enumerate(_align([[printable(cell) for cell in row] for row in rows])):
            yield f"{title if i == 0 else '':12}{line}".rstrip()


def _align(rows: Rows) -> list[str]:
    """Rows of cells with their columns lined up; a row of one cell is a sentence that no column waits for."""
    cells = [row for row in rows if len(row) > 1]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))] if cells else []
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() if len(row) > 1 else row[0]
        for row in rows
    ]
