"""The command line: `tfseq export | verify | quantize | inspect | generate | predict`.

`inspect`, `generate` and `predict` need no TensorFlow and start at once; the others load it when they run.
"""

import io
import os
import re
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from tfseq.errors import ArtefactError, ExportError, InputError, ParityError
from tfseq.keras_files import load_keras_model
from tfseq.runtime.printable import printable
from tfseq.terminal import import_tensorflow_quietly, one_line_errors, steps

app = SubcommandApp()
KerasFile = Annotated[Path, arg(metavar="MODEL.keras")]
KerasModel = Annotated[Path, arg(metavar="MODEL.keras|PRESET")]
OnnxFile = Annotated[Path, arg(metavar="MODEL.onnx")]
OutputFile = Annotated[Path, arg(metavar="OUTPUT")]
Custom = UseAppendAction[Annotated[tuple[str, ...], arg(metavar="MODULE:CLASS")]]
Samples = UseAppendAction[Annotated[tuple[Path, ...], arg(metavar="X.npy|X.npz")]]
# Optional values: a hint of "" leaves out "(default: None)", where the description says what the default is.
OptionalText = Annotated[str | None, arg(metavar="[TEXT]", help_behavior_hint="")]
OptionalName = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]
OptionalPath = Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="")]
OptionalInt = Annotated[int | None, arg(metavar="INT", help_behavior_hint="")]
OptionalFloat = Annotated[float | None, arg(metavar="FLOAT", help_behavior_hint="")]
Settings = UseAppendAction[Annotated[tuple[str, ...], arg(metavar="NAME=NUMBER")]]
Device = Annotated[str, arg(metavar="{cpu,cuda,coreml,directml,openvino}")]
OptionalMetric = Annotated[
    Literal["change", "similarity", "accuracy", "cross_entropy", "squared_error"] | None,
    arg(metavar="{change,similarity,accuracy,cross_entropy,squared_error}", help_behavior_hint=""),
]


_OPTIONAL = {"auto": None, "on": True, "off": False}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Registers a subcommand; joins the lines of its arguments' descriptions, whose breaks tyro would print."""
    function.__doc__ = re.sub(r"\n {8}(?=\S)", " ", cleandoc(function.__doc__ or ""))
    return app.command(function)


@command
def export(
    model: Positional[KerasModel],
    output: Positional[OutputFile],
    tokenizer: OptionalPath = None,
    decode: Literal["auto", "greedy", "sample", "beam", "none"] = "auto",
    width: int = 4,
    attention: bool = False,
    prefix: bool = False,
    name: OptionalName = None,
    opset: OptionalInt = None,
    streaming: Literal["auto", "on", "off"] = "auto",
    external_data: Literal["auto", "on", "off"] = "auto",
    labels: OptionalPath = None,
    samples: Samples = (),
    verify: Literal["on", "off", "samples"] = "on",
    task: OptionalName = None,
    custom: Custom = (),
    unsafe: bool = False,
) -> None:
    """Export a Keras model as one verified ONNX file.

    Args:
        model: A model saved by Keras; or KerasHub's: the name of a preset, or a folder made by save_to_preset.
        output: The ONNX file to write; any name that does not end in .onnx becomes a SavedModel folder.
        tokenizer: A tokenizer.json to embed in the file; by default the one beside the model, if there is one.
        decode: Decoding strategy of the generation loop in the graph; none exports the forward pass alone. auto is beam
            for an encoder-decoder, sample for a language model, and none for a model that does not generate.
        width: Beam width.
        attention: Also output the attention weights of each decode step over the source.
        prefix: Also read a prompt for each source of an encoder-decoder, which its output goes on from.
        name: Name of the model in the manifest; by default the output's name.
        opset: ONNX opset, 13 to 24, with a decoding loop 18 to 24; by default the lowest from 18 on that has one
            operator for each of the model's patterns.
        streaming: Export a graph with its states (such as the KV cache) as inputs and outputs. With --decode greedy or
            sample it is one decode step, for generate --stream; otherwise it reads a sequence in chunks. auto does so
            for a model with a stateful layer.
        external_data: Write the weights into a second file, OUTPUT.data, beside the first. auto does so where one file
            can't hold them, from 2 GB on.
        labels: A text file of class names, one per line in the order of the outputs, for predict to print.
        samples: Sample inputs to verify the file on beside random ones, and to call the model on if it was never
            called: a .npy file for a model of one input, or a .npz file of arrays by input name; repeat it for more.
        verify: What the file is verified on. on takes random inputs and the samples, samples the samples alone, for a
            model that random inputs mean nothing to; off leaves the comparison out.
        task: Of a preset, the class of keras_hub.models to load it as, such as TextClassifier; by default that of the
            folder, or Seq2SeqLM or CausalLM if it has one, or else Backbone.
        custom: A custom class of the model, in a module of this folder or on Python's path; repeat it for more.
            Importing the module runs its code.
        unsafe: Also load Python code stored in the Keras file (Lambda layers). It can do anything, so only use it for
            files that you trust.
    """
    exporting = _import_exporting()
    from tfseq.hub.presets import is_preset, load_preset
    from tfseq.runtime.array_files import load_numpy, read_lines
    from tfseq.runtime.manifest_table import describe_parity
    from tfseq.runtime.tokenizer_kinds import read_tokenizer

    preset = task is not None or is_preset(model)
    if tokenizer is None and not preset and (beside := model.parent / "tokenizer.json").is_file():
        tokenizer = beside
    embedded = None if tokenizer is None else read_tokenizer(tokenizer)
    names = () if labels is None else read_lines(labels)
    with steps() as progress:
        progress(f"loading {model}")
        keras_model = load_preset(model, task) if preset else load_keras_model(model, custom, unsafe)
        manifest = exporting.export(
            keras_model,
            output,
            decode=_decoding_strategy("none" if (decode, streaming) == ("auto", "on") else decode, width, keras_model),
            attention=attention,
            prefix=prefix,
            tokenizer=embedded,
            name=name,
            opset=opset,
            streaming=_OPTIONAL[streaming],
            external_data=_OPTIONAL[external_data],
            labels=names,
            samples=[load_numpy(path) for path in samples],
            verify={"on": True, "off": False, "samples": "samples"}[verify],
            progress=progress,
        )
    print(f"Wrote {output}.")
    for note in manifest.notes:
        print(f"Note: {printable(note)}")
    print(describe_parity(manifest.parity))


@command
def verify(
    model: Positional[OnnxFile],
    against: KerasFile,
    samples: Samples = (),
    only_samples: bool = False,
    custom: Custom = (),
    unsafe: bool = False,
) -> None:
    """Check the parity of an exported file with its Keras model; exit code 2 if they differ.

    Args:
        model: The exported file, or SavedModel folder.
        against: The model saved by Keras.
        samples: Sample inputs to compare them on beside random ones, as for export.
        only_samples: Compare them on the samples alone.
        custom: A custom class of the model, as for export.
        unsafe: Also load Python code stored in the Keras file, as for export.
    """
    exporting = _import_exporting()
    from tfseq.runtime.array_files import load_numpy
    from tfseq.runtime.manifest_table import describe_parity

    given: dict[str, Any] = {"samples": [load_numpy(path) for path in samples]} if samples else {}
    if only_samples:
        given["random"] = False
    with steps() as progress:
        progress(f"loading {against}")
        keras_model = load_keras_model(against, custom, unsafe)
        progress("comparing")
        report = exporting.verify(model, keras_model, **given).to_json()
    print(describe_parity(report))
    if not report["passed"]:
        raise ParityError(f"{model} differs from {against}; {_what_to_do(model)}")


def _what_to_do(model: Path) -> str:
    from tfseq.runtime import load

    try:
        quantization = load(model).manifest.quantization
    except ArtefactError:
        quantization = None
    if quantization:
        return f"it is quantized ({quantization.get('to')}), so it has to differ: verify the original."
    return "export it again."


@command
def quantize(
    model: Positional[OnnxFile],
    output: Positional[OutputFile],
    to: Literal["int8", "int4", "float16"] = "int8",
    block_size: OptionalInt = None,
    data: OptionalPath = None,
    metric: OptionalMetric = None,
    tolerance: OptionalFloat = None,
    contrib: bool = False,
) -> None:
    """Quantize the weights of an exported file and report size, speed and accuracy drop; refuse too large a drop.

    Args:
        model: The exported file.
        output: The quantized file to write.
        to: Type of the weights; with float16 the arithmetic stays in float32.
        block_size: Values of a matrix's column that share a scale: 16, 32, 64, 128 or 256. By default 32 for int4, and
            all of a column for int8.
        data: Samples for the accuracy check: a .npz file of inputs by name, with `targets` if they are known; a text
            for a model that reads text; a .tsv file of sources and references for an encoder-decoder. By default random
            inputs.
        metric: Metric of the accuracy check; by default the first of similarity to the references, cross-entropy,
            accuracy and squared error that the targets allow, or else the change of the outputs.
        tolerance: Largest drop allowed, in nats for cross-entropy, as a fraction for the others. By default, for
            int8, 0.02 nats, similarity 0.02, accuracy 0.01, squared error 0.05, change of the outputs 0.1; for float16
            from a tenth to half of these, for int4 two to three times as much.
        contrib: Take operators that only ONNX Runtime has: for products with blocks, so that loops and what surrounds
            them share their weights; or, for int8 by column, for LSTM layers that compute in int8.
    """
    from tfseq.runtime.array_files import read_samples
    from tfseq.runtime.manifest import Manifest

    inputs = Manifest.from_file(
        model
    ).inputs  # a file that is none, or data that are none, is said before TensorFlow loads
    samples = None if data is None else read_samples(data, inputs)
    exporting = _import_exporting()
    from tfseq.runtime.manifest_table import describe_quantization

    with steps() as progress:
        options = {"block_size": block_size, "contrib": contrib, "progress": progress}
        manifest = exporting.quantize(model, output, to, samples, metric, tolerance, **options)
    print(f"Wrote {output}.")
    print(describe_quantization(manifest.quantization))


@command
def inspect(model: Positional[OnnxFile], check: bool = False) -> None:
    """Show an exported file's manifest: task, signature, operators, size, parity and provenance.

    Of a file with its weights in a second one, also check that the second is the one that was exported with it.

    Args:
        model: The exported file, or SavedModel folder.
        check: Also compute the hash of the graph and its weights again; exit code 2 if they have changed since.
    """
    from tfseq.runtime.manifest import Manifest
    from tfseq.runtime.manifest_table import describe

    if model.is_dir():
        if check:
            raise InputError("A SavedModel folder has no hash to check; compare it with its model: tfseq verify.")
        size = sum(file.stat().st_size for file in model.rglob("*"))
        print(describe(Manifest.from_saved_model(model), size))
        return
    manifest = Manifest.from_file(model)
    if manifest.external_data is not None:
        manifest.external_data.check_content(model)
    if check:
        manifest.check_content(model)
    print(describe(manifest, model.stat().st_size))


@command
def generate(
    model: Positional[OnnxFile],
    text: Positional[OptionalText] = None,
    prompt: Annotated[str | None, arg(metavar="TEXT", help_behavior_hint="")] = None,
    max_length: OptionalInt = None,
    temperature: OptionalFloat = None,
    top_k: OptionalInt = None,
    top_p: OptionalFloat = None,
    seed: OptionalInt = None,
    min_length: OptionalInt = None,
    repetition_penalty: OptionalFloat = None,
    length_penalty: OptionalFloat = None,
    set: Settings = (),
    stream: bool = False,
    threads: OptionalInt = None,
    device: Device = "cpu",
) -> None:
    """Generate text from a prompt or a source. Settings left out take the file's defaults (see inspect).

    Args:
        model: The exported file.
        text: The prompt to continue, the source to translate, or the .wav file to write down, of 16-bit PCM; without
            it, each line of the standard input is one.
        prompt: What the output for a source begins with; for files exported with --prefix, or with --streaming on.
        max_length: Maximum number of new tokens; by default 200, or less if the model has fewer positions.
        temperature: 0 takes the most likely token, 1 samples from the model's distribution, above 1 flattens it.
        top_k: Sample from the k most likely tokens; 0 for all.
        top_p: Sample from the most likely tokens that together have this probability; 1 for all.
        seed: The same seed gives the same text.
        min_length: Minimum number of new tokens before the text may end.
        repetition_penalty: Above 1 makes tokens that came before less likely.
        length_penalty: For beam search, 0 favours short texts, 1 or more longer ones.
        set: Any other setting that the file has (see inspect), such as min_p=0.05; repeat it for more.
        stream: Print each token as it is generated; for files exported with --streaming on.
        threads: Number of threads; by default one for a generator below 2 MB, all cores otherwise.
        device: Where to compute; another than cpu needs an ONNX Runtime that was built for it.
    """
    from tfseq.runtime import load
    from tfseq.runtime.sounds import read_wav

    settings: dict[str, Any] = {
        **{"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "min_length": min_length},
        **{"repetition_penalty": repetition_penalty, "length_penalty": length_penalty},
        **dict(map(_setting, set)),
    }
    file = load(model, threads=threads, device=device)
    for line in _lines() if text is None else [text]:
        if not line and text is None:
            print()  # so that lines out are lines in
            continue
        beginning = line if file.continues_prompts else prompt or ""
        rate = file.manifest.sampling_rate
        given: Any = line if rate is None else read_wav(line, rate)
        if stream or file.manifest.task == "stream_generate":
            pieces = file.stream_text(given, max_length, prompt=prompt, **settings)
            print(beginning, end="", flush=True)
            for piece in pieces:
                print(_written(piece), end="", flush=True)
            print()
        else:
            print(beginning + _written(file.generate(given, max_length, prompt=prompt, **settings)))


def _written(text: str) -> str:
    """A text of a model's: on a terminal without what could move its cursor, elsewhere as it is."""
    return printable(text, lines=True) if sys.stdout.isatty() else text


def _setting(given: str) -> tuple[str, float]:
    name, _, value = given.partition("=")
    try:
        return name.strip().replace("-", "_"), int(value) if re.fullmatch(r"\s*[+-]?\d+\s*", value) else float(value)
    except ValueError:
        raise InputError(f"--set is {given!r}; expected NAME=NUMBER, such as min_p=0.05.") from None


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        raise InputError("There is no text; give one, or lines of them on the standard input.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return (line.removesuffix("\n") for line in sys.stdin)


@command
def predict(
    model: Positional[OnnxFile],
    text: Positional[OptionalText] = None,
    input: Annotated[Path | None, arg(metavar="X.npy|X.npz", help_behavior_hint="")] = None,
    output: Annotated[Path | None, arg(metavar="Y.npz", help_behavior_hint="")] = None,
    device: Device = "cpu",
    allow_nan: bool = False,
) -> None:
    """Run an exported file on arrays or a text, and print its outputs, or the class where the file has labels.

    Args:
        model: The exported file.
        text: A text to classify; without it and without --input, each line of the standard input is one.
        input: A .npy file for a model with one input, or a .npz file of arrays by input name.
        output: A .npz file to write the outputs to, by name; or a .npy file for a model with one output.
        device: Where to compute, as for generate.
        allow_nan: Take nan and infinity, of which a graph may make something else than Keras.
    """
    from tfseq.runtime import load
    from tfseq.runtime.array_files import read_arrays, write_arrays
    from tfseq.runtime.classification import named

    file = load(model, device=device, allow_nan=allow_nan)
    if input is None:
        if output is not None:
            raise InputError("The output is for arrays; give them with --input.")
        _require_states(model, file.manifest, ())
        for line in _lines() if text is None else [text]:
            print(printable(str(file.classify(line))) if line else "")  # so that lines out are lines in
        return
    if text is not None:
        raise InputError("Got a text and an --input; expected one of them.")
    if input.suffix == ".npy":
        _require_states(model, file.manifest, ())  # which don't fit in a file of one array
    arrays = read_arrays(input, file.manifest.inputs)
    _require_states(model, file.manifest, arrays)
    outputs = file.run(arrays)
    if output is not None:
        write_arrays(output, outputs)
        print(f"Wrote {output}.")
    for i, (name, array) in enumerate(outputs.items()):
        print(f"{printable(name)} {array.dtype} {array.shape}")
        if i == 0 and file.manifest.labels:
            _print_labels(named(file.manifest.labels, array))
        elif output is None:
            print(array)


def _require_states(model: Path, manifest: Any, given: Container[str]) -> None:
    """Says what to do with a step file whose states are not given."""
    if all(state.input in given for state in manifest.states):
        return
    if manifest.task == "stream_generate":
        raise InputError(f"{model} generates text step by step; run tfseq generate {model}.")
    raise InputError(
        f"{model} reads a sequence chunk by chunk, with states in between, which only Python keeps: "
        f'tfseq.runtime.load("{model}").stream(). To predict on whole sequences, export the model with --streaming off.'
    )


def _print_labels(rows: Any) -> None:
    for row in rows:
        print(printable(", ".join(map(str, row)) if isinstance(row, list) else str(row)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line on `arguments`, by default those of the process."""
    with one_line_errors("tfseq"):
        app.cli(prog="tfseq", description="Keras sequence models as verified ONNX files.", args=arguments)


def _import_exporting() -> ModuleType:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the model was trained on, TensorFlow exports it
    try:
        import_tensorflow_quietly()
        return import_module("tfseq.exporting")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tfseq"):
            raise
        raise ExportError(f'This needs {error.name}, which is not installed: pip install "tfseq[train]".') from None


def _decoding_strategy(decode: str, width: int, model: Any) -> Any:
    from tfseq.decoding import Beam, Greedy, Sample
    from tfseq.hub.presets import usual_decoding
    from tfseq.models import Generator

    if decode == "auto":
        own = ("sample" if model.start is None else "beam") if isinstance(model, Generator) else usual_decoding(model)
        decode = own or "none"
    return {"greedy": Greedy(), "sample": Sample(), "beam": Beam(width), "none": None}[decode]
