"""The arguments of `export`, checked before any work: each alone, and with the others."""

import os

import keras
import onnx

from tfseq.decoding import Strategy
from tfseq.decoding.generate import check_prefix
from tfseq.decoding.settings import find_class
from tfseq.errors import ExportError, InputError
from tfseq.exporting.generation.protocol import PAGE, builds, require_protocol
from tfseq.exporting.rewriting import CONVERTED, OPSETS
from tfseq.models.generator import Generator
from tfseq.runtime.word_tokenizer import WordTokenizer


def check_model(model, decode, samples, verify):
    """
    Returns:
        notes for the manifest.

    Raises:
        ExportError: the model is none, has no weights, or can't generate.
    """
    if not isinstance(model, keras.Model):
        raise ExportError(_no_model(model))
    if decode is not None:
        if not isinstance(decode, Strategy):
            raise ExportError(
                f"decode is {decode!r}; expected tfseq.Greedy(), tfseq.Sample(), tfseq.Beam() or the like."
            )
        if not isinstance(model, Generator):
            raise ExportError(
                f"decode needs a tfseq.models.Generator, with `step`; {type(model).__name__} is none. "
                "tfseq.models.as_generator(...) makes one of Keras models: an encoder and a decoder, or a language "
                f"model. {PAGE}"
            )
        return require_protocol(model, samples, verify)
    if not (model.built or samples or (isinstance(model, Generator) and builds(model))):
        raise ExportError(
            f"{type(model).__name__} has no weights yet: call it on some data, or export it with samples=[...], "
            "what it takes."
        )
    return ()


def check_arguments(model, path, decode, attention, prefix, tokenizer, opset, streaming, external_data):
    """
    Raises:
        ExportError: an argument of `export` can't be, or does not go with another.
    """
    lowest = OPSETS[0] if decode is None else CONVERTED
    if opset is not None and opset not in range(lowest, OPSETS.stop):
        raise ExportError(
            f"opset is {opset!r}; expected {OPSETS[0]} to {OPSETS[-1]}, and from {CONVERTED} with decode."
        )
    if opset is not None and opset > onnx.defs.onnx_opset_version():
        raise ExportError(
            f"opset is {opset}; the installed onnx {onnx.__version__} knows them up to "
            f"{onnx.defs.onnx_opset_version()}: pip install -U onnx."
        )
    _check_decoding(model, decode, attention, streaming)
    if prefix:
        _check_prefix(model, decode, streaming)
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
    if external_data and path.suffix != ".onnx":
        raise ExportError(f"external_data is for ONNX files; {path.name} is a SavedModel, whose weights lie apart.")


def _no_model(given):
    """Why something is no model of Keras 3."""
    module = type(given).__module__
    if module.startswith(("tf_keras.", "tensorflow.python.keras.")):
        return (
            f"{type(given).__name__} is a model of Keras 2 ({module.split('.')[0]}); expected one of Keras 3. Build "
            "the same layers with `import keras` and give them its weights: new.set_weights(old.get_weights())."
        )
    if isinstance(given, type):
        return f"Got the class {given.__name__}; expected a model: call it, {given.__name__}(...)."
    if isinstance(given, keras.Layer):
        return (
            f"{given.name} ({type(given).__name__}) is a layer; expected a keras.Model: keras.Sequential([..]) of it."
        )
    if isinstance(given, str | os.PathLike):
        return f"Got a path, {str(given)!r}; expected a keras.Model: keras.saving.load_model({str(given)!r})."
    return f"Got {type(given).__name__}; expected a keras.Model."


def check_verification(verify, samples, decode):
    """
    Raises:
        ExportError: the file can't be verified so.
    """
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
    try:
        decode.check(model)
    except InputError as error:
        raise ExportError(f"{type(model).__name__} can't be decoded so: {error}") from None
    known = find_class(Strategy, decode.NAME)
    if known is None or known.__qualname__ != type(decode).__qualname__:
        raise ExportError(f"tfseq has a strategy named {decode.NAME!r}; give your class another name, or a NAME.")
    if attention and not model.has_attention:
        raise ExportError(f"{type(model).__name__} has no attention to give out: it does not attend to a source.")
    if streaming and attention:
        raise ExportError("A graph of one decode step outputs no attention; export with streaming=False.")
    if attention and decode.sees_hidden:
        raise ExportError(f"{type(decode).__name__} looks at hidden states; leave attention out.")
    if streaming and not decode.token_by_token:
        raise ExportError(
            f"{_SEARCHES.get(decode.NAME, type(decode).__name__)} knows its first token only when it is done, so it "
            "can't stream: use tfseq.Greedy() or tfseq.Sample(), or streaming=False."
        )


_SEARCHES = {"beam": "A beam search"}


def _check_prefix(model, decode, streaming):
    if decode is None:
        raise ExportError("prefix is for a loop that generates; it needs decode.")
    if model.start is None:
        raise ExportError(f"{type(model).__name__} is a language model, whose files read prompts; leave prefix out.")
    if streaming:
        raise ExportError("A graph of one decode step reads what its caller feeds it, prompts too; leave prefix out.")
    try:
        check_prefix(model)
    except InputError as error:
        raise ExportError(str(error)) from None


def _check_tokenizer(tokenizer, model):
    has, scored = tokenizer.vocabulary_size, model.vocabulary_size
    if has > scored or (has < scored and not isinstance(tokenizer.writer, WordTokenizer)):  # others of it have no word
        raise ExportError(
            f"The tokenizer has {tokenizer.vocabulary_size} tokens and the model {model.vocabulary_size}."
        )
    for name in ("start", "end"):
        theirs, own = getattr(tokenizer, name, None), getattr(model, name)
        if None not in (theirs, own) and theirs not in (model.ends if name == "end" else (own,)):
            raise ExportError(f"The tokenizer's {name} is token {theirs}, and the model's is {own}.")
