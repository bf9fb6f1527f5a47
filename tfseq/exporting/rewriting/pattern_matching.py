"""Matching patterns: a value's producer, constant content and shape; and the nodes that replace a pattern."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper, shape_inference

from tfseq.exporting.rewriting.graph import all_graphs, initializers, producers
from tfseq.exporting.rewriting.loop_body_shapes import inferred_bodies
from tfseq.exporting.rewriting.weights import is_hollow

NEWEST = 23  # opset of an operator that a pass writes
LARGE = 1024  # elements; no shape is computed from a tensor larger than this


class Values:
    """The values of a model, whose names are unique across its graphs."""

    def __init__(self, model: onnx.ModelProto):
        self.graph = model.graph
        self.made = producers(model.graph)
        self.constants = initializers(model.graph)
        self.shapes = _shapes(model)

    def node(self, name: str, *operators: str) -> NodeProto | None:
        """The node that makes the value, if it is one of `operators`."""
        node = self.made.get(name)
        return node if node is not None and node.op_type in operators else None

    def array(self, name: str) -> np.ndarray | None:
        """Of a constant that is not hollow."""
        tensor = self.constants.get(name)
        return None if tensor is None or is_hollow(tensor) else numpy_helper.to_array(tensor)

    def scalar(self, name: str) -> float | None:
        """Of a constant with one element."""
        tensor = self.constants.get(name)
        if tensor is None or int(np.prod(tensor.dims)) != 1:
            return None
        return float(numpy_helper.to_array(tensor).item())

    def rank(self, name: str) -> int | None:
        shape = self.shapes.get(name)
        return None if shape is None else len(shape)

    def integers(self, name: str) -> list[int] | None:
        """Of a constant vector, such as a shape."""
        tensor = self.constants.get(name)
        if tensor is None or int(np.prod(tensor.dims)) > LARGE:
            return None
        return [int(x) for x in numpy_helper.to_array(tensor).ravel()]

    def constant(self, array: Any, name: str) -> str:
        """Adds a constant; `name` is of the node that needs it."""
        unique = f"{name}/constant"
        while unique in self.constants or unique in self.made:
            unique += "_"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array), unique))
        self.constants[unique] = self.graph.initializer[-1]
        self.shapes[unique] = tuple(np.shape(array))
        return unique


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def both_ways(node: NodeProto) -> Iterator[tuple[str, str]]:
    """The two operands of a node in both orders."""
    a, b = node.input
    yield a, b
    yield b, a


def put(values: Values, node: NodeProto, operator: str, inputs: Sequence[str], **attributes: Any) -> None:
    """Makes `node` another operator with the same (first) output."""
    node.CopyFrom(helper.make_node(operator, list(inputs), [node.output[0]], name=node.name, **attributes))


def insert_before(values: Values, node: NodeProto, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
    """Adds a node just before `node`, in its graph, and gives the name of its output."""
    name = f"{node.output[0]}/{operator}"
    while name in values.made or name in values.constants:
        name += "_"
    graph = next(
        g for g in all_graphs(values.graph) if any(n is node or n.output[:1] == node.output[:1] for n in g.node)
    )
    position = next(i for i, n in enumerate(graph.node) if n.output[:1] == node.output[:1])
    graph.node.insert(position, helper.make_node(operator, list(inputs), [name], name=name, **attributes))
    values.made[name] = graph.node[position]
    return name


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int | str | None, ...]]:
    """As ONNX infers them, without the contents of weights."""
    contents = {}
    declared = [(opset, opset.version) for opset in model.opset_import if not opset.domain]
    for opset, version in declared:  # a graph that is being fused holds operators of the opset it will be lifted to
        opset.version = NEWEST if version >= 18 else version
    for graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.raw_data and int(np.prod(tensor.dims)) > LARGE:
                contents[tensor.name] = tensor.raw_data
                tensor.ClearField("raw_data")
    try:
        whole = shape_inference.infer_shapes(model, data_prop=True)
        inferred = [*all_graphs(whole.graph), *(g for body in inferred_bodies(whole, LARGE) for g in all_graphs(body))]
    except Exception:  # then no value has a known shape, and what needs one stays as it is
        inferred = list(all_graphs(model.graph))
    finally:
        for opset, version in declared:
            opset.version = version
        for graph in all_graphs(model.graph):
            for tensor in graph.initializer:
                if tensor.name in contents:
                    tensor.raw_data = contents[tensor.name]
    shapes: dict[str, tuple[int | str | None, ...]] = {}
    for graph in inferred:
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape"):
                shapes[value.name] = tuple(
                    d.dim_value if d.HasField("dim_value") else d.dim_param or None
                    for d in value.type.tensor_type.shape.dim
                )
        for tensor in graph.initializer:
            shapes[tensor.name] = tuple(tensor.dims)
    return shapes
