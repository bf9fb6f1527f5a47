"""The command line: `tfseq export | verify | quantize | inspect | generate | predict`.

`inspect`, `generate` and `predict` need no TensorFlow and start at once; the others load it when they run.
"""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from tfseq.errors import ArtefactError, ExportError, InputError, ParityError
from tfseq.keras_files import load_keras_model
from tfseq.terminal import import_tensorflow_quietly, one_line_errors, steps

app = SubcommandApp()
KerasFile = Annotated[Path, arg(metavar="MODEL.keras")]
OnnxFile = Annotated[Path, arg(metavar="MODEL.onnx")]
OutputFile = Annotated[Path, arg(metavar="OUTPUT")]
Custom = UseAppendAction[Annotated[tuple[str, ...], arg(metavar="MODULE:CLASS")]]


@app.command
def export(
    model: Positional[KerasFile],
    output: Positional[OutputFile],
    tokenizer: Path | None = None,
    decode: Literal["auto", "greedy", "sample", "beam", "none"] = "auto",
    width: int = 4,
    attention: bool = False,
    name: str | None = None,
    opset: int | None = None,
    streaming: Literal["auto", "on", "off"] = "auto",
    labels: Path | None = None,
    custom: Custom = (),
    unsafe: bool = False,
) -> None:
    """Turn a Keras model into one verified file.

    Args:
        model: A model saved by Keras.
        output: The ONNX file to write; any name that does not end in .onnx becomes a SavedModel folder.
        tokenizer: A tokenizer.json to put into the file; by default the one beside the model, if there is one.
        decode: Put the generation loop into the file, by this strategy, or the forward pass alone (none). auto is the
            loop wherever the model can generate: beam for what has a source, sample for what continues a prompt.
        width: Of the beam.
        attention: Have the loop also give out where each step looked in the source.
        name: What the file calls itself; by default the output's name.
        opset: Version of the ONNX operators, 13 to 24; the lowest from 18 on that suits the model if not given.
        streaming: Write a graph of one step, its states as inputs and outputs; with --decode greedy or sample one that
            also chooses the next token, for generate --stream. auto is the graph of a step for a stateful model.
        labels: A text file with the name of each class that the model tells apart, one on a line, for predict to print.
        custom: A class that the model is made of, in a module of this folder or of Python's path; repeat it for more.
            Importing the module runs it.
        unsafe: Also load Python code that the file holds, of Lambda layers. It can do anything: only for files you
            trust.
    """
    exporting = _import_exporting()
    from tfseq.runtime.array_files import read_lines
    from tfseq.runtime.manifest_table import describe_parity
    from tfseq.runtime.tokenizer_kinds import read_tokenizer

    if tokenizer is None and (beside := model.parent / "tokenizer.json").is_file():
        tokenizer = beside
    symbols = None if tokenizer is None else read_tokenizer(tokenizer)
    names = () if labels is None else read_lines(labels)
    with steps() as progress:
        progress(f"loading {model}")
        keras_model = load_keras_model(model, custom, unsafe)
        manifest = exporting.export(
            keras_model,
            output,
            decode=_decoding_strategy("none" if (decode, streaming) == ("auto", "on") else decode, width, keras_model),
            attention=attention,
            tokenizer=symbols,
            name=name,
            opset=opset,
            streaming={"auto": None, "on": True, "off": False}[streaming],
            labels=names,
            progress=progress,
        )
    print(f"Wrote {output}.")
    for note in manifest.notes:
        print(f"Note: {note}")
    print(describe_parity(manifest.parity))


@app.command
def verify(model: Positional[OnnxFile], against: KerasFile, custom: Custom = (), unsafe: bool = False) -> None:
    """Compare an exported file with the Keras model it came from; exit code 2 if they differ.

    Args:
        model: The exported file, or SavedModel folder.
        against: The model saved by Keras.
        custom: A class that the model is made of, as for export.
        unsafe: Also load Python code that the Keras file holds, as for export.
    """
    exporting = _import_exporting()
    from tfseq.runtime.manifest_table import describe_parity

    with steps() as progress:
        progress(f"loading {against}")
        keras_model = load_keras_model(against, custom, unsafe)
        progress("comparing")
        report = exporting.verify(model, keras_model).to_json()
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
        return f"it is a smaller version ({quantization.get('to')}), which does: verify the original."
    return "export it again."


@app.command
def quantize(
    model: Positional[OnnxFile],
    output: Positional[OutputFile],
    to: Literal["int8", "float16"] = "int8",
    data: Path | None = None,
    metric: Literal["change", "similarity", "accuracy", "cross_entropy", "squared_error"] | None = None,
    tolerance: float | None = None,
    contrib: bool = False,
) -> None:
    """Write a smaller version of an exported file, and say what it costs and gains; refuse one that does worse.

    Args:
        model: The exported file.
        output: The smaller file to write.
        to: 8-bit integers, or 16-bit floats that are computed with in 32 bits.
        data: What to judge it on: a .npz file of inputs by name, with `targets` if they are known; a text for a file
            that reads text; or a .tsv file of sources and references for one that turns the former into the latter.
            By default random inputs.
        metric: What may not get worse; by default the similarity to the references, the cross-entropy, accuracy or
            squared error, as the targets allow, or else the change of the outputs.
        tolerance: By how much: nats of cross-entropy, a share of 1 of the others. By default 0.02 nats, 0.02 of
            similarity, 0.01 of accuracy, 0.05 of the squared error, 0.1 of the outputs for int8; a tenth of that to
            half of it for float16.
        contrib: Let LSTMs compute in int8, by an operator that only ONNX Runtime has.
    """
    from tfseq.runtime import load
    from tfseq.runtime.array_files import read_samples

    inputs = load(model).manifest.inputs  # a file that is none, or data that are none, is said before TensorFlow loads
    samples = None if data is None else read_samples(data, inputs)
    exporting = _import_exporting()
    from tfseq.runtime.manifest_table import describe_quantization

    with steps() as progress:
        manifest = exporting.quantize(model, output, to, samples, metric, tolerance, contrib=contrib, progress=progress)
    print(f"Wrote {output}.")
    print(describe_quantization(manifest.quantization))


@app.command
def inspect(model: Positional[OnnxFile]) -> None:
    """Show what an exported file is: task, signature, operators, size, parity and provenance.

    Args:
        model: The exported file, or SavedModel folder.
    """
    from tfseq.runtime import load
    from tfseq.runtime.manifest import Manifest
    from tfseq.runtime.manifest_table import describe

    if model.is_dir():
        size = sum(file.stat().st_size for file in model.rglob("*"))
        print(describe(Manifest.from_saved_model(model), size))
    else:
        print(describe(load(model).manifest, model.stat().st_size))


@app.command
def generate(
    model: Positional[OnnxFile],
    prompt: Positional[Annotated[str | None, arg(metavar="[TEXT]")]] = None,
    max_length: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    min_length: int | None = None,
    repetition_penalty: float | None = None,
    length_penalty: float | None = None,
    stream: bool = False,
    threads: int | None = None,
) -> None:
    """Continue a text, and print it with its continuation; or print what a source becomes, such as its translation.

    None takes the file's default; a file has only the settings that its strategy has.

    Args:
        model: The exported file.
        prompt: The beginning of the text, or the source; without it every line of the standard input is one.
        max_length: Number of tokens to write, at most.
        temperature: 0 takes the likeliest token, 1 samples from the model's distribution, more is wilder.
        top_k: Sample among the likeliest tokens only; 0 among all.
        top_p: Sample among the likeliest tokens that together have this probability; 1 among all.
        seed: The same seed gives the same text.
        min_length: Tokens before the text may end.
        repetition_penalty: Above 1 avoids tokens that came before.
        length_penalty: Of a beam: 0 likes short texts, 1 or more longer ones.
        stream: Print the text as it is written; for files exported with streaming.
        threads: Threads to compute with; by default as many as suit the file.
    """
    from tfseq.runtime import load

    settings: dict[str, Any] = {
        **{"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed, "min_length": min_length},
        **{"repetition_penalty": repetition_penalty, "length_penalty": length_penalty},
    }
    file = load(model, threads=threads)
    for text in _lines() if prompt is None else [prompt]:
        if not text and prompt is None:
            print()  # so that lines out are lines in
            continue
        beginning = text if file.continues_prompts else ""
        if stream or file.manifest.task == "stream_generate":
            pieces = file.stream_text(text, max_length, **settings)
            print(beginning, end="", flush=True)
            for piece in pieces:
                print(piece, end="", flush=True)
            print()
        else:
            print(beginning + file.generate(text, max_length, **settings))


def _lines() -> Iterator[str]:
    if sys.stdin.isatty():
        raise InputError("There is no text; give one, or lines of them on the standard input.")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return (line.removesuffix("\n") for line in sys.stdin)


@app.command
def predict(
    model: Positional[OnnxFile],
    text: Positional[Annotated[str | None, arg(metavar="[TEXT]")]] = None,
    input: Annotated[Path | None, arg(metavar="X.npy|X.npz")] = None,
    output: Annotated[Path | None, arg(metavar="Y.npz")] = None,
) -> None:
    """Run an exported file on arrays or a text, and print or write what comes out: the class, if the file names them.

    Args:
        model: The exported file.
        text: What to classify; without it and an input every line of the standard input.
        input: A .npy file for a model of one input, or a .npz file of arrays by the names of the inputs.
        output: A .npz file to write the outputs to, by name; or a .npy file for a model of one output.
    """
    from tfseq.runtime import load
    from tfseq.runtime.array_files import read_arrays, write_arrays
    from tfseq.runtime.classification import named

    file = load(model)
    if input is None:
        if output is not None:
            raise InputError("The output is for arrays; give them with --input.")
        for line in _lines() if text is None else [text]:
            print(file.classify(line) if line else "")  # so that lines out are lines in
        return
    if text is not None:
        raise InputError("Got a text and an --input; expected one of them.")
    outputs = file.run(read_arrays(input, file.manifest.inputs))
    if output is not None:
        write_arrays(output, outputs)
        print(f"Wrote {output}.")
    for i, (name, array) in enumerate(outputs.items()):
        print(f"{name} {array.dtype} {array.shape}")
        if i == 0 and file.manifest.labels:
            _print_labels(named(file.manifest.labels, array))
        elif output is None:
            print(array)


def _print_labels(rows: Any) -> None:
    for row in rows:
        print(", ".join(map(str, row)) if isinstance(row, list) else row)


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
    from tfseq.models import Generator

    if decode == "auto":
        if not isinstance(model, Generator):
            return None
        decode = "sample" if model.start is None else "beam"
    return {"greedy": Greedy(), "sample": Sample(), "beam": Beam(width), "none": None}[decode]
