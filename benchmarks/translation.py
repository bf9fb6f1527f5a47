"""BLEU of exported translators, over all texts and by source length: encoder-decoders with and without attention.

    pip install -e ".[train-cpu]"
    python -m pipelines.seq2seq full --data DIR
    python -m pipelines.attention_seq2seq full --data DIR
    python -m benchmarks.translation exported/*_multi30k/model.onnx --data DIR --plot docs/bleu_by_length.png

The files translate with the strategy they were exported with. BLEU is sacrebleu's with its tokenizer 13a.
"""

import argparse
import time
from functools import partial
from pathlib import Path

from benchmarks.harness.failures import Failure, attempt
from benchmarks.harness.machine import machine
from benchmarks.harness.rounds import Run, failed_lines, require_any
from tfseq import runtime
from tfseq.analysis.bleu import OfLength, bleu, bleu_by_length, plot_bleu_by_length
from tfseq.data import Part, parallel_texts
from tfseq.terminal import one_line_errors

ROWS = 100  # texts at a time


def translations(file: runtime.Model, texts: list[str]) -> list[str]:
    """What a file makes of texts, which it reads in batches of similar lengths."""
    written = [""] * len(texts)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        longest = 2 * len(file.tokenizer.encode(texts[rows[-1]])) + 10 if file.tokenizer else None
        for row, text in zip(rows, file.generate([texts[row] for row in rows], max_length=longest)):
            written[row] = text
    return written


def measure(files: list[Path], part: Part, plot: Path | None) -> None:
    """Prints the table, and draws it if there is a plot to write."""
    measured: dict[str, list[OfLength]] = {}
    failed: dict[str, list[Run]] = {}
    print(machine(), end="\n\n")
    for path in files:
        found = attempt(partial(_translated, path, part.inputs))
        if isinstance(found, Failure):
            failed[str(path)] = [found]
            continue
        name, written, seconds = found
        groups = bleu_by_length(part.inputs, written, part.targets)
        if not measured:
            lengths = "".join(f" {g.shortest}-{g.longest} words ({g.texts}) |" for g in groups)
            print(f"| file | BLEU | cased |{lengths} seconds |\n|---|---|---|{'---|' * len(groups)}---|")
        measured[name] = groups
        scores = [bleu(written, part.targets), bleu(written, part.targets, lowercase=False), *(g.bleu for g in groups)]
        print(f"| {name} | {' | '.join(f'{score:.1f}' for score in scores)} | {seconds:.0f} |", flush=True)
    if not measured:
        require_any(failed)
    print(*failed_lines(failed), sep="\n", end="\n" if failed else "")
    if plot is not None:
        plot_bleu_by_length(measured, plot, f"BLEU of {len(part):,} held-out texts by the length of the source")


def _translated(path: Path, texts: list[str]) -> tuple[str, list[str], float]:
    """The file's name, what it makes of the texts, and in how many seconds."""
    file = runtime.load(path)
    began = time.perf_counter()
    written = translations(file, texts)
    return file.manifest.name or path.parent.name, written, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="exported with a tokenizer and decode=")
    parser.add_argument("--data", required=True, type=Path, help="directory of parallel texts")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="fr")
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--plot", type=Path, help="a PNG to write")
    arguments = parser.parse_args()
    with one_line_errors("translation"):
        data = parallel_texts(arguments.data, arguments.source, arguments.target)
        measure(arguments.files, getattr(data, arguments.part), arguments.plot)


if __name__ == "__main__":
    main()
