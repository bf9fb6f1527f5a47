"""`compare`: the parity gate, an exported file's outputs against those of its Keras model, within a tolerance."""

import contextlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseq.decoding import Strategy
from tfseq.errors import ArtefactError, ExportError, InputError
from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.conversion.saved_model import load_signatures
from tfseq.exporting.generation.loop_graph import strategy_of
from tfseq.exporting.generation.token_interface import TokenIdInterface, token_interface
from tfseq.exporting.proving.chunk_parity import check_stream
from tfseq.exporting.proving.elsewhere import RefusedElsewhere, elsewhere
from tfseq.exporting.proving.generation_parity import check_generation, check_loop_logits, witnessed_loop
from tfseq.exporting.proving.report import CheckedSizes, NumberCheck, ParityReport, TokenCheck, WorstError
from tfseq.exporting.proving.step_parity import in_steps
from tfseq.exporting.proving.text_run import reading_texts
from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs, Case
from tfseq.exporting.signatures.accepted_sizes import search_order
from tfseq.exporting.signatures.call_arguments import GUESSED
from tfseq.exporting.signatures.random_inputs import free_axes
from tfseq.exporting.signatures.random_numbers import is_seed
from tfseq.exporting.signatures.sample_inputs import as_list
from tfseq.exporting.signatures.signature import Run, Signature, forward_signature
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import SAVED_MODEL_FILE, Manifest, TensorSpec
from tfseq.runtime.session import Session

_CALLS = 64  # of a model whose sizes are unknown
CHANNELS_FIRST = "channels_first"
TOLERANCE = 1e-4  # of float32 outputs, relative where they are larger than 1
ROUNDED = 0.05  # where layers round their inputs to 8 bits: rounding errors then move one by a whole step of 127


def tolerance_for(model: keras.Model) -> float:
    """The largest relative error that passes."""
    rounds = any(getattr(layer, "inputs_quantizer", None) is not None for layer in model._flatten_layers())
    return ROUNDED if rounds else TOLERANCE


def compare(
    file: "File",
    model: keras.Model,
    samples: Any = (),
    random: bool = True,
    loop_logits: NumberCheck | None = None,
    accepted: AcceptedInputs | None = None,
) -> ParityReport:
    """`tfseq.verify` of an opened file.

    Args:
        loop_logits: the check of the logits inside a loop, if it has been made.
        accepted: what the function of the file takes, if it is known.
    """
    model, samples = as_float32(model), as_list(samples)
    if not random:
        _require_samples(samples, file)
    if file.inputs and not samples:
        _call_if_need_be(model, file.inputs)
    if file.manifest is not None and file.manifest.decoding and not isinstance(model, Generator):
        raise ArtefactError(f"{file.path} generates, and {type(model).__name__} is no tfseq.models.Generator.")
    checks: list[NumberCheck | TokenCheck] = []
    try:
        if "stream" in file.runs:
            checks.append(check_stream(file.runs["stream"], model, file.of, tolerance_for(model), samples, random))
        if "serve" in file.runs:
            given, described = ((), None) if "generate" in file.runs else (samples, file.manifest)
            checks.append(check_forward(file.runs["serve"], model, file.of, given, random, accepted, described))
        if "generate" in file.runs or "stream_generate" in file.runs:
            checks += _generation_checks(file, model, samples, loop_logits)
    except InputError as error:
        raise ArtefactError(f"{file.path} does not take what the model takes: {error}") from error
    return ParityReport(tuple(checks))


@dataclass(frozen=True)
class File:
    """An exported file.

    Attributes:
        path: where it is, for errors.
        of: what it is, for reports.
        runs: its functions: "serve", "generate", "stream", "stream_generate".
        manifest: None of a SavedModel that has none.
    """

    path: Path
    of: str
    runs: Mapping[str, Run]
    manifest: Manifest | None

    @property
    def inputs(self) -> list[TensorSpec]:
        """Those of the model, where they are known."""
        if self.manifest is None or self.manifest.decoding:
            return []
        states = {state.input for state in self.manifest.states}
        return [spec for spec in self.manifest.inputs if spec.name not in states and not is_seed(spec)]


def opened(path: str | os.PathLike[str]) -> File:
    if Path(path).is_dir():
        runs = load_signatures(path)
        described = {"generate", "stream_generate"} & runs.keys() or (Path(path) / SAVED_MODEL_FILE).exists()
        return File(Path(path), "saved model", runs, Manifest.from_saved_model(path) if described else None)
    session = Session(path)
    manifest = Manifest.from_metadata(session.metadata)
    if manifest.external_data is not None:
        manifest.external_data.check_content(Path(path))
    return onnx_file(Path(path), session.run, manifest)


def onnx_file(path: Path, run: Run, manifest: Manifest) -> File:
    """An ONNX file with that manifest, whose graph `run` runs."""
    name = {"predict": "stream" if manifest.states else "serve"}.get(manifest.task, manifest.task)
    return File(path, "onnx", {name: reading_texts(run, manifest)}, manifest)


def _generation_checks(
    file: File, model: Generator, samples: Any, loop_logits: NumberCheck | None
) -> list[NumberCheck | TokenCheck]:
    manifest = file.manifest
    assert manifest is not None  # what generates has one
    strategy = strategy_of(manifest.decoding or {})
    if "stream_generate" in file.runs:
        run = in_steps(file.runs["stream_generate"], manifest, model)
        of = f"{file.of}, in steps"
        interface = TokenIdInterface()
        return check_generation(
            run, model, strategy, of, tolerance_for(model), interface, ragged=False, samples=samples
        )
    checks: list[NumberCheck | TokenCheck] = []
    if file.of == "onnx":
        checks.append(loop_logits or _loop_logits(model, strategy, manifest.takes_prefix))
    interface = token_interface(manifest.tokenizer, model.vocabulary_size)
    run = interface.in_token_ids(file.runs["generate"], manifest.inputs)
    attention = any(spec.name == "attention" for spec in manifest.outputs)
    prefix = manifest.takes_prefix
    found = check_generation(
        run, model, strategy, file.of, tolerance_for(model), interface, attention, samples=samples, prefix=prefix
    )
    return [*checks, *found]


def _loop_logits(model: Generator, strategy: Strategy, prefix: bool) -> NumberCheck:
    with witnessed_loop(model, strategy, prefix) as run:
        return check_loop_logits(run, model, strategy, tolerance_for(model), TokenIdInterface(), prefix)


def _call_if_need_be(model: keras.Model, inputs: Sequence[TensorSpec]) -> None:
    """Of a model that was loaded and not called, Keras does not know all inputs, and no type; the file does."""
    if all(spec.dtype in GUESSED for spec in inputs):
        with contextlib.suppress(ExportError):
            forward_signature(model)
            return
    refusal = None
    for sizes in itertools.islice(search_order(free_axes(inputs)), _CALLS):
        shapes = [[sizes[size] if isinstance(size, str) else size for size in spec.shape] for spec in inputs]
        sample = {
            spec.name: np.full(shape, "a", object) if spec.dtype == "string" else np.ones(shape, spec.dtype)
            for spec, shape in zip(inputs, shapes)
        }
        try:
            forward_signature(model, [sample])
            return
        except ExportError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def _require_samples(samples: Any, file: File) -> None:
    if {"generate", "stream_generate"} & file.runs.keys():
        raise ExportError(
            "A file that generates is compared on random prompts or sources beside the samples; comparing on samples "
            "alone is for graphs without decode."
        )
    if not samples:
        raise ExportError("Comparing on samples alone needs some: samples=[...], what the model takes.")


def check_forward(
    run: Run,
    model: keras.Model,
    of: str,
    samples: Any = (),
    random: bool = True,
    accepted: AcceptedInputs | None = None,
    manifest: Manifest | None = None,
) -> NumberCheck:
    """`run` against the model's `call`, over sample inputs and the random ones that the model takes.

    Args:
        accepted: the inputs that the model takes, samples included, if they are known.
        manifest: of the graph, where inputs and outputs may have other names than the model's, in the same order, as
            those have that Keras numbers.

    Raises:
        ExportError: the model refuses a sample, or all that was tried.
        ArtefactError: the graph has other inputs or outputs than the model.
    """
    if accepted is None:
        signature = forward_signature(model, samples)
        accepted = AcceptedInputs(signature, signature.feeds(samples))
        run = run if manifest is None else _by_place(run, manifest, signature)
    worst, sizes = WorstError(tolerance_for(model)), CheckedSizes()
    name = type(model).__name__
    outputs: dict[str, None] = {}  # their names

    # What a model elsewhere draws at random is its own affair: then its copy here is compared, with the file's seed.
    original = None if accepted.signature.draws else elsewhere()

    def compare(case: Case) -> None:
        expected = case.outputs if original is None else original.outputs(model, case.feeds)
        got = run(case.feeds)
        if got.keys() != expected.keys():
            got = dict(zip(expected, _as_many(list(got.values()), list(expected), f"outputs {', '.join(got)}", name)))
        outputs.update(dict.fromkeys(expected))
        if original is None and "batch" in case.sizes and not _alike(got, expected, worst.tolerance):
            expected = accepted.in_graph(case.feeds) or expected
        for output, value in expected.items():
            worst.add(np.asarray(got[output]), value, _describe(case.feeds), output)

    for sample in accepted.of_samples():
        if sample is None:
            raise ExportError(f"{name} does not take the sample: {accepted.reason}")
        try:
            compare(sample)
        except RefusedElsewhere as error:
            raise ExportError(f"{name} does not take the sample: {error}") from error
        sizes.samples += 1
    for case in accepted.cases() if random else ():
        try:
            compare(case)
        except RefusedElsewhere as error:
            accepted.refusal = error
        else:
            sizes.add(case.sizes)
    if not worst.cases:
        raise ExportError(_none_taken(model, accepted))
    names = " and ".join(outputs) if len(outputs) < 4 else "outputs"
    against = "keras" if original is elsewhere() else "keras on tensorflow"
    on = "; ".join([str(sizes), *accepted.where_not_finite])
    return replace(worst.check(names, of, against), cases=sizes.samples + sizes.random, on=on)


def _alike(got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float) -> bool:
    worst = WorstError(tolerance)
    for output, value in expected.items():
        worst.add(np.asarray(got[output]), value, "", output)
    return worst.relative <= tolerance


def _by_place(run: Run, manifest: Manifest, signature: Signature) -> Run:
    """A graph that takes the signature's inputs by their names, with its outputs in the manifest's order."""
    theirs, own = ([spec.name for spec in specs] for specs in (manifest.inputs, signature.inputs))
    theirs = own if set(theirs) == set(own) else _as_many(theirs, own, f"inputs {', '.join(theirs)}", "the model")
    outputs = [spec.name for spec in manifest.outputs]

    def run_by_place(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        got = run({name: feeds[its] for name, its in zip(theirs, own)})
        return {name: got[name] for name in outputs}

    return run_by_place


def _as_many(theirs: list[Any], own: Sequence[str], has: str, name: str) -> list[Any]:
    """
    Raises:
        ArtefactError: a file has another number of inputs or outputs than the model.
    """
    if len(theirs) != len(own):
        raise ArtefactError(f"The file has the {has}, and {name} {', '.join(own)}; it was made from another model.")
    return theirs


def _none_taken(model: keras.Model, accepted: AcceptedInputs) -> str:
    name, reason = type(model).__name__, accepted.reason.rstrip(".")
    if "NHWC" not in reason:
        return (
            f"{name} takes none of the random inputs that were tried: {reason}. Give what it takes, samples=[...], "
            'with verify="samples" to compare on these alone.'
        )
    layers = [x for x in model._flatten_layers(include_self=False) if getattr(x, "data_format", "") == CHANNELS_FIRST]
    named = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in layers) or "a layer"
    return (
        f"{name} can't be called on a CPU, so no file can be compared with it: data_format is {CHANNELS_FIRST!r} in "
        f"{named}, and TensorFlow says: {reason}. Build it with 'channels_last', or leave the comparison out, "
        "verify=False."
    )


def _describe(feeds: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in feeds.items())
