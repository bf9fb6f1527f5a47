"""Rewrites of a converted graph that keep its results: lean loops (`simplify`), fused operators (`fuse`)."""

import onnx

from tfseq.exporting.rewriting import (
    attention,
    cleanup,
    embedding_lookups,
    empty_reductions,
    gelu,
    key_value_caches,
    loop_invariants,
    normalization,
    padded_pooling,
    reshapes,
    tied_weights,
    weight_layouts,
)
from tfseq.exporting.rewriting.cleanup import remove_outputs
from tfseq.exporting.rewriting.graph import all_graphs, count_operators, initializers, subgraphs
from tfseq.exporting.rewriting.opsets import CONVERTED, FUSED, OPSETS, lift, needed, newest_here
from tfseq.exporting.rewriting.weights import Weights

__all__ = ["CONVERTED", "OPSETS", "all_graphs", "count_operators", "fuse", "remove_outputs", "simplify", "subgraphs"]


def simplify(model: onnx.ModelProto, weights: Weights | None = None) -> None:
    """Runs the passes that hold at every opset, in place.

    Args:
        weights: the values of its hollow tensors, if it has any.
    """
    graph = model.graph
    cleanup.make_names_unique(graph)
    cleanup.remove_identities(graph)
    loop_invariants.leave_trip_counts_to_loops(graph)
    loop_invariants.hoist_loop_invariants(graph)
    loop_invariants.lift_from_branches(graph)
    weight_layouts.fold_layouts(graph, weights or Weights())
    cleanup.merge_equal_initializers(graph)
    embedding_lookups.gather_without_index_repair(graph, initializers(graph))
    embedding_lookups.look_up_one_hot_products(graph, initializers(graph))
    cleanup.remove_unused(graph)
    cleanup.forget_types(graph)


def fuse(model: onnx.ModelProto, opset: int | None) -> None:
    """Puts single operators in the place of the patterns that compute them, in place.

    Args:
        model: a simplified graph.
        opset: to declare and to fuse for; None for the lowest from CONVERTED on that has all operators that fit, of
            those that are known here.
    """
    passes = {
        "LayerNormalization": normalization.fuse_layer_normalization,
        "Gelu": gelu.fuse_gelu,
        "Attention": attention.fuse_attention,
        "RMSNormalization": normalization.fuse_rms_normalization,
    }
    newest = opset or newest_here()
    reshapes.add_before_reshaping(model)
    attention.mask_by_adding(model)
    for operator, fuse_operator in passes.items():
        if FUSED[operator] <= newest:
            fuse_operator(model)
    key_value_caches.append_in_attention(model)
    reshapes.reshape_where_only_ones_move(model)
    reshapes.merge_reshapes(model)
    tied_weights.multiply_by_rows(model)
    key_value_caches.share_masks(model.graph)
    padded_pooling.keep_padding(model)
    empty_reductions.count_axes_from_the_front(model)
    loop_invariants.hoist_loop_invariants(model.graph)  # masks over the memory
    cleanup.remove_unused(model.graph)
    if opset is None or opset > CONVERTED:
        lift(model, opset or needed(model))
