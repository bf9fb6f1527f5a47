"""Weight quantization in blocks, in place: products read 4- or 8-bit weights with a scale for each block.

ONNX Runtime (1.31, on the CPU) multiplies such weights as they are, in int8 with activations that it quantizes block by
block, if it finds the pattern

    initializer (rows, columns) -> DequantizeLinear(axis=0, block_size) -> MatMul or Gemm

in one graph, of which it makes one MatMulNBits. A transposition in between prevents that, and so does a second product
with the same weight; a weight from outside of the loop whose body has the rest makes it refuse the file. So weights are
stored the way round that a product reads them, and in every graph that multiplies with them.

- a matrix of a product: as above. With `contrib` MatMulNBits itself is written, which reads weights from outside.
- an embedding: rows in int8, of which those looked up are dequantized; ONNX Runtime gathers no integers of four bits.
  One that is also multiplied with is stored both ways.
- all others, and a matrix of several products in one graph: dequantized (`Cast` and `Mul`) outside every loop, which
  ONNX Runtime computes once, as it loads the file.
"""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from tfseq.exporting.quantization.blocks import Blocks
from tfseq.exporting.quantization.lstm_as_products import steps_as_products
from tfseq.exporting.quantization.weight_quantization import CONTRIB, STORED_LEVELS, Scaled
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
from tfseq.exporting.rewriting import all_graphs, lift
from tfseq.exporting.rewriting.cleanup import remove_unused
from tfseq.exporting.rewriting.weights import INT4, Weights, packed

OPSET = 21  # of integers of four bits, and of blocks
BITS = {"int4": 4, "int8": 8}


def to_blocks(
    model: ModelProto, to: str, size: int, contrib: bool = False, values: Weights | None = None
) -> WeightCounts:
    """Quantizes the weights in place.

    Args:
        model: with distinct names at all levels, as tfseq exports it, of opset 18 or later.
        to: "int4" or "int8".
        size: of a block, one of `blocks.SIZES`.
        contrib: writes com.microsoft's MatMulNBits, which only ONNX Runtime has, for the products.
        values: of its hollow tensors, with which the quantized weights will be hollow, too; None if it has none.
    """
    graph, held = model.graph, values or Weights()
    if next(declared.version for declared in model.opset_import if not declared.domain) < OPSET:
        lift(model, OPSET)
    steps_as_products(graph, held)
    weights = _BlockWeights(graph, held, Blocks(BITS[to], size), contrib)
    for i, g in enumerate(inner_first(graph)):
        rewrite(g, weights.products_of(g, i))
    for g in inner_first(graph):
        rewrite(g, weights.looked_up)
    if weights.needs_contrib:
        model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    weights.place()
    remove_unused(graph)  # transpositions that only products read
    weights.dequantize_others()
    counts = weights.finish()
    if values is None:
        held.fill(model)
    return counts


Matrix = tuple[str, bool]  # a weight, and whether it is transposed before it is multiplied with


class _BlockWeights(WeightStore):
    """Weights in blocks, in the forms that their uses ask for."""

    def __init__(self, graph: GraphProto, weights: Weights, blocks: Blocks, contrib: bool):
        super().__init__(graph, weights)
        self._blocks, self._contrib = blocks, contrib
        self._uses = uses_by_operator(graph)
        self._transposed = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Transpose"}
        self._forms: dict[Matrix, tuple[TensorProto, TensorProto]] = {}
        self._made: set[str] = set()
        self.needs_contrib = False

    def products_of(self, graph: GraphProto, number: int) -> Callable[[NodeProto], list[NodeProto] | None]:
        """How the products of one graph are rewritten; its number tells its weights from other graphs'."""
        counts = Counter(matrix for node in graph.node if (matrix := self._matrix_of(node)))

        def rewritten(node: NodeProto) -> list[NodeProto] | None:
            matrix = self._matrix_of(node)
            if matrix is None:
                return None
            if self._contrib:
                return self._contrib_product(node, matrix)
            if counts[matrix] > 1:
                return None
            nodes, weight = self._dequantized(graph, matrix, f"/{number}")
            product = NodeProto()
            product.CopyFrom(node)
            product.input[1] = weight
            kept = [a for a in node.attribute if a.name != "transB"]
            del product.attribute[:]
            product.attribute.extend(kept)
            return [*nodes, product]

        return rewritten

    def _matrix_of(self, node: NodeProto) -> Matrix | None:
        """The weight of x W, or of Gemm where it is x W + b."""
        turned = False
        if node.op_type == "Gemm":
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            turned = bool(attributes.pop("transB", 0))
            if any(attributes.get(name, default) != default for name, default in _PLAIN_GEMM.items()):
                return None
        elif node.op_type != "MatMul":
            return None
        name = node.input[1]
        table = self._transposed.get(name, name)
        if table not in self or len(self.shape(table)) != 2:
            return None
        return table, turned ^ (table != name)

    def _dequantized(self, graph: GraphProto, matrix: Matrix, suffix: str) -> tuple[list[NodeProto], str]:
        """The node that makes float32 of a matrix that is the graph's own."""
        output = f"{_name(matrix)}{suffix}"
        names = self._place_in(graph, matrix, output)
        node = helper.make_node("DequantizeLinear", names, [output], axis=0, block_size=self._blocks.size)
        return [node], output

    def _place_in(self, graph: GraphProto, matrix: Matrix, name: str) -> list[str]:
        """Puts integers and scales of a matrix into a graph, if they are not yet there; returns their names."""
        names = [f"{name}/{part}" for part in ("integers", "scales")]
        if name not in self._made:
            self._made.add(name)
            for tensor, of_tensor in zip(self._form(matrix), names):
                graph.initializer.append(tensor)
                graph.initializer[-1].name = of_tensor
        return names

    def _contrib_product(self, node: NodeProto, matrix: Matrix) -> list[NodeProto]:
        names = self._place_in(self.graph, matrix, _name(matrix))
        self.needs_contrib = True
        rows, columns = self._matrix_shape(matrix)
        (x, _, *bias), output = node.input, node.output[0]
        attributes = {"K": rows, "N": columns, "bits": self._blocks.bits, "block_size": self._blocks.size}
        product = f"{output}/product" if bias else output
        nodes = [
            helper.make_node("MatMulNBits", [x, *names], [product], domain=CONTRIB, accuracy_level=4, **attributes)
        ]
        if bias:
            nodes.append(helper.make_node("Add", [product, bias[0]], [output]))
        return nodes

    def _matrix_shape(self, matrix: Matrix) -> tuple[int, int]:
        rows, columns = self.shape(matrix[0])
        return (columns, rows) if matrix[1] else (rows, columns)

    def _form(self, matrix: Matrix) -> tuple[TensorProto, TensorProto]:
        """Hollow integers and scales of a matrix for products; copies of them share their values."""
        if matrix in self._forms:
            return self._forms[matrix]
        table, turned = matrix
        rows, columns = self._matrix_shape(matrix)
        blocks, count = self._blocks, self._blocks.count(rows)

        def values() -> np.ndarray:
            return (self[table].T if turned else self[table])[None]  # (1, rows, columns)

        def integers() -> np.ndarray:
            whole = blocks.integers(values())[0]  # (blocks, size, columns)
            if self._contrib:
                return _in_bytes(whole, blocks.bits)
            return whole.reshape(-1, columns)[:rows].astype(dtype)

        def scales() -> np.ndarray:
            return blocks.scales(values())[0].T if self._contrib else blocks.scales(values())[0]

        dtype = INT4 if blocks.bits == 4 else np.dtype(np.int8)
        shape: tuple[int, ...] = (rows, columns)
        if self._contrib:
            dtype, shape = np.dtype(np.uint8), (columns, count, blocks.size * blocks.bits // 8)
        scales_shape = (columns, count) if self._contrib else (count, columns)
        self.replaced(table, multiplied=True)
        self._forms[matrix] = (
            self.weights.hollow("integers", dtype, shape, integers),
            self.weights.hollow("scales", np.dtype(np.float32), scales_shape, scales),
        )
        return self._forms[matrix]

    def looked_up(self, node: NodeProto) -> list[NodeProto] | None:
        """Gather(W, i) -> Gather(integers, i) * Gather(scales, i), by int8 rows."""
        if not looks_up_rows(node, self):
            return None
        table = node.input[0]
        integers, scale = f"{table}/rows", f"{table}/rows/scale"
        if integers not in self._made:
            self._made.add(integers)
            scaled = Scaled((1,), STORED_LEVELS)
            self.hollow(integers, np.int8, self.shape(table), lambda: scaled.integers(self[table]))
            self.hollow(scale, np.float32, scaled.shape(self.shape(table)), lambda: scaled.scales(self[table]))
            self.replaced(table)
        return rows_dequantized(node, integers, scale)

    def dequantize_others(self) -> None:
        """Gives what still reads a weight by its name the float32 form, computed from that in blocks.

        Biases, and other constants that are not multiplied with, stay as they are.
        """
        used = {name for g in all_graphs(self.graph) for node in g.node for name in node.input}
        for name in self:
            rank = len(self.shape(name))
            axes = summed_axes(rank, self._uses.get(name, set())) or ((rank - 2,) if self.is_replaced(name) else ())
            if name in used and axes:
                self.before += self._stored_only(name, axes)
                self.replaced(name)

    def _stored_only(self, name: str, axes: tuple[int, ...]) -> list[NodeProto]:
        shape = self.shape(name)
        first, last = axes[0], axes[-1] + 1
        outer, length, inner = (math.prod(part) for part in (shape[:first], shape[first:last], shape[last:]))
        blocks = Blocks(self._blocks.bits, min(self._blocks.size, length))
        count = blocks.count(length)
        dtype = INT4 if blocks.bits == 4 else np.dtype(np.int8)

        def values() -> np.ndarray:
            return self[name].reshape(outer, length, inner)

        def integers() -> np.ndarray:
            return blocks.integers(values()).astype(dtype)

        def scales() -> np.ndarray:
            return blocks.scales(values())[:, :, None]

        stored = self.hollow(f"{name}/blocks", dtype, (outer, count, blocks.size, inner), integers)
        scale = self.hollow(f"{name}/scales", np.float32, (outer, count, 1, inner), scales)
        nodes: list[NodeProto] = []

        def add(operator: str, *inputs: str, **attributes: int) -> str:
            nodes.append(helper.make_node(operator, inputs, [f"{name}/{len(nodes)}"], **attributes))
            return nodes[-1].output[0]

        whole = add("Mul", add("Cast", stored, to=TensorProto.FLOAT), scale)
        if count * blocks.size > length:
            flat = add("Reshape", whole, self.constant(f"{name}/flat", np.array([outer, -1, inner])))
            cut = {"from": [0], "to": [length], "axis": [1]}
            whole = add("Slice", flat, *(self.constant(f"{name}/{part}", np.array(at)) for part, at in cut.items()))
        add("Reshape", whole, self.constant(f"{name}/shape", np.array(shape)))
        nodes[-1].output[0] = name
        return nodes


_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0}


def _name(matrix: Matrix) -> str:
    table, turned = matrix
    return f"{table}/transposed/blocks" if turned else f"{table}/blocks"


def _in_bytes(integers: np.ndarray, bits: int) -> np.ndarray:
    """(blocks, size, columns) to the layout of MatMulNBits: (columns, blocks, bytes) uint8, where 0 is the middle."""
    unsigned = (integers.transpose(2, 0, 1).astype(np.int16) + 2 ** (bits - 1)).astype(np.uint8)
    return packed(unsigned).reshape(*unsigned.shape[:2], -1) if bits == 4 else unsigned
