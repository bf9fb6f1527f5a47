"""The command line: `tfseq export | verify | inspect | generate`.

`inspect` and `generate` need no TensorFlow and start at once; `export` and `verify` load it when they run.
"""

import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from tfseq.errors import ExportError, ParityError, TfseqError

app = SubcommandApp()
KerasFile = Annotated[Path, arg(metavar="MODEL.keras")]
OnnxFile = Annotated[Path, arg(metavar="MODEL.onnx")]


@app.command
def export(
    model: Positional[KerasFile],
    output: Positional[OnnxFile],
    tokenizer: Path | None = None,
    decode: Literal["auto", "sample", "none"] = "auto",
    name: str | None = None,
    opset: int = 18,
) -> None:
    """Turn a Keras model into one verified file.

    Args:
        model: A model saved by Keras.
        output: The ONNX file to write; any other name becomes a SavedModel folder.
        tokenizer: A tokenizer.json to put into the file; by default the one beside the model, if there is one.
        decode: Put the generation loop into the file (sample), or the forward pass alone (none); auto is the loop
            wherever the model can generate.
        name: What the file calls itself; by default the output's name.
        opset: Version of the ONNX operators.
    """
    exporting = _import_exporting()
    from tfseq.runtime.description import describe_parity
    from tfseq.runtime.tokenizers import CharacterTokenizer

    if tokenizer is None and (beside := model.with_name("tokenizer.json")).is_file():
        tokenizer = beside
    symbols = None if tokenizer is None else CharacterTokenizer.load(tokenizer)
    keras_model = _load_keras_model(model)
    manifest = exporting.export(
        keras_model,
        output,
        decode=_decoding_strategy(decode, keras_model),
        tokenizer=symbols,
        name=name,
        opset=opset,
    )
    print(f"Wrote {output}.")
    print(describe_parity(manifest.parity))


@app.command
def verify(model: Positional[OnnxFile], against: KerasFile) -> None:
    """Compare an exported file with the Keras model it came from; exit code 2 if they differ.

    Args:
        model: The exported file.
        against: The model saved by Keras.
    """
    exporting = _import_exporting()
    from tfseq.runtime.description import describe_parity

    report = exporting.verify(model, _load_keras_model(against)).to_json()
    print(describe_parity(report))
    if not report["passed"]:
        raise ParityError(f"{model} differs from {against}; export it again.")


@app.command
def inspect(model: Positional[OnnxFile]) -> None:
    """Show what an exported file is: task, signature, operators, size, parity and provenance.

    Args:
        model: The exported file.
    """
    from tfseq.runtime import load
    from tfseq.runtime.description import describe

    print(describe(load(model).manifest, model.stat().st_size))


@app.command
def generate(
    model: Positional[OnnxFile],
    prompt: Positional[Annotated[str, arg(metavar="PROMPT")]],
    length: int = 200,
    temperature: float | None = None,
    top_k: int | None = None,
    seed: int | None = None,
) -> None:
    """Continue a text, and print it with its continuation. None takes the file's default.

    Args:
        model: The exported file.
        prompt: The beginning of the text.
        length: Number of tokens to add.
        temperature: 0 takes the likeliest token, 1 samples from the model's distribution, more is wilder.
        top_k: Sample among the likeliest tokens only; 0 among all.
        seed: The same seed gives the same text.
    """
    from tfseq.runtime import load

    print(prompt + load(model).generate(prompt, length=length, temperature=temperature, top_k=top_k, seed=seed))


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line on `arguments`, by default those of the process."""
    with one_line_errors("tfseq"):
        app.cli(prog="tfseq", description="Keras sequence models as verified ONNX files.", args=arguments)


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Makes the block a command: a `TfseqError` ends it with one line on stderr and exit code 2.

    Warnings of ours become one line each, too.

    Args:
        program: the name that each line starts with.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal's encoding lacks is no reason to fail
    with warnings.catch_warnings():
        warnings.showwarning = _one_line_warnings(program, warnings.showwarning)
        try:
            yield
        except TfseqError as error:
            print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            raise SystemExit(130) from None


def _one_line_warnings(program: str, otherwise: Callable[..., None]) -> Callable[..., None]:
    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category.__module__.startswith("tfseq."):
            print(f"{program}: warning: {message}", file=sys.stderr)
        else:
            otherwise(message, category, *where, **more)

    return show


def _import_exporting() -> ModuleType:
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever the model was trained on, TensorFlow exports it
    try:
        import_tensorflow_quietly()
        return import_module("tfseq.exporting")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("tfseq"):
            raise
        raise ExportError(f'This needs {error.name}, which is not installed: pip install "tfseq[train]".') from None


def import_tensorflow_quietly() -> None:
    """Loads TensorFlow without the lines about the CPU that its C++ prints on stderr.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)  # some of the lines come before TensorFlow has read its log level
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _load_keras_model(path: Path) -> Any:
    import keras

    import_module("tfseq.models")  # registers our classes with Keras
    if not path.is_file():
        raise ExportError(f"There is no file {path}; expected a model saved by Keras (.keras).")
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises what its parts raise: zip, JSON, HDF5, a constructor
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"Keras can't load {path}: {reason}") from None


def _decoding_strategy(decode: str, model: Any) -> Any:
    from tfseq.decoding import Sample
    from tfseq.models import Generator

    if decode == "sample" or (decode == "auto" and isinstance(model, Generator)):
        return Sample()
    return None
