"""`export` and `verify`, the calls people make: on the TensorFlow backend done here, on others in its own process."""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import keras

from tfseq.decoding import Strategy
from tfseq.errors import ExportError
from tfseq.exporting.proving.report import ParityReport
from tfseq.exporting.signatures.failures import only_export_errors
from tfseq.exporting.signatures.sample_inputs import as_list
from tfseq.keras2 import converted, is_keras_2
from tfseq.runtime.manifest import Manifest


@only_export_errors()
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

    TensorFlow converts. On the JAX and PyTorch backends a process of its own does that, with a copy of the model, its
    classes and functions included, which have to compute in `keras.ops`; the file is compared with the model as it is.

    A task of KerasHub is exported as what it does: a CausalLM with `decode` continues text, see docs/hub.md.

    A model of Keras 2 (tf_keras) is exported as a copy in Keras 3, and on TensorFlow the file is compared with itself.

    Args:
        model: a Keras model, on any backend. One that has no weights yet, or a subclassed one that was never called,
            needs samples, unless it is a `tfseq.models.Generator`, which says what it takes. With `decode`, a Generator
            of your own is tried by `tfseq.models.check_generator`, and refused with what is to be changed.
        path: ends in .onnx for ONNX; else a SavedModel folder with the signature `serve`, and `generate` with `decode`.
        decode: how a `tfseq.models.Generator` generates: `tfseq.Greedy()`, `tfseq.Sample()`, `tfseq.Beam()` or a
            `tfseq.decoding.Strategy` of your own, with its rules. Its settings are the defaults of the file's run-time
            inputs. The ONNX file then holds the loop: prompts or sources in, sequences, lengths and scores out. None
            writes the forward graph (tokens to logits).
        attention: with `decode`, the file also outputs each step's attention over the source.
        prefix: with the `decode` of an encoder-decoder, the file also reads a prompt for each source: `prompt` and
            `prompt_length`, as a language model's does. The decoder reads it behind the start token, and writes what
            follows: task and language tokens, or how an answer begins. A prompt may be empty.
        tokenizer: turns text into the model's tokens, such as `tfseq.runtime.CharacterTokenizer`; goes into the file.
            None takes that of a KerasHub task's preprocessor; False leaves that out, and the file takes token ids.
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
    arguments: dict[str, Any] = {
        "decode": decode,
        "attention": attention,
        "prefix": prefix,
        "tokenizer": tokenizer,
        "code_points": code_points,
        "labels": labels,
        "name": name,
        "data": data,
        "opset": opset,
        "samples": as_list(samples),
        "verify": verify,
        "streaming": streaming,
        "external_data": external_data,
    }
    require_installed()
    if _is_task(model):
        from tfseq.hub import adapted

        task = adapted(model, decode is not None, with_tokenizer=tokenizer is None, labelled=bool(labels))
        model, arguments["tokenizer"] = task.model, tokenizer or task.tokenizer
    if _here():
        from tfseq.exporting.proving.keras_2 import in_keras_3
        from tfseq.exporting.verified_file import write_verified

        with in_keras_3(model) as copy:
            return write_verified(copy, path, progress=progress, **arguments)

    if is_keras_2(model):
        model = converted(model)
    from tfseq.exporting.arguments import check_arguments, check_model, check_verification
    from tfseq.exporting.other_backends.tensorflow_process import on_tensorflow

    arguments["samples"] = _arrays(arguments["samples"])
    check_verification(verify, arguments["samples"], decode)
    check_model(model, decode, arguments["samples"], verify)
    checked = ("decode", "attention", "prefix", "tokenizer", "opset", "streaming", "external_data")
    check_arguments(model, Path(path), *(arguments[name] for name in checked))
    return on_tensorflow("export", model, Path(path), arguments, progress)


def verify(path: str | os.PathLike[str], model: keras.Model, samples: Any = (), random: bool = True) -> ParityReport:
    """Compares an exported file with the model it came from.

    A forward graph is run on the samples, and on random inputs over the batch sizes and lengths that the model takes.
    A generation graph generates 224 sequences from ragged batches of prompts or sources, over the settings of its
    strategy; they have to be identical, and their scores within the tolerance; and the logits inside its loop, from a
    conversion of the same loop that outputs them, are compared with `call` on the finished sequences. A chunk graph
    reads sequences in chunks, and is compared with `call` on the whole; a decode step graph is run as a loop, and
    compared with `tfseq.generate`.

    Args:
        path: an .onnx file that `tfseq.export` wrote, or a SavedModel folder of its.
        model: the Keras model. One of lower precision is compared in float32, which is what was exported.
        samples: sample inputs: what the model takes (an array, a list or a dictionary of arrays), or several of
            these; of a file that generates prompts (and `prompt_length`) or sources. They bound the lengths of the
            random inputs.
        random: False compares on the samples alone, for a model that random inputs mean nothing to.

    Returns:
        The report; see its `passed`.

    Raises:
        ArtefactError: there is no such file, or it can't be run.
        ExportError: the model can't be run, on a sample or on any input that was tried.
    """
    require_installed()
    if _is_task(model):
        from tfseq.hub import adapted

        manifest = Manifest.from_file(path)
        generates, labelled = manifest.decoding is not None, bool(manifest.labels)
        model = adapted(model, generates, with_tokenizer=False, labelled=labelled).model
    if _here():
        from tfseq.exporting.proving.keras_2 import in_keras_3
        from tfseq.exporting.proving.parity import compare, opened

        with in_keras_3(model) as copy:
            return compare(opened(path), copy, samples, random)

    if is_keras_2(model):
        model = converted(model)
    from tfseq.exporting.other_backends.tensorflow_process import on_tensorflow

    arguments = {"samples": _arrays(as_list(samples)), "random": random}
    return on_tensorflow("verify", model, Path(path), arguments)


def require_installed() -> None:
    """
    Raises:
        ExportError: a package that exporting needs is missing.
    """
    for package in ("tensorflow", "tf2onnx", "onnx"):
        if find_spec(package) is None:
            raise ExportError(
                f"Exporting needs {package}, on every backend of Keras, and it is not installed: "
                'pip install "tfseq[train]", or "tfseq[train-cpu]" without a GPU.'
            )


def _is_task(model: Any) -> bool:
    """Whether a model is a task of KerasHub's."""
    from tfseq.hub import is_task

    return is_task(model)


def _here() -> bool:
    return keras.backend.backend() == "tensorflow"


def _arrays(samples: list[Any]) -> list[Any]:
    """Samples as arrays that every backend takes."""
    ops = keras.ops
    return keras.tree.map_structure(lambda x: ops.convert_to_numpy(x) if ops.is_tensor(x) else x, samples)
