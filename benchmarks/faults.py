"""What damaged files and odd arguments do to the runtime: each ends in an error of tfseq's, or in a result.

    pip install -e ".[train-cpu,dev]"
    python -m benchmarks.faults --files 10000 --inputs 5000
    python -m benchmarks.faults --repeat file:123

Models, step files, manifests, tokenizers and arrays of `exported/` are damaged byte by byte, and value by value inside
their JSON and protocol buffers, then opened, inspected and used. A tenth of the files are checkpoints and models saved
by Keras, which are resumed from, loaded and exported. Each case is a seed; those that fail are printed.
"""

import argparse
import contextlib
import itertools
import os
import shlex
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.harness.damage import damaged
from benchmarks.harness.odd_inputs import odd_call
from benchmarks.harness.training_files import import_what_opens_them, open_training_file
from benchmarks.harness.watched import Outcome, outcomes

BAD = ("foreign exception", "hang", "above 2 GB", "abort")


def open_damaged(seed: int) -> None:
    """Opens, shows and uses one damaged file.

    Raises:
        TfseqError: as it should.
    """
    from tfseq import runtime
    from tfseq.errors import TfseqError
    from tfseq.runtime.array_files import load_numpy
    from tfseq.runtime.manifest_table import describe

    warnings.simplefilter("ignore")
    kind, name, content = damaged(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        if kind == "SavedModel":
            path = Path(folder, "assets.extra", name)
            path.parent.mkdir()
        path.write_bytes(content)
        if kind == "arrays":
            load_numpy(path)
        elif kind == "tokenizer":
            _use_tokenizer(runtime.read_tokenizer(path))
        elif kind == "SavedModel":
            describe(runtime.Manifest.from_saved_model(folder), 1)
        else:
            try:
                manifest = runtime.Manifest.from_file(path)
            except TfseqError:
                manifest = None
            if manifest is not None:
                describe(manifest, len(content))
            _use_model(runtime.load(path))


def _use_tokenizer(tokenizer) -> None:
    text = "the cat: 12/05/2020, aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab \ud800 é" * 5
    ids = tokenizer.encode(text)
    tokenizer.unknown(text)
    tokenizer.writer.decode([int(id_) for id_ in ids if id_ < tokenizer.writer.vocabulary_size])
    tokenizer.to_json()


def _use_model(model) -> None:
    from tfseq.errors import TfseqError

    repr(model), model.settings
    if model.tokenizer is not None:
        _use_tokenizer(model.tokenizer)
    feeds = {
        spec.name: np.ones([2 if isinstance(size, str) else size for size in spec.shape], spec.dtype)
        if spec.dtype != "string" and np.prod([size for size in spec.shape if isinstance(size, int)], dtype=float) < 1e6
        else np.array(["a"])
        for spec in model.manifest.data_inputs
    }
    uses = {
        "predict": [lambda: model.predict(**feeds), lambda: model.classify(**feeds), lambda: model.classify("a cat")],
        "generate": [lambda: model.generate("a cat", 4), lambda: model.generate(_sources(model, feeds), 4)],
        "stream_generate": [lambda: list(model.stream_text("a cat", 4))],
    }[model.manifest.task]
    if model.manifest.states and model.manifest.task == "predict":
        uses = [lambda: model.stream().predict(**feeds)]
    for use in uses:
        with contextlib.suppress(TfseqError):
            use()


def _sources(model, feeds):
    return {spec.name: feeds[spec.name] for spec in model.manifest.sources}


USES = {"file": open_damaged, "training file": open_training_file, "input": odd_call}
PREPARATIONS = {"training file": import_what_opens_them}


def table(found: Mapping[str, Sequence[Outcome]]) -> str:
    """Counts by verdict, a column for files and one for inputs; what ONNX Runtime did itself stands apart."""
    counts = {what: Counter((outcome.verdict, outcome.inside) for outcome in found[what]) for what in found}
    rows = [("tried", *(len(found[what]) for what in found))]
    for verdict in ("taken", "refused", *BAD):
        rows.append((verdict, *(counts[what][verdict, False] for what in found)))
    for verdict in ("hang", "above 2 GB", "abort"):
        rows.append((f"{verdict}, inside ONNX Runtime", *(counts[what][verdict, True] for what in found)))
    lines = ["| | " + " | ".join(f"{what}s" for what in found) + " |", "|---|" + "---:|" * len(found)]
    return "\n".join(
        lines
        + [
            "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) + " |"
            for row in rows
        ]
    )


def failures(found: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """A line for each case that failed, with the command that repeats it; those inside ONNX Runtime are left out."""
    command = "python -m benchmarks.faults --repeat"
    return [
        f"{outcome.verdict}: {command} {shlex.quote(f'{what}:{outcome.seed}')}  {outcome.said}"
        for what, each in found.items()
        for outcome in each
        if outcome.verdict in BAD and not outcome.inside
    ]


def seeds_of(day: date, count: int) -> range:
    """Other seeds every day."""
    return range(day.toordinal() * 10**6, day.toordinal() * 10**6 + count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="damaged files (%(default)s)")
    parser.add_argument("--inputs", type=int, default=500, help="calls with odd arguments (%(default)s)")
    parser.add_argument("--seed", type=int, help="the first seed; by default it changes daily")
    parser.add_argument("--repeat", metavar="WHAT:SEED", help="one case in this process, with its traceback")
    arguments = parser.parse_args()
    if arguments.repeat:
        what, _, seed = arguments.repeat.partition(":")
        PREPARATIONS.get(what, lambda: None)()
        USES[what](int(seed))
        return
    found: dict[str, list[Outcome]] = {}
    of_training = arguments.files // 10
    counts = {"file": arguments.files - of_training, "training file": of_training, "input": arguments.inputs}
    for what, count in counts.items():
        first = seeds_of(date.today(), 1)[0] if arguments.seed is None else arguments.seed
        seeds = range(first, first + count)
        found[what] = []
        for number, outcome in zip(itertools.count(1), outcomes(USES[what], seeds, prepare=PREPARATIONS.get(what))):
            found[what].append(outcome)
            if sys.stderr.isatty():
                print(f"\r{number} of {count}", end="", file=sys.stderr)
    print(table(found))
    said = failures(found)
    print("\n".join(said))
    raise SystemExit(1 if said else 0)


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    main()
