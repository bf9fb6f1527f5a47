"""Recurrent models as step graphs: a chunk of a sequence and the states in, its outputs and the new states out.

Keras' recurrent layers start every call from zeros, or keep their states in variables that no file carries. While the
model is traced, each of them is handed its state instead and hands the new one back; causal convolutions likewise keep
the steps that they still look back on.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras import layers, ops, tree
from keras.src.models import Functional

from tfseq.errors import ExportError
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.exporting.signatures.signature import TOKENS, Signature, forward_signature
from tfseq.layers.key_value_cache import CachedState
from tfseq.layers.loops import scan
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import StateSpec, TensorSpec

_PARTS = {layers.LSTMCell: ("h", "c"), layers.GRUCell: ("h",), layers.SimpleRNNCell: ("h",)}
_LOOK_ACROSS = (
    *(layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention, layers.AdditiveAttention),
    *(layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D, layers.AveragePooling1D, layers.MaxPooling1D),
    *(layers.Conv1D, layers.SeparableConv1D, layers.DepthwiseConv1D, layers.Conv1DTranspose, layers.Flatten),
)


@dataclass(frozen=True)
class Stream:
    """A model that reads a sequence in chunks.

    Attributes:
        signature: of the step graph; its inputs are those of the model, then the states.
        whole: the model over a whole sequence, from its first states: takes the model's inputs by name.
        states: what connects one chunk to the next.
    """

    signature: Signature
    whole: Callable
    states: tuple[StateSpec, ...]

    @property
    def inputs(self) -> list[TensorSpec]:
        """Those of the model."""
        states = {state.input for state in self.states}
        return [spec for spec in self.signature.inputs if spec.name not in states]


def is_stateful(model: keras.Model) -> bool:
    """Whether a layer keeps its states from one call to the next."""
    return any(getattr(layer, "stateful", False) for layer in model._flatten_layers() if isinstance(layer, layers.RNN))


def stream_signature(model: keras.Model, samples: Any = None) -> Stream:
    """How a model streams.

    The batch axis is free, and so is the number of steps of a chunk, also where the model was built for fixed sizes.

    Args:
        samples: what the model takes, if it has not been called yet.

    Raises:
        ExportError: the model has no recurrent layer, or one that needs what a stream does not know: later steps, or
            first states that depend on the input.
    """
    if isinstance(model, Generator):
        _refuse_what_only_generates(model)
    _refuse_layers_that_read_backwards(model)
    forward = forward_signature(model, samples)
    feeds = [draw(forward.inputs, forward.symbols, batch=2, length=3, seed=seed) for seed in (0, 1)]
    runs = [_first_states(model, forward, feed) for feed in feeds]
    if not runs[0].first:
        if isinstance(model, Generator):
            return _stream_of_steps(model)
        raise ExportError(f"{type(model).__name__} has no recurrent layer, so there are no states to stream.")
    inputs = _with_free_time(forward.inputs, runs[0].steps)
    values = {name: _constant([run.first[name] for run in runs], name) for name in runs[0].first}
    specs = [TensorSpec(name, str(value.dtype), ("batch", *value.shape)) for name, value in values.items()]

    def whole(**tensors):
        with _carrying(model, _Carry(None)):
            return forward.function(**tensors)

    def step(**tensors):
        carry = _Carry({name: tensors.pop(name) for name in values})
        with _carrying(model, carry):
            outputs = forward.function(**tensors)
        return {**outputs, **{_next(name): state for name, state in carry.last.items()}}

    states = tuple(StateSpec(name, _next(name), _initial(value)) for name, value in values.items())
    return Stream(Signature((*inputs, *specs), step, forward.symbols), whole, states)


class _Carry:
    """The states of one run of the model, by name, in the order in which the layers ask for them.

    Args:
        states: what to start from; None for what each layer itself starts from.

    Attributes:
        first: what each layer itself starts from.
        last: the states at the end.
        steps: lengths of the sequences that the layers read, where known.
    """

    def __init__(self, states: Mapping[str, Any] | None):
        self._states = states
        self.first: dict[str, Any] = {}
        self.last: dict[str, Any] = {}
        self.steps: set[int] = set()

    def names(self, layer: layers.Layer, parts: tuple[str, ...]) -> list[str]:
        base = prefix = re.sub(r"\W", "_", layer.name)
        calls = 1
        while f"{prefix}_{parts[0]}" in self.first:
            calls += 1
            prefix = f"{base}_{calls}"
        return [f"{prefix}_{part}" for part in parts]

    def start(self, names: list[str], own: list[Any]) -> list[Any]:
        self.first |= zip(names, own)
        return own if self._states is None else [self._states[name] for name in names]

    def end(self, names: list[str], states: list[Any]) -> None:
        self.last |= zip(names, states)


@contextlib.contextmanager
def _carrying(model: keras.Model, carry: _Carry) -> Iterator[None]:
    """Within, recurrent layers and causal convolutions start from the states of `carry` and leave theirs there."""
    apart = _within_steps(model)
    with contextlib.ExitStack() as patches:
        for layer in model._flatten_layers():
            if isinstance(layer, layers.RNN):
                patches.enter_context(mock.patch.object(layer, "stateful", False))
                patches.enter_context(mock.patch.object(layer, "unroll", False))
        for kind in (Functional, keras.Sequential):  # these insist on the sizes that they were built for
            patches.enter_context(mock.patch.object(kind, "_assert_input_compatibility"))
        for kind, calls in ((layers.RNN, _recurrent_call), (layers.Conv1D, _convolution_call)):
            patches.enter_context(mock.patch.object(kind, "call", calls(kind.call, carry, apart)))
        yield


def _within_steps(model: keras.Model) -> set[int]:
    """Ids of the layers in a TimeDistributed, which read within each step: their sequences end there."""
    wrappers = [layer for layer in model._flatten_layers() if isinstance(layer, layers.TimeDistributed)]
    return {id(layer) for wrapper in wrappers for layer in wrapper._flatten_layers(include_self=False)}


def _recurrent_call(original, carry, apart):
    def call(layer, sequences, initial_state=None, mask=None, training=False):
        if id(layer) in apart:
            return original(layer, sequences, initial_state=initial_state, mask=mask, training=training)
        if isinstance(sequences.shape[1], int):
            carry.steps.add(sequences.shape[1])
        own = layer.get_initial_state(ops.shape(sequences)[0]) if initial_state is None else initial_state
        own = list(own) if tree.is_nested(own) else [own]
        names = carry.names(layer, _parts(layer.cell, len(tree.flatten(own))))
        given = tree.pack_sequence_as(own, carry.start(names, tree.flatten(own)))
        with mock.patch.object(layer, "return_state", True):
            output, *states = original(layer, sequences, initial_state=given, mask=mask, training=training)
        carry.end(names, tree.flatten(states))
        if mask is not None and not layer.zero_output_for_mask:
            mask = tree.flatten(mask)[0]
            if type(layer.cell) in _PARTS and initial_state is None:  # its output is h, and both start at zero
                output = _repeating(given[0], output, mask, layer.return_sequences)
            else:
                names = carry.names(layer, ("output",))
                (before,) = carry.start(names, [ops.zeros_like(_last(layer, output))])
                output = _repeating(before, output, mask, layer.return_sequences)
                carry.end(names, [_last(layer, output)])
        return (output, *states) if layer.return_state else output

    return call


def _last(layer, output):
    return output[:, -1] if layer.return_sequences else output


def _repeating(before, output, mask, return_sequences):
    """The output, with what came before the chunk at masked steps in front, where Keras repeats the last output."""
    seen = ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0  # (batch, time)
    seen = seen if return_sequences else seen[:, -1]
    before = before[:, None] if return_sequences else before
    return ops.where(
        ops.reshape(seen, (*ops.shape(seen), *[1] * (len(output.shape) - len(seen.shape)))), output, before
    )


def _convolution_call(original, carry, apart):
    def call(layer, inputs):
        back = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]  # steps looked back on
        standard = layer.padding == "causal" and layer.strides == (1,) and layer.data_format == "channels_last"
        if id(layer) in apart or not (standard and back):
            return original(layer, inputs)
        if isinstance(inputs.shape[1], int):
            carry.steps.add(inputs.shape[1])
        names = carry.names(layer, ("past",))
        (past,) = carry.start(names, [ops.zeros((ops.shape(inputs)[0], back, inputs.shape[2]), inputs.dtype)])
        longer = ops.concatenate([past, inputs], axis=1)
        carry.end(names, [longer[:, -back:]])
        with mock.patch.object(layer, "padding", "valid"):
            return original(layer, longer)

    return call


def _parts(cell, count):
    """Names of a cell's states."""
    if type(cell) is layers.StackedRNNCells:
        parts = []
        for i, one in enumerate(cell.cells):
            states = len(tree.flatten(one.state_size))
            parts += [f"{i + 1}_{part}" for part in _parts(one, states)]
        return tuple(parts)
    known = next((parts for kind, parts in _PARTS.items() if isinstance(cell, kind) and len(parts) == count), None)
    if known or count == 1:
        return known or ("state",)
    return tuple(f"state_{i + 1}" for i in range(count))


def _first_states(model, forward, feed):
    carry = _Carry(None)
    with _carrying(model, carry):
        try:
            forward.function(**{name: ops.convert_to_tensor(array) for name, array in feed.items()})
        except ExportError:
            raise
        except Exception as error:
            raise ExportError(f"{type(model).__name__} can't be called to find its states: {error}") from error
    carry.first = {name: ops.convert_to_numpy(value) for name, value in carry.first.items()}
    return carry


def _constant(values, name):
    """The one row of all first states of a name."""
    rows = np.concatenate(values)
    if (rows != rows[:1]).any():
        raise ExportError(
            f"The state {name} starts from what the model computes from its inputs, which no stream can do before it "
            "has read them. Export with streaming=False, or export the encoder and the decoder apart."
        )
    return rows[0]


def _with_free_time(inputs, steps):
    """Time axes by name: of the inputs that leave one free, else of those as long as what the layers read."""
    if any(isinstance(size, str) for spec in inputs for size in spec.shape[1:]):
        free = inputs
    else:
        free = tuple(
            replace(spec, shape=(spec.shape[0], "time", *spec.shape[2:]))
            if len(spec.shape) > 1 and spec.shape[1] in steps
            else spec
            for spec in inputs
        )
    return tuple(replace(spec, shape=("batch", *spec.shape[1:])) for spec in free)


def _refuse_layers_that_read_backwards(model):
    apart = _within_steps(model)
    recurrent = [layer for layer in model._flatten_layers() if id(layer) not in apart]
    for kind, reads in ((layers.Bidirectional, "is bidirectional"), (layers.RNN, "reads backwards")):
        for layer in recurrent:
            if isinstance(layer, kind) and getattr(layer, "go_backwards", True):
                raise ExportError(
                    f"{layer.name} {reads}: it needs the end of a sequence for its first output, so the model can't "
                    "stream. Export it with streaming=False."
                )


def _refuse_what_only_generates(model):
    """An encoder-decoder, whose target is no input that comes in chunks; a Transformer, whose state grows."""
    state = () if model.start is not None else model.initial_state(model.encode(), 1)
    grows = any(isinstance(part, CachedState) for part in (state, *(state if isinstance(state, tuple | list) else ())))
    if model.start is not None or grows:
        raise ExportError(
            f"{type(model).__name__} streams symbol by symbol: export it with streaming=True and decode=tfseq.Greedy() "
            "or tfseq.Sample(), or with streaming=False."
        )


def _stream_of_steps(model: Generator) -> Stream:
    """Of a Generator that has no recurrent layers: a loop of its `step`."""
    memory = model.encode()
    structure = model.initial_state(memory, 1)
    first = [ops.convert_to_numpy(state)[0] for state in tree.flatten(structure)]
    names = [f"state_{i + 1}" for i in range(len(first))] if len(first) > 1 else ["state"]
    specs = [TensorSpec(name, str(value.dtype), ("batch", *value.shape)) for name, value in zip(names, first)]

    def step(tokens, **given):
        def read(state, symbols):
            logits, state = model.step(symbols, state, memory)
            return state, logits

        state = tree.pack_sequence_as(structure, [given[name] for name in names])
        state, logits = scan(read, state, ops.transpose(tokens), "float32")
        after = {_next(name): value for name, value in zip(names, tree.flatten(state))}
        return {"logits": ops.transpose(logits, (1, 0, 2)), **after}

    states = tuple(StateSpec(name, _next(name), _initial(value)) for name, value in zip(names, first))
    signature = Signature((TOKENS, *specs), step, model.vocabulary_size)
    return Stream(signature, forward_signature(model).function, states)


def _next(name: str) -> str:
    return f"{name}_next"


def _initial(value: np.ndarray) -> Any:
    return value.tolist() if value.any() else 0


def suspects(model: keras.Model) -> str:
    """Layers of a model that look at several steps at once, for a message."""
    found = [f"{x.name} ({type(x).__name__})" for x in model._flatten_layers() if isinstance(x, _LOOK_ACROSS)]
    return ", ".join(found)
