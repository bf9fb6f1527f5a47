"""The chunk graph of a recurrent model: a chunk of a sequence and the states in, its outputs and the new states out.

Which states there are and what they start from is found by running the model on random inputs (`carried_states`). A
Generator without recurrent layers is a loop over its `step`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from tfseq.errors import ExportError
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.exporting.signatures.signature import TOKENS, Signature, forward_signature
from tfseq.exporting.streaming.carried_states import CarriedStates, carrying, within_steps
from tfseq.layers.key_value_cache import CachedState
from tfseq.layers.loops import scan
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import StateSpec, TensorSpec

_ACROSS_STEPS = (
    *(layers.MultiHeadAttention, layers.GroupQueryAttention, layers.Attention, layers.AdditiveAttention),
    *(layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D, layers.AveragePooling1D, layers.MaxPooling1D),
    *(layers.Conv1D, layers.SeparableConv1D, layers.DepthwiseConv1D, layers.Conv1DTranspose, layers.Flatten),
)


@dataclass(frozen=True)
class Stream:
    """A model that reads a sequence in chunks.

    Attributes:
        signature: of the chunk graph; its inputs are those of the model, then the states.
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
    """The chunk graph of a model.

    The batch axis is free, and so is the number of steps of a chunk, also where the model was built for fixed sizes.

    Args:
        samples: sample inputs, if the model has not been called yet.

    Raises:
        ExportError: the model has no recurrent layer, or one that needs what a stream does not know: later steps, or
            first states that depend on the input.
    """
    if isinstance(model, Generator):
        _refuse_what_only_generates(model)
    _refuse_layers_that_read_backwards(model)
    forward = forward_signature(model, samples)
    feeds = [draw(forward.inputs, forward.vocabulary_sizes, batch=2, length=3, seed=seed) for seed in (0, 1)]
    runs = [_first_states(model, forward, feed) for feed in feeds]
    if not runs[0].first:
        if isinstance(model, Generator):
            return _stream_of_steps(model)
        raise ExportError(f"{type(model).__name__} has no recurrent layer, so there are no states to stream.")
    inputs = _with_free_time(forward.inputs, runs[0].steps)
    values = {name: _constant([run.first[name] for run in runs], name) for name in runs[0].first}
    specs = [TensorSpec(name, str(value.dtype), ("batch", *value.shape)) for name, value in values.items()]

    def whole(**tensors):
        with carrying(model, CarriedStates(None)):
            return forward.function(**tensors)

    def step(**tensors):
        carry = CarriedStates({name: tensors.pop(name) for name in values})
        with carrying(model, carry):
            outputs = forward.function(**tensors)
        return {**outputs, **{_next(name): state for name, state in carry.last.items()}}

    states = tuple(StateSpec(name, _next(name), _initial(value)) for name, value in values.items())
    return Stream(Signature((*inputs, *specs), step, forward.vocabulary_sizes), whole, states)


def _first_states(model, forward, feed):
    carry = CarriedStates(None)
    with carrying(model, carry):
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
    apart = within_steps(model)
    recurrent = [layer for layer in model._flatten_layers() if id(layer) not in apart]
    for kind, reads in ((layers.Bidirectional, "is bidirectional"), (layers.RNN, "reads backwards")):
        for layer in recurrent:
            if isinstance(layer, kind) and getattr(layer, "go_backwards", True):
                raise ExportError(
                    f"{layer.name} {reads}: it needs the end of a sequence for its first output, so the model can't "
                    "stream. Export it with streaming=False."
                )


def _refuse_what_only_generates(model):
    """An encoder-decoder, whose target is no input that comes in chunks; a Transformer, whose KV cache grows."""
    state = () if model.start is not None else model.initial_state(model.encode(), 1)
    grows = any(isinstance(part, CachedState) for part in (state, *(state if isinstance(state, tuple | list) else ())))
    if model.start is not None or grows:
        raise ExportError(
            f"{type(model).__name__} streams token by token: export it with streaming=True and decode=tfseq.Greedy() "
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
        def read(state, step_tokens):
            logits, state = model.step(step_tokens, state, memory)
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


def layers_across_steps(model: keras.Model) -> str:
    """Layers of a model that look at several steps at once, for a message."""
    found = [f"{x.name} ({type(x).__name__})" for x in model._flatten_layers() if isinstance(x, _ACROSS_STEPS)]
    return ", ".join(found)
