"""The large float32 weights of a graph and the smaller forms that replace them: what all quantizations share."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from tfseq.exporting.rewriting import all_graphs, subgraphs
from tfseq.exporting.rewriting.weights import Weights

SMALLEST = 1024  # values in a weight that is worth quantizing


@dataclasses.dataclass(frozen=True)
class WeightCounts:
    """What became of a graph's weights, as counts of their values.

    Attributes:
        multiplied: quantized, and multiplied in that form.
        stored: quantized in the file only, and dequantized to float32 to compute.
        kept: in float32, as too small to be worth it.
    """

    multiplied: int
    stored: int
    kept: int


class WeightStore:
    """The large float32 constants of a graph and its subgraphs, moved to the outermost graph.

    Their smaller forms are hollow: values are read, one weight at a time, when the file is written.

    Args:
        graph: whose weights they are.
        weights: the values of its hollow tensors; and of those to come.

    Attributes:
        before: nodes to put in front of the graph's.
    """

    def __init__(self, graph: GraphProto, weights: Weights):
        self.graph, self.weights = graph, weights
        self.before: list[NodeProto] = []
        self._stored: set[str] = set()
        self._multiplied: set[str] = set()
        self._tensors: dict[str, TensorProto] = {}
        for g in all_graphs(graph):
            outputs = {output.name for output in g.output}
            for tensor in list(g.initializer):
                if tensor.name not in outputs and self._worthwhile(tensor):
                    self._tensors[tensor.name] = tensor
                    if g is not graph:
                        graph.initializer.append(tensor)
                        g.initializer.remove(tensor)
        floats = [t for g in all_graphs(graph) for t in g.initializer if t.data_type == TensorProto.FLOAT]
        self._count = sum(math.prod(t.dims) for t in floats)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> np.ndarray:
        """The values, read anew."""
        return self.weights.array(self._tensors[name])

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._tensors))

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._tensors[name].dims)

    def hollow(self, name: str, dtype: type | np.dtype, shape: tuple[int, ...], read: Callable[[], np.ndarray]) -> str:
        """Adds a constant whose values are read when they are written."""
        self.graph.initializer.append(self.weights.hollow(name, np.dtype(dtype), shape, read))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def replaced(self, name: str, multiplied: bool = False) -> None:
        """Notes that a weight has a quantized form, and with it its place in the file."""
        (self._multiplied if multiplied else self._stored).add(name)

    def is_replaced(self, name: str) -> bool:
        return name in self._stored or name in self._multiplied

    def place(self) -> None:
        """Puts the nodes of `before` in front of the graph's."""
        nodes = [*self.before, *self.graph.node]
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self.before = []

    def finish(self) -> WeightCounts:
        """Puts the nodes in place and drops the float32 weights that have a quantized form."""
        self.place()
        kept = [tensor for tensor in self.graph.initializer if not self.is_replaced(tensor.name)]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        counted = (self._multiplied, self._stored - self._multiplied)
        multiplied, stored = (sum(math.prod(self.shape(name)) for name in names) for names in counted)
        return WeightCounts(multiplied, stored, self._count - multiplied - stored)

    def _worthwhile(self, tensor: TensorProto) -> bool:
        if tensor.data_type != TensorProto.FLOAT or math.prod(tensor.dims) < SMALLEST:
            return False
        if sum(size > 1 for size in tensor.dims) < 2:
            return False
        values = self.weights.array(tensor)
        return bool(np.isfinite(values.min()) and np.isfinite(values.max()))  # -inf forbids a token


def looks_up_rows(node: NodeProto, store: WeightStore) -> bool:
    """Whether it is Gather(W, i) of a weight of two axes."""
    if node.op_type != "Gather" or any(a.name == "axis" and a.i for a in node.attribute):
        return False
    return node.input[0] in store and len(store.shape(node.input[0])) == 2


def rows_dequantized(node: NodeProto, integers: str, scale: str, by_column: bool = False) -> list[NodeProto]:
    """Gather(W, i) -> Gather(integers, i) * Gather(scales, i), or * scales if they are of columns."""
    indices, output = node.input[1], node.output[0]
    rows = helper.make_node("Gather", [integers, indices], [f"{output}/rows"], axis=0)
    numbers = helper.make_node("Cast", [rows.output[0]], [f"{output}/numbers"], to=TensorProto.FLOAT)
    if by_column:
        return [rows, numbers, helper.make_node("Mul", [numbers.output[0], scale], [output])]
    scales = helper.make_node("Gather", [scale, indices], [f"{output}/scales"], axis=0)
    return [rows, numbers, scales, helper.make_node("Mul", [numbers.output[0], scales.output[0]], [output])]


def summed_axes(rank: int, operators: set[str]) -> tuple[int, ...]:
    """The axes over which the operators that read a weight sum; () if one of them does not multiply with it."""
    if operators <= {"LSTM", "GRU", "RNN"} and rank == 3:  # not the biases
        return (2,)
    if operators <= {"Conv"}:
        return tuple(range(1, rank))
    if operators <= {"MatMul", "Gemm", "Gather", "Einsum", "ConvTranspose", "Transpose", "Reshape"}:
        return (rank - 2,)
    return ()


def uses_by_operator(graph: GraphProto) -> dict[str, set[str]]:
    uses: dict[str, set[str]] = {}
    for g in all_graphs(graph):
        for node in g.node:
            for name in node.input:
                uses.setdefault(name, set()).add(node.op_type)
    return uses


def inner_first(graph: GraphProto) -> list[GraphProto]:
    """Rewriting a graph copies those inside it, so they come before."""
    return list(all_graphs(graph))[::-1]


def rewrite(graph: GraphProto, rewritten: Callable[[NodeProto], list[NodeProto] | None]) -> None:
    """Puts the nodes that `rewritten` gives in the place of those it gives them for."""
    nodes, changed = [], False
    for node in graph.node:
        replacement = None if subgraphs(node) else rewritten(node)
        changed |= replacement is not None
        nodes += [node] if replacement is None else replacement
    if changed:
        del graph.node[:]
        graph.node.extend(nodes)
