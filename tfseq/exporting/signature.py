"""What a model takes and gives, by name: the function that an exporter traces."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest import mock

import keras
from keras.src.export.export_utils import get_input_signature

from tfseq.decoding.generate import decode
from tfseq.errors import ExportError
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import TensorSpec

TOKENS = TensorSpec("tokens", "int32", ("batch", "time"))  # what a language model reads
GENERATED = TensorSpec("tokens", "int32", ("batch", "new_tokens"))


@dataclass(frozen=True)
class Signature:
    """A function of named tensors.

    Attributes:
        inputs: its arguments, with named axes where any size will do.
        function: takes tensors by these names, returns a dictionary of tensors.
        vocabulary_size: symbols that integer inputs may hold; None if unknown.
    """

    inputs: tuple[TensorSpec, ...]
    function: Callable
    vocabulary_size: int | None


def forward_signature(model: keras.Model) -> Signature:
    """`model(..., training=False)`.

    Raises:
        ExportError: the model has no weights yet, or has never been called, so that its inputs are unknown.
    """
    if not model.built:
        raise ExportError(f"{type(model).__name__} has no weights yet; call it on some data or build it, then export.")
    if isinstance(model, Generator):
        return Signature((TOKENS,), _generator_call(model), model.vocabulary_size)
    try:
        structure = get_input_signature(model)
    except ValueError:
        raise ExportError(
            f"{type(model).__name__} has never been called, so its inputs are unknown; call it once, then export."
        ) from None
    flat = keras.tree.flatten(structure)
    names = _input_names(model, flat)
    alone = sum(_free_axes(spec) > 1 for spec in flat) < 2
    inputs = tuple(_named(spec, name, alone) for spec, name in zip(flat, names))

    def function(**tensors):
        arguments = keras.tree.pack_sequence_as(structure, [tensors[name] for name in names])
        with _portable(model):
            return _named_outputs(model, model(*arguments, training=False))

    return Signature(inputs, function, _smallest_vocabulary(model))


def generation_signature(model: Generator, strategy, return_logits: bool = False) -> Signature:
    """The loop of `tfseq.decoding`, its settings as run-time inputs."""

    def function(prompt, prompt_length, new_tokens, **settings):
        memory = model.encode()
        outputs = decode(model, strategy, prompt, prompt_length, new_tokens, settings, memory, return_logits)
        return dict(zip(("tokens", "logits"), outputs)) if return_logits else {"tokens": outputs}

    inputs = (
        TensorSpec("prompt", "int32", ("batch", "time")),
        TensorSpec("prompt_length", "int32", ("batch",)),
        TensorSpec("new_tokens", "int32", ()),
        *(TensorSpec(name, dtype, ()) for name, dtype in strategy.DTYPES.items()),
    )
    return Signature(inputs, function, model.vocabulary_size)


def _generator_call(model):
    def call(tokens):
        with _portable(model):
            return {"logits": model(tokens, training=False)}

    return call


@contextlib.contextmanager
def _portable(model: keras.Model) -> Iterator[None]:
    """Without what a file can't hold.

    Keras traces cuDNN's operators where it sees a GPU; no other machine could run them. Stateful layers write their
    states into variables; here each call starts from zeros.
    """
    with contextlib.ExitStack() as patches:
        for layer in model._flatten_layers():
            if hasattr(layer, "use_cudnn"):
                patches.enter_context(mock.patch.object(layer, "use_cudnn", False))
            if isinstance(layer, keras.layers.RNN) and layer.stateful:
                patches.enter_context(mock.patch.object(layer, "stateful", False))
        yield


def _input_names(model, specs):
    """Keras' names where inputs have one, the parameters of `call` for subclassed models, else input_1, ..."""
    names = [spec.name for spec in specs]
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if not any(names) and len(shapes) == len(names):
        names = [key.removesuffix("_shape") for key in shapes]
    names = [name or f"input_{i + 1}" for i, name in enumerate(names)]
    return names if len(set(names)) == len(names) else [f"input_{i + 1}" for i in range(len(names))]


def _free_axes(spec):
    return sum(size is None for size in spec.shape)


def _named(spec, name, alone):
    """The first axis is the batch; a second free one is time, of the input's own where several inputs have one."""
    shape = list(spec.shape)
    free = [axis for axis, size in enumerate(shape) if size is None and axis > 0]
    for axis in free:
        kind = "time" if len(free) == 1 else f"axis_{axis}"
        shape[axis] = kind if alone else f"{name}_{kind}"
    if shape and shape[0] is None:
        shape[0] = "batch"
    return TensorSpec(name, keras.backend.standardize_dtype(spec.dtype), tuple(shape))


def _named_outputs(model, outputs):
    if isinstance(outputs, dict):
        return {str(name): tensor for name, tensor in outputs.items()}
    flat = keras.tree.flatten(outputs)
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != len(flat) or len(set(names)) != len(names):
        names = ["output"] if len(flat) == 1 else [f"output_{i + 1}" for i in range(len(flat))]
    return dict(zip(names, flat))


def _smallest_vocabulary(model):
    sizes = [layer.input_dim for layer in model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    return min(sizes, default=None)
