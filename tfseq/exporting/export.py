"""Keras model -> one verified file, written whole or not at all."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx

import tfseq
from tfseq.decoding.sample import Sample
from tfseq.errors import ArtefactError, ExportError, ParityError
from tfseq.exporting import parity
from tfseq.exporting.axes import output_specs
from tfseq.exporting.chunk_parity import require_causal
from tfseq.exporting.conversion import OPSETS, name_axes, to_onnx
from tfseq.exporting.passes import CONVERTED, count_operators
from tfseq.exporting.precision import as_float32
from tfseq.exporting.provenance import provenance, require_finite_weights
from tfseq.exporting.samples import as_list, feeds
from tfseq.exporting.saved_model import load_signatures, write_saved_model
from tfseq.exporting.signature import GENERATED, forward_signature, generation_signature
from tfseq.exporting.streaming import is_stateful, stream_signature
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import SAVED_MODEL_FILE, Manifest
from tfseq.runtime.session import Session

LARGEST_FILE = 2**31 - 1  # of protobuf


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    decode: Sample | None = None,
    tokenizer: Any = None,
    name: str | None = None,
    data: Any = None,
    opset: int | None = None,
    samples: Any = (),
    verify: bool = True,
    streaming: bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Writes the model as one ONNX file, or a SavedModel folder, and proves that it equals the model.

    A model that computes in float16 or bfloat16 is exported as a float32 copy.

    Args:
        model: a Keras model on the TensorFlow backend. One that has no weights yet, or a subclassed one that was never
            called, needs samples.
        path: ends in .onnx for ONNX; else a SavedModel folder with the signature `serve`, and `generate` with `decode`.
        decode: how a `tfseq.models.Generator` generates; its fields are the defaults of the file's run-time inputs. The
            ONNX file then holds the loop (prompt to tokens); None writes the forward graph (tokens to logits).
        tokenizer: turns text into the model's tokens, such as `tfseq.runtime.CharacterTokenizer`; goes into the file.
        name: of the artefact; the file's name if None.
        data: about the training data, JSON-able; recorded as it is.
        opset: version of ONNX's operators, 13 to 24; None for the lowest from 18 on that has a single operator for each
            of the model's patterns: 20 with GELU, 23 with attention (see docs/opsets.md for the runtimes they need).
        samples: inputs to verify a forward graph on beside random ones, and to call a model on that was never called:
            what the model takes (an array, a list or a dictionary of arrays), or several of these.
        verify: False leaves the comparison out, and the file says so.
        streaming: True writes a step graph: a chunk of a sequence and every recurrent state in, the outputs and the new
            states out, for `tfseq.runtime.Model.stream`; the manifest's `states` says what belongs together. False
            writes the graph of whole sequences, each from its first state. None streams if a layer is `stateful=True`.
        progress: is told each step, in a word.

    Returns:
        The manifest that was written into the file.

    Raises:
        ExportError: the model can't be exported, or the file can't be written. What stood at `path` still does.
        ParityError: the file's results differ from the model's. What stood at `path` still does.
    """
    path = Path(path)
    samples = as_list(samples)
    _check_arguments(model, path, decode, tokenizer, opset, samples)
    if samples and decode is None:
        forward_signature(model, samples)  # calls the model if need be
    require_finite_weights(model)
    exact = as_float32(model)
    stream = _stream(exact, decode, streaming)
    if samples and decode is None:
        samples = feeds(samples, stream.inputs if stream else forward_signature(exact, samples).inputs)
    draft = Manifest(
        name=name or path.stem,
        task="predict" if decode is None else "generate",
        inputs=(),
        outputs=(),
        operators={},
        opset=opset or CONVERTED,
        tokenizer=None if tokenizer is None else tokenizer.to_json(),
        states=stream.states if stream else (),
        notes=(_STATEFUL,) if stream and streaming is None else (),
        decoding=None if decode is None else {"strategy": decode.NAME, **decode.settings},
        provenance=provenance(model, data),
    )
    write = _write_onnx if path.suffix == ".onnx" else _write_saved_model
    with _replacing(path) as temporary:
        return write(temporary, exact, decode, stream, draft, samples, verify, progress or (lambda _: None), opset)


_STATEFUL = (
    "A layer is stateful, so the file takes and gives its states: read sequences in chunks with Model.stream(). "
    "streaming=False writes the graph of whole sequences instead."
)


def _stream(model, decode, streaming):
    """How the model streams, or None if it is not to."""
    if streaming and decode is not None:
        raise ExportError("decode and streaming exclude each other: the loop that generates keeps its own states.")
    if not (streaming or (streaming is None and decode is None and is_stateful(model))):
        return None
    stream = stream_signature(model)
    require_causal(model, stream, parity.TOLERANCE)
    return stream


def _write_onnx(path, model, decode, stream, draft, samples, verify, progress, opset):
    progress("converting")
    if stream:
        signature = stream.signature
    else:
        signature = forward_signature(model) if decode is None else generation_signature(model, type(decode))
    notes = list(draft.notes)
    graph = to_onnx(signature.function, signature.inputs, opset, notes)
    _save(graph, path)
    try:
        run = Session(path).run
    except ArtefactError as error:
        raise ExportError(f"The model converts, but ONNX Runtime refuses the graph: {error}") from error
    outputs = (GENERATED,) if decode else output_specs(signature, run)
    name_axes(graph.graph.output, outputs)
    manifest = dataclasses.replace(
        draft,
        inputs=signature.inputs,
        outputs=outputs,
        operators=count_operators(graph.graph),
        opset=next(declared.version for declared in graph.opset_import if not declared.domain),
        notes=tuple(notes),
    )
    _save(graph, path, manifest)
    if verify:
        progress("verifying")
        manifest = dataclasses.replace(manifest, parity=_require_parity(path, model, samples))
        _save(graph, path, manifest)
    return manifest


def _write_saved_model(path, model, decode, stream, draft, samples, verify, progress, opset):
    progress("tracing")
    signatures = {"stream": stream.signature} if stream else {"serve": forward_signature(model)}
    if decode is not None:
        signatures["generate"] = generation_signature(model, type(decode))
    write_saved_model(path, model, signatures)
    name = "generate" if decode else next(iter(signatures))
    described = signatures[name]
    outputs = (GENERATED,) if decode else output_specs(described, load_signatures(path)[name])
    manifest = dataclasses.replace(draft, inputs=described.inputs, outputs=outputs)
    if verify:
        progress("verifying")
        manifest = dataclasses.replace(manifest, parity=_require_parity(path, model, samples))
    described_in = path / SAVED_MODEL_FILE
    described_in.parent.mkdir(exist_ok=True)
    described_in.write_text(json.dumps(manifest.to_json(), indent=1), encoding="utf-8")
    return manifest


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
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for leftover in (new, old):
            with contextlib.suppress(OSError):  # of a disk that can't be written, which has been said
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def _save(graph: onnx.ModelProto, path: Path, manifest: Manifest | None = None) -> None:
    graph.producer_name, graph.producer_version = "tfseq", tfseq.__version__
    if manifest:
        graph.graph.name = manifest.name
        onnx.helper.set_model_props(graph, manifest.to_metadata())
    path.write_bytes(graph.SerializeToString())


def _require_parity(path: Path, model: keras.Model, samples: list) -> dict[str, Any]:
    report = parity.verify(path, model, samples)
    if not report.passed:
        raise ParityError(f"The exported file differs from the model, so it was not kept.\n{report}")
    return report.to_json()


def _check_arguments(model, path, decode, tokenizer, opset, samples):
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
    if decode is not None and not isinstance(decode, Sample):
        raise ExportError(f"decode is {decode!r}; expected tfseq.Sample(...).")
    if decode is not None and not isinstance(model, Generator):
        raise ExportError(f"decode needs a tfseq.models.Generator, with `step`; {type(model).__name__} is none.")
    if tokenizer is not None and isinstance(model, Generator) and tokenizer.vocabulary_size != model.vocabulary_size:
        raise ExportError(
            f"The tokenizer has {tokenizer.vocabulary_size} symbols and the model {model.vocabulary_size}."
        )
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
