"""The gate: an exported file is as good as the model only if it gives the same results, and this measures it."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

from tfseq.decoding.generate import generate
from tfseq.decoding.sample import Sample
from tfseq.errors import ArtefactError, ExportError, InputError
from tfseq.exporting.cases import ragged_prompts, sweep
from tfseq.exporting.chunk_parity import check_stream
from tfseq.exporting.conversion import first_line, to_onnx
from tfseq.exporting.precision import as_float32
from tfseq.exporting.report import NumberCheck, ParityReport, TokenCheck, WorstError
from tfseq.exporting.samples import feeds as as_feeds
from tfseq.exporting.saved_model import load_signatures
from tfseq.exporting.signature import forward_signature, generation_signature
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.session import Session

TOLERANCE = 1e-4  # of float32 outputs, relative where they are larger than 1
SEQUENCES, ROWS = 100, 10
TEMPERATURES = (0.0, 0.5, 0.8, 1.0, 1.5)
NEW_TOKENS = 32
LONGEST_PROMPT = 12

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def verify(path: str | os.PathLike[str], model: keras.Model, samples: Any = ()) -> ParityReport:
    """Compares an exported file with the model it came from.

    A forward graph is run on random inputs over batch sizes and lengths. A generation graph generates 100 sequences,
    over temperatures, top-k values, seeds and ragged prompts, which have to be identical; and the logits inside its
    loop, from a conversion of the same loop that gives them out, are compared with `call` on the finished sequences.
    A streaming graph reads sequences in chunks, and is compared with `call` on the whole.

    Args:
        path: an .onnx file that `tfseq.export` wrote, or a SavedModel folder of its.
        model: the Keras model. One of lower precision is compared in float32, which is what was exported.
        samples: further inputs of a forward graph: what the model takes (an array, a list or a dictionary of arrays),
            or several of these.

    Returns:
        The report; see its `passed`.

    Raises:
        ArtefactError: there is no such file, or it can't be run.
        ExportError: the model can't be run.
    """
    model = as_float32(model)
    of, runs, inputs = _opened(path)
    if inputs and not samples:
        _call_if_need_be(model, inputs)
    if "generate" in runs and not isinstance(model, Generator):
        raise ArtefactError(f"{path} generates, and {type(model).__name__} is no tfseq.models.Generator.")
    checks: list[NumberCheck | TokenCheck] = []
    try:
        if "stream" in runs:
            checks.append(check_stream(runs["stream"], model, of, TOLERANCE, samples))
        elif "serve" in runs:
            checks.append(check_forward(runs["serve"], model, of, samples))
        elif "generate" in runs:
            checks.append(check_loop_logits(model))
        if "generate" in runs:
            checks.append(check_generation(runs["generate"], model, of))
    except InputError as error:
        raise ArtefactError(f"{path} does not take what the model takes: {error}") from error
    return ParityReport(tuple(checks))


def _opened(path: str | os.PathLike[str]) -> tuple[str, dict[str, Run], list[TensorSpec]]:
    """What the file is, its functions, and the inputs of a forward graph where they are known."""
    if Path(path).is_dir():
        return "saved model", load_signatures(path), []
    session = Session(path)
    manifest = Manifest.from_metadata(session.metadata)
    if manifest.task == "generate":
        return "onnx", {"generate": session.run}, []
    states = {state.input for state in manifest.states}
    inputs = [spec for spec in manifest.inputs if spec.name not in states]
    return "onnx", {"stream" if states else "serve": session.run}, inputs


def _call_if_need_be(model: keras.Model, inputs: Sequence[TensorSpec]) -> None:
    """Of a model that was loaded and not called, Keras does not know all inputs; the file does."""
    try:
        forward_signature(model)
    except ExportError:
        shapes = [[2 if isinstance(size, str) else size for size in spec.shape] for spec in inputs]
        forward_signature(model, [{spec.name: np.ones(shape, spec.dtype) for spec, shape in zip(inputs, shapes)}])


def check_forward(run: Run, model: keras.Model, of: str, samples: Any = ()) -> NumberCheck:
    """`run` against the model's `call`, over the sweep and the samples."""
    signature = forward_signature(model, samples)
    worst = WorstError(TOLERANCE)
    refusal: Exception | None = None
    for feeds in [*sweep(signature.inputs, signature.symbols), *as_feeds(samples, signature.inputs)]:
        try:
            expected = signature.function(**{name: keras.ops.convert_to_tensor(a) for name, a in feeds.items()})
        except Exception as error:  # a size that the model itself doesn't take, such as a length below its kernel's
            refusal = error
            continue
        got = run(feeds)
        for name, value in expected.items():
            worst.add(np.asarray(got[name]), keras.ops.convert_to_numpy(value), _describe(feeds), name)
    if not worst.cases:
        raise ExportError(
            f"{type(model).__name__} takes none of the inputs tried: {first_line(refusal) if refusal else ''} "
            "Give samples of what it takes."
        )
    names = " and ".join(expected) if len(expected) < 4 else "outputs"
    return worst.check(names, of, "keras")


def check_loop_logits(model: Generator) -> NumberCheck:
    """The logits inside the exported loop against `call` on the sequences it generated."""
    signature = generation_signature(model, Sample, return_logits=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop.onnx"
        onnx.save(to_onnx(signature.function, signature.inputs, None), path)
        run = Session(path).run
    worst = WorstError(TOLERANCE)
    for seed, batch in enumerate((1, 3, 8)):
        prompt, length = ragged_prompts(model.vocabulary_size, batch, LONGEST_PROMPT, seed)
        got = run(_feeds(prompt, length, {"temperature": 0.8, "top_k": 0, "seed": seed}))
        steps = length[:, None] - 1 + np.arange(NEW_TOKENS)  # (batch, new_tokens)
        sequences = np.zeros((batch, LONGEST_PROMPT + NEW_TOKENS), "int32")
        sequences[:, :LONGEST_PROMPT] = prompt
        np.put_along_axis(sequences, steps + 1, got["tokens"], axis=1)
        logits = keras.ops.convert_to_numpy(model(sequences, training=False))
        expected = np.take_along_axis(logits, steps[:, :, None], axis=1)
        worst.add(got["logits"], expected, f"batch {batch}, new_tokens {NEW_TOKENS}", "logits")
    return worst.check("logits", "onnx loop", "keras")


def check_generation(run: Run, model: Generator, of: str) -> TokenCheck:
    """`run` against `tfseq.decoding.generate`, which has to give the same tokens."""
    vocabulary = model.vocabulary_size
    identical = ties = 0
    where = ""
    for case in range(SEQUENCES // ROWS):
        prompt, length = ragged_prompts(vocabulary, ROWS, LONGEST_PROMPT, seed=100 + case)
        settings: dict[str, Any] = {
            "temperature": TEMPERATURES[case % len(TEMPERATURES)],
            "top_k": (0, 5, 0, 2, vocabulary + 1)[case // 2 % 5],
            "seed": 7919 * case - 3,
        }
        got = np.asarray(run(_feeds(prompt, length, settings))["tokens"])
        expected = keras.ops.convert_to_numpy(generate(model, prompt, length, new_tokens=NEW_TOKENS, **settings))
        if got.shape != expected.shape:
            where = where or f"{settings}: shape {got.shape} for {expected.shape}"
            continue
        for row in range(ROWS):
            difference = np.flatnonzero(got[row] != expected[row])
            if not difference.size:
                identical += 1
                continue
            first = int(difference[0])
            read = np.concatenate([prompt[row, : length[row]], expected[row, :first]])
            if _rounding_decides(model, read, row, settings, int(got[row, first])):
                ties += 1
            else:
                where = (
                    where or f"{settings}, row {row}, new token {first}: {got[row, first]}, not {expected[row, first]}"
                )
    return TokenCheck("tokens", of, "keras", SEQUENCES, identical, ties, where)


def _feeds(prompt, length, settings):
    values = {name: np.asarray(value, Sample.DTYPES[name]) for name, value in settings.items()}
    return {"prompt": prompt, "prompt_length": length, "new_tokens": np.asarray(NEW_TOKENS, "int32"), **values}


def _rounding_decides(model: Generator, read: np.ndarray, row: int, settings: Mapping[str, Any], token: int) -> bool:
    """Whether errors in the logits within the tolerance could make the model choose `token` after `read`."""
    logits = keras.ops.convert_to_numpy(model(read[None], training=False))[:, -1]  # (1, vocabulary)
    tensors = {name: np.asarray(value, Sample.DTYPES[name]) for name, value in settings.items()} | {
        "top_k": np.int32(0)
    }
    key = Sample.prepare(tensors, row + 1, np.asarray([len(read)], "int32"))[0, row:]
    scores = keras.ops.convert_to_numpy(Sample.scores(keras.ops.convert_to_tensor(logits), key, tensors))[0]
    k = settings["top_k"] if 0 < settings["top_k"] < logits.size else logits.size
    last_kept = np.sort(logits[0])[-k]
    slack = TOLERANCE * max(1.0, float(np.abs(logits).max()))
    rivals = scores[logits[0] > last_kept + slack]
    return bool(logits[0, token] >= last_kept - slack and scores[token] >= rivals.max(initial=-np.inf) - 2 * slack)


def _describe(feeds: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in feeds.items())
