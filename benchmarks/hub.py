"""KerasHub's families, every backbone and task of the installed version: exported, proven, beside Keras' own export.

    pip install -e ".[train-cpu,hub]"
    python -m benchmarks.hub                              # every family, in a process each; prints a row as it comes
    python -m benchmarks.hub --only "CausalLM|^ViT"       # those whose "FAMILY KIND" a pattern is found in
    python -m benchmarks.hub --results hub.json           # keeps the rows, and measures those that it lacks
    python -m benchmarks.hub --results hub.json --minutes 0 --write docs/hub.md    # puts what is there into the page

Small models have random weights. Those that generate have weights of enough spread that their texts vary, continue four
prompts of different lengths greedily, and their file's tokens are compared with those of KerasHub's `generate_step`;
of the others, outputs are compared with the model's. Models of speech hear four sounds; Whisper, which has no
`generate_step`, is compared with the most likely tokens of its backbone, one by one.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

import tfseq
from benchmarks.harness.markdown import insert

LENGTHS = (4, 3, 7, 1)  # tokens of each prompt or source
STEPS = 24  # tokens of a prompt and its continuation, or of an answer
END = 1
HEADER = ("family", "kind", "parity", "equal to KerasHub's", "file", "Keras' own export")
GENERATING = ("CausalLM", "Seq2SeqLM")
ALIASES = {"Qwen2CausalLM": "Qwen"}
HEARING = "AudioToText"  # in place of a kind of task: Whisper has none
SECONDS = 300  # for a family at most


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a pattern")
    parser.add_argument("--results", type=Path, help="a JSON file of rows, to go on with")
    parser.add_argument("--minutes", type=float, default=600, help="begins no other family after these")
    parser.add_argument("--write", type=Path, help="a page with the table")
    parser.add_argument("--row", nargs=2, metavar=("FAMILY", "KIND"), help="prints the row of one family as JSON")
    options = parser.parse_args(arguments)
    if options.row:
        print(json.dumps(_row(*options.row)))
        return
    from benchmarks.harness.hub_families import backbones, tasks
    from benchmarks.harness.hub_speech import SPEECH

    entries = [(family, kind) for kind, family, _ in tasks() if not family.endswith(HEARING)]
    entries += [(family, HEARING) for family in SPEECH] + [(family, "Backbone") for family in backbones()]
    kept = options.results is not None and options.results.is_file()
    rows: dict[str, list[str]] = json.loads(options.results.read_text()) if kept else {}
    began = time.monotonic()
    for entry in entries:
        name = " ".join(entry)
        if name in rows or not re.search(options.only, name) or time.monotonic() - began > 60 * options.minutes:
            continue
        rows[name] = _in_a_process(*entry)
        print(_line([*entry, *rows[name]]), flush=True)
        if options.results:
            options.results.write_text(json.dumps(rows, indent=1))
    if options.write:
        table = [_summary(entries, rows), "", _line(HEADER), "|---" * len(HEADER) + "|"]
        table += [_line([*entry, *rows[" ".join(entry)]]) for entry in entries if " ".join(entry) in rows]
        insert(options.write, "families", "\n".join(table))


def _summary(entries: Sequence[tuple[str, str]], rows: dict[str, list[str]]) -> str:
    """How many of the installed version's families work, and which have not been measured."""
    groups = {"backbones": ("Backbone",), "generating tasks": (*GENERATING, HEARING)}
    told = {kind for kinds in groups.values() for kind in kinds}
    groups["other tasks"] = tuple({kind for _, kind in entries} - told)
    counted = []
    for group, kinds in groups.items():
        names = [" ".join(entry) for entry in entries if entry[1] in kinds]
        passed = sum(rows[name][0] == "passed" for name in names if name in rows)
        counted.append(f"{passed} of {len(names)} {group}")
    text = f"Exported with parity: {', '.join(counted)}."
    missing = [" ".join(entry) for entry in entries if " ".join(entry) not in rows]
    if missing:
        text += (
            f" Not measured: {len(missing)} more.\n\n<details><summary>Which</summary>{', '.join(missing)}</details>"
        )
    return text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _in_a_process(family: str, kind: str) -> list[str]:
    """The row, from a process whose memory is given back."""
    command = [sys.executable, "-m", "benchmarks.hub", "--row", family, kind]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return _reason(f"took more than {SECONDS} s")
    except (IndexError, ValueError):
        return _reason(f"stopped with {done.returncode}")


def _reason(text: str) -> list[str]:
    return [text.replace("|", "/"), "", "", ""]


def _row(family: str, kind: str) -> list[str]:
    """Its cells behind the family's name and kind."""
    import keras

    from benchmarks.harness.hub_families import small_backbone, small_task
    from benchmarks.harness.hub_tasks import CAUSAL, ENCODER_DECODER
    from tfseq.hub.seq_2_seq_lm import EncoderDecoder

    keras.utils.set_random_seed(0)
    short = ALIASES.get(family, family.removesuffix(kind))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            if kind == HEARING or (kind in GENERATING and short in (*CAUSAL, *ENCODER_DECODER)):
                write = _transcribed if kind == HEARING else _continued if short in CAUSAL else _answered
                model, equal, parity = write(short, path)
                compared = f"{sum(equal)} of {len(equal)} texts"
            else:
                try:
                    model = small_backbone(family) if kind == "Backbone" else small_task(family, kind)
                except TypeError:  # the backbone's constructor wants arguments that hub_families does not know
                    return _reason("not tried: no small configuration of it here")
                exported = EncoderDecoder(model, (2,), (END,)) if kind == "Seq2SeqLM" else model
                manifest = tfseq.export(exported, path, decode=tfseq.Greedy() if kind in GENERATING else None)
                checks = (manifest.parity or {}).get("checks", ())
                worst = max((check.get("worst_relative", 0) for check in checks), default=0)
                alone = ", of one input" if any(check.get("cases") == 1 for check in checks) else ""
                compared, parity = f"difference {worst:.0e}{alone}", _passed(manifest)
        except (tfseq.errors.ExportError, tfseq.errors.ParityError) as error:
            return _reason(str(error).splitlines()[0])
        of_file = [f"{path.stat().st_size / 1e3:.0f} kB", _stock(model, Path(folder) / "stock.onnx")]
        return ["passed" if parity else "failed", compared, *of_file]


def _continued(family: str, path: Path) -> tuple[Any, list[bool], bool]:
    from benchmarks.harness.hub_tasks import VOCABULARY, causal_lm, own_texts

    task = causal_lm(family)
    manifest = tfseq.export(task, path, decode=tfseq.Greedy())
    prompts = np.random.default_rng(1).integers(1, VOCABULARY, (len(LENGTHS), max(LENGTHS))).astype("int32")
    given = {"prompt": prompts, "prompt_length": np.array(LENGTHS, "int32"), "max_length": np.int32(STEPS)}
    tokens = tfseq.runtime.load(path).run(given)["tokens"]
    theirs = own_texts(task, prompts, LENGTHS, STEPS)
    equal = [bool((row[: STEPS - n] == own[n:]).all()) for n, row, own in zip(LENGTHS, tokens, theirs)]
    return task, equal, _passed(manifest)


def _answered(family: str, path: Path) -> tuple[Any, list[bool], bool]:
    from benchmarks.harness.hub_tasks import ENCODER_DECODER, VOCABULARY, own_answers, seq_2_seq_lm
    from tfseq.hub.seq_2_seq_lm import EncoderDecoder

    task, begin = seq_2_seq_lm(family), ENCODER_DECODER[family][1]
    manifest = tfseq.export(EncoderDecoder(task, begin, (END,)), path, decode=tfseq.Greedy())
    sources = np.random.default_rng(1).integers(2, VOCABULARY, (len(LENGTHS), max(LENGTHS))).astype("int32")
    sources *= np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    found = tfseq.runtime.load(path).run({"source": sources, "max_length": np.int32(STEPS), "min_length": np.int32(0)})
    theirs = own_answers(task, sources, begin, STEPS, END)
    rows = zip(found["tokens"], found["lengths"], theirs)
    equal = [bool((row[:n] == own[:n]).all() and (n == STEPS or own[n] == END)) for row, n, own in rows]
    return task, equal, _passed(manifest)


def _transcribed(family: str, path: Path) -> tuple[Any, list[bool], bool]:
    from benchmarks.harness.hub_speech import heard

    task, equal, manifest = heard(family, path, STEPS)
    return task, equal, _passed(manifest)


def _passed(manifest: tfseq.runtime.Manifest) -> bool:
    return bool(manifest.parity and manifest.parity["passed"])


def _stock(task: Any, path: Path) -> str:
    """What `keras.Model.export` makes of the task: at best its forward pass."""
    import keras
    import onnxruntime

    try:
        task.export(str(path), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(path))
        random = np.random.default_rng(0)
        hears = isinstance(task.input, dict) and "encoder_input_values" in task.input
        given = keras.tree.map_structure(lambda x: _input(x, random, 2000 if hears else 6), task.input)
        fed = dict(zip([each.name for each in session.get_inputs()], keras.tree.flatten(given)))
        if isinstance(given, dict):
            fed = {each.name: given[each.name] for each in session.get_inputs()}
        found, wanted = session.run(None, fed)[0], np.asarray(keras.tree.flatten(task(given))[0])
    except Exception as error:
        return f"fails: {type(error).__name__}"
    if found.shape != wanted.shape:
        return "forward pass, wrong"
    return "forward pass" if np.abs(found - wanted).max() < 1e-3 else "forward pass, wrong"


def _input(tensor: Any, random: np.random.Generator, time: int) -> np.ndarray:
    free = 32 if len(tensor.shape) == 4 else time if tensor.name.startswith("encoder") else 6
    shape = [size or (free if axis else 2) for axis, size in enumerate(tensor.shape)]
    return np.ones(shape, tensor.dtype) if "int" in tensor.dtype else random.normal(size=shape).astype(tensor.dtype)


if __name__ == "__main__":
    main()
