"""The chunk graph of a recurrent model: a chunk of a sequence and the states in, its outputs and the new states out.

Which states there are and what they start from is found by running the model on random inputs (`carried_states`). A
Generator without recurrent layers is a loop over its `step`.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from tfseq.errors import ExportError
from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs
from tfseq.exporting.signatures.random_inputs import draw, free_axes
from tfseq.exporting.signatures.sample_inputs import feeds as as_feeds
from tfseq.exporting.signatures.signature import TOKENS, Signature, forward_signature, named_outputs, packed
from tfseq.exporting.streaming.carried_states import CarriedStates, called_in_turn, carrying, within_steps
from tfseq.layers.loops import scan
from tfseq.models.generator import Generator
from tfseq.runtime.chunk_stream import first_states
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
        in_turn: where a stateful model fixes the steps of a chunk, and so what it reads at once: the model itself,
            called on one chunk after the other, each by input name. Else None.
        states: what connects one chunk to the next.
    """

    signature: Signature
    whole: Callable
    in_turn: Callable[[Sequence[Mapping[str, np.ndarray]]], list[dict[str, np.ndarray]]] | None
    states: tuple[StateSpec, ...]

    @property
    def inputs(self) -> list[TensorSpec]:
        """Those of the model."""
        states = {state.input for state in self.states}
        return [spec for spec in self.signature.inputs if spec.name not in states]

    def begun(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The model's inputs with the first states beside them: all that the chunk graph takes."""
        rows = len(next(iter(sample.values())))
        return {**sample, **first_states(self.states, self.signature.inputs, rows)}


def is_stateful(model: keras.Model) -> bool:
    """Whether a layer keeps its states from one call to the next."""
    return any(getattr(layer, "stateful", False) for layer in model._flatten_layers() if isinstance(layer, layers.RNN))


def stream_signature(model: keras.Model, samples: Any = None) -> Stream:
    """The chunk graph of a model.

    What a stateful model declares are the sizes of a chunk, and stays. Another one declares those of whole sequences:
    the batch and the number of steps of a chunk are free, as far as the model takes other sizes.

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
    if forward.draws:
        raise ExportError(
            f"{forward.draws[0]} A chunk graph would draw the same numbers for each chunk: export whole sequences, "
            "with streaming=False."
        )
    in_turn = is_stateful(model) and all(isinstance(n, int) for spec in forward.inputs for n in spec.shape)
    feeds = _inputs_to_find_states(model, forward, as_feeds(samples, forward.inputs))
    runs = [_first_states(model, forward, feed, convolutions=not in_turn) for feed in feeds]
    if not runs[0].first:
        if isinstance(model, Generator):
            return _stream_of_steps(model)
        raise ExportError(f"{type(model).__name__} has no recurrent layer, so there are no states to stream.")
    inputs = forward.inputs if is_stateful(model) else _freed(model, forward, runs[0].steps)
    values = {name: _constant([run.first[name] for run in runs], name) for name in runs[0].first}
    batch = inputs[0].shape[0]
    specs = [TensorSpec(name, str(value.dtype), (batch, *value.shape)) for name, value in values.items()]

    def whole(**tensors):
        with carrying(model, CarriedStates(None)):
            return forward.function(**tensors)

    def step(**tensors):
        carry = CarriedStates({name: tensors.pop(name) for name in values})
        with carrying(model, carry, convolutions=not in_turn):
            outputs = forward.function(**tensors)
        return {**outputs, **{_next(name): state for name, state in carry.last.items()}}

    states = tuple(StateSpec(name, _next(name), _initial(value)) for name, value in values.items())
    signature = Signature((*inputs, *specs), step, forward.vocabulary_sizes)
    if in_turn:
        return Stream(signature, whole, functools.partial(_in_turn, model, forward), states)
    return Stream(signature, whole, None, states)


def _inputs_to_find_states(model, forward, samples):
    """Two inputs that the model takes."""
    feeds = [draw(forward.inputs, forward.vocabulary_sizes, batch=2, length=3, seed=seed) for seed in (0, 1)]
    accepted = AcceptedInputs(_without_states(model, forward), samples)
    if all(accepted.run(feed) is not None for feed in feeds):
        return feeds
    cases = accepted.points()
    return [case.feeds for case in (cases * 2)[:2]] or feeds


def _without_states(model, forward):
    """The model while it does not insist on declared sizes, from its first states."""

    def function(**tensors):
        with carrying(model, CarriedStates(None)):
            return forward.function(**tensors)

    return replace(forward, function=function)


def _in_turn(model: keras.Model, forward: Signature, chunks: Sequence[Mapping[str, np.ndarray]]) -> list:
    """The outputs of a stateful model for one chunk after the other; its own states are put back."""
    names = [spec.name for spec in forward.inputs]
    given = called_in_turn(model, [packed(model, chunk) for chunk in chunks])
    named = (named_outputs(model, tree.map_structure(ops.convert_to_tensor, outputs), names) for outputs in given)
    return [{name: ops.convert_to_numpy(value) for name, value in outputs.items()} for outputs in named]


def _first_states(model, forward, feed, convolutions):
    carry = CarriedStates(None)
    with carrying(model, carry, convolutions):
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


def _freed(model, forward, steps):
    """The inputs with their batch and steps free, or as much of that as the model takes."""
    free = _with_free_time(forward.inputs, steps)
    batch = forward.inputs[0].shape[0]
    times = tuple(replace(spec, shape=(batch, *spec.shape[1:])) for spec in free)
    batches = tuple(replace(spec, shape=("batch", *spec.shape[1:])) for spec in forward.inputs)
    for inputs in dict.fromkeys((free, times, batches)):
        if inputs == forward.inputs:
            break
        accepted = AcceptedInputs(replace(_without_states(model, forward), inputs=inputs))
        if accepted.case({axis: 3 if axis == "batch" else 4 for axis in free_axes(inputs)}, seed=1) is not None:
            return inputs
    return forward.inputs


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
    parts = (state, *(state if isinstance(state, tuple | list) else ()))
    grows = any(getattr(part, "growing_axis", None) is not None for part in parts)
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
    return Stream(signature, forward_signature(model).function, None, states)


def _next(name: str) -> str:
    return f"{name}_next"


def _initial(value: np.ndarray) -> Any:
    return value.tolist() if value.any() else 0


def layers_across_steps(model: keras.Model) -> str:
    """Layers of a model that look at several steps at once, for a message."""
    found = [f"{x.name} ({type(x).__name__})" for x in model._flatten_layers() if isinstance(x, _ACROSS_STEPS)]
    return ", ".join(found)
