"""The tables and the picture."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.rnn_vs_transformer.contestants import LARGE, NAMES, Results
from benchmarks.rnn_vs_transformer.memory import score_matrices
from tfseq.analysis.palette import BLACK, BLUE, GREEN, ORANGE, PINK, RED
from tfseq.data.recall import Recall

COLORS = {"lstm": BLUE, "gru": GREEN, "rnn": ORANGE, "irnn": PINK, "transformer": RED}
MARKERS = {"lstm": "o", "gru": "^", "rnn": "D", "irnn": "v", "transformer": "s"}
RATIO = ("transformer", "lstm")


def save(results: Results, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results), encoding="utf-8")


def load(path: Path) -> Results:
    """What was saved; nothing where there is no file."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {name: {int(length): runs for length, runs in by_length.items()} for name, by_length in found.items()}


def tables(found: Mapping[str, Results]) -> dict[str, str]:
    """Markdown by part."""
    makers = {"throughput": _throughput, "generation": _generation, "memory": _memory, "recall": _recall}
    of_part = {
        "throughput": [found["throughput"]],
        "generation": [found["generation"]],
        "memory": [found["training"], found["forward"]],
        "recall": [found["recall"], found["curriculum"]],
    }
    return {part: make(*of_part[part]) for part, make in makers.items() if any(of_part[part])}


def _throughput(results: Results) -> str:
    names = list(results)
    header = ["length", *(column for name in names for column in (f"{NAMES[name]}, tokens/s", "min to max")), *_ratio()]
    rows = [
        [f"{length:,}", *_medians(results, names, length, ",.0f"), *_ratios(results, length)]
        for length in _lengths(results)
    ]
    return _table(header, rows)


def _generation(results: Results) -> str:
    names = list(results)
    header = ["symbols", *(column for name in names for column in (f"{NAMES[name]}, ms", "min to max")), *_ratio()]
    header += [f"{NAMES[name]}'s state, kB" for name in names]
    rows = [
        [
            f"{length:,}",
            *_medians(results, names, length, ".3f"),
            *_ratios(results, length),
            *(f"{state_bytes(name, length) / 1e3:,.1f}" for name in names),
        ]
        for length in _lengths(results)
    ]
    return _table(header, rows)


def state_bytes(name: str, length: int) -> int:
    """Of what is kept between two symbols, float32: h and c, or the keys and values of `length` symbols."""
    if name == "transformer":
        return 4 * LARGE.depth * 2 * length * LARGE.units
    return 4 * LARGE.depth * (2 if name == "lstm" else 1) * LARGE.recurrent_units[name]


def _memory(training: Results, forward: Results) -> str:
    columns = [
        (f"{what}: {NAMES[name]}", results[name])
        for what, results in (("training step", training), ("forward pass", forward))
        for name in results
    ]
    header = ["length", "one layer's scores, computed"]
    header += [column for title, _ in columns for column in (title, "min to max")]
    rows = [
        [
            f"{length:,}",
            f"{score_matrices(length):,.2f}",
            *(cell for _, runs in columns for cell in _median_and_spread(runs[length], ",.1f")),
        ]
        for length in _lengths(training)
    ]
    return _table(header, rows)


def _recall(scratch: Results, curriculum: Results) -> str:
    columns = [
        (f"{NAMES[name]}, {how}", results[name])
        for how, results in (("from scratch", scratch), ("length by length", curriculum))
        for name in results
    ]
    lengths = sorted({length for results in (scratch, curriculum) for length in _lengths(results)})
    rows = [
        [f"{length:,}", *(f"{runs[length][0]:.1%}" if length in runs else "" for _, runs in columns)]
        for length in lengths
    ]
    return _table(["length", *(title for title, _ in columns)], rows)


def _lengths(results: Results) -> list[int]:
    return sorted({length for by_length in results.values() for length in by_length})


def _medians(results, names, length, form) -> list[str]:
    return [cell for name in names for cell in _median_and_spread(results[name][length], form)]


def _median_and_spread(values: list[float], form: str) -> list[str]:
    return [f"{statistics.median(values):{form}}", f"{min(values):{form}} to {max(values):{form}}"]


def _ratio() -> list[str]:
    return [" / ".join(NAMES[name] for name in RATIO), "min to max"]


def _ratios(results: Results, length: int) -> list[str]:
    """Taken round by round."""
    above, below = (results[name][length] for name in RATIO)
    median, spread = _median_and_spread([a / b for a, b in zip(above, below, strict=True)], ".2f")
    return [f"**{median}**", spread]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(found: Mapping[str, Results], path: Path) -> None:
    """Four panels, lengths and costs on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    _draw(axes[0, 0], found["throughput"], "Training: tokens per second")
    _draw(axes[0, 1], found["generation"], "Generating: ms per symbol")
    _draw_memory(axes[1, 0], found["training"])
    _draw_recall(axes[1, 1], found["recall"], found["curriculum"])
    for axis in axes.flat:
        lengths = sorted({length for results in found.values() for length in _lengths(results)})
        axis.set_xscale("log", base=2)
        axis.set_xticks(lengths[::-2][::-1], [f"{length:,}" for length in lengths[::-2][::-1]])
        axis.set_xlabel("length of the sequence")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def _draw(axis, results: Results, title: str, style: str = "-", suffix: str = "") -> None:
    for name, by_length in results.items():
        lengths = sorted(by_length)
        runs = [by_length[length] for length in lengths]
        look = {"color": COLORS[name], "marker": MARKERS[name], "markersize": 5}
        axis.plot(lengths, [statistics.median(r) for r in runs], style, label=NAMES[name] + suffix, **look)
        axis.fill_between(lengths, [min(r) for r in runs], [max(r) for r in runs], color=COLORS[name], alpha=0.2, lw=0)
    axis.set_yscale("log")
    axis.set_title(title, fontsize="medium")


def _draw_memory(axis, training: Results) -> None:
    _draw(axis, training, "Memory of a training step: MB")
    lengths = _lengths(training)
    label = "scores of one layer, computed"
    axis.plot(lengths, [score_matrices(length) for length in lengths], ":", color=BLACK, label=label)
    axis.set_ylim(bottom=0.5)


def _draw_recall(axis, scratch: Results, curriculum: Results) -> None:
    _draw(axis, scratch, "Recall: share of right answers", "--", ", from scratch")
    _draw(axis, curriculum, "Recall: share of right answers", "-", ", length by length")
    axis.axhline(Recall().chance, color=BLACK, ls=":", label="chance")
    axis.set_yscale("linear")
    axis.set_ylim(0, 1.03)
