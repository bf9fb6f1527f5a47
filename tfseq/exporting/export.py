"""`export`: a Keras model to one verified ONNX file or SavedModel, written whole or not at all."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import onnx

from tfseq.decoding import Strategy
from tfseq.errors import ArtefactError, ExportError, InputError, ParityError
from tfseq.exporting.arguments import check_arguments, check_verification
from tfseq.exporting.contents import forward, loop, one_step
from tfseq.exporting.conversion.convert import name_axes, to_skeleton
from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.conversion.saved_model import load_signatures, write_saved_model
from tfseq.exporting.generation.generation_cases import sample_cases
from tfseq.exporting.generation.loop_graph import WITNESSES, decoding_json
from tfseq.exporting.proving import parity
from tfseq.exporting.proving.graph_run import graph_run
from tfseq.exporting.proving.provenance import provenance, require_finite_weights
from tfseq.exporting.proving.text_run import reading_texts
from tfseq.exporting.rewriting import CONVERTED, count_operators, remove_outputs
from tfseq.exporting.signatures.class_labels import check_names, check_probabilities
from tfseq.exporting.signatures.reasons import called_layer, first_line
from tfseq.exporting.signatures.sample_inputs import as_list, feeds
from tfseq.exporting.signatures.signature import forward_signature
from tfseq.exporting.writing.onnx_file import OnnxFile, fits_in_one_file, weights_size
from tfseq.exporting.writing.replacing import replacing
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import SAVED_MODEL_FILE, Manifest

SHARED = 2**25  # bytes; more weights than these are proven where the model has them, and then read back from the file


@contextlib.contextmanager
def _only_export_errors() -> Iterator[None]:
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        layer = called_layer(error)
        subject = f"{layer} fails when it is called, so the model" if layer else "The model"
        raise ExportError(f"{subject} can't be exported: {first_line(error)}") from error


@_only_export_errors()
def export(
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
    """Writes the model as one ONNX file, or a SavedModel folder, and proves that it equals the model.

    A model that computes in float16 or bfloat16 is exported as a float32 copy. Where it draws random numbers, the file
    takes a `seed`, () int32, beside the model's inputs; the manifest's notes name the layers that draw.

    Args:
        model: a Keras model on the TensorFlow backend. One that has no weights yet, or a subclassed one that was never
            called, needs samples.
        path: ends in .onnx for ONNX; else a SavedModel folder with the signature `serve`, and `generate` with `decode`.
        decode: how a `tfseq.models.Generator` generates: `tfseq.Greedy()`, `tfseq.Sample()` or `tfseq.Beam()`, whose
            fields are the defaults of the file's run-time inputs. The ONNX file then holds the loop: prompts or sources
            in, sequences, lengths and scores out. None writes the forward graph (tokens to logits).
        attention: with `decode`, the file also outputs each step's attention over the source.
        prefix: with the `decode` of an encoder-decoder, the file also reads a prompt for each source: `prompt` and
            `prompt_length`, as a language model's does. The decoder reads it behind the start token, and writes what
            follows: task and language tokens, or how an answer begins. A prompt may be empty.
        tokenizer: turns text into the model's tokens, such as `tfseq.runtime.CharacterTokenizer`; goes into the file.
        code_points: with `decode` and a character tokenizer, the graph itself reads and writes Unicode code points.
            False has it read and write token ids, as with other tokenizers.
        labels: names of the classes that the last axis of the (first) output counts, for
            `tfseq.runtime.Model.classify`; the output has to be probabilities. Two names for a single sigmoid unit: of
            0 and of 1.
        name: of the artefact; the file's name if None.
        data: about the training data, JSON-able; recorded as it is.
        opset: version of ONNX's operators, 13 to 24; None for the lowest from 18 on that has a single operator for each
            of the model's patterns: 20 with GELU, 23 with attention (see docs/opsets.md for the runtimes they need).
        samples: sample inputs to verify the file on beside random ones, whose lengths they bound, and to call a model
            on that was never called: what the model takes (an array, a list or a dictionary of arrays), or several of
            these. With `decode`, prompts (a dictionary that also has `prompt_length` where they differ in length) or
            sources (with `prefix` a dictionary that may have `prompt` and `prompt_length`, too).
        verify: on what the file is compared: True for the samples and random inputs, of sizes and values that the model
            takes; "samples" for the samples alone, where random inputs mean nothing to the model. False leaves the
            comparison out, and the file says so.
        streaming: True writes a chunk graph: a chunk of a sequence and every recurrent state in, the outputs and the
            new states out, for `tfseq.runtime.Model.stream`; the manifest's `states` says what belongs together. With
            `decode`, the graph of one decode step, for `tfseq.runtime.Model.stream_text`. False writes the graph of
            whole sequences, each from its first state. None streams if a layer is `stateful=True`.
        external_data: True writes the weights into a second file, NAME.onnx.data, beside the first: they can be mapped
            into memory, and processes share them. None does so where one file can't hold them, from 2 GB on.
        progress: is told each step, in a word.

    Returns:
        The manifest that was written into the file.

    Raises:
        ExportError: the model can't be exported, or the file can't be written. What stood at `path` still does.
        ParityError: the file's results differ from the model's. What stood at `path` still does.
    """
    path = Path(path)
    samples = as_list(samples)
    check_arguments(model, path, decode, attention, prefix, tokenizer, opset, samples, streaming, external_data)
    check_verification(verify, samples, decode)
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
        tokenizer=content.tokenizer or (None if tokenizer is None else tokenizer.to_json()),
        labels=tuple(labels),
        states=content.states,
        notes=(*content.described.draws, *((_STATEFUL,) if content.states and streaming is None else ())),
        decoding=None if decode is None else decoding_json(model, decode),
        provenance=provenance(model, data),
    )
    progress = progress or (lambda _: None)
    with replacing(path) as temporary:
        if path.suffix != ".onnx":
            return _write_saved_model(temporary, exact, content, draft, samples, verify, progress)
        return _write_onnx(temporary, exact, content, draft, samples, verify, progress, opset, external_data)


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
    return report.to_json()


def _without_random(model: keras.Model, verify: bool | str) -> str:
    if verify == "samples" or isinstance(model, Generator):
        return ""
    return (
        "\nIf random inputs mean nothing to the model, give it inputs that do: samples=[...], with "
        'verify="samples" to compare on these alone.'
    )
