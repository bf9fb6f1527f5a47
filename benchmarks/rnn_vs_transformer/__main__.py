"""RNN beside Transformer on sequences of 32 to 4,096 tokens: speed, memory and recall.

    pip install -e ".[train-cpu]"
    python -m benchmarks.rnn_vs_transformer                      # everything, half an hour; prints the tables
    python -m benchmarks.rnn_vs_transformer --only throughput    # or another of its parts, or several
    python -m benchmarks.rnn_vs_transformer --quick              # lengths 32 and 128, a minute
    python -m benchmarks.rnn_vs_transformer --only --write docs/rnn_vs_transformer.md --plot docs/rnn_vs_transformer.png

Recall is learned at each length from scratch; `beyond`, at the shortest length only; `curriculum`, length by length.
Everything on one thread, timed in processor time, which neighbours on a shared machine disturb less; turns alternate.
What was measured is kept in a folder, from which tables and picture are made: of parts and lengths that ran earlier,
too.
"""

import argparse
import json
from pathlib import Path

from benchmarks.harness.machine import machine
from benchmarks.harness.markdown import insert
from benchmarks.harness.rounds import failed_lines, require_any
from benchmarks.rnn_vs_transformer.contestants import LENGTHS, NAMES, Outcomes, Results, one_thread

PARTS = ("throughput", "generation", "memory", "recall", "beyond", "curriculum")
KEPT = ("throughput", "generation", "training", "forward", "recall", "beyond", "curriculum")


def main() -> None:
    arguments = _arguments()
    if arguments.run:
        _run_alone(*arguments.run)
        return
    from benchmarks.rnn_vs_transformer import report

    if arguments.only:
        one_thread()
    outcomes: Outcomes = {}
    for part in arguments.only:
        measure_part(part, arguments, outcomes)
    if outcomes:
        require_any(outcomes)
    found = {name: report.load(arguments.folder / f"{name}.json") for name in KEPT}
    print(f"{machine()}; 1 thread")
    if arguments.only:
        from tfseq.training.precision import explained_precision

        print("Trained in {}: {}.".format(*explained_precision("auto")))
    for part, table in report.tables(found).items():
        print("", f"**{part}**", "", table, sep="\n")
        if arguments.write:
            insert(arguments.write, part, table)
    print(*failed_lines(outcomes), sep="\n")
    if arguments.plot:
        report.plot(found, arguments.plot)


def measure_part(part: str, arguments: argparse.Namespace, outcomes: Outcomes) -> None:
    """Measures, keeps what it found in the folder, and notes in `outcomes` who could not run."""
    from benchmarks.rnn_vs_transformer import generation, memory, recall, report, throughput

    lengths = [length for length in LENGTHS if arguments.shortest <= length < arguments.longest][:: arguments.stride]
    lengths.append(arguments.longest)

    def keep(name: str, results: Results) -> None:
        report.add(results, arguments.folder / f"{name}.json")

    if part == "throughput":
        keep(part, throughput.measure(lengths, arguments.rounds, arguments.tokens, outcomes))
    elif part == "generation":
        keep(part, generation.measure(lengths, arguments.rounds, outcomes))
    elif part == "memory":
        training, forward = memory.measure(lengths, arguments.rounds, outcomes)
        keep("training", training)
        keep("forward", forward)
    else:
        ways = {"recall": recall.from_scratch, "beyond": recall.beyond, "curriculum": recall.length_by_length}
        budget = recall.Budget(arguments.seconds)
        ways[part](lengths, budget, arguments.names, lambda results: keep(part, results), outcomes)


def _run_alone(what: str, which: str, length: str) -> None:
    from benchmarks.rnn_vs_transformer import memory

    if what == "training":
        megabytes = memory.training_step(which, int(length))
    else:
        megabytes = memory.forward_pass(Path(which), int(length))
    print(json.dumps({"megabytes": megabytes}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rnn_vs_transformer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to measure; none: what was measured before")
    add("--shortest", type=int, default=LENGTHS[0], help="length to begin with (%(default)s)")
    add("--longest", type=int, default=LENGTHS[-1], help="length to end with (%(default)s)")
    add("--stride", type=int, default=1, help="2 leaves out every other length, but not the longest")
    add("--rounds", type=int, default=5, help="turns of everyone at each length (%(default)s)")
    add("--tokens", type=int, default=4096, help="of a training step (%(default)s)")
    add("--seconds", type=float, default=20, help="of each contestant at each length, to learn recall (%(default)s)")
    add("--names", nargs="+", choices=NAMES, default=["lstm", "rnn", "transformer"], help="who learns recall")
    add("--quick", action="store_true", help="lengths 32 and 128, one round, 2 seconds of recall")
    add("--folder", type=Path, default=Path("runs/rnn_vs_transformer"), help="keeps what was measured (%(default)s)")
    add("--write", type=Path, metavar="FILE", help="a Markdown file with markers, for the tables")
    add("--plot", type=Path, metavar="FILE", help="a PNG to write")
    add("--run", nargs=3, metavar=("WHAT", "WHICH", "LENGTH"), help="the memory of one case, in this process")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.longest, arguments.stride, arguments.rounds = 128, 2, 1
        arguments.seconds = 2.0
        arguments.folder = arguments.folder / "quick"
    return arguments


if __name__ == "__main__":
    main()
