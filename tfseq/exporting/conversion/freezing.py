"""Freezing: a traced function to a GraphDef whose variables are constants, the large weights left out.

Every step of a conversion copies the graph, and constants with it; so large weights become inputs of the graph for the
while, and the converter never sees their values. Frozen, they are constants of a single value, repeated; TensorFlow
takes these through loops and functions as it does others.
"""

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import convert_to_constants as constants

from tfseq.exporting.rewriting.weights import Weights

SMALLEST = 4096  # elements of a weight that is left out; vectors stay, whose values rewrites read

# Operators whose translation is the same for a constant and a variable weight, by the inputs that are weights.
_USES = {
    "MatMul": (0, 1),
    "BatchMatMul": (0, 1),
    "BatchMatMulV2": (0, 1),
    "BatchMatMulV3": (0, 1),
    "Einsum": (0, 1),
    "GatherV2": (0,),
    "Transpose": (0,),
    "AddV2": (0, 1),
    "Add": (0, 1),
    "Mul": (0, 1),
    "Sub": (0, 1),
    "RealDiv": (0,),
    "BiasAdd": (1,),
    "Shape": (0,),
    "EagerPyFunc": tuple(range(9)),  # a marked recurrence
}
_BYTES = (tf.int8, tf.uint8)  # of quantized weights
_COPIES = ("Identity", "Cast")
# Loops, whose bodies are given their weights whatever these are. Of inputs, a body returns those that do not change.
_LOOPS = ("While", "StatelessWhile")
_CONDITIONS = ("If", "StatelessIf")


def freeze(function: Any) -> tuple[Any, dict[str, Any]]:
    """The graph of a concrete function, functions inlined and variables replaced by their values.

    Args:
        function: a `tf.types.experimental.ConcreteFunction`.

    Returns:
        the GraphDef, and the weights that are Placeholders in it, variables or tensors, by node name. These have no
        shapes yet: TensorFlow's optimizer makes a tensor for each Placeholder whose shape it knows.
    """
    for collection in function.graph.get_all_collection_keys():  # of all tables there are, say, which can't be written
        function.graph.clear_collection(collection)
    data = _Variables(function)
    graph, _ = constants._replace_variables_by_constants(data)
    graph = tf2onnx.tf_loader.fix_freezing_errors_part2(graph)
    left_out = {}
    readers = _readers(graph.node)
    branches = {function.signature.name: function for function in graph.library.function}
    for node in graph.node:
        weight = data.stand_ins.get(node.name)
        if weight is None or node.op != "Const":
            continue
        if _simply_used(node.name, readers, branches):
            attributes = {"dtype": node.attr["dtype"]}
            node.CopyFrom(NodeDef(name=node.name, op="Placeholder", attr=attributes))
            left_out[node.name] = weight
        else:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values(weight)))
    _kernels_into_branches(graph)
    return graph, left_out


def give_shapes(graph: Any, left_out: dict[str, Any]) -> None:
    """Of the weights that were left out, when the graph has been optimized; branches take those they are given.

    Optimizing leaves branches the note that they know none, which would come first. (Of a loop the notes are right:
    what it begins with can have another shape than what follows.)
    """
    functions = {function.signature.name: function for function in graph.library.function}
    for node in itertools.chain(graph.node, *(function.node_def for function in functions.values())):
        if node.op in ("If", "StatelessIf"):
            for branch in ("then_branch", "else_branch"):
                for noted in functions[node.attr[branch].func.name].arg_attr.values():
                    noted.attr.pop("_output_shapes", None)
    for node in graph.node:
        if node.op == "Placeholder" and node.name in left_out:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(left_out[node.name].shape).as_proto())
            node.attr.pop("_output_shapes", None)


def values(weight: Any) -> np.ndarray:
    """Of a variable or a tensor, without a copy: while the array is in use, an assignment takes other memory."""
    return np.asarray(weight.read_value() if isinstance(weight, tf.Variable) else weight)


def hollow_initializers(left_out: dict[str, Any], graph: onnx.GraphProto) -> Weights:
    """Gives the converted graph its weights: inputs named in `left_out` become hollow constants."""
    weights = Weights()
    kept = []
    for value in graph.input:
        weight = left_out.get(value.name.removesuffix(":0"))
        if weight is None:
            kept.append(value)
            continue
        dtype, shape = weight.dtype.as_numpy_dtype, tuple(weight.shape)
        graph.initializer.append(weights.hollow(value.name, dtype, shape, partial(values, weight)))
    del graph.input[:]
    graph.input.extend(kept)
    return weights


class _StandIn:
    """A weight, of which TensorFlow's freezing sees the type, the shape and one value."""

    def __init__(self, weight: Any):
        self.weight, self.shape, self.dtype = weight, tuple(weight.shape), weight.dtype.as_numpy_dtype

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.zeros((), dtype or self.dtype)


class _Variables(constants._FunctionConverterDataInEager):
    """The variables of a function, and the tensors that it has captured.

    Attributes:
        stand_ins: those that are large, by the name of their placeholder.
    """

    def __init__(self, function: Any):
        self.stand_ins: dict[str, Any] = {}
        super().__init__(function, lower_control_flow=False, aggressive_inlining=True)

    def _build_tensor_data(self):
        _assignments_as_values(self.graph_def)
        self._build_node_defs_list()
        variables = {id(variable.handle): variable for variable in self._func.graph.variables}
        large = {}
        for index, (captured, inner) in enumerate(self._func.graph.captures):
            weight = variables.get(id(captured), captured)
            if (
                (weight.dtype.is_floating or weight.dtype in _BYTES)
                and len(weight.shape) > 1
                and np.prod(weight.shape) >= SMALLEST
            ):
                large[inner.name.split(":")[0]] = index, weight
        self._variable_names_denylist = set(large)
        super()._build_tensor_data()
        self._variable_names_denylist = set()
        for name, (index, weight) in large.items():
            kind = weight.dtype.as_datatype_enum
            self._tensor_data[name] = constants._TensorData(numpy=_StandIn(weight), dtype=kind, index=index)
            self.stand_ins[name] = weight


def _readers(nodes: Any) -> dict[str, list[tuple[Any, int]]]:
    """Who reads a node's first output, and as which input."""
    readers: dict[str, list[tuple[Any, int]]] = {}
    for node in nodes:
        for i, name in enumerate(node.input):
            if not name.startswith("^"):
                readers.setdefault(name.removesuffix(":0").removesuffix(":output"), []).append((node, i))
    return readers


def _simply_used(name: str, readers: dict[str, list[tuple[Any, int]]], functions: Mapping[str, Any]) -> bool:
    """Whether the converter need not know the values. What a loop returns of a weight is one of its later outputs.

    Args:
        functions: by name, those that conditions call.
    """
    pending = [name]
    while pending:
        for node, i in readers.get(pending.pop(), ()):
            if node.op in _COPIES and i == 0:
                pending.append(node.name)
            elif node.op == "IdentityN":  # of a custom gradient
                pending.append(f"{node.name}:{i}" if i else node.name)
            elif node.op in _LOOPS:
                pending.append(f"{node.name}:{i}")
            elif node.op in _CONDITIONS and i:
                for branch in ("then_branch", "else_branch"):
                    function = functions[node.attr[branch].func.name]
                    argument = function.signature.input_arg[i - 1].name  # after the predicate
                    if not _simply_used(argument, _readers(function.node_def), functions):
                        return False
            elif i not in _USES.get(node.op, ()):
                return False
    return True


def _assignments_as_values(graph: Any) -> None:
    """Lets what reads a variable after an assignment read the assigned value; the variable itself is a constant here.

    TensorFlow keeps the order of reads and assignments by control inputs.
    """
    assigned: dict[str, str] = {}  # the variable, by the name of its assignment
    for node in list(graph.node):
        names = [name.removeprefix("^") for name in node.input[1:] if name.startswith("^")]
        before = next((name for name in reversed(names) if assigned.get(name) == node.input[0]), None)
        dtype = node.attr["dtype"] if "dtype" in node.attr else AttrValue()
        if node.op in _ASSIGNMENTS:
            variable, *inputs = (name for name in node.input if not name.startswith("^"))
            if node.op != "AssignVariableOp":
                if before is None:
                    before = f"{node.name}/before"
                    graph.node.append(
                        NodeDef(name=before, op="ReadVariableOp", input=[variable], attr={"dtype": dtype})
                    )
                inputs.insert(0, before)
            assigned[node.name] = variable
            node.CopyFrom(NodeDef(name=node.name, op=_ASSIGNMENTS[node.op], input=inputs, attr={"T": dtype}))
        elif node.op == "ReadVariableOp" and before is not None:
            node.CopyFrom(NodeDef(name=node.name, op="Identity", input=[before], attr={"T": dtype}))


_ASSIGNMENTS = {"AssignVariableOp": "Identity", "AssignAddVariableOp": "AddV2", "AssignSubVariableOp": "Sub"}


def _kernels_into_branches(graph: Any) -> None:
    """Gives branches of conditions the kernels of their convolutions as constants of their own.

    tf2onnx does not know the shapes of what a branch is given, and has to know a kernel's.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    for condition in graph.node:
        if condition.op not in _CONDITIONS:
            continue
        for branch in ("then_branch", "else_branch"):
            function = functions[condition.attr[branch].func.name]
            for argument, given in zip(function.signature.input_arg, condition.input[1:]):  # after the predicate
                source = _behind_copies(given, nodes)
                if source is None or source.op != "Const" or not _convolves(argument.name, function):
                    continue
                constant = NodeDef()
                constant.CopyFrom(source)
                constant.name = f"{argument.name}/kernel"
                for node in function.node_def:
                    node.input[:] = [f"{constant.name}:output:0" if x == argument.name else x for x in node.input]
                function.node_def.append(constant)


def _behind_copies(name: str, nodes: dict[str, Any]) -> Any:
    node = nodes.get(name.split(":")[0])
    while node is not None and node.op in _COPIES[:1]:
        node = nodes.get(node.input[0].split(":")[0])
    return node


def _convolves(argument: str, function: Any) -> bool:
    pending = [argument]
    while pending:
        name = pending.pop()
        for node in function.node_def:
            if name in (x.split(":")[0] for x in node.input):
                if "Conv" in node.op:
                    return True
                if node.op in _COPIES:
                    pending.append(node.name)
    return False
