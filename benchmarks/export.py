"""Keras' own `model.export(format="onnx")` beside `tfseq.export`: error, operators and speed by layer; export time.

    pip install -e ".[train-cpu]"
    python -m benchmarks.export                          # prints the tables
    python -m benchmarks.export --write docs/export.md   # and puts them between its markers
    python -m benchmarks.export --parts sizes            # only one of them: layers, sizes (recurrent ones), durations

Both files of a layer run in turn in one process, with the same session options, on 8 sequences of 64 time steps
(128 units).
"""

import argparse
import os
import re
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.harness.export_contest import LOOPS, THREADS, Outcome, exported, time_in_turn
from benchmarks.harness.machine import machine
from benchmarks.harness.markdown import insert

SIZES = ((8, 64), (1, 64), (3, 17))  # batch and time; the first is timed
PARTS = ("layers", "sizes", "durations")


def compare(build: Callable, seconds: float) -> tuple[Outcome, Outcome]:
    """Exports a model both ways and runs the files in turn; Keras' outcome, and ours."""
    stock, ours = exported(build, SIZES)
    time_in_turn([stock, ours], seconds)
    return stock.outcome, ours.outcome


def table(only: str, seconds: float) -> str:
    """The comparison of all layers in Markdown, and a summary under it."""
    from benchmarks.harness.sequence_layers import sequence_layers

    rows = [
        "| layer | Keras: worst error | operators | ms | tfseq: worst error | operators | ms | Keras / tfseq |",
        "|---|---|---|---|---|---|---|---|",
    ]
    results = {}
    for group, members in sequence_layers().items():
        chosen = {name: build for name, build in members.items() if re.search(only, f"{group}: {name}")}
        if chosen:
            rows.append(f"| **{group}** | | | | | | | |")
        for name, build in chosen.items():
            stock, ours = results[f"{group}: {name}"] = compare(build, seconds)
            ratio = f"{stock.milliseconds / ours.milliseconds:.2f}" if stock.works and ours.works else ""
            rows.append("| " + " | ".join([name, *stock.cells(), *ours.cells(), ratio]) + " |")
            print(rows[-1], file=sys.stderr, flush=True)
    if results and not any(outcome.works for outcomes in results.values() for outcome in outcomes):
        raise SystemExit("Neither exporter gives a file that works for any of these layers; their rows say why.")
    return "\n".join([*rows, "", *summary(results)])


def summary(results: Mapping[str, tuple[Outcome, Outcome]]) -> list[str]:
    count = len(results)
    both = {
        name: stock.milliseconds / ours.milliseconds
        for name, (stock, ours) in results.items()
        if stock.works and ours.works
    }
    errors = [ours.error for _, ours in results.values() if not ours.problem]
    lines = [
        f"- Works: Keras {sum(stock.works for stock, _ in results.values())} of {count}, "
        f"tfseq {sum(ours.works for _, ours in results.values())} of {count}; worst error of tfseq "
        f"{max(errors, default=float('nan')):.1e}.",
        f"- A Loop or Scan in the file: Keras {_loops(stock for stock, _ in results.values())}, "
        f"tfseq {_loops(ours for _, ours in results.values())}.",
    ]
    if both:
        slowest, quickest = min(both, key=both.__getitem__), max(both, key=both.__getitem__)
        lines.append(
            f"- Time, where both work ({len(both)}): Keras / tfseq is {statistics.median(both.values()):.2f} in the "
            f"median, from {both[slowest]:.2f} ({slowest}) to {both[quickest]:.1f} ({quickest})."
        )
    return lines


def _loops(outcomes):
    return sum(any(name in (outcome.operators or {}) for name in LOOPS) for outcome in outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="PATTERN", help='layers that match, such as "Recurrent: GRU"')
    parser.add_argument("--seconds", type=float, default=0.5, help="to run each file for")
    parser.add_argument("--rounds", type=int, default=5, help="of the durations")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--write", type=Path, metavar="FILE", help="a Markdown file with the markers")
    arguments = parser.parse_args()
    for name in arguments.parts:
        text = _part(name, arguments)
        print(text, end="\n\n")
        if arguments.write:
            insert(arguments.write, name, text)


def _part(name: str, arguments: argparse.Namespace) -> str:
    from benchmarks import first_use
    from benchmarks.harness import recurrent_sizes

    if name == "durations":
        return f"{machine()}\n\n{first_use.durations(arguments.rounds)}"
    if name == "sizes":
        rows = recurrent_sizes.table(arguments.seconds)
    else:
        rows = table(arguments.only, arguments.seconds)
    return f"{machine()}; {THREADS} threads\n\n{rows}"


if __name__ == "__main__":
    main()
