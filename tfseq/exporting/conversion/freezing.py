"""Freezing: a traced function to a GraphDef whose variables are constants, the large weights left out.

Every step of a conversion copies the graph, and constants with it; so weights that only matrix products and lookups
read become inputs of the graph for the while, and the converter never sees their values.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from onnx import numpy_helper
from tensorflow.core.framework import types_pb2
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import convert_to_constants as constants

SMALLEST = 4096  # elements of a weight that is left out

# Operators whose translation is the same for a constant and a variable weight. Reading, then using:
_READS = {"ReadVariableOp": 0, "ResourceGather": 0}
_USES = {
    "MatMul": (0, 1),
    "BatchMatMul": (0, 1),
    "BatchMatMulV2": (0, 1),
    "Einsum": (0, 1),
    "GatherV2": (0,),
    "AddV2": (0, 1),
    "Add": (0, 1),
    "Mul": (0, 1),
    "Sub": (0, 1),
    "BiasAdd": (1,),
    "Shape": (0,),
}
_COPIES = ("Identity", "Cast")


def freeze(function: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """The graph of a concrete function, functions inlined and variables replaced by their values.

    Args:
        function: a `tf.types.experimental.ConcreteFunction`.

    Returns:
        the GraphDef, and the values of the weights that are Placeholders in it, by node name.
    """
    data = _Variables(function)
    graph, _ = constants._replace_variables_by_constants(data)
    graph = tf2onnx.tf_loader.fix_freezing_errors_part2(graph)
    values = {name: variable.numpy() for name, variable in data.left_out.items()}
    _as_inputs(graph, values)
    _kernels_into_branches(graph)
    return graph, values


def initializers(values: dict[str, np.ndarray], graph: onnx.GraphProto) -> None:
    """Gives the converted graph its weights: inputs named in `values` become constants."""
    names = {value.name for value in graph.input}
    kept = [value for value in graph.input if value.name.removesuffix(":0") not in values]
    del graph.input[:]
    graph.input.extend(kept)
    for name, array in values.items():
        if f"{name}:0" in names:
            graph.initializer.append(numpy_helper.from_array(array, f"{name}:0"))


class _Variables(constants._FunctionConverterDataInEager):
    """Which variables become constants: all but the big ones with simple uses.

    Attributes:
        left_out: the others, by the name of their placeholder.
    """

    def __init__(self, function: Any):
        self.left_out: dict[str, tf.Variable] = {}
        super().__init__(function, lower_control_flow=False, aggressive_inlining=True)

    def _build_tensor_data(self):
        _assignments_as_values(self.graph_def)
        self._build_node_defs_list()
        variables = {id(variable.handle): variable for variable in self._func.graph.variables}
        readers = defaultdict(list)
        for node in self.graph_def.node:
            for i, name in enumerate(node.input):
                if not name.startswith("^"):
                    readers[name.split(":")[0]].append((node, i))
        for captured, inner in self._func.graph.captures:
            variable = variables.get(id(captured))
            name = inner.name.split(":")[0]
            if variable is not None and _size(variable) >= SMALLEST and _simply_used(name, readers):
                self.left_out[name] = variable
        self._variable_names_denylist = set(self.left_out)
        super()._build_tensor_data()


def _size(variable: tf.Variable) -> int:
    return int(np.prod(variable.shape)) if variable.dtype.is_floating else 0


def _simply_used(name: str, readers: dict[str, list]) -> bool:
    if any(_READS.get(node.op) != i for node, i in readers[name]):
        return False
    pending = [node.name for node, _ in readers[name] if node.op == "ReadVariableOp"]
    while pending:
        for node, i in readers[pending.pop()]:
            if node.op in _COPIES and i == 0:
                pending.append(node.name)
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
        dtype = AttrValue(type=node.attr["dtype"].type)
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


def _as_inputs(graph: Any, values: dict[str, np.ndarray]) -> None:
    """Turns resources into placeholders of the weights themselves, and their readers into copies and gathers."""
    added = []
    for node in graph.node:
        read = values.get(node.input[0]) if node.input else None
        if node.name in values:
            dtype, shape = _type(values[node.name]), tf.TensorShape(values[node.name].shape).as_proto()
            attributes = {"dtype": AttrValue(type=dtype), "shape": AttrValue(shape=shape)}
            node.CopyFrom(NodeDef(name=node.name, op="Placeholder", attr=attributes))
        elif read is not None and node.op == "ReadVariableOp":
            attributes = {"T": AttrValue(type=_type(read))}
            node.CopyFrom(NodeDef(name=node.name, op="Identity", input=node.input, attr=attributes))
        elif read is not None and node.op == "ResourceGather":
            batch_dims = node.attr["batch_dims"].i
            axis = NodeDef(name=f"{node.name}/axis", op="Const", attr={"dtype": AttrValue(type=types_pb2.DT_INT32)})
            axis.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(batch_dims, tf.int32))
            added.append(axis)
            attributes = {
                "Tparams": AttrValue(type=_type(read)),
                "Tindices": node.attr["Tindices"],
                "Taxis": AttrValue(type=types_pb2.DT_INT32),
                "batch_dims": node.attr["batch_dims"],
            }
            inputs = [*node.input[:2], axis.name, *node.input[2:]]
            node.CopyFrom(NodeDef(name=node.name, op="GatherV2", input=inputs, attr=attributes))
    graph.node.extend(added)


def _kernels_into_branches(graph: Any) -> None:
    """Gives branches of conditions the kernels of their convolutions as constants of their own.

    tf2onnx does not know the shapes of what a branch is given, and has to know a kernel's.
    """
    nodes = {node.name: node for node in graph.node}
    functions = {function.signature.name: function for function in graph.library.function}
    for condition in graph.node:
        if condition.op not in ("If", "StatelessIf"):
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


def _type(array: np.ndarray) -> int:
    return tf.as_dtype(array.dtype).as_datatype_enum
