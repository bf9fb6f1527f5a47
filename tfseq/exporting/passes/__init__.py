"""Rewrites over a converted graph that leave its results as they are: lean loops, one operator where there is one."""

import onnx

from tfseq.exporting.passes import cleanup, lookups, loops
from tfseq.exporting.passes.graph import all_graphs, count_operators, initializers, subgraphs

__all__ = ["all_graphs", "count_operators", "simplify", "subgraphs"]


def simplify(model: onnx.ModelProto) -> None:
    """Runs the passes that hold at every opset, in place."""
    graph = model.graph
    cleanup.make_names_unique(graph)
    cleanup.remove_identities(graph)
    loops.leave_trip_counts_to_loops(graph)
    loops.hoist_loop_invariants(graph)
    cleanup.merge_equal_initializers(graph)
    lookups.gather_without_index_repair(graph, initializers(graph))
    lookups.look_up_one_hot_products(graph, initializers(graph))
    cleanup.remove_unused(graph)
    cleanup.forget_types(graph)
