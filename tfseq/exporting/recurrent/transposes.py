"""Fewer transposes in the converted graph: recurrent operators are time-major, the layers around them batch-major."""

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from tfseq.exporting.rewriting import all_graphs

_RECURRENT = ("RNN", "GRU", "LSTM")
_EXCHANGE = [1, 0, 2]  # time and batch
_UNARY = {
    *("Relu", "Tanh", "Sigmoid", "Elu", "Selu", "Softplus", "Softsign", "LeakyRelu", "HardSigmoid", "HardSwish", "Erf"),
    *("Gelu", "Exp", "Log", "Sqrt", "Neg", "Abs", "Reciprocal", "Cast", "Identity", "Mish"),
}
_BINARY = {"Add", "Sub", "Mul", "Div"}


def remove_transposes(graph: GraphProto) -> None:
    """Merges and cancels transposes, and drops unused outputs and initializers, in place."""
    constants = {t.name: t for g in all_graphs(graph) for t in g.initializer}
    for g in all_graphs(graph):
        changed: set[str] = set()
        while found := _change_one(graph, g, constants):  # each may make room for another
            changed |= found
        uses = _Uses(graph, g)
        for node in g.node:
            if node.op_type in _RECURRENT:
                node.output[:] = [name if uses.count(name) else "" for name in node.output]
                while not node.output[-1]:
                    del node.output[-1]
        kept = [value for value in g.value_info if value.name not in changed]
        del g.value_info[:]
        g.value_info.extend(kept)
    read = {name for g in all_graphs(graph) for node in g.node for name in node.input}
    for g in all_graphs(graph):
        needed = [t for t in g.initializer if t.name in read or any(t.name == value.name for value in g.output)]
        del g.initializer[:]
        g.initializer.extend(needed)


def _change_one(whole: GraphProto, graph: GraphProto, constants: dict[str, TensorProto]) -> set[str]:
    """Removes the first transposes that can go; the values that are no longer, or are laid out anew. None: nothing."""
    uses = _Uses(whole, graph)
    for node in graph.node:
        changed: set[str] = set()
        if node.op_type == "Unsqueeze":
            changed = _cancel_unsqueeze(graph, node, uses)
        elif _permutation(node) == [0, 2, 1, 3]:
            changed = _merge_through_reshape(graph, node, uses, constants)
        elif _permutation(node) == _EXCHANGE:
            changed = _cancel(graph, node, uses, constants)
        if changed:
            return changed
    return set()


class _Uses:
    """The readers of the values of one graph."""

    def __init__(self, whole: GraphProto, graph: GraphProto):
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in set(node.input):
                self._readers.setdefault(name, []).append(node)
        inner = [g for g in all_graphs(graph) if g is not graph]
        self._elsewhere = {name for g in inner for node in g.node for name in node.input}
        self._elsewhere |= {value.name for g in all_graphs(whole) for value in g.output}

    def count(self, name: str) -> int:
        return len(self._readers.get(name, ())) + (name in self._elsewhere)

    def only_reader(self, name: str) -> NodeProto | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._elsewhere else None


def _permutation(node: NodeProto) -> list[int] | None:
    if node.op_type != "Transpose":
        return None
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), None)


def _merge_through_reshape(
    graph: GraphProto, node: NodeProto, uses: _Uses, constants: dict[str, TensorProto]
) -> set[str]:
    """Two transposes of (time, directions, batch, units), directions put side by side between them, become one."""
    reshape = uses.only_reader(node.output[0])
    if reshape is None or reshape.op_type != "Reshape" or reshape.input[0] != node.output[0]:
        return set()
    shape = constants.get(reshape.input[1])
    if shape is None or numpy_helper.to_array(shape)[:2].tolist() != [0, 0] or shape.dims[0] != 3:
        return set()
    exchange = uses.only_reader(reshape.output[0])
    if exchange is None or _permutation(exchange) != _EXCHANGE:
        return set()
    node.attribute[0].CopyFrom(helper.make_attribute("perm", [2, 0, 1, 3]))
    reshape.output[0] = exchange.output[0]
    graph.node.remove(exchange)
    return {node.output[0], reshape.output[0]}


def _cancel_unsqueeze(graph: GraphProto, node: NodeProto, uses: _Uses) -> set[str]:
    """Removes the new axis and what removes it."""
    squeeze = uses.only_reader(node.output[0])
    if squeeze is None or squeeze.op_type != "Squeeze" or squeeze.input[1:] != node.input[1:]:
        return set()
    made = next((n for n in graph.node if node.input[0] in n.output), None)
    if made is None or uses.count(node.input[0]) > 1:
        return set()
    made.output[list(made.output).index(node.input[0])] = squeeze.output[0]
    graph.node.remove(node)
    graph.node.remove(squeeze)
    return {node.input[0], squeeze.output[0]}


def _cancel(graph: GraphProto, node: NodeProto, uses: _Uses, constants: dict[str, TensorProto]) -> set[str]:
    """Removes the transpose and a later one that undoes it, if every node between treats positions alike."""
    chain, value = [], node.output[0]
    while True:
        reader = uses.only_reader(value)
        if reader is None or len(reader.output) != 1:
            return set()
        if _permutation(reader) == _EXCHANGE:
            break
        if not _treats_positions_alike(reader, value, constants):
            return set()
        chain.append(reader)
        value = reader.output[0]
    if not chain:
        return set()
    chain[0].input[list(chain[0].input).index(node.output[0])] = node.input[0]
    chain[-1].output[0] = reader.output[0]
    graph.node.remove(node)
    graph.node.remove(reader)
    return {name for n in chain for name in n.output}


def _treats_positions_alike(node: NodeProto, value: str, constants: dict[str, TensorProto]) -> bool:
    """Whether what the node does at a position of (time, batch, width) depends neither on time nor on batch."""
    others = [constants.get(name) for name in node.input if name != value]
    axis = next((a.i for a in node.attribute if a.name == "axis"), -1)
    match node.op_type:
        case "LayerNormalization" | "RMSNormalization" | "Softmax":
            return axis in (-1, 2) and node.input[0] == value
        case "MatMul":
            return node.input[0] == value and others[0] is not None and len(others[0].dims) == 2
        case operator if operator in _BINARY:
            other = others[0] if others else None
            return other is not None and len(other.dims) <= 3 and int(np.prod(other.dims[:-1])) == 1
        case operator:
            return operator in _UNARY
