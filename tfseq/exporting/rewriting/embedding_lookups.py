"""Embedding lookups as plain Gather: without Keras' index repair, and instead of products with one-hot vectors."""

import onnx
from onnx import GraphProto, helper, numpy_helper

from tfseq.exporting.rewriting.graph import all_graphs, is_all, producers


def gather_without_index_repair(graph: GraphProto, constants: dict[str, onnx.TensorProto]) -> None:
    """Gather(W, Where(i < 0, i + n, i)) -> Gather(W, i): counting from the end is part of ONNX's Gather."""
    made = producers(graph)
    for g in all_graphs(graph):
        for node in g.node:
            if node.op_type != "Gather":
                continue
            weights, where = constants.get(node.input[0]), made.get(node.input[1])
            if weights is None or where is None or where.op_type != "Where":
                continue
            size = weights.dims[next((a.i for a in node.attribute if a.name == "axis"), 0)]
            less, index = made.get(where.input[0]), where.input[2]
            shifted = made.get(where.input[1])
            if (
                less is not None
                and less.op_type == "Less"
                and less.input[0] == index
                and is_all(constants.get(less.input[1]), 0)
                and shifted is not None
                and shifted.op_type == "Add"
                and index in shifted.input
                and any(is_all(constants.get(name), size) for name in shifted.input)
            ):
                node.input[1] = index


def look_up_one_hot_products(graph: GraphProto, constants: dict[str, onnx.TensorProto]) -> None:
    """MatMul(OneHot(i), W) -> Gather(W, i): the row itself instead of a product with zeros and a one."""
    made = producers(graph)
    for g in all_graphs(graph):
        for node in g.node:
            one_hot = made.get(node.input[0]) if node.op_type == "MatMul" else None
            weights = constants.get(node.input[1]) if one_hot is not None else None
            if one_hot is None or one_hot.op_type != "OneHot" or weights is None or len(weights.dims) != 2:
                continue
            axis = next((a.i for a in one_hot.attribute if a.name == "axis"), -1)
            values = constants.get(one_hot.input[2])
            if axis != -1 or values is None or numpy_helper.to_array(values).tolist() != [0, 1]:
                continue
            lookup = helper.make_node("Gather", [node.input[1], one_hot.input[0]], node.output, name=node.name, axis=0)
            node.CopyFrom(lookup)
