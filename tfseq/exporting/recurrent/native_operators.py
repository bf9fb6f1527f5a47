"""Marked trace -> ONNX operator: markers of recurrences, and their conversion by tf2onnx to RNN, GRU and LSTM.

A marker is a `tf.py_function`, which `Recurrences.emit` puts into the trace. Only its key, an attribute that TensorFlow
calls token, survives to the conversion, where `Recurrences.handlers` put RNN, GRU or LSTM in its place, with constant
weights.
(It would compute the same if TensorFlow ran it: a model's own `tf.function` may keep what was traced for the export.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfseq.exporting.recurrent.cells import NativeCell

_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_REDUCTIONS = {"sum": "ReduceSum", "ave": "ReduceMean", "mul": "ReduceProd"}


@dataclass(frozen=True, eq=False)
class Recurrence:
    """One recurrent operator.

    Attributes:
        cells: one per direction.
        direction: "forward", "reverse" or "bidirectional".
        merge: how the outputs of two directions are joined: "concat", "sum", "ave" or "mul".
        given: which of its optional inputs it has: "lengths", "states".
    """

    cells: tuple[NativeCell, ...]
    direction: str
    merge: str
    given: tuple[str, ...]

    def weights(self):
        """W, R and, where it has one, B, as the operator takes them."""
        cells = self.cells
        weights = [np.stack([c.w for c in cells]), np.stack([c.r for c in cells])]
        if cells[0].operator != "RNN" or any(c.b is not None for c in cells):  # without, ONNX Runtime is a tenth slower
            weights.append(np.stack([np.zeros(2 * len(c.w), "float32") if c.b is None else c.b for c in cells]))
        return weights

    def run(self, x, *rest):
        """What the operator computes: from x (time, batch, width) joined outputs (time, batch, ...) and last states."""
        masked = "lengths" in self.given
        lengths = rest[0] if masked else tf.fill([tf.shape(x)[1]], tf.shape(x)[0])
        first = rest[masked : masked + (self.cells[0].state_count if "states" in self.given else 0)]
        results = [
            self._run_direction(x, lengths, [state[d] for state in first], d) for d in range(len(self.cells))
        ]  # (outputs, states) of each direction
        outputs = tf.stack([outputs for outputs, _ in results])  # (directions, time, batch, units)
        merges = {
            "sum": lambda y: tf.reduce_sum(y, 0),
            "ave": lambda y: tf.reduce_mean(y, 0),
            "mul": lambda y: tf.reduce_prod(y, 0),
            "concat": lambda y: tf.concat(tf.unstack(y), -1),
        }
        return [merges[self.merge](outputs), *(tf.stack(states) for states in zip(*(s for _, s in results)))]

    def _run_direction(self, x, lengths, states, d):
        native, time = self.cells[d], x.shape[0]
        states = states or [tf.zeros([x.shape[1], native.units])] * native.state_count
        outputs = [tf.zeros([x.shape[1], native.units])] * time
        backwards = self.direction == "reverse" or d == 1
        for t in reversed(range(time)) if backwards else range(time):
            real = (t < lengths)[:, None]
            _, new = native.cell(x[t], states)
            states = [tf.where(real, tf.cast(a, tf.float32), b) for a, b in zip(new, states)]
            outputs[t] = tf.where(real, states[0], 0.0)
        return tf.stack(outputs), states


class Recurrences:
    """The marked recurrences of one conversion."""

    def __init__(self):
        self._by_key: dict[bytes, Recurrence] = {}

    def emit(
        self, cells: Sequence[NativeCell], direction: str, merge: str, x, lengths=None, states=()
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Puts the marker of a recurrent operator into the graph being traced.

        Args:
            cells: one per direction.
            direction: "forward", "reverse" or "bidirectional".
            merge: how outputs of two directions are joined: "concat", "sum", "ave" or "mul".
            x: (time, batch, width) float32.
            lengths: steps to read of each row, (batch,) int32; None reads all.
            states: first states, (directions, batch, units) each: h, and c of an LSTM; none means zeros.

        Returns:
            joined outputs (time, batch, units or 2 * units), zero from `lengths` on and in place wherever read from;
            and the last states, as `states`.
        """
        given = ("lengths",) * (lengths is not None) + ("states",) * bool(states)
        recurrence = Recurrence(tuple(cells), direction, merge, given)
        native = recurrence.cells[0]
        with tf.init_scope():  # so that the trace captures them, as it does variables
            weights = [tf.constant(array) for array in recurrence.weights()]
        inputs = [x, *([] if lengths is None else [lengths]), *states, *weights]
        y, *last = tf.py_function(recurrence.run, inputs, [tf.float32] * (1 + native.state_count))
        self._by_key[y.op.get_attr("token")] = recurrence
        time, batch, directions = x.shape[0], x.shape[1], len(recurrence.cells)
        width = native.units * (directions if merge == "concat" else 1)
        # The converter reads a graph that has been written out and read in again: only an operator keeps shapes in it.
        y = tf.ensure_shape(y, [time, batch, width])
        return y, [tf.ensure_shape(state, [directions, batch, native.units]) for state in last]

    def handlers(self):
        """For `custom_op_handlers` of tf2onnx."""
        return {"EagerPyFunc": (self._convert, [])}

    def _convert(self, graph, node, name, args):
        recurrence = self._by_key.get(node.attr["token"].s)
        if recurrence is None:
            raise ValueError("tf.py_function runs Python code, which ONNX can't hold")
        x, *rest = node.input
        lengths = rest.pop(0) if "lengths" in recurrence.given else ""
        count = recurrence.cells[0].state_count if "states" in recurrence.given else 0
        states, weights = rest[:count], rest[count:]
        joined, *last = node.output
        graph.remove_node(node.name)
        add_recurrent_operator(graph, recurrence, node.name, x, weights, lengths, states, joined, last)


def add_recurrent_operator(graph, recurrence, name, x, weights, lengths, states, joined, last):
    """Adds the operator to a tf2onnx graph; the arguments from `x` on are names of its inputs and outputs."""
    cells, operator = recurrence.cells, recurrence.cells[0].operator
    attributes = {"hidden_size": cells[0].units, "direction": recurrence.direction, **_functions(cells)}
    if operator == "GRU":
        attributes["linear_before_reset"] = int(cells[0].linear_before_reset)
    inputs = [x, *weights, *([""] * (3 - len(weights))), lengths, *states]
    while not inputs[-1]:
        inputs.pop()
    each = f"{name}/Y:0"
    time, batch, _ = graph.get_shape(x) or (-1, -1, -1)
    state_shape = [len(cells), batch, cells[0].units]
    graph.make_node(
        operator,
        inputs,
        attr=attributes,
        outputs=[each, *last],
        name=name,
        shapes=[[time, *state_shape], *(state_shape for _ in last)],
        dtypes=[1] * (1 + len(last)),
    )
    _join(graph, recurrence, name, each, joined)


def _join(graph, recurrence, name, each, joined):
    """Outputs of each direction, (time, directions, batch, units), as one, (time, batch, ...)."""
    time, directions, batch, units = graph.get_shape(each)
    width = units * directions if recurrence.merge == "concat" else units
    made = {"outputs": [joined], "shapes": [[time, batch, width]], "dtypes": [1], "name": f"{name}/joined"}
    axis = [graph.make_const(f"{name}/axis", np.array([1])).output[0]]
    if directions == 1:
        graph.make_node("Squeeze", [each, *axis], **made)
    elif recurrence.merge == "concat":
        beside = graph.make_node("Transpose", [each], attr={"perm": [0, 2, 1, 3]}, name=f"{name}/beside").output[0]
        shape = graph.make_const(f"{name}/shape", np.array([0, 0, width])).output[0]
        graph.make_node("Reshape", [beside, shape], **made)
    elif recurrence.merge == "sum" or graph.opset >= 18:
        graph.make_node(_REDUCTIONS[recurrence.merge], [each, *axis], attr={"keepdims": 0}, **made)
    else:
        graph.make_node(_REDUCTIONS[recurrence.merge], [each], attr={"keepdims": 0, "axes": [1]}, **made)


def _functions(cells):
    """The operator's activations, unless they are its own."""
    functions = [function for cell in cells for function in cell.activations]
    if [name for name, _, _ in functions] == _DEFAULTS[cells[0].operator] * len(cells):
        return {}
    parameters = {
        "activation_alpha": [alpha for _, alpha, _ in functions if alpha is not None],
        "activation_beta": [beta for _, _, beta in functions if beta is not None],
    }
    return {"activations": [name for name, _, _ in functions]} | {k: v for k, v in parameters.items() if v}
