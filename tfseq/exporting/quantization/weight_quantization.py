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

import dataclasses
import functools
import math

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from tfseq.exporting.quantization.lstm_as_products import steps_as_products
from tfseq.exporting.quantization.weight_store import (
    WeightCounts,
    WeightStore,
    inner_first,
    looks_up_rows,
    rewrite,
    rows_dequantized,
    summed_axes,
    uses_by_operator,
)
from tfseq.exporting.rewriting import all_graphs
from tfseq.exporting.rewriting.weights import Weights

PRODUCT_LEVELS, STORED_LEVELS = 63, 127
LARGEST_FLOAT16 = float(np.finfo(np.float16).max)
CONTRIB = "com.microsoft"
_PART = 2**22  # values that are quantized at a time


def to_int8(model: ModelProto, contrib: bool = False, values: Weights | None = None) -> WeightCounts:
    """Quantizes the weights in place, and the products with them.

    Args:
        model: with distinct names at all levels, as tfseq exports it.
        contrib: lets LSTMs compute in int8 by com.microsoft's DynamicQuantizeLSTM, which standard ONNX lacks.
        values: of its hollow tensors, with which the quantized weights will be hollow, too; None if it has none.
    """
    graph = model.graph
    held = values or Weights()
    if not contrib:
        steps_as_products(graph, held)
    weights = _Int8Weights(graph, held)
    for g in inner_first(graph):
        rewrite(g, _Products(weights).of)
    for g in inner_first(graph):
        rewrite(g, weights.looked_up)
    if contrib:
        for g in inner_first(graph):
            rewrite(g, weights.lstm)
        if weights.needs_contrib:
            model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    weights.drop_transposes()
    weights.dequantize_others()
    counts = weights.finish()
    if values is None:
        held.fill(model)
    return counts


def to_float16(model: ModelProto, values: Weights | None = None) -> WeightCounts:
    """Stores the weights in half precision, in place; the graph computes in float32, as before.

    A weight with a value beyond float16's range stays as it is.

    Args:
        model, values: as `to_int8` takes them.
    """
    held = values or Weights()
    weights = WeightStore(model.graph, held)
    for name in weights:
        array = weights[name]
        if max(array.max(), -array.min()) <= LARGEST_FLOAT16:
            stored = f"{name}/float16"
            weights.hollow(stored, np.float16, array.shape, functools.partial(_in_half, weights, name))
            weights.replaced(name)
            weights.before.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    counts = weights.finish()
    if values is None:
        held.fill(model)
    return counts


def _in_half(weights: WeightStore, name: str) -> np.ndarray:
    return weights[name].astype(np.float16)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Symmetric quantization: integers of -levels to levels, and a scale to multiply them for all values along axes.

    Attributes:
        axes: which the scales have with size 1.
        levels: the largest integer.
    """

    axes: tuple[int, ...]
    levels: int

    def shape(self, of: tuple[int, ...]) -> tuple[int, ...]:
        """Of the scales for values of a shape."""
        return tuple(1 if axis in self.axes else size for axis, size in enumerate(of))

    def scales(self, values: np.ndarray) -> np.ndarray:
        largest = np.maximum(values.max(self.axes, keepdims=True), -values.min(self.axes, keepdims=True))
        return np.where(largest > 0, largest / self.levels, 1).astype(np.float32)

    def integers(self, values: np.ndarray) -> np.ndarray:
        """int8, of the values' shape; computed some rows at a time."""
        scales, result = self.scales(values), np.empty(values.shape, np.int8)
        step = max(1, _PART // max(1, values[0].size))
        for first in range(0, len(values), step):
            rows = slice(first, first + step)
            part = values[rows] / (scales if len(scales) == 1 else scales[rows])
            result[rows] = np.clip(np.rint(part, out=part), -self.levels, self.levels, out=part)
        return result


class _Int8Weights(WeightStore):
    """Weights in int8, with the scales (of rows, columns or filters) that their first use asks for."""

    def __init__(self, graph: GraphProto, weights: Weights):
        super().__init__(graph, weights)
        self._scaled: dict[str, Scaled] = {}
        self._turned: set[str] = set()
        self._in_lstm: dict[str, list[str]] = {}
        self._uses = uses_by_operator(graph)
        self._transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose"}

    def is_matrix(self, name: str) -> bool:
        """Whether it is a weight of two axes, or one transposed, that has or can have a scale for each column."""
        table = self._transposed.get(name, name)
        if table not in self or len(self.shape(table)) != 2:
            return False
        return table not in self._scaled or int(table != name) in self._scaled[table].axes

    def columns(self, name: str) -> tuple[str, str]:
        """A matrix for products: (rows, columns) int8 and (columns,) scales."""
        if name not in self._transposed:
            return self._quantized(name, Scaled((0,), PRODUCT_LEVELS), keepdims=False, multiplied=True)
        table, stored, scale = self._transposed[name], f"{name}/int8", f"{name}/scale"
        if name not in self._turned:
            self._turned.add(name)
            integers, _ = self._quantized(table, Scaled((1,), PRODUCT_LEVELS), keepdims=True, multiplied=True)
            self.before.append(helper.make_node("Transpose", [integers], [stored], perm=[1, 0]))
            self._scale_constant(scale, table, keepdims=False)
        return stored, scale

    def drop_transposes(self) -> None:
        """Those whose results only products read, which now read integers."""
        used = {name for g in all_graphs(self.graph) for node in g.node for name in node.input}
        used |= {output.name for output in self.graph.output}
        unused = self._turned - used
        kept = [node for node in self.graph.node if not unused.intersection(node.output)]
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def _quantized(self, name: str, scaled: Scaled, keepdims: bool, multiplied: bool = False) -> tuple[str, str]:
        """The names of its integers and scales; the first to ask for them says how they are made."""
        stored, scale = f"{name}/int8", f"{name}/scale"
        if name not in self._scaled:
            self._scaled[name] = scaled
            self.hollow(stored, np.int8, self.shape(name), lambda: scaled.integers(self[name]))
            self.replaced(name, multiplied)
            self._scale_constant(scale, name, keepdims)
        return stored, scale

    def _scale_constant(self, constant: str, name: str, keepdims: bool) -> None:
        scaled = self._scaled[name]
        shape = scaled.shape(self.shape(name))
        shape = shape if keepdims else (math.prod(shape),)
        self.hollow(constant, np.float32, shape, lambda: scaled.scales(self[name]).reshape(shape))

    def looked_up(self, node: NodeProto) -> list[NodeProto] | None:
        """Gather(W, i) -> Gather(integers, i) * Gather(scales, i)."""
        if not looks_up_rows(node, self):
            return None
        table = node.input[0]
        integers, scale = self._quantized(table, Scaled((1,), STORED_LEVELS), keepdims=True)
        return rows_dequantized(node, integers, scale, by_column=0 in self._scaled[table].axes)

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
            scaled = Scaled((2,), PRODUCT_LEVELS)
            directions, gates, inputs = self.shape(name)  # gates are 4 units
            stored = self.hollow(
                f"{name}/int8",
                np.int8,
                (directions, inputs, gates),
                lambda: scaled.integers(self[name]).transpose(0, 2, 1),
            )
            self.replaced(name, multiplied=True)
            scale = self.hollow(
                f"{name}/scale", np.float32, (directions, gates), lambda: scaled.scales(self[name])[..., 0]
            )
            zeros = self.constant(f"{name}/zero_point", np.zeros((directions, gates), np.int8))
            self._in_lstm[name] = [stored, scale, zeros]
        return self._in_lstm[name]

    def dequantize_others(self) -> None:
        """Gives what still reads a weight by its name the float32 form, computed from the int8 one.

        Biases, and other constants that are not multiplied with, stay as they are.
        """
        used = {name for g in all_graphs(self.graph) for node in g.node for name in node.input}
        for name in self:
            axes = summed_axes(len(self.shape(name)), self._uses.get(name, set()))
            if name in used and (axes or name in self._scaled):
                integers, scale = self._quantized(name, Scaled(axes, STORED_LEVELS), keepdims=True)
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


_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
