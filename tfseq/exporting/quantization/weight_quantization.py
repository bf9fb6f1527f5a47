"""Weight quantization of an ONNX graph, in place: to int8 (products, embeddings) and float16, in all its subgraphs.

ONNX Runtime's own `quantize_dynamic` (1.31) leaves a generation graph with weights outside its loop invalid, turns LSTM
into a contrib operator whether wanted or not, and knows no GRU. Here a weight is stored once, outside, and

- int8, a matrix of a product: `DynamicQuantizeLinear`, `MatMulInteger`, rescaled by column. Seven bits of the eight are
  used, since x86 processors without VNNI overflow when they add two full products.
- int8, an embedding: the rows looked up are dequantized. One that is also multiplied with, transposed, as tied
  embeddings are, serves both with one scale for a row.
- all others, and float16: dequantized (`Cast` and `Mul`) outside every loop, which ONNX Runtime computes once, as it
  loads the file.
"""

from collections.abc import Callable

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from tfseq.exporting.quantization.lstm_as_products import steps_as_products
from tfseq.exporting.quantization.weight_store import Weights, WeightStore
from tfseq.exporting.rewriting import all_graphs, subgraphs

PRODUCT_LEVELS, STORED_LEVELS = 63, 127
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
CONTRIB = "com.microsoft"


def to_int8(model: ModelProto, contrib: bool = False) -> Weights:
    """Quantizes the weights in place, and the products with them.

    Args:
        model: with distinct names at all levels, as tfseq exports it.
        contrib: lets LSTMs compute in int8 by com.microsoft's DynamicQuantizeLSTM, which standard ONNX lacks.
    """
    graph = model.graph
    if not contrib:
        steps_as_products(graph)
    weights = _Int8Weights(graph)
    for g in _inner_first(graph):
        _rewrite(g, _Products(weights).of)
    for g in _inner_first(graph):
        _rewrite(g, weights.looked_up)
    if contrib:
        for g in _inner_first(graph):
            _rewrite(g, weights.lstm)
        if weights.needs_contrib:
            model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    weights.drop_transposes()
    weights.dequantize_others()
    return weights.finish()


def to_float16(model: ModelProto) -> Weights:
    """Stores the weights in half precision, in place; the graph computes in float32, as before.

    A weight with a value beyond float16's range stays as it is.
    """
    graph = model.graph
    weights = WeightStore(graph)
    for name, values in weights.items():
        if np.abs(values).max() <= LARGEST_FLOAT16:
            weights.store(name, f"{name}/float16", values.astype(np.float16))
            weights.before.append(helper.make_node("Cast", [f"{name}/float16"], [name], to=TensorProto.FLOAT))
    return weights.finish()


class _Int8Weights(WeightStore):
    """Weights in int8, with the scales (of rows, columns or filters) that their first use asks for."""

    def __init__(self, graph: GraphProto):
        super().__init__(graph)
        self._scales: dict[str, np.ndarray] = {}
        self._in_lstm: dict[str, list[str]] = {}
        self._uses = _uses_by_operator(graph)
        self._transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose"}

    def is_matrix(self, name: str) -> bool:
        """Whether it is a weight of two axes, or one transposed, that has or can have a scale for each column."""
        table = self._transposed.get(name, name)
        if table not in self or self[table].ndim != 2:
            return False
        return table not in self._scales or self._scales[table].shape[table != name] == 1

    def columns(self, name: str) -> tuple[str, str]:
        """A matrix for products: (rows, columns) int8 and (columns,) scales."""
        if name not in self._transposed:
            return self._quantized(name, 0, PRODUCT_LEVELS, keepdims=False, multiplied=True)
        table, stored, scale = self._transposed[name], f"{name}/int8", f"{name}/scale"
        if name not in self._scales:
            integers, _ = self._quantized(table, 1, PRODUCT_LEVELS, keepdims=True, multiplied=True)
            self._scales[name] = self._scales[table].T  # (1, columns)
            self.before.append(helper.make_node("Transpose", [integers], [stored], perm=[1, 0]))
            self.constant(scale, self._scales[name].reshape(-1))
        return stored, scale

    def drop_transposes(self) -> None:
        """Those whose results only products read, which now read integers."""
        used = {name for g in all_graphs(self.graph) for node in g.node for name in node.input}
        used |= {output.name for output in self.graph.output}
        unused = {name for name in self._transposed if name in self._scales and name not in used}
        kept = [node for node in self.graph.node if not unused.intersection(node.output)]
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def _quantized(self, name, axes, levels, keepdims, multiplied=False):
        stored, scale = f"{name}/int8", f"{name}/scale"
        if name not in self._scales:
            integers, scales = quantized(self[name], axes, levels)
            self._scales[name] = scales
            self.store(name, stored, integers, multiplied)
            self.constant(scale, scales if keepdims else scales.reshape(-1))
        return stored, scale

    def looked_up(self, node: NodeProto) -> list[NodeProto] | None:
        """Gather(W, i) -> Gather(integers, i) * Gather(scales, i)."""
        if node.op_type != "Gather" or any(a.name == "axis" and a.i for a in node.attribute):
            return None
        (table, indices), (output,) = node.input, node.output
        if table not in self or self[table].ndim != 2:
            return None
        by_column = table in self._scales and self._scales[table].shape[0] == 1
        integers, scale = self._quantized(table, 1, STORED_LEVELS, keepdims=True)
        rows = helper.make_node("Gather", [integers, indices], [f"{output}/rows"], axis=0)
        numbers = helper.make_node("Cast", [rows.output[0]], [f"{output}/numbers"], to=TensorProto.FLOAT)
        if by_column:
            return [rows, numbers, helper.make_node("Mul", [numbers.output[0], scale], [output])]
        scales = helper.make_node("Gather", [scale, indices], [f"{output}/scales"], axis=0)
        return [rows, numbers, scales, helper.make_node("Mul", [numbers.output[0], scales.output[0]], [output])]

    def lstm(self, node: NodeProto) -> list[NodeProto] | None:
        """LSTM(x, W, R, ...) -> DynamicQuantizeLSTM(x, W', R', ..., scales and zero points)."""
        if node.op_type != "LSTM" or not all(name in self for name in node.input[1:3]):
            return None
        if any(a.name == "layout" and a.i for a in node.attribute):
            return None
        if any(self._uses[name] != {"LSTM"} for name in node.input[1:3]):
            return None
        (w, *w_scale), (r, *r_scale) = (self._for_lstm(name) for name in node.input[1:3])
        x, rest = node.input[0], [*node.input[3:], *[""] * (8 - len(node.input))]
        inputs = [x, w, r, *rest, *w_scale, *r_scale]
        smaller = helper.make_node("DynamicQuantizeLSTM", inputs, node.output, node.name, domain=CONTRIB)
        smaller.attribute.extend(a for a in node.attribute if a.name != "layout")
        return [smaller]

    @property
    def needs_contrib(self) -> bool:
        return bool(self._in_lstm)

    def _for_lstm(self, name: str) -> list[str]:
        """(directions, inputs, 4 units) int8, and scales and zero points (directions, 4 units)."""
        if name not in self._in_lstm:
            integers, scales = quantized(self[name], 2, PRODUCT_LEVELS)  # (directions, 4 units, inputs), (.., 1)
            self.store(name, f"{name}/int8", integers.transpose(0, 2, 1), multiplied=True)
            scale = self.constant(f"{name}/scale", scales[..., 0])
            zeros = self.constant(f"{name}/zero_point", np.zeros(scales.shape[:2], np.int8))
            self._in_lstm[name] = [f"{name}/int8", scale, zeros]
        return self._in_lstm[name]

    def dequantize_others(self) -> None:
        """Gives what still reads a weight by its name the float32 form, computed from the int8 one.

        Biases, and other constants that are not multiplied with, stay as they are.
        """
        used = {name for g in all_graphs(self.graph) for node in g.node for name in node.input}
        for name, values in list(self.items()):
            axes = _summed_axes(values, self._uses.get(name, set()))
            if name in used and (axes or name in self._scales):
                integers, scale = self._quantized(name, axes, STORED_LEVELS, keepdims=True)
                numbers = f"{name}/numbers"
                self.before += [
                    helper.make_node("Cast", [integers], [numbers], to=TensorProto.FLOAT),
                    helper.make_node("Mul", [numbers, scale], [name]),
                ]


class _Products:
    """The products of one graph; those of one activation share its quantized form."""

    def __init__(self, weights: _Int8Weights):
        self.weights = weights
        self._activations: dict[str, list[str]] = {}

    def of(self, node: NodeProto) -> list[NodeProto] | None:
        """MatMul(x, W) -> the product of integers, rescaled. Gemm likewise, where it is x W + b."""
        if node.op_type == "Gemm":
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if any(attributes.get(name, default) != default for name, default in _PLAIN_GEMM.items()):
                return None
        elif node.op_type != "MatMul":
            return None
        x, weight, *bias = node.input
        if not self.weights.is_matrix(weight):
            return None
        output = node.output[0]
        integers, scales = self.weights.columns(weight)
        nodes = []
        if x not in self._activations:
            self._activations[x] = [f"{output}/left/{part}" for part in ("int8", "scale", "zero_point")]
            nodes.append(helper.make_node("DynamicQuantizeLinear", [x], self._activations[x]))
        activation = self._activations[x]
        product = f"{output}/product" if bias else output
        nodes += [
            helper.make_node("MatMulInteger", [activation[0], integers, activation[2]], [f"{output}/integers"]),
            helper.make_node("Cast", [f"{output}/integers"], [f"{output}/numbers"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [activation[1], scales], [f"{output}/scales"]),
            helper.make_node("Mul", [f"{output}/numbers", f"{output}/scales"], [product]),
        ]
        if bias:
            nodes.append(helper.make_node("Add", [product, bias[0]], [output]))
        return nodes


def _summed_axes(values: np.ndarray, operators: set[str]) -> tuple[int, ...]:
    """The axes over which the operators that read a weight sum; () if one of them does not multiply with it."""
    if operators <= {"LSTM", "GRU", "RNN"} and values.ndim == 3:  # not the biases
        return (2,)
    if operators <= {"Conv"}:
        return tuple(range(1, values.ndim))
    if operators <= {"MatMul", "Gemm", "Gather", "Einsum", "ConvTranspose", "Transpose", "Reshape"}:
        return (values.ndim - 2,)
    return ()


_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}


def quantized(values: np.ndarray, axes: int | tuple[int, ...], levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric quantization: integers of -levels to levels, and scales with `axes` of size 1, to multiply."""
    largest = np.abs(values).max(axis=axes, keepdims=True)
    scales = np.where(largest > 0, largest / levels, 1).astype(np.float32)
    return np.clip(np.rint(values / scales), -levels, levels).astype(np.int8), scales


def _uses_by_operator(graph: GraphProto) -> dict[str, set[str]]:
    uses: dict[str, set[str]] = {}
    for g in all_graphs(graph):
        for node in g.node:
            for name in node.input:
                uses.setdefault(name, set()).add(node.op_type)
    return uses


def _inner_first(graph: GraphProto) -> list[GraphProto]:
    """Rewriting a graph copies those inside it, so they come before."""
    return list(all_graphs(graph))[::-1]


def _rewrite(graph: GraphProto, rewritten: Callable[[NodeProto], list[NodeProto] | None]) -> None:
    """Puts the nodes that `rewritten` gives in the place of those it gives them for."""
    nodes, changed = [], False
    for node in graph.node:
        replacement = None if subgraphs(node) else rewritten(node)
        changed |= replacement is not None
        nodes += [node] if replacement is None else replacement
    if changed:
        del graph.node[:]
        graph.node.extend(nodes)
