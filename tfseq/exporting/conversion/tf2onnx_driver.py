"""tf2onnx driven in one pass over a frozen graph, without the weights and without the copies its own driver makes."""

import contextlib
import copy
import itertools
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import onnx
import tensorflow as tf
from tf2onnx import optimizer, tf_loader
from tf2onnx.convert import tensor_names_from_structed
from tf2onnx.graph import Graph
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset import controlflow
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer
from tf2onnx.tfonnx import process_tf_graph

from tfseq.exporting.conversion.freezing import freeze, give_shapes, hollow_initializers
from tfseq.exporting.conversion.keras_operations import convertible, inlined
from tfseq.exporting.conversion.lookups import StringTables
from tfseq.exporting.conversion.operators import handlers, rewriters
from tfseq.exporting.conversion.untranslated import LayerScopes
from tfseq.exporting.recurrent.markers import RecurrentMarkers
from tfseq.exporting.rewriting.weights import Weights

# Its Einsum optimizer plans by timing products; ours are products already. Nothing here is quantized.
_OPTIMIZERS = {
    name: factory
    for name, factory in optimizer._get_optimizers().items()
    if name not in ("einsum_optimizer", "q_dq_optimizer", "const_dequantize_optimizer")
}
_ROUNDS = 4
_SILENT = ("remove_redundant_upsample", "remove_back_to_back")  # those that do not say whether they changed anything


def convert(
    traced: Any, specs: list[tf.TensorSpec], opset: int, scopes: LayerScopes
) -> tuple[onnx.ModelProto, Weights, tuple[str, ...]]:
    """The ONNX graph of a `tf.function`, inputs and outputs named as there; the values of the weights that are hollow
    in it; and notes about what came out slower.

    What tf2onnx can't convert it logs as an error, and goes on.
    """
    markers, tables = RecurrentMarkers(), StringTables()
    with markers.emitted(), tables.emitted(), convertible(), scopes.recorded():
        function = traced.get_concrete_function(*specs)
    inlined(function)
    inputs = [tensor.name for tensor in function.inputs[: len(specs)]]  # what follows are captured constants
    outputs = [tensor.name for tensor in function.outputs if tensor.dtype != tf.resource]
    names = tensor_names_from_structed(function, inputs, outputs)
    with tf.device("/cpu:0"), _improved():
        frozen, left_out = freeze(function)
        inputs += [f"{name}:0" for name in left_out]
        with tf.Graph().as_default(), tf_loader.tf_session():
            tf.import_graph_def(frozen, name="")
            frozen = tf_loader.tf_optimize(inputs, outputs, frozen)
        give_shapes(frozen, left_out)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")

            def process() -> Any:
                return process_tf_graph(
                    graph,
                    continue_on_error=True,
                    opset=opset,
                    custom_op_handlers=handlers() | markers.handlers() | tables.handlers(),
                    custom_rewriter=rewriters(),
                    input_names=inputs,
                    output_names=outputs,
                    tensors_to_rename=names,
                )

            try:
                converted = _optimized(process())
            except Exception:  # then with care: each optimizer on a copy, kept if it goes well
                converted = optimizer.optimize_graph(process(), catch_errors=True, optimizers=_OPTIMIZERS)
    for tensor in function.outputs:  # tf2onnx loses ranks in loops
        name = names.get(tensor.name, tensor.name)
        if name in converted.outputs and converted.get_shape(name) is None and tensor.shape.rank is not None:
            converted.set_shape(name, [-1 if size is None else size for size in tensor.shape])
    model = converted.make_model("")
    return model, hollow_initializers(left_out, model.graph), markers.notes


def _optimized(graph: Any) -> Any:
    """The graph after rounds of optimizers, as each one's `optimize` would run it.

    That also brings all nodes up to date, looks for unused ones and counts them, after optimizers that changed nothing,
    too: half of the time. Here it is done after those that did, and at the end.
    """
    unchanged = 0  # optimizers in a row that found nothing to do
    for round_, (name, factory) in itertools.product(range(_ROUNDS), _OPTIMIZERS.items()):
        step = factory()
        step.opt_iteration = round_
        graph = step._optimize(graph) or graph
        unchanged = 0 if step.graph_been_opt else unchanged + 1
        if step.graph_been_opt or name in _SILENT:
            _drop_unused(graph)
        if unchanged == len(_OPTIMIZERS):
            break
    _drop_unused(graph)
    with contextlib.suppress(Exception):
        graph.topological_sort(graph.get_nodes())
    return graph


@contextlib.contextmanager
def _improved() -> Iterator[None]:
    """tf2onnx with two of its steps done in less time, with the same results, and two that go wrong put right.

    One makes reshapes of transposes by the shapes it has noted, which it forgets to keep when it moves a transpose past
    a square, say: it is left out. The other gives the branches of conditions the shapes of their inputs.
    """
    with (
        mock.patch.object(tf_loader, "tflist_to_onnx", _with_shapes_of_branches),
        mock.patch.object(TransposeOptimizer, "post_optimize_action"),
        mock.patch.object(Graph, "extract_sub_graph_nodes", _nodes_behind),
        mock.patch.object(tf_op, "find_effective_op", _handler_with_arguments),
        mock.patch.object(controlflow, "copy", SimpleNamespace(deepcopy=_without_parent)),
    ):
        yield


def _with_shapes_of_branches(graph: Any, *arguments: Any, **options: Any) -> Any:
    """What tf2onnx reads off a graph. By itself it takes the condition for the first input of a branch."""
    *found, functions = _READ_GRAPH(graph, *arguments, **options)
    for operation in graph.get_operations():
        if operation.type in ("If", "StatelessIf"):
            for branch in ("then_branch", "else_branch"):
                functions[operation.get_attr(branch).name] = [x.shape for x in operation.inputs[1:]]
    return *found, functions


_READ_GRAPH = tf_loader.tflist_to_onnx


def _handler_with_arguments(*name: str) -> Any:
    """tf2onnx's search for a handler, to call as it is: those that were given to it ask for what it keeps beside them.

    So it merges a padding into the convolution behind it.
    """
    function, given = _FIND_HANDLER(*name)
    return (None if function is None else lambda graph, node, **more: function(graph, node, **given, **more)), given


_FIND_HANDLER = tf_op.find_effective_op


def _without_parent(graph: Any) -> Any:
    """A copy of a loop's condition; a plain one holds all graphs around it, too."""
    return copy.deepcopy(graph, {id(graph.parent_graph): graph.parent_graph})


def _nodes_behind(
    graph: Any, outputs_name: Iterable[str], input_checker: Any = None, remove_unused_inputs: bool = True
) -> list[Any]:
    """tf2onnx's `Graph.extract_sub_graph_nodes`, which walks the graph anew for each output: a loop has hundreds."""
    names = list(outputs_name)
    if not remove_unused_inputs:
        names += [node.output[0] for node in graph.inputs]
    found: dict[Any, None] = {}
    while names:
        node = graph.get_node_by_output(names.pop(), search_in_parent_graphs=False)
        if node is None or node in found or (input_checker and input_checker(node) is False):
            continue
        found[node] = None
        names += [*node.input, *node.get_implicit_inputs()]
    return list(found)


def _drop_unused(graph: Any) -> None:
    graph.update_proto()
    graph.delete_unused_nodes(graph.outputs)
