"""Keras layer -> marked trace: while a model is traced, a marker takes the place of each recurrent layer's loop.

Keras runs a loop over time, in which no converter finds an LSTM again with its mask, its activations and its states.
So the layers themselves say what they are: their loops are replaced, during the trace, by the marker of an ONNX
operator (`native_operators`), with what Keras does beside the operator (masks, the order of time, merging of two
directions) around it. Layers that no operator computes stay loops, and a note says so.
"""

import contextlib
import functools
import inspect
from collections.abc import Iterator
from unittest import mock

import tensorflow as tf
from keras import layers, tree

from tfseq.exporting.recurrent import cudnn
from tfseq.exporting.recurrent.cells import NativeCell, NotNative, native_cell
from tfseq.exporting.recurrent.masked_sequences import EveryStep, MaskedSteps
from tfseq.exporting.recurrent.native_operators import Recurrences

_LOOPS = (layers.RNN, layers.LSTM, layers.GRU)  # those that define `inner_loop`; SimpleRNN inherits RNN's
_CALLS = {kind.call for kind in (*_LOOPS, layers.SimpleRNN)}

# Cells that become an operator where a single step of them is computed, as in a decode step. One step of ONNX
# Runtime's GRU takes 0.9 (one row) to 1.15 times (32 rows) the products that it stands for on one thread, and 2 to 4
# times on two; its RNN 1.4 to 3.4 times. So these stay products, which can also be computed in int8.
_CELLS = (layers.LSTMCell,)


class RecurrentMarkers:
    """The markers of one conversion: puts them into the trace, and converts them.

    Attributes:
        notes: sentences about layers that stay loops.
    """

    def __init__(self):
        self._recurrences = Recurrences()
        self._notes: dict[str, None] = {}
        self._masked: dict = {}  # of masks met, so that stacked layers share the work
        self._compact: dict = {}  # what a layer's output is in the operators' order, for a layer that reads it next

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def handlers(self):
        """For `custom_op_handlers` of tf2onnx."""
        return self._recurrences.handlers() | {name: (handler, []) for name, handler in cudnn.HANDLERS.items()}

    @contextlib.contextmanager
    def emitted(self) -> Iterator[None]:
        """Within, a recurrent layer that is traced leaves a marker in place of its loop, if an operator computes it."""
        with contextlib.ExitStack() as patches:
            for kind in _LOOPS:
                loop = self._inner_loop_instead_of(kind.inner_loop)
                patches.enter_context(mock.patch.object(kind, "inner_loop", loop))
            for kind in _CELLS:
                patches.enter_context(mock.patch.object(kind, "call", self._cell_instead_of(kind.call)))
            both = self._bidirectional_instead_of(layers.Bidirectional.call)
            patches.enter_context(mock.patch.object(layers.Bidirectional, "call", both))
            # Masks of dropout are drawn ahead of the loop, needed or not; drawing changes a variable.
            patches.enter_context(mock.patch.object(layers.RNN, "_maybe_config_dropout_masks"))
            yield

    def _inner_loop_instead_of(self, original):
        def inner_loop(layer, sequences, initial_state, mask, training=False):
            try:
                cells = _native_cells(layer, training)
                steps = self._steps(_mask_of(layer, mask, sequences))
            except NotNative as reason:
                self._note(layer, reason)
                return original(layer, sequences, initial_state, mask, training=training)
            return self._run(layer, cells, steps, sequences, initial_state)

        return inner_loop

    def _cell_instead_of(self, original):
        @functools.wraps(original)
        def call(cell, inputs, states, training=False):
            try:
                if _is_one_hot(inputs):
                    raise NotNative("it looks its input up, which is quicker than a product")
                (native,) = _native_cells_of([cell], training)
            except NotNative:
                return original(cell, inputs, states, training=training)
            x, *first = (tf.expand_dims(_float32(value), 0) for value in (inputs, *states))
            _, last = self._recurrences.emit([native], "forward", "concat", x, None, first)
            new = [tf.cast(tf.squeeze(state, 0), cell.compute_dtype) for state in last]
            return new[0], new

        return call

    def _run(self, layer, cells, steps, sequences, initial_state):
        """What `inner_loop` returns: last output, all outputs or only that, last states."""
        backwards, zeros = layer.go_backwards, layer.zero_output_for_mask
        first = [_float32(state) for state in tree.flatten(initial_state)]
        y, states = self._chain(cells, backwards, steps, self._time_major(steps, sequences), first)
        if layer.return_sequences:
            outputs = steps.batch_major(y, backwards, zeros, flip=backwards)
            if not backwards:
                self._remember(outputs, steps, y)
            last = outputs[:, -1]
        else:
            h = states[-cells[-1].state_count]
            last = steps.last_output(h, not _are_zeros(first), backwards, zeros)
            outputs = last[:, None]
        return last, outputs, tree.pack_sequence_as(initial_state, self._last_states(steps, states, first))

    def _chain(self, cells, backwards, steps, y, first):
        """Runs cells above each other. Returns outputs (time, batch, units) and last states (batch, units)."""
        first, last = list(first), []
        for cell in cells:
            given, first = first[: cell.state_count], first[cell.state_count :]
            given = [] if _are_zeros(given) else [state[None] for state in given]
            direction = "reverse" if backwards else "forward"
            y, new = self._recurrences.emit([cell], direction, "concat", y, steps.lengths, given)
            last += [tf.squeeze(state, 0) for state in new]
        return y, last

    def _bidirectional_instead_of(self, original):
        def call(layer, sequences, initial_state=None, mask=None, training=None):
            try:
                halves = _halves(layer, mask, training)
                steps = self._steps(_mask_of(layer.forward_layer, mask, sequences))
            except NotNative:  # then each half says whether it is one, and why not
                return original(layer, sequences, initial_state=initial_state, mask=mask, training=training)
            outputs = self._run_both(layer, halves, steps, sequences, initial_state)
            return tree.map_structure(lambda y: tf.cast(y, layer.compute_dtype), outputs)

        return call

    def _run_both(self, layer, halves, steps, sequences, initial_state):
        """What `Bidirectional.call` returns."""
        counts = [sum(cell.state_count for cell in half) for half in halves]
        first = [_float32(state) for state in tree.flatten(initial_state or [])]
        x = self._time_major(steps, sequences)
        merge = layer.merge_mode
        fused = len(halves[0]) == len(halves[1]) == 1 and halves[0][0].pairs_with(halves[1][0])
        if fused:
            pairs = (
                [] if _are_zeros(first) else [tf.stack(pair) for pair in zip(first[: counts[0]], first[counts[0] :])]
            )
            cells = [halves[0][0], halves[1][0]]
            y, new = self._recurrences.emit(cells, "bidirectional", merge or "concat", x, steps.lengths, pairs)
            ends = [tf.unstack(state) for state in new]  # (forward, backward) of each state
            states = [end[0] for end in ends] + [end[1] for end in ends]
        else:
            ahead, states = self._chain(halves[0], False, steps, x, first[: counts[0]])
            back, back_states = self._chain(halves[1], True, steps, x, first[counts[0] :])
            y, states = _merged(merge or "concat", ahead, back), states + back_states
        if layer.return_sequences:
            output = steps.batch_major(y, zeros=True)
            self._remember(output, steps, y)
            if merge is None:
                output = tuple(tf.split(output, [half[-1].units for half in halves], axis=-1))
        else:
            h = [states[counts[0] - halves[0][-1].state_count], states[-halves[1][-1].state_count]]
            output = _merged(merge, *(steps.last_output(end, bool(first), False, False) for end in h))
        if not layer.return_state:
            return output
        states = _packed_states(layer, self._last_states(steps, states, first), counts[0])
        return (*output, *states) if merge is None else (output, *states)

    def _last_states(self, steps, states, first):
        return states if _are_zeros(first) else steps.last_states(states, first)

    def _steps(self, mask):
        if mask is None:
            return EveryStep()
        key = mask.ref(), tf.compat.v1.get_default_graph()
        if key not in self._masked:
            self._masked[key] = MaskedSteps(mask)
        return self._masked[key]

    def _time_major(self, steps, sequences):
        sequences = _float32(sequences)
        known_steps, y = self._compact.get(sequences.ref(), (None, None))
        return y if known_steps is steps else steps.time_major(sequences)

    def _remember(self, outputs, steps, y):
        if isinstance(steps, MaskedSteps):  # of others, the converter cancels the pair of transpositions
            self._compact[outputs.ref()] = steps, y

    def _note(self, layer, reason):
        kind = type(layer.cell).__name__ if type(layer) is layers.RNN else type(layer).__name__
        self._notes[f"{layer.name} ({kind}) runs as a loop: {reason}."] = None


def _native_cells(layer, training) -> list[NativeCell]:
    """Those of a layer, the lowest first.

    Raises:
        NotNative: one of them has no operator.
    """
    cell = layer.cell
    cells = list(cell.cells) if type(cell) is layers.StackedRNNCells else [cell]
    return _native_cells_of(cells, training)


def _native_cells_of(cells, training) -> list[NativeCell]:
    if training and any(getattr(c, "dropout", 0) or getattr(c, "recurrent_dropout", 0) for c in cells):
        raise NotNative("it drops out, as in training")
    return [native_cell(c) for c in cells]


def _is_one_hot(tensor) -> bool:
    while getattr(tensor, "graph", None) is not None and tensor.op.type in ("Identity", "Cast"):
        tensor = tensor.op.inputs[0]
    return hasattr(tensor, "graph") and tensor.op.type == "OneHot"


def _float32(value):
    return tf.cast(tf.convert_to_tensor(value), tf.float32)


def _mask_of(layer, mask, sequences):
    """The mask of a call, (batch, time) bool, or None.

    Raises:
        NotNative: it is none that the operators can follow.
    """
    mask = next(iter(tree.flatten(mask)), None)
    if mask is None:
        return None
    mask = tf.convert_to_tensor(mask)
    if mask.shape.rank == 3 and mask.shape[-1] == 1:
        mask = tf.squeeze(mask, -1)
    if mask.shape.rank != 2:
        raise NotNative(f"its mask has {mask.shape.rank} axes")
    mask = mask if mask.dtype == tf.bool else tf.cast(mask, tf.bool)
    return tf.broadcast_to(mask, tf.shape(sequences)[:2]) if mask.shape[0] == 1 else mask


def _halves(layer, mask, training):
    """The cells of the forward and of the backward layer.

    Raises:
        NotNative: the two can't be run together.
    """
    ahead, back = layer.forward_layer, layer.backward_layer
    for half in (ahead, back):
        standard = isinstance(half, layers.RNN) and inspect.unwrap(type(half).call) in _CALLS
        if not standard or half.stateful:
            raise NotNative("one direction is a layer of its own")
        if mask is not None and half.zero_output_for_mask != layer.return_sequences:
            raise NotNative("the directions fill masked steps in another way")
    if mask is not None and back.unroll:
        raise NotNative("Keras unrolls one direction with the mask in another order")
    if ahead.go_backwards or not back.go_backwards:
        raise NotNative("the directions are exchanged")
    return _native_cells(ahead, training), _native_cells(back, training)


def _are_zeros(states) -> bool:
    """Whether first states are the zeros that layers make where they are given none."""
    return all(_is_zeros(state) for state in states)


def _is_zeros(tensor) -> bool:
    if not hasattr(tensor, "graph"):  # a value that is there already, while a graph is traced
        return not tensor.numpy().any()
    if tensor.op.type in ("Identity", "Cast", "Reshape", "ExpandDims"):
        return _is_zeros(tensor.op.inputs[0])
    filled = tensor.op.inputs[1] if tensor.op.type == "Fill" else tensor
    value = tf.get_static_value(filled)
    return value is not None and not value.any()


def _merged(mode, ahead, back):
    match mode:
        case "concat":
            return tf.concat([ahead, back], axis=-1)
        case "sum":
            return ahead + back
        case "ave":
            return (ahead + back) / 2
        case "mul":
            return ahead * back
    return ahead, back


def _packed_states(layer, states, of_forward):
    """Last states as `Bidirectional` returns them: the forward layer's, then the backward layer's."""
    halves = [(layer.forward_layer, states[:of_forward]), (layer.backward_layer, states[of_forward:])]
    packed = []
    for half, flat in halves:
        packed += tree.pack_sequence_as(half.get_initial_state(1), flat)
    return packed
