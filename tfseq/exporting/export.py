"""`export`: a Keras model to one verified ONNX file or SavedModel, written whole or not at all."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import onnx

import tfseq
from tfseq.decoding import Beam, Strategy
from tfseq.decoding.generate import check_strategy
from tfseq.errors import ArtefactError, ExportError, InputError, ParityError
from tfseq.exporting.conversion.convert import OPSETS, first_line, name_axes, to_onnx
from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.conversion.saved_model import load_signatures, write_saved_model
from tfseq.exporting.generation.code_points import code_points_of
from tfseq.exporting.generation.generation_cases import sample_cases
from tfseq.exporting.generation.loop_graph import attention_width, decoding_json, generated_specs, generation_signature
from tfseq.exporting.generation.step_graph import step_graph
from tfseq.exporting.proving import parity
from tfseq.exporting.proving.chunk_parity import require_causal
from tfseq.exporting.proving.provenance import provenance, require_finite_weights
from tfseq.exporting.rewriting import CONVERTED, count_operators
from tfseq.exporting.signatures.class_labels import check_names, check_probabilities
from tfseq.exporting.signatures.output_axes import output_specs
from tfseq.exporting.signatures.sample_inputs import as_list, feeds
from tfseq.exporting.signatures.signature import Run, Signature, forward_signature
from tfseq.exporting.streaming.chunk_graph import is_stateful, stream_signature
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import SAVED_MODEL_FILE, Manifest, StateSpec, TensorSpec
from tfseq.runtime.session import Session

LARGEST_FILE = 2**31 - 1  # of protobuf


@contextlib.contextmanager
def _only_export_errors() -> Iterator[None]:
    try:
        yield
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"The model can't be exported: {first_line(error)}") from error


@_only_export_errors()
def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    decode: Strategy | None = None,
    attention: bool = False,
    tokenizer: Any = None,
    code_points: bool = True,
    labels: Sequence[str] = (),
    name: str | None = None,
    data: Any = None,
    opset: int | None = None,
    samples: Any = (),
    verify: bool | Literal["samples"] = True,
    streaming: bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Writes the model as one ONNX file, or a SavedModel folder, and proves that it equals the model.

    A model that computes in float16 or bfloat16 is exported as a float32 copy.

    Args:
        model: a Keras model on the TensorFlow backend. One that has no weights yet, or a subclassed one that was never
            called, needs samples.
        path: ends in .onnx for ONNX; else a SavedModel folder with the signature `serve`, and `generate` with `decode`.
        decode: how a `tfseq.models.Generator` generates: `tfseq.Greedy()`, `tfseq.Sample()` or `tfseq.Beam()`, whose
            fields are the defaults of the file's run-time inputs. The ONNX file then holds the loop: prompts or sources
            in, sequences, lengths and scores out. None writes the forward graph (tokens to logits).
        attention: with `decode`, the file also outputs each step's attention over the source.
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
            sources.
        verify: on what the file is compared: True for the samples and random inputs, of sizes and values that the model
            takes; "samples" for the samples alone, where random inputs mean nothing to the model. False leaves the
            comparison out, and the file says so.
        streaming: True writes a chunk graph: a chunk of a sequence and every recurrent state in, the outputs and the
            new states out, for `tfseq.runtime.Model.stream`; the manifest's `states` says what belongs together. With
            `decode`, the graph of one decode step, for `tfseq.runtime.Model.stream_text`. False writes the graph of
            whole sequences, each from its first state. None streams if a layer is `stateful=True`.
        progress: is told each step, in a word.

    Returns:
        The manifest that was written into the file.

    Raises:
        ExportError: the model can't be exported, or the file can't be written. What stood at `path` still does.
        ParityError: the file's results differ from the model's. What stood at `path` still does.
    """
    path = Path(path)
    samples = as_list(samples)
    _check_arguments(model, path, decode, attention, tokenizer, opset, samples, streaming)
    _check_verification(verify, samples, decode)
    check_names(labels, decode)
    if samples and decode is None:
        forward_signature(model, samples)  # calls the model if need be
    require_finite_weights(model)
    exact = as_float32(model)
    if decode is not None:
        sample_cases(exact, decode, samples)  # refuses what does not fit before the work
    if decode is None:
        content = _forward(exact, streaming, samples)
    elif streaming:
        content = _one_step(exact, decode, path, tokenizer)
    else:
        content = _loop(exact, decode, attention, path, tokenizer if code_points else None)
    if samples and decode is None:
        samples = feeds(samples, content.sampled)
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
        notes=(_STATEFUL,) if content.states and streaming is None else (),
        decoding=None if decode is None else decoding_json(model, decode),
        provenance=provenance(model, data),
    )
    write = _write_onnx if path.suffix == ".onnx" else _write_saved_model
    with _replacing(path) as temporary:
        return write(temporary, exact, content, draft, samples, verify, progress or (lambda _: None), opset)


_STATEFUL = (
    "A layer is stateful, so the file takes and gives its states: read sequences in chunks with Model.stream(). "
    "streaming=False writes the graph of whole sequences instead."
)


@dataclasses.dataclass(frozen=True)
class _Content:
    """The content of a file before it is written.

    Attributes:
        task: of the manifest.
        signatures: by name, as a SavedModel has them; the last one is what the manifest describes, and the ONNX graph.
        outputs: of that one, from a function that runs it.
        states: of a chunk graph or a decode step graph.
        tokenizer: of the manifest where the graph does a part of the tokenizer's work.
        sampled: the inputs that the user's samples are for.
        samples: these, as the last signature takes them.
    """

    task: str
    signatures: Mapping[str, Signature]
    outputs: Callable[[Run], tuple[TensorSpec, ...]]
    states: tuple[StateSpec, ...] = ()
    tokenizer: dict[str, Any] | None = None
    sampled: Sequence[TensorSpec] = ()
    samples: Sequence[Mapping[str, np.ndarray]] = ()

    @property
    def described(self) -> Signature:
        return list(self.signatures.values())[-1]

    @property
    def described_name(self) -> str:
        return list(self.signatures)[-1]


def _forward(model, streaming, samples):
    """The model's `call`, over whole sequences or in chunks."""
    if not (streaming or (streaming is None and is_stateful(model))):
        signature = forward_signature(model, samples)
        given = feeds(samples, signature.inputs)
        return _Content(
            "predict", {"serve": signature}, lambda _: output_specs(signature, given), (), None, signature.inputs, given
        )
    stream = stream_signature(model, samples)
    require_causal(model, stream, parity.TOLERANCE)
    begun = [stream.begun(sample) for sample in feeds(samples, stream.inputs)]
    return _Content(
        "predict",
        {"stream": stream.signature},
        lambda _: output_specs(stream.signature, begun),
        stream.states,
        sampled=stream.inputs,
        samples=begun,
    )


def _loop(model, decode, attention, path, tokenizer):
    """The whole decoding loop."""
    codes = None if tokenizer is None else code_points_of(tokenizer, model.vocabulary_size)
    signatures = {"generate": generation_signature(model, decode, attention, codes)}
    if path.suffix != ".onnx":
        signatures = {"serve": forward_signature(model), **signatures}

    def outputs(run):
        return generated_specs(attention_width(run, model, decode) if attention else None)

    return _Content("generate", signatures, outputs, tokenizer=None if codes is None else codes.to_json())


def _one_step(model, decode, path, tokenizer):
    """One decode step, over token ids: its caller feeds back what it chose, up to the end token."""
    step = step_graph(model, decode)
    return _Content("stream_generate", {"stream_generate": step.signature}, lambda _: step.outputs, step.states)


def _write_onnx(path, model, content, draft, samples, verify, progress, opset):
    progress("converting")
    notes = list(draft.notes)
    graph = to_onnx(content.described.function, content.described.inputs, opset, notes)
    _save(graph, path)
    try:
        run = Session(path).run
    except ArtefactError as error:
        raise ExportError(f"The model converts, but ONNX Runtime refuses the graph: {error}") from error
    outputs = content.outputs(run)
    check_probabilities(draft.labels, content.described, outputs, run, content.samples)
    name_axes(graph.graph.output, outputs)
    manifest = dataclasses.replace(
        draft,
        outputs=outputs,
        operators=count_operators(graph.graph),
        opset=next(declared.version for declared in graph.opset_import if not declared.domain),
        notes=tuple(notes),
    )
    _save(graph, path, manifest)
    if verify:
        progress("verifying")
        manifest = dataclasses.replace(manifest, parity=_require_parity(path, model, samples, verify))
        _save(graph, path, manifest)
    return manifest


def _write_saved_model(path, model, content, draft, samples, verify, progress, opset):
    progress("tracing")
    order = write_saved_model(path, model, content.signatures)[content.described_name]
    run = load_signatures(path)[content.described_name]
    outputs = tuple(sorted(content.outputs(run), key=lambda spec: order.index(spec.name)))
    check_probabilities(draft.labels, content.described, outputs, run, content.samples)
    manifest = dataclasses.replace(draft, outputs=outputs)
    _describe(path, manifest)
    if verify:
        progress("verifying")
        manifest = dataclasses.replace(manifest, parity=_require_parity(path, model, samples, verify))
        _describe(path, manifest)
    return manifest


def _describe(folder: Path, manifest: Manifest) -> None:
    described_in = folder / SAVED_MODEL_FILE
    described_in.parent.mkdir(exist_ok=True)
    described_in.write_text(json.dumps(manifest.to_json(), indent=1), encoding="utf-8")


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` if all goes well, and is removed if not."""
    new, old = (path.with_name(f".{path.name}.{os.getpid()}.{part}") for part in ("new", "old"))
    try:
        new.touch() if path.suffix == ".onnx" else new.mkdir()  # can't write? then say so before the work
        yield new
        if path.is_dir():
            os.replace(path, old)
        os.replace(new, path)
    except OSError as error:
        raise ExportError(f"Can't write {path}: {error.strerror or error}.") from error
    except Exception as error:
        _rename(error, str(new), str(path))
        raise
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for leftover in (new, old):
            with contextlib.suppress(OSError):  # of a disk that can't be written, which has been said
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def _rename(error: BaseException | None, old: str, new: str) -> None:
    """In what an error and its causes say."""
    while error is not None:
        error.args = tuple(part.replace(old, new) if isinstance(part, str) else part for part in error.args)
        error = error.__cause__ or error.__context__


def _save(graph: onnx.ModelProto, path: Path, manifest: Manifest | None = None) -> None:
    graph.producer_name, graph.producer_version = "tfseq", tfseq.__version__
    if manifest:
        graph.graph.name = manifest.name
        onnx.helper.set_model_props(graph, manifest.to_metadata())
    path.write_bytes(graph.SerializeToString())


def _require_parity(path: Path, model: keras.Model, samples: list, verify: bool | str) -> dict[str, Any]:
    try:
        report = parity.verify(path, model, samples, verify != "samples")
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


def _check_arguments(model, path, decode, attention, tokenizer, opset, samples, streaming):
    if not isinstance(model, keras.Model):
        raise ExportError(f"Got {type(model).__name__}; expected a keras.Model.")
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Exporting runs on Keras' TensorFlow backend, and this is {keras.backend.backend()}. Save the model as "
            ".keras and export that with KERAS_BACKEND=tensorflow."
        )
    if not (model.built or samples):
        raise ExportError(
            f"{type(model).__name__} has no weights yet: call it on some data, or export it with samples=[...], "
            "what it takes."
        )
    lowest = OPSETS[0] if decode is None else CONVERTED
    if opset is not None and opset not in range(lowest, OPSETS.stop):
        raise ExportError(
            f"opset is {opset!r}; expected {OPSETS[0]} to {OPSETS[-1]}, and from {CONVERTED} with decode."
        )
    _check_decoding(model, decode, attention, streaming)
    if tokenizer is not None and isinstance(model, Generator):
        _check_tokenizer(tokenizer, model)
    if not path.parent.is_dir():
        raise ExportError(f"There is no folder {path.parent}; create it first.")
    if path.suffix == ".onnx" and path.is_dir():
        raise ExportError(f"{path} is a folder; expected a file name.")
    if path.suffix != ".onnx" and path.exists() and not path.is_dir():
        raise ExportError(f"{path} is a file; expected a folder for a SavedModel, or a name that ends in .onnx.")
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").is_file():
        raise ExportError(f"{path} is a folder with other things in it; name a new one for a SavedModel.")
    size = sum(int(np.prod(weight.shape)) * 4 for weight in model.weights)
    if path.suffix == ".onnx" and size > LARGEST_FILE:
        raise ExportError(f"The weights take {size / 2**30:.1f} GB in float32; one ONNX file holds at most 2 GB.")


def _check_verification(verify, samples, decode):
    if not (isinstance(verify, bool) or verify == "samples"):
        raise ExportError(f'verify is {verify!r}; expected True, False or "samples".')
    if verify == "samples" and decode is not None:
        raise ExportError(
            'verify="samples" is for graphs without decode; a file that generates is compared on random prompts or '
            "sources beside the samples: leave verify=True."
        )
    if verify == "samples" and not samples:
        raise ExportError('verify="samples" compares on samples alone: give some, samples=[...], what the model takes.')


def _check_decoding(model, decode, attention, streaming):
    if decode is None:
        if attention:
            raise ExportError("attention is that of a loop that generates; it needs decode.")
        return
    if not isinstance(decode, Strategy):
        raise ExportError(f"decode is {decode!r}; expected tfseq.Greedy(), tfseq.Sample() or tfseq.Beam().")
    if not isinstance(model, Generator):
        raise ExportError(f"decode needs a tfseq.models.Generator, with `step`; {type(model).__name__} is none.")
    try:
        check_strategy(decode, model)
    except InputError as error:
        raise ExportError(f"{type(model).__name__} can't be decoded so: {error}") from None
    if attention and not model.has_attention:
        raise ExportError(f"{type(model).__name__} has no attention to give out: it does not attend to a source.")
    if streaming and attention:
        raise ExportError("A graph of one decode step outputs no attention; export with streaming=False.")
    if streaming and isinstance(decode, Beam):
        raise ExportError(
            "A beam search knows its first token only when it is done, so it can't stream: use tfseq.Greedy() or "
            "tfseq.Sample(), or streaming=False."
        )


def _check_tokenizer(tokenizer, model):
    if tokenizer.vocabulary_size != model.vocabulary_size:
        raise ExportError(
            f"The tokenizer has {tokenizer.vocabulary_size} tokens and the model {model.vocabulary_size}."
        )
    for name in ("start", "end"):
        theirs, own = getattr(tokenizer, name, None), getattr(model, name)
        if None not in (theirs, own) and theirs != own:
            raise ExportError(f"The tokenizer's {name} is token {theirs}, and the model's is {own}.")
