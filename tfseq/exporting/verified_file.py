"""`write_verified`: a Keras model to one verified ONNX file or SavedModel, written whole or not at all."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import onnx

from tfseq.decoding import Strategy
from tfseq.errors import ArtefactError, ExportError, InputError, ParityError
from tfseq.exporting.arguments import check_arguments, check_model, check_verification
from tfseq.exporting.contents import forward, loop, one_step
from tfseq.exporting.conversion.convert import name_axes, to_skeleton
from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.conversion.saved_model import load_signatures, write_saved_model
from tfseq.exporting.generation.generation_cases import sample_cases
from tfseq.exporting.generation.loop_graph import WITNESSES, decoding_json
from tfseq.exporting.proving import parity
from tfseq.exporting.proving.graph_run import graph_run
from tfseq.exporting.proving.provenance import provenance, reproducible, require_finite_weights
from tfseq.exporting.proving.text_run import reading_texts
from tfseq.exporting.rewriting import CONVERTED, count_operators, remove_outputs
from tfseq.exporting.signatures.class_labels import check_names, check_probabilities
from tfseq.exporting.signatures.sample_inputs import as_list, feeds
from tfseq.exporting.signatures.signature import TOKENS, forward_signature
from tfseq.exporting.writing.onnx_file import OnnxFile, fits_in_one_file, weights_size
from tfseq.exporting.writing.replacing import replacing
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import SAVED_MODEL_FILE, Manifest
from tfseq.runtime.word_tokenizer import WordTokenizer

SHARED = 2**25  # bytes; more weights than these are proven where the model has them, and then read back from the file


def write_verified(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    decode: Strategy | None = None,
    attention: bool = False,
    prefix: bool = False,
    tokenizer: Any = None,
    code_points: bool = True,
    labels: Sequence[str] = (),
    name: str | None = None,
    data: Any = None,
    opset: int | None = None,
    samples: Any = (),
    verify: bool | Literal["samples"] = True,
    streaming: bool | None = None,
    external_data: bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """As `tfseq.export`, of its arguments."""
    path = Path(path)
    samples = as_list(samples)
    check_verification(verify, samples, decode)
    notes = check_model(model, decode, samples, verify)
    check_arguments(model, path, decode, attention, prefix, tokenizer, opset, streaming, external_data)
    check_names(labels, decode)
    if samples and decode is None:
        forward_signature(model, samples)  # calls the model if need be
    require_finite_weights(model)
    exact = as_float32(model)
    if decode is not None:
        sample_cases(exact, decode, samples, prefix=prefix)  # refuses what does not fit before the work
    if decode is None:
        content = forward(exact, streaming, samples, path)
    elif streaming:
        content = one_step(exact, decode, path, tokenizer)
    else:
        content = loop(exact, decode, attention, prefix, path, tokenizer if code_points else None)
    if samples and decode is None:
        samples = feeds(samples, content.sampled)
    if content.tokenizer and tokenizer is not None and decode is None:
        raise ExportError("The model reads text with a TextVectorization of its own; leave tokenizer out.")
    if content.described.draws and (opset or CONVERTED) < CONVERTED:
        raise ExportError(f"opset is {opset}; random numbers need {CONVERTED}. {content.described.draws[0]}")
    draft = Manifest(
        name=name or path.stem,
        task=content.task,
        inputs=content.described.inputs,
        outputs=(),
        operators={},
        opset=opset or CONVERTED,
        tokenizer=content.tokenizer or (None if tokenizer is None else _described(tokenizer, model, decode)),
        labels=tuple(labels),
        states=content.states,
        notes=(*notes, *content.described.draws, *((_STATEFUL,) if content.states and streaming is None else ())),
        decoding=None if decode is None else decoding_json(model, decode),
        provenance=provenance(model, data),
        vocabulary_sizes=_vocabulary_sizes(exact, content, samples),
        sampling_rate=model.sampling_rate if isinstance(model, Generator) else None,
    )
    progress = progress or (lambda _: None)
    with replacing(path) as temporary:
        if path.suffix != ".onnx":
            return _write_saved_model(temporary, exact, content, draft, samples, verify, progress)
        return _write_onnx(temporary, exact, content, draft, samples, verify, progress, opset, external_data)


def _vocabulary_sizes(model, content, samples) -> dict[str, int]:
    """Of the inputs that an Embedding reads, which Keras, too, gives its last row for a token below 0.

    Not of those that a sample holds other numbers for; nor of a graph that does a part of a tokenizer's work.
    """
    if content.tokenizer or content.task != "predict":
        return {}
    signature = content.described
    if isinstance(model, Generator):
        rows = None
        sizes = signature.vocabulary_sizes
        known = sizes if isinstance(sizes, Mapping) else {TOKENS.name: sizes}
    else:
        rows = {layer.input_dim for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)}
        known = signature.vocabulary_sizes if isinstance(signature.vocabulary_sizes, Mapping) else {}
    given = samples if isinstance(samples, list) else []
    return {
        spec.name: known[spec.name]
        for spec in signature.inputs
        if spec.name in known and spec.dtype in ("int32", "int64") and (rows is None or known[spec.name] in rows)
        if all(
            ((sample[spec.name] >= 0) & (sample[spec.name] < known[spec.name])).all()
            for sample in given
            if isinstance(sample, Mapping) and spec.name in sample
        )
    }


def _described(tokenizer, model, decode):
    """As JSON. Of a generator, words are as many as it scores, and what it reads is not padded to a fixed length."""
    described = tokenizer.to_json()
    if decode is not None:
        for part in (described, described.get("source"), described.get("target")):
            if isinstance(part, dict) and part.get("kind") == WordTokenizer.kind:
                part["pad"] = False
        written = described.get("target", described)
        if written.get("kind") == WordTokenizer.kind:
            written["words"] = written["words"] + [""] * (model.vocabulary_size - len(written["words"]))
    return described


_STATEFUL = (
    "A layer is stateful, so the file takes and gives its states: read sequences in chunks with Model.stream(). "
    "streaming=False writes the graph of whole sequences instead."
)


def _write_onnx(path, model, content, draft, samples, verify, progress, opset, external_data):
    progress("converting")
    notes = list(draft.notes)
    signature = (content.witnessed if verify else None) or content.described
    graph, weights = to_skeleton(signature.function, signature.inputs, opset, notes)
    external = _is_external(graph, external_data)
    file = OnnxFile(path, weights, external)
    large = weights_size(graph) > SHARED
    proof = None
    if large:
        proof = file if external else OnnxFile(path.with_name("proof.onnx"), weights, external=True)
    loop_logits = None
    if content.loop_logits and signature is content.witnessed:
        loop_logits = content.loop_logits(graph_run(graph, weights, proof))
        remove_outputs(graph.graph, WITNESSES)
    run = graph_run(graph, weights, proof)
    outputs = content.outputs(run)
    check_probabilities(draft.labels, content.accepted, outputs, reading_texts(run, draft))
    name_axes(graph.graph.output, outputs)
    graph.graph.name = draft.name
    if proof is not None and proof is not file:
        proof.remove()  # what has been opened needs no name
    manifest = dataclasses.replace(
        draft,
        outputs=outputs,
        operators=count_operators(graph.graph),
        opset=next(declared.version for declared in graph.opset_import if not declared.domain),
        notes=tuple(notes),
        external_data=file.write(graph),
    )
    manifest = manifest.with_graph_hash(path)
    file.describe(manifest.to_metadata())
    if verify:
        progress("verifying")
        if large and not file.holds_its_weights():
            raise ExportError(f"{path.name} does not hold the weights that were written to it: the disk loses data.")
        proven = parity.onnx_file(path, run, manifest) if large else None
        report = _require_parity(path, model, content, samples, verify, proven, loop_logits)
        manifest = dataclasses.replace(manifest, parity=report)
        file.describe(manifest.to_metadata())
    return manifest


def _is_external(graph: onnx.ModelProto, wanted: bool | None) -> bool:
    """Whether the weights go into a file of their own: if that is wanted, or one file can't hold them."""
    fits = fits_in_one_file(graph)
    if not fits and wanted is False:
        raise ExportError(
            f"The weights take {weights_size(graph) / 2**30:.1f} GB; one ONNX file holds at most 2 GB. Leave "
            "external_data at None, and they go into a second file beside it."
        )
    return not fits if wanted is None else wanted


def _write_saved_model(path, model, content, draft, samples, verify, progress):
    progress("tracing")
    order = write_saved_model(path, model, content.signatures)[content.described_name]
    run = load_signatures(path)[content.described_name]
    outputs = tuple(sorted(content.outputs(run), key=lambda spec: order.index(spec.name)))
    check_probabilities(draft.labels, content.accepted, outputs, run)
    manifest = dataclasses.replace(draft, outputs=outputs)
    _describe(path, manifest)
    if verify:
        progress("verifying")
        manifest = dataclasses.replace(manifest, parity=_require_parity(path, model, content, samples, verify))
        _describe(path, manifest)
    return manifest


def _describe(folder: Path, manifest: Manifest) -> None:
    described_in = folder / SAVED_MODEL_FILE
    described_in.parent.mkdir(exist_ok=True)
    described_in.write_text(json.dumps(manifest.to_json(), indent=1), encoding="utf-8")


def _require_parity(path, model, content, samples, verify, file=None, loop_logits=None) -> dict[str, Any]:
    """Of what is at `path`, or of `file`."""
    try:
        opened, random = file or parity.opened(path), verify != "samples"
        report = parity.compare(opened, model, samples, random, loop_logits, content.accepted)
    except (ArtefactError, InputError) as error:
        raise ParityError(f"The exported file was not kept: {error}{_without_random(model, verify)}") from error
    if not report.passed:
        differs = f"The exported file differs from the model, so it was not kept.\n{report}"
        raise ParityError(differs + _without_random(model, verify))
    return report.to_json(measured=not reproducible())


def _without_random(model: keras.Model, verify: bool | str) -> str:
    if verify == "samples" or isinstance(model, Generator):
        return ""
    return (
        "\nIf random inputs mean nothing to the model, give it inputs that do: samples=[...], with "
        'verify="samples" to compare on these alone.'
    )
