"""Results kept in a folder, and the tables and the picture made from them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.rnn_vs_transformer.contestants import LARGE, NAMES, Results
from benchmarks.rnn_vs_transformer.memory import score_matrices
from benchmarks.rnn_vs_transformer.recall import TASK
from tfseq.analysis.palette import BLACK, BLUE, GREEN, ORANGE, PINK, RED

COLORS = {"lstm": BLUE, "gru": GREEN, "rnn": ORANGE, "irnn": PINK, "transformer": RED}
MARKERS = {"lstm": "o", "gru": "^", "rnn": "D", "irnn": "v", "transformer": "s"}
WAYS = {"recall": "from scratch", "beyond": "trained at the shortest length", "curriculum": "length by length"}
RATIO = "Transformer / LSTM"


def add(results: Results, path: Path) -> None:
    """Puts results beside, or in the place of, those that the file has."""
    everything = load(path)
    for name, by_length in results.items():
        everything[name] = everything.get(name, {}) | by_length
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(everything), encoding="utf-8")


def load(path: Path) -> Results:
    """What was kept; nothing where there is no file."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: {int(length): runs for length, runs in by_length.items()} for name, by_length in found.items()}


def tables(found: Mapping[str, Results]) -> dict[str, str]:
    """Markdown by part; cells hold the median of the rounds, and their lowest and highest."""
    made = {
        "throughput": _throughput(found["throughput"]),
        "generation": _generation(found["generation"]),
        "memory": _memory(found["training"], found["forward"]),
        "recall": _recall({way: found[part] for part, way in WAYS.items()}),
    }
    return {part: table for part, table in made.items() if table}


def _throughput(results: Results) -> str:
    rows = [
        [f"{length:,}", *_of_everyone(results, length, ",.0f"), _ratio(results, length)] for length in _lengths(results)
    ]
    return _table(["length", *(f"{NAMES[name]}, tokens/s" for name in results), RATIO], rows)


def _generation(results: Results) -> str:
    rows = [
        [
            f"{length:,}",
            *_of_everyone(results, length, ".3f"),
            _ratio(results, length),
            *(f"{state_bytes(name, length) / 1e3:,.1f}" for name in results),
        ]
        for length in _lengths(results)
    ]
    header = ["tokens", *(f"{NAMES[name]}, ms" for name in results), RATIO]
    return _table([*header, *(f"state of {NAMES[name]}, kB" for name in results)], rows)


def state_bytes(name: str, length: int) -> int:
    """Of what is kept between two decode steps, float32: h and c, or the KV cache of `length` tokens."""
    if name == "transformer":
        return 4 * LARGE.depth * 2 * length * LARGE.units
    return 4 * LARGE.depth * (2 if name == "lstm" else 1) * LARGE.recurrent_units[name]


def _memory(training: Results, forward: Results) -> str:
    kinds = (("training step", training), ("forward pass", forward))
    rows = [
        [
            f"{length:,}",
            f"{score_matrices(length):,.2f}",
            *(cell for _, results in kinds for cell in _of_everyone(results, length, ",.1f")),
        ]
        for length in sorted({*_lengths(training), *_lengths(forward)})
    ]
    titles = [f"{NAMES[name]}, {kind}, MB" for kind, results in kinds for name in results]
    return _table(["length", "scores of one layer, computed, MB", *titles], rows)


def _recall(found: Mapping[str, Results]) -> str:
    lengths = sorted({length for results in found.values() for length in _lengths(results)})
    rows = [
        [f"{length:,}", *(cell for results in found.values() for cell in _of_everyone(results, length, ".1%"))]
        for length in lengths
    ]
    return _table(["length", *(f"{NAMES[name]}, {way}" for way, results in found.items() for name in results)], rows)


def _lengths(results: Results) -> list[int]:
    return sorted({length for by_length in results.values() for length in by_length})


def _of_everyone(results: Results, length: int, form: str) -> list[str]:
    return [_spread(by_length.get(length, []), form) for by_length in results.values()]


def _ratio(results: Results, length: int) -> str:
    """Taken round by round; nothing where one of the two could not run."""
    above, below = (results.get(name, {}).get(length, []) for name in ("transformer", "lstm"))
    return _spread([a / b for a, b in zip(above, below)], ".2f") if len(above) == len(below) else ""


def _spread(values: list[float], form: str) -> str:
    if len(values) < 2:
        return "".join(f"{value:{form}}" for value in values)
    return f"**{statistics.median(values):{form}}** ({min(values):{form}} to {max(values):{form}})"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; nothing without rows."""
    lines = [header, ["---"] * len(header), *rows] if rows else []
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(found: Mapping[str, Results], path: Path) -> None:
    """Six panels, lengths and costs on logarithmic axes: what it costs above, what is recalled below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7), layout="constrained")
    axes = figure.subplots(2, 3)
    _draw(axes[0, 0], found["throughput"], "Training: tokens per second")
    _draw(axes[0, 1], found["generation"], "Generating: ms per token")
    _draw_memory(axes[0, 2], found["training"])
    for axis, (part, way) in zip(axes[1], WAYS.items()):
        _draw_recall(axis, found[part], f"Recall, {way}: share of right answers")
    lengths = sorted({length for results in found.values() for length in _lengths(results)})
    for axis in axes.flat:
        axis.set_xscale("log", base=2)
        axis.set_xlim(lengths[0] / 1.2, lengths[-1] * 1.2)
        axis.set_xticks(lengths, [f"{length:,}" for length in lengths], fontsize="small")
        axis.set_xlabel("length of the sequence")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=100)


def _draw(axis, results: Results, title: str) -> None:
    from matplotlib.ticker import LogLocator

    for name, by_length in results.items():
        lengths = sorted(by_length)
        runs = [by_length[length] for length in lengths]
        look = {"color": COLORS[name], "marker": MARKERS[name], "markersize": 5}
        axis.plot(lengths, [statistics.median(r) for r in runs], label=NAMES[name], **look)
        axis.fill_between(lengths, [min(r) for r in runs], [max(r) for r in runs], color=COLORS[name], alpha=0.2, lw=0)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter("{x:,g}")
    axis.yaxis.set_minor_formatter("")
    axis.set_title(title, fontsize="medium")


def _draw_memory(axis, training: Results) -> None:
    _draw(axis, training, "Memory of a training step: MB")
    lengths = _lengths(training)
    label = "scores of one layer, computed"
    axis.plot(lengths, [score_matrices(length) for length in lengths], ":", color=BLACK, label=label)
    axis.set_ylim(bottom=0.5)


def _draw_recall(axis, results: Results, title: str) -> None:
    _draw(axis, results, title)
    axis.axhline(TASK.chance, color=BLACK, lw=0.8, label="chance")
    axis.set_yscale("linear")
    axis.yaxis.set_major_formatter("{x:.0%}")
    axis.set_ylim(0, 1.03)
