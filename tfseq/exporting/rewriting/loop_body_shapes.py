"""Shape inference for the values in loop bodies.

ONNX infers them from what a loop carries, whose shape it takes for unknown since a step may change it. tf2onnx has
noted what TensorFlow guarantees of it at every step.
"""

import math

from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, shape_inference

from tfseq.exporting.rewriting.graph import all_graphs, made_names, subgraphs


def inferred_bodies(model: ModelProto, large: int) -> list[GraphProto]:
    """The bodies of loops, outer ones first, with the shapes that follow from their declared inputs.

    Args:
        model: with the shapes that ONNX infers.
        large: elements; no shape is computed from a tensor larger than this.
    """
    known: dict[str, ValueInfoProto] = {}
    small: dict[str, TensorProto] = {}
    bodies = []
    for graph in all_graphs(model.graph):
        known |= {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
        known |= {t.name: helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in graph.initializer}
        small |= {t.name: t for t in graph.initializer if math.prod(t.dims) <= large}
    for graph in all_graphs(model.graph):
        for body in (sub for node in graph.node if node.op_type == "Loop" for sub in subgraphs(node)):
            outside = [name for name in _read_from_outside(body) if name in known]
            alone = GraphProto()
            alone.CopyFrom(body)
            alone.initializer.extend(small[name] for name in outside if name in small)
            alone.input.extend(known[name] for name in outside if name not in small)
            made = helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version)
            bodies.append(shape_inference.infer_shapes(made, data_prop=True).graph)
            known |= {value.name: value for g in all_graphs(bodies[-1]) for value in g.value_info}
    return bodies


def _read_from_outside(body: GraphProto) -> list[str]:
    made = {name for graph in all_graphs(body) for name in made_names(graph)}
    read = (name for graph in all_graphs(body) for node in graph.node for name in node.input)
    return list(dict.fromkeys(name for name in read if name and name not in made))
