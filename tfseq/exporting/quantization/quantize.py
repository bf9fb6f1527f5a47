"""`quantize`: an exported file with quantized weights, kept only if its accuracy drop is within the tolerance."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tfseq.errors import ArtefactError, ExportError, InputError, QuantizationError
from tfseq.exporting.quantization.accuracy_drop import METRICS, Metric, Score, compare
from tfseq.exporting.quantization.block_quantization import to_blocks
from tfseq.exporting.quantization.blocks import SIZES
from tfseq.exporting.quantization.evaluation_data import Batch, Samples, TaskData, task_data
from tfseq.exporting.quantization.original import APART, Original
from tfseq.exporting.quantization.weight_quantization import to_float16, to_int8
from tfseq.exporting.quantization.weight_store import WeightCounts
from tfseq.exporting.rewriting import CONVERTED, all_graphs, count_operators
from tfseq.exporting.rewriting.weights import Weights, weights_as_inputs
from tfseq.exporting.writing.hollow_graph import read_hollow
from tfseq.exporting.writing.onnx_file import OnnxFile, fits_in_one_file, weights_size
from tfseq.exporting.writing.replacing import replacing
from tfseq.runtime.decoding_settings import length_name
from tfseq.runtime.manifest import Manifest
from tfseq.runtime.model import Model

# Accuracy drops that pass where no tolerance is given: a share of the outputs' norm (or of the tokens), shares of 1,
# nats, and a share of the squared error.
TOLERANCES = {
    "int4": {"change": 0.3, "similarity": 0.05, "accuracy": 0.02, "cross_entropy": 0.05, "squared_error": 0.15},
    "int8": {"change": 0.1, "similarity": 0.02, "accuracy": 0.01, "cross_entropy": 0.02, "squared_error": 0.05},
    "float16": {"change": 0.01, "similarity": 0.005, "accuracy": 0.005, "cross_entropy": 0.002, "squared_error": 0.005},
}
TIMED_TOKENS = 64
INT4_BLOCK = 32


def quantize(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    to: str = "int8",
    samples: Samples = None,
    metric: str | Metric | None = None,
    tolerance: float | None = None,
    *,
    block_size: int | None = None,
    contrib: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Writes a file that `export` wrote with quantized weights, and measures its accuracy drop and speed-up.

    int8 multiplies in 8-bit integers where a weight is a matrix, inside loops too: activations are quantized
    dynamically, with one scale for a whole array, so that a row can depend a little on the others in its batch. Weights
    of recurrent operators and convolutions are stored in int8 and computed with in float32, for which standard ONNX has
    no other way; the LSTM of a decode step is rewritten as products. float16 stores weights in half precision and
    computes in float32. Inputs and outputs stay as they are.

    int4, and int8 with a block size, store matrices with a scale for each block of a column's values. ONNX Runtime
    multiplies these as they are, so that they take less memory, too. Embeddings are rows in int8, and what is only
    stored in int8 above is stored in blocks. No row of a batch depends on another.

    The file may be of any size. Its weights are read one by one, as the quantized file is written.

    Args:
        path: of the file.
        output: of the quantized file, ends in .onnx.
        to: "int8", "int4" or "float16".
        samples: what to check its accuracy on: a text for a file that reads text (a language model is checked by the
            most likely next token at places all over the text); pairs of texts, source and reference, for a file that
            turns one into the other; or arrays by input name, or several such mappings, with `targets` for the first
            output, or targets by output name, if they are known. None takes random inputs, and checks the change of the
            outputs.
        metric: what may not get worse: "change", "similarity", "accuracy", "cross_entropy" or "squared_error"; by
            default the first that the samples allow of similarity, cross-entropy, accuracy, squared error and change.
            Or a function of outputs and targets by name, each of all samples, to a number that may not move.
        tolerance: by how much: similarity and accuracy in shares of 1, cross-entropy in nats, the others in shares of
            the original's. By default TOLERANCES[to].
        block_size: how many values of a column share a scale: 16, 32, 64, 128 or 256. None takes 32 for int4, and for
            int8 one scale for a column.
        contrib: take operators that only ONNX Runtime has. In blocks: MatMulNBits for the products, so that a weight
            that is multiplied with inside and outside of a loop is stored once. int8 by column: let LSTMs compute in
            int8.
        progress: is told each step.

    Returns:
        The manifest of the quantized file: its `quantization` has sizes, speeds and scores. Parity and provenance are
        the original's.

    Raises:
        ArtefactError: `path` is not a file that `export` wrote.
        InputError: the samples don't fit the file.
        QuantizationError: the accuracy drop exceeds the tolerance. What stood at `output` still does.
        ExportError: there is nothing to quantize, the file was exported for an opset that is too low for blocks, or the
            quantized file can't be written.
    """
    path, output = Path(path), Path(output)
    say = progress or (lambda _: None)
    _check_arguments(to, block_size, metric, tolerance, contrib, output)
    if to == "int4" and block_size is None:
        block_size = INT4_BLOCK
    with Original(path) as original:
        assert original.model is not None
        if original.manifest.quantization:
            raise ExportError(f"{path} is quantized already; quantize the original.")
        graph, values = read_hollow(path, original.manifest.external_data)
        _check_opset(original.manifest, block_size, path)
        data = task_data(original.model, samples, _smallest_table(graph))
        if isinstance(metric, str) and metric != "change" and not any(batch.targets for batch in data.batches):
            raise InputError(f"{metric} needs samples with targets.")
        with replacing(output) as temporary:
            feeds, timed = _timed(data.batches[0], original.manifest)
            if weights_size(graph) > APART:
                say(f"running the original on {data.what}")
                _explained(samples, path, lambda: original.run_and_close(data, feeds, output.parent))
            say(f"converting to {to}")
            counts = _convert(graph, values, to, block_size, contrib)
            if not counts.multiplied + counts.stored:
                raise ExportError(f"{path} has no weights that are worth quantizing.")
            _check_graph(weights_as_inputs(graph), path, to)
            file = OnnxFile(temporary, values, external=not fits_in_one_file(graph))
            manifest = dataclasses.replace(
                original.manifest,
                operators=count_operators(graph.graph),
                opset=_opset(graph),
                external_data=file.write(graph),
            )
            manifest = manifest.with_graph_hash(file.path)
            file.describe(manifest.to_metadata())
            if _bytes(temporary, manifest) >= original.bytes:
                raise ExportError(f"The {to} version of {path} would not be smaller: it has few weights.")
            quantized = _open(temporary, path, to)
            say(f"comparing on {data.what}")
            own = metric if callable(metric) else None
            scores = _explained(samples, path, lambda: compare(original.run, quantized.run, data, own))
            gate = _gate(scores, metric)
            tolerance = TOLERANCES[to][gate.metric] if tolerance is None else tolerance
            if not gate.loss <= tolerance:
                raise QuantizationError(_refusal(gate, tolerance, data, to, path))
            say("timing both")
            speed = original.speed(feeds, lambda: quantized.run(feeds))
            record: dict[str, Any] = {
                "to": to,
                "block_size": block_size,
                "contrib": any(opset.domain not in ("", "ai.onnx") for opset in graph.opset_import),
                "weights": dataclasses.asdict(counts),
                "milliseconds": dataclasses.asdict(speed) | {"of": timed},
                "scores": [dataclasses.asdict(score) for score in scores],
                "gate": {"metric": gate.metric, "tolerance": tolerance},
                "data": data.what,
            }
            return _recorded(file, manifest, record, original.bytes)


def _recorded(file: OnnxFile, manifest: Manifest, record: dict[str, Any], before: int) -> Manifest:
    """Writes the manifest with the record of the quantization, of which the file's own size is a part."""
    record["bytes"] = {"before": before, "after": 0}
    manifest = dataclasses.replace(manifest, quantization=record)
    for _ in range(3):  # until the size in the file is the size of the file
        file.describe(manifest.to_metadata())
        record["bytes"]["after"] = _bytes(file.path, manifest)
    return manifest


def _convert(graph: onnx.ModelProto, values: Weights, to: str, block_size: int | None, contrib: bool) -> WeightCounts:
    if block_size is not None:
        return to_blocks(graph, to, block_size, contrib, values)
    return to_int8(graph, contrib, values) if to == "int8" else to_float16(graph, values)


def _explained(samples: Samples, path: Path, run: Callable[[], Any]) -> Any:
    """What `run` gives; random inputs that the graph can't run on are said to be such."""
    try:
        return run()
    except InputError as error:
        if samples is None:
            raise InputError(f"Random inputs don't suit {path}; give samples. {error}") from None
        raise


def _check_arguments(
    to: str,
    block_size: int | None,
    metric: str | Metric | None,
    tolerance: float | None,
    contrib: bool,
    output: Path,
) -> None:
    if to not in TOLERANCES:
        raise InputError(f"to is {to!r}; expected {', '.join(TOLERANCES)}.")
    if to == "float16" and (contrib or block_size is not None):
        raise InputError(f"{'contrib' if contrib else 'block_size'} changes int4 and int8 only, and to is {to!r}.")
    if block_size is not None and block_size not in SIZES:
        raise InputError(f"block_size is {block_size!r}; expected {', '.join(map(str, SIZES))}, or None.")
    if isinstance(metric, str) and metric not in METRICS:
        raise InputError(f"metric is {metric!r}; expected {', '.join(METRICS)}, or a function.")
    if callable(metric) and tolerance is None:
        raise InputError("A metric of your own needs a tolerance: how far it may move.")
    if tolerance is not None and not tolerance >= 0:
        raise InputError(f"tolerance is {tolerance!r}; expected a number, 0 or more.")
    if output.suffix != ".onnx":
        raise ExportError(f"{output} does not end in .onnx.")
    if output.is_dir():
        raise ExportError(f"{output} is a folder; expected a file name.")
    if not output.parent.is_dir():
        raise ExportError(f"There is no folder {output.parent}; create it first.")


def _smallest_table(graph: onnx.ModelProto) -> int | None:
    """Rows of the smallest embedding: what random token ids have to stay below."""
    matrices = {t.name: t.dims[0] for g in all_graphs(graph.graph) for t in g.initializer if len(t.dims) == 2}
    gathers = [node for g in all_graphs(graph.graph) for node in g.node if node.op_type == "Gather"]
    return min((matrices[node.input[0]] for node in gathers if node.input[0] in matrices), default=None)


def _check_opset(manifest: Manifest, block_size: int | None, path: Path) -> None:
    if block_size is not None and manifest.opset < CONVERTED:
        raise ExportError(
            f"{path} was exported for opset {manifest.opset}, which has no blocks; export the model with opset="
            f"{CONVERTED} or more, or leave block_size out and take int8."
        )


def _opset(graph: onnx.ModelProto) -> int:
    return next(declared.version for declared in graph.opset_import if not declared.domain)


def _check_graph(graph: onnx.ModelProto, path: Path, to: str) -> None:
    try:
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:
        raise ExportError(f"The {to} version of {path} is not a valid graph: {error}") from error


def _bytes(path: Path, manifest: Manifest) -> int:
    """Of a file and what lies beside it."""
    return path.stat().st_size + (manifest.external_data.bytes if manifest.external_data else 0)


def _open(temporary: Path, path: Path, to: str) -> Model:
    try:
        return Model(temporary)
    except ArtefactError as error:
        raise ExportError(f"ONNX Runtime refuses the {to} version of {path}: {error}") from error


def _gate(scores: list[Score], metric: str | Metric | None) -> Score:
    """The score that the tolerance bounds; the worst of several outputs' where there are several."""
    wanted = scores[0].metric if metric is None else "given" if callable(metric) else metric
    candidates = [score for score in scores if score.metric == wanted]
    if not candidates:
        measured = ", ".join(dict.fromkeys(score.metric for score in scores))
        raise InputError(f"{wanted} can't be measured on these targets; {measured} can.")
    return max(candidates, key=lambda score: score.loss)


def _refusal(gate: Score, tolerance: float, data: TaskData, to: str, path: Path) -> str:
    return (
        f"The {to} version of {path} was not kept: {gate.what} went from {gate.before:.4g} to {gate.after:.4g} on "
        f"{data.what}, a loss of {gate.loss:.3g}; at most {tolerance:g} is allowed. "
        f"{_LESS[to]}, or allow more with a larger tolerance."
    )


_LESS = {
    "int4": "int8 loses less, and so do smaller blocks",
    "int8": "float16 loses less",
    "float16": "Keep the original",
}


def _timed(batch: Batch, manifest: Manifest) -> tuple[dict[str, np.ndarray], str]:
    """The first row of a batch, and in words how large it is; a generator adds TIMED_TOKENS tokens, or what fits."""
    feeds = dict(batch.feeds)
    sizes: dict[str, int] = {}
    for spec in manifest.inputs:
        if spec.shape[:1] == ("batch",):
            feeds[spec.name] = feeds[spec.name][:1]
        if manifest.task == "generate" and spec.name == length_name(manifest.inputs):
            limit = (manifest.decoding or {}).get("max_positions")
            read = feeds["prompt"].shape[1] if "prompt" in feeds else 0
            new = TIMED_TOKENS if limit is None else max(1, min(TIMED_TOKENS, limit - read))
            feeds[spec.name] = np.array(new, spec.dtype)
            sizes["new tokens"] = new
        sizes |= {axis: size for axis, size in zip(spec.shape, feeds[spec.name].shape) if isinstance(axis, str)}
    return feeds, ", ".join(f"{axis} {size}" for axis, size in sizes.items())
