"""Tied weights: a table that is also multiplied with, transposed, is read as it is."""

import onnx

from tfseq.exporting.rewriting.graph import all_graphs
from tfseq.exporting.rewriting.pattern_matching import Values, attribute, put
from tfseq.exporting.rewriting.weights import is_hollow


def multiply_by_rows(model: onnx.ModelProto) -> None:
    """MatMul(x, Transpose(W)) of a large W -> Gemm(x, W, transB=1), where x has two axes, as in a decode step.

    ONNX Runtime would hold the transposed weight beside the weight itself.
    """
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in graph.node:
            transposed = values.node(node.input[1], "Transpose") if node.op_type == "MatMul" else None
            if transposed is None or attribute(transposed, "perm") != [1, 0] or values.rank(node.input[0]) != 2:
                continue
            weight = values.constants.get(transposed.input[0])
            if weight is not None and is_hollow(weight):
                put(values, node, "Gemm", [node.input[0], weight.name], transB=1)
