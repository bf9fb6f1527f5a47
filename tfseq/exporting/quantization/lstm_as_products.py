"""LSTM operators of one decode step rewritten as matrix products, so that int8 quantization reaches them.

Standard ONNX has no integer form of its recurrent operators. In float32 the operator is as fast as its parts.
"""

from collections.abc import Callable, Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from tfseq.exporting.recurrent.shared_weights import share_weights
from tfseq.exporting.rewriting.cleanup import remove_unused
from tfseq.exporting.rewriting.graph import all_graphs, initializers, uses
from tfseq.exporting.rewriting.weights import Weights, is_hollow


def steps_as_products(graph: GraphProto, weights: Weights | None = None) -> None:
    """Replaces every LSTM that reads one step from given states, as in a decoding loop, in place; others stay.

    c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c') with [i o f g] = x W + h R + b.

    Args:
        weights: the values of its hollow tensors, if it has any.
    """
    constants = initializers(graph)
    held = weights or Weights()
    found = False
    for g in all_graphs(graph):
        counts = uses(g)
        made = {name: node for node in g.node for name in node.output}
        nodes: list[NodeProto] = []
        for node in g.node:
            if _is_plain_step(node, made, constants, counts):
                nodes += _products(graph, node, made, constants, held)
                found = True
            else:
                nodes.append(node)
        del g.node[:]
        g.node.extend(nodes)
    if found:
        remove_unused(graph)
        share_weights(graph, held)  # with the operator that reads a prompt


def _is_plain_step(
    node: NodeProto, made: Mapping[str, NodeProto], constants: Mapping[str, TensorProto], counts: Mapping[str, int]
) -> bool:
    if node.op_type != "LSTM" or len(node.input) != 7 or node.input[4]:
        return False
    x, w, r, b, _, *states = node.input
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    forward = attributes.pop("direction", b"forward") == b"forward"
    del attributes["hidden_size"]
    known = w in constants and r in constants and (not b or b in constants)
    single = x in made and _new_first_axis(made[x], constants) and all(name in made for name in states)
    read = bool(node.output[0]) and counts.get(node.output[0], 0) > 0
    return forward and not attributes and known and single and not read


def _new_first_axis(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    if node.op_type != "Unsqueeze" or node.input[1] not in constants or is_hollow(constants[node.input[1]]):
        return False
    return numpy_helper.to_array(constants[node.input[1]]).tolist() == [0]


def _products(
    graph: GraphProto,
    node: NodeProto,
    made: Mapping[str, NodeProto],
    constants: Mapping[str, TensorProto],
    weights: Weights,
) -> list[NodeProto]:
    name = node.output[1] or node.output[2]
    nodes: list[NodeProto] = []
    x, w, r, b, _, *states = node.input
    axis = made[x].input[1]

    def add(operator: str, inputs: list[str], *outputs: str, **attributes: int) -> str:
        outputs = outputs or (f"{name}/{len(nodes)}",)
        nodes.append(helper.make_node(operator, inputs, list(outputs), f"{outputs[0]}/node", **attributes))
        return outputs[0]

    def constant(part: str, tensor: TensorProto, change: Callable[[np.ndarray], np.ndarray]) -> str:
        graph.initializer.append(weights.changed(tensor, f"{name}/{part}", change))
        return f"{name}/{part}"

    def without_axis(state: str) -> str:
        axes = made[state].input[1:] if made[state].op_type == "Unsqueeze" else []
        return made[state].input[0] if axes == [axis] else add("Squeeze", [state, axis])

    h, c = (without_axis(state) for state in states)
    total = add(
        "Add",
        [
            add("MatMul", [made[x].input[0], constant("W", constants[w], _one_direction)]),
            add("MatMul", [h, constant("R", constants[r], _one_direction)]),
        ],
    )
    if b:
        total = add("Add", [total, constant("B", constants[b], lambda bias: bias[0].reshape(2, -1).sum(0))])
    gates = [f"{name}/{gate}" for gate in "iofg"]
    sizes = numpy_helper.from_array(np.full(4, constants[r].dims[2]), f"{name}/sizes")
    graph.initializer.append(sizes)
    add("Split", [total, sizes.name], *gates, axis=1)
    i, o, f = (add("Sigmoid", [gate]) for gate in gates[:3])
    new_c = add("Add", [add("Mul", [f, c]), add("Mul", [i, add("Tanh", [gates[3]])])])
    new_h = add("Mul", [o, add("Tanh", [new_c])])
    for value, output in zip((new_h, new_c), node.output[1:]):
        if output:
            add("Unsqueeze", [value, axis], output)
    return nodes


def _one_direction(values: np.ndarray) -> np.ndarray:
    """(1, 4 units, inputs) of the operator to (inputs, 4 units) of a product."""
    return values[0].T
