"""`to_onnx`: a TensorFlow function to a rewritten, checked ONNX graph with named inputs, outputs and axes."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from typing import Any

import onnx
import tensorflow as tf

from tfseq.errors import ExportError
from tfseq.exporting.conversion.lookups import ML, NOTE
from tfseq.exporting.conversion.tf2onnx_driver import convert
from tfseq.exporting.conversion.untranslated import LayerScopes, Problems, Untranslated
from tfseq.exporting.recurrent.rnn_as_scan import scan_recurrences
from tfseq.exporting.recurrent.shared_weights import share_weights
from tfseq.exporting.recurrent.transposes import remove_transposes
from tfseq.exporting.rewriting import CONVERTED, all_graphs, fuse, simplify
from tfseq.exporting.rewriting.stable_names import name_by_order, put_in_order
from tfseq.exporting.rewriting.weights import Weights, weights_as_inputs
from tfseq.reasons import first_line
from tfseq.runtime.manifest import TensorSpec


def to_onnx(
    function: Callable, inputs: Sequence[TensorSpec], opset: int | None, notes: MutableSequence[str] | None = None
) -> onnx.ModelProto:
    """`to_skeleton` with its weights filled in: for graphs that are not large."""
    model, weights = to_skeleton(function, inputs, opset, notes)
    return weights.fill(model)


def to_skeleton(
    function: Callable, inputs: Sequence[TensorSpec], opset: int | None, notes: MutableSequence[str] | None = None
) -> tuple[onnx.ModelProto, Weights]:
    """Converts a function that takes tensors by name and returns a dictionary of tensors.

    Args:
        function: what to trace.
        inputs: its arguments; named axes may have any size.
        opset: version of the ai.onnx operators; None for the lowest from 18 on that has all that the graph can use.
        notes: gets a sentence about each layer that comes out slower than it could be.

    Returns:
        A graph that the ONNX checker finds valid, with inputs named as in `inputs` and outputs as in the dictionary;
        and the values of its large weights, which are hollow in it.

    Raises:
        ExportError: an operator has no translation, or the graph is not valid.
    """
    specs = tensorflow_specs(inputs)

    order: list[str] = []  # of the outputs, which TensorFlow sorts

    def positional(*tensors):
        outputs = function(**{spec.name: tensor for spec, tensor in zip(inputs, tensors)})
        order[:] = outputs
        return {name: tf.identity(tensor) for name, tensor in outputs.items()}  # a tensor of its own for each name

    traced = tf.function(positional, input_signature=specs, autograph=False)
    scopes = LayerScopes()
    with _quiet() as problems:
        try:
            model, weights, found = convert(traced, specs, min(opset or CONVERTED, CONVERTED), scopes)
        except ExportError:
            raise
        except Exception as error:
            raise ExportError(scopes.refusal(problems) if problems else scopes.failure(error)) from error
    if problems:
        raise ExportError(scopes.refusal(problems) + _at_a_newer_opset(traced, specs, opset))
    if notes is not None:
        notes.extend(found)
    scan_recurrences(model.graph, weights)
    simplify(model, weights)
    fuse(model, opset)
    remove_transposes(model.graph)
    share_weights(model.graph, weights)
    outputs = sorted(model.graph.output, key=lambda value: order.index(value.name))
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    put_in_order(model.graph)
    name_by_order(model.graph)
    name_axes(model.graph.input, inputs)
    model.doc_string = model.graph.doc_string = ""
    _declare_only_used_operators(model)
    if notes is not None and any(declared.domain == ML for declared in model.opset_import):
        notes.append(NOTE)
    try:
        onnx.checker.check_model(weights_as_inputs(model), full_check=True)
    except Exception as error:
        raise ExportError(f"The converted graph is not valid ONNX: {first_line(error)}") from error
    return model, weights


def _at_a_newer_opset(traced: Any, specs: list[tf.TensorSpec], opset: int | None) -> str:
    """A sentence, where what has no translation to an old opset has one to the usual."""
    if opset is None or opset >= CONVERTED:
        return ""
    with _quiet() as problems:
        try:
            convert(traced, specs, CONVERTED, LayerScopes())
        except Exception:
            return ""
    return "" if problems else f" opset is {opset}; from {CONVERTED} on it can be converted: leave opset out."


def _declare_only_used_operators(model: onnx.ModelProto) -> None:
    """tf2onnx also declares ai.onnx.ml, used or not."""
    used = {"", *(node.domain for graph in all_graphs(model.graph) for node in graph.node)}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def tensorflow_specs(inputs: Sequence[TensorSpec]) -> list[tf.TensorSpec]:
    """Named axes become None."""
    return [
        tf.TensorSpec([None if isinstance(size, str) else size for size in spec.shape], spec.dtype, name=spec.name)
        for spec in inputs
    ]


def name_axes(values: MutableSequence[onnx.ValueInfoProto], specs: Sequence[TensorSpec]) -> None:
    """Puts the graph's inputs or outputs in the order of `specs` and names their axes.

    Raises:
        ExportError: the names differ.
    """
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    if types.keys() != {spec.name for spec in specs}:
        raise ExportError(f"The converted graph has the names {list(types)}; expected {[s.name for s in specs]}.")
    del values[:]
    values.extend(onnx.helper.make_tensor_value_info(s.name, types[s.name], s.shape) for s in specs)


@contextlib.contextmanager
def _quiet() -> Iterator[list[Untranslated | str]]:
    """Keeps the converters' logs off the screen; yields the errors among them, which tf2onnx logs and goes on from."""
    collector = Problems()
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    before = [(logger.propagate, logger.handlers[:]) for logger in loggers]
    try:
        for logger in loggers:
            logger.propagate = False
            logger.handlers[:] = [logging.NullHandler()]  # without any, Python prints warnings
        loggers[0].addHandler(collector)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield collector.found
    finally:
        for logger, (propagate, attached) in zip(loggers, before):
            logger.propagate = propagate
            logger.handlers[:] = attached
