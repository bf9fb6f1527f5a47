"""KerasHub's families that generate: exported, proven, equal to KerasHub's own `generate`, beside Keras' own export.

    pip install -e ".[train-cpu,hub]"
    python -m benchmarks.hub                         # prints the table
    python -m benchmarks.hub --only "GPT2|Llama"     # families that a pattern is found in
    python -m benchmarks.hub --write docs/hub.md     # puts the table into the page

A small model of each, with random weights of enough spread that its texts vary, continues four prompts of different
lengths greedily, and its file's tokens are compared with those of KerasHub's `generate_step`. Models of speech hear
four sounds; Whisper, which has no `generate_step`, is compared with the most likely tokens of its backbone, one by one.
"""

import argparse
import os
import re
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
HEADER = ("family", "parity", "tokens equal to KerasHub's", "file", "exported in", "Keras' own export")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a pattern")
    parser.add_argument("--write", type=Path, help="a page with the table")
    options = parser.parse_args(arguments)
    from benchmarks.harness.hub_speech import SPEECH
    from benchmarks.harness.hub_tasks import CAUSAL, ENCODER_DECODER

    table = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    for family in (*CAUSAL, *ENCODER_DECODER, *SPEECH):
        if re.search(options.only, family):
            table.append("| " + " | ".join([family, *_row(family)]) + " |")
            print(table[-1], flush=True)
    if options.write:
        insert(options.write, "families", "\n".join(table))


def _row(family: str) -> list[str]:
    from benchmarks.harness.hub_speech import SPEECH
    from benchmarks.harness.hub_tasks import CAUSAL

    write = _continued if family in CAUSAL else _transcribed if family in SPEECH else _answered
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        began = time.perf_counter()
        try:
            task, equal, parity = write(family, path)
        except tfseq.errors.ExportError as error:
            return [str(error).splitlines()[0], *[""] * 4]
        taken = time.perf_counter() - began
        of_file = [f"{path.stat().st_size / 1e3:.0f} kB", f"{taken:.0f} s", _stock(task, Path(folder) / "stock.onnx")]
        return ["passed" if parity else "failed", f"{sum(equal)} of {len(equal)} texts", *of_file]


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
        inputs = {name: _ones(name, spec, "encoder_input_values" in task.input) for name, spec in task.input.items()}
        fed = {each.name: inputs[each.name] for each in session.get_inputs()}
        found, wanted = session.run(None, fed)[-1], np.asarray(keras.tree.flatten(task(inputs))[-1])
    except Exception as error:
        return f"fails: {type(error).__name__}"
    return "forward pass" if np.abs(found - wanted).max() < 1e-3 else "forward pass, wrong"


def _ones(name: str, spec: Any, hears: bool) -> np.ndarray:
    """Two rows of an input: six tokens, or 2,000 samples of sound where the model takes samples."""
    time = 2000 if hears and name.startswith("encoder") else 6
    return np.ones((2, time, *spec.shape[2:]), spec.dtype)


if __name__ == "__main__":
    main()
