"""Sharing weights between operators: a model that reads a prompt at once and then goes on by steps stores them once.

A recurrent layer over a prompt is an operator, with its weights in ONNX' layout; a single step of its cell may be
products, which take them in Keras'. The converter brings both. Here the operator gets its weights from those of the
products, through nodes that ONNX Runtime computes once, as it loads the file.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from tfseq.exporting.recurrent.cells import GATES
from tfseq.exporting.rewriting.graph import all_graphs, rename_uses
from tfseq.exporting.rewriting.pattern_matching import LARGE
from tfseq.exporting.rewriting.weights import Weights

_CORNER = 8  # rows and columns that tell most weights apart


def share_weights(graph: GraphProto, weights: Weights) -> None:
    """Of large constants with equal values keeps one; W and R of recurrent operators become a kernel's other layout.

    Args:
        weights: the values of the graph's hollow tensors.
    """
    _merge_equal(graph, weights)
    large = list(_large(graph))
    kernels = [tensor for tensor in large if len(tensor.dims) == 2]
    nodes: list[NodeProto] = []
    derived: dict[str, str] = {}
    for node in (node for g in all_graphs(graph) for node in g.node if node.op_type in GATES):
        for name in node.input[1:3]:
            tensor = next((t for t in large if t.name == name and len(t.dims) == 3 and t.dims[0] == 1), None)
            if tensor is None or name in derived:
                continue
            for order in dict.fromkeys((GATES[node.op_type], tuple(range(len(GATES[node.op_type]))))):  # Keras', ONNX'
                kernel = _kernel_of(tensor, kernels, order, weights)
                if kernel is not None:
                    derived[name] = f"{name}/from_kernel"
                    nodes += _other_layout(graph, kernel, order, derived[name])
                    break
    if derived:
        rename_uses(graph, derived)
        kept = [tensor for tensor in graph.initializer if tensor.name not in derived]
        rest = list(graph.node)
        del graph.initializer[:], graph.node[:]
        graph.initializer.extend(kept)
        graph.node.extend([*nodes, *rest])


def _large(graph: GraphProto) -> Iterable[TensorProto]:
    floats = (t for t in graph.initializer if t.data_type == TensorProto.FLOAT)
    return (tensor for tensor in floats if math.prod(tensor.dims) > LARGE)


def _merge_equal(graph: GraphProto, weights: Weights) -> None:
    alike: dict[tuple, list[TensorProto]] = {}
    names: dict[str, str] = {}
    for tensor in _large(graph):
        corner = _corner(weights.array(tensor)).tobytes()
        others = alike.setdefault((*tensor.dims, corner), [])
        same = next((o for o in others if np.array_equal(weights.array(o), weights.array(tensor))), None)
        if same is None:
            others.append(tensor)
        else:
            names[tensor.name] = same.name
    if names:
        kept = [tensor for tensor in graph.initializer if tensor.name not in names]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        rename_uses(graph, names)


def _corner(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values[(slice(_CORNER),) * values.ndim])


def _kernel_of(
    tensor: TensorProto, kernels: Sequence[TensorProto], order: Sequence[int], weights: Weights
) -> TensorProto | None:
    """The kernel, (width, gates * units), that a tensor (1, gates * units, width) is another layout of."""
    _, rows, width = tensor.dims
    for kernel in kernels:
        if tuple(kernel.dims) != (width, rows):
            continue
        gates = np.split(weights.array(kernel), len(order), axis=1)  # views
        ours = np.split(weights.array(tensor)[0], len(order))
        pairs = [(gates[of_keras].T, of_onnx) for of_keras, of_onnx in zip(order, ours)]
        if all(np.array_equal(_corner(a), _corner(b)) for a, b in pairs) and all(
            np.array_equal(a, b) for a, b in pairs
        ):
            return kernel
    return None


def _other_layout(graph: GraphProto, kernel: TensorProto, order: Sequence[int], output: str) -> list[NodeProto]:
    """(width, gates * units) to (1, gates * units, width), the gates in ONNX' order."""

    def constant(part: str, value: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(value, f"{output}/{part}"))
        return f"{output}/{part}"

    rows = kernel.dims[1]
    nodes = [helper.make_node("Transpose", [kernel.name], [f"{output}/rows"], f"{output}/rows", perm=[1, 0])]
    if list(order) != sorted(order):
        of_gates = np.arange(rows).reshape(len(order), -1)[list(order)].reshape(-1)
        inputs = [nodes[-1].output[0], constant("order", of_gates)]
        nodes.append(helper.make_node("Gather", inputs, [f"{output}/ordered"], f"{output}/ordered", axis=0))
    axis = constant("axis", np.array([0]))
    nodes.append(helper.make_node("Unsqueeze", [nodes[-1].output[0], axis], [output], output))
    return nodes
