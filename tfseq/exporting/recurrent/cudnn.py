"""cuDNN operator -> ONNX operator: what Keras traces for a GPU in place of a loop, converted to RNN, GRU and LSTM.

All weights come in one vector: of each layer and direction the gates' input and recurrent kernels, (units, width) and
(units, units) each; after all of these, of each the gates' input and recurrent biases.
"""

from typing import Any

import numpy as np
from tf2onnx import utils

# Operator, where its gates stand among cuDNN's, further attributes.
_MODES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "lstm": ("LSTM", (0, 3, 1, 2), {}),  # i f c o become i o f c
    "gru": ("GRU", (1, 0, 2), {"linear_before_reset": 1}),  # r z h become z r h
    "rnn_tanh": ("RNN", (0,), {}),
    "rnn_relu": ("RNN", (0,), {"activations": ["Relu"]}),
}


def _convert(graph: Any, node: Any, name: str, args: Any) -> None:
    _Conversion(graph, node).write()


HANDLERS = dict.fromkeys(("CudnnRNN", "CudnnRNNV2", "CudnnRNNV3"), _convert)


class _Conversion:
    def __init__(self, graph, node):
        self.graph, self.node = graph, node
        mode = node.get_attr_str("rnn_mode") if "rnn_mode" in node.attr else "lstm"
        self.operator, self.gates, self.attributes = _MODES[mode]
        both = "direction" in node.attr and node.get_attr_str("direction") == "bidirectional"
        self.directions = 2 if both else 1
        self.attributes = self.attributes | {"direction": "bidirectional" if both else "forward"}
        if both and "activations" in self.attributes:
            self.attributes["activations"] = self.attributes["activations"] * 2
        self.time_major = "time_major" not in node.attr or bool(node.get_attr_int("time_major"))
        self.width, states = (graph.get_shape(name) for name in node.input[:2])
        self.width = (self.width or [-1])[-1]
        self.units = (states or [-1])[-1]
        runs = (states or [-1] * 3)[0 if self.time_major else 1]  # layers * directions
        self.layers = runs // self.directions
        skips = "input_mode" in node.attr and node.get_attr_str("input_mode") == "skip_input"
        if (
            skips
            or ("num_proj" in node.attr and node.get_attr_int("num_proj"))
            or min(self.units, self.width, runs) < 1
        ):
            raise ValueError("a cuDNN recurrence without input kernels, with a projection or of unknown width")

    def write(self):
        x, h, c, packed, *lengths = self.node.input
        outputs = self.node.output
        types = {name: (self.graph.get_shape(name), self.graph.get_dtype(name)) for name in outputs[:3]}
        self.graph.remove_node(self.node.name)
        x = self._time_first(x)
        states = [self._time_first(state) for state in ((h, c) if self.operator == "LSTM" else (h,))]
        last: list[list[str]] = [[] for _ in states]
        weights = self._weights(packed)
        for layer in range(self.layers):
            here = [self._part(state, layer) for state in states]
            inputs = [x, *weights[layer], lengths[0] if lengths else "", *here]
            attributes = self.attributes | {"hidden_size": self.units}
            each, *new = self._nodes(self.operator, inputs, 1 + len(states), **attributes)
            for known, state in zip(last, new):
                known.append(state)
            x = self._joined(each)
        results = [x, *(self._node("Concat", parts, axis=0) if len(parts) > 1 else parts[0] for parts in last)]
        for output, result in zip(outputs, results):
            shape, dtype = types[output]
            result = self._time_first(result)
            self.graph.make_node("Identity", [result], outputs=[output], shapes=[shape], dtypes=[dtype])

    def _joined(self, each):
        """(time, directions, batch, units) -> (time, batch, directions * units)."""
        if self.directions == 1:
            return self._node("Squeeze", [each, self._constant([1])])
        beside = self._node("Transpose", [each], perm=[0, 2, 1, 3])
        return self._node("Reshape", [beside, self._constant([0, 0, 2 * self.units])])

    def _weights(self, packed):
        """W, R and B of each layer, as names."""
        made = self.graph.get_node_by_output(packed)
        if not made.is_const():
            raise ValueError("a cuDNN recurrence whose weights are computed")
        rest, gates, units = made.get_tensor_value(as_list=False).ravel(), len(self.gates), self.units

        def take(*shape):
            nonlocal rest
            taken, rest = np.split(rest, [int(np.prod(shape))])
            return taken.reshape(shape)

        def ordered(parts):  # (gates, units, ...) -> (gates * units, ...) in ONNX' order
            return np.concatenate([parts[gate] for gate in self.gates])

        kernels, biases = [], []
        for layer in range(self.layers):
            width = self.directions * units if layer else self.width
            pairs = [
                (ordered(take(gates, units, width)), ordered(take(gates, units, units))) for _ in range(self.directions)
            ]
            kernels.append([np.stack(side) for side in zip(*pairs)])
        for _ in range(self.layers):
            pairs = [ordered(take(gates, units)) for _ in range(2 * self.directions)]
            biases.append(np.concatenate(pairs).reshape(self.directions, -1))
        return [[self._constant(w) for w in (*kernel, bias)] for kernel, bias in zip(kernels, biases)]

    def _part(self, state, layer):
        if self.layers == 1:
            return state
        start = layer * self.directions
        ends = ([start], [start + self.directions], [0])
        return self._node("Slice", [state, *map(self._constant, ends)])

    def _time_first(self, name):
        """Exchanges the first two axes, either way, unless time or layers stand first anyway."""
        return name if self.time_major else self._node("Transpose", [name], perm=[1, 0, 2])

    def _constant(self, value):
        return self.graph.make_const(utils.make_name(f"{self.node.name}/constant"), np.asarray(value)).output[0]

    def _node(self, operator, inputs, **attributes):
        return self._nodes(operator, inputs, 1, **attributes)[0]

    def _nodes(self, operator, inputs, count, **attributes):
        name = utils.make_name(f"{self.node.name}/{operator}")
        return self.graph.make_node(operator, inputs, attr=attributes, output_count=count, name=name).output
