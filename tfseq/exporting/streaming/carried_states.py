"""States carried through a model's layers while it is traced: recurrent states, and the past of causal convolutions.

Keras' recurrent layers start every call from zeros, or keep their states in variables that no file carries. Within
`carrying`, each of them is handed its state instead and hands the new one back; causal convolutions likewise keep the
steps that they still look back on.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import keras
from keras import layers, ops, tree
from keras.src.models import Functional

_PARTS = {layers.LSTMCell: ("h", "c"), layers.GRUCell: ("h",), layers.SimpleRNNCell: ("h",)}


class CarriedStates:
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
        """Names of the states of one call of a layer; numbered where it is called again."""
        base = prefix = re.sub(r"\W", "_", layer.name)
        calls = 1
        while f"{prefix}_{parts[0]}" in self.first:
            calls += 1
            prefix = f"{base}_{calls}"
        return [f"{prefix}_{part}" for part in parts]

    def start(self, names: list[str], own: list[Any]) -> list[Any]:
        """What a call starts from; `own` is what it would start from by itself."""
        self.first |= zip(names, own)
        return own if self._states is None else [self._states[name] for name in names]

    def end(self, names: list[str], states: list[Any]) -> None:
        self.last |= zip(names, states)


@contextlib.contextmanager
def carrying(model: keras.Model, carry: CarriedStates, convolutions: bool = True) -> Iterator[None]:
    """Within, recurrent layers and causal convolutions start from the states of `carry` and leave theirs there.

    Args:
        convolutions: False has convolutions begin anew with each chunk, as they do in a stateful model.
    """
    apart = within_steps(model)
    with contextlib.ExitStack() as patches:
        for layer in model._flatten_layers():
            if isinstance(layer, layers.RNN):
                patches.enter_context(mock.patch.object(layer, "stateful", False))
                patches.enter_context(mock.patch.object(layer, "unroll", False))
        for kind in (Functional, keras.Sequential):  # these insist on the sizes that they were built for
            patches.enter_context(mock.patch.object(kind, "_assert_input_compatibility"))
        kinds = [(layers.RNN, _recurrent_call), *([(layers.Conv1D, _convolution_call)] if convolutions else [])]
        for kind, calls in kinds:
            patches.enter_context(mock.patch.object(kind, "call", calls(kind.call, carry, apart)))
        yield


def called_in_turn(model: keras.Model, chunks: Sequence[Sequence[Any]]) -> list[Any]:
    """A stateful model on one chunk after the other, from first states; its own states are put back.

    Args:
        chunks: the arguments of each call, of arrays.

    Returns:
        the outputs of each call, of arrays.
    """
    stateful = [x for x in model._flatten_layers() if isinstance(x, layers.RNN) and x.stateful]
    variables = [state for layer in stateful for state in tree.flatten(layer.states)]
    before = [ops.convert_to_numpy(variable) for variable in variables]
    outputs = []
    try:
        for layer in stateful:
            layer.reset_state()
        for chunk in chunks:
            given = model(*tree.map_structure(ops.convert_to_tensor, chunk), training=False)
            outputs.append(tree.map_structure(ops.convert_to_numpy, given))
    finally:
        for variable, value in zip(variables, before):
            variable.assign(value)
    return outputs


def within_steps(model: keras.Model) -> set[int]:
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
