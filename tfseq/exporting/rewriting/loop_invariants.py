"""Hoisting loop invariants: loop bodies keep only what differs between steps, branches what depends on inputs.

ONNX Runtime optimizes what stands in one graph; what tf2onnx leaves inside a loop's body (weights handed from step to
step, constants computed anew) it runs at every step. These passes move it out.
"""

from onnx import GraphProto, NodeProto, helper

from tfseq.exporting.rewriting.graph import all_graphs, rename_uses, resolved, subgraphs

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def leave_trip_counts_to_loops(graph: GraphProto) -> None:
    """Removes the test "iteration < M" from bodies of loops that are given M: ONNX's Loop makes it anyway."""
    for g in all_graphs(graph):
        for loop in g.node:
            if loop.op_type != "Loop" or not loop.input[0]:
                continue
            (body,) = subgraphs(loop)
            go_on = body.input[1].name
            iteration = {body.input[0].name}
            iteration |= {n.output[0] for n in body.node if n.op_type == "Cast" and n.input[0] in iteration}
            true = {n.output[0] for n in body.node if n.op_type == "Less" and n.input[0] in iteration}
            names = {}
            for node in body.node:
                if node.op_type == "And" and true.intersection(node.input):
                    names[node.output[0]] = next((x for x in node.input if x not in true), node.input[0])
            names = resolved(names) | dict.fromkeys(true, go_on)
            rename_uses(body, names)
            body.output[0].name = names.get(body.output[0].name, body.output[0].name)


def hoist_loop_invariants(graph: GraphProto) -> None:
    """Takes out of each loop what is the same at every step: carried values that never change, constants, and nodes
    that read nothing else. Inner loops first, so that things move all the way up."""
    nodes = []
    for node in graph.node:
        for sub in subgraphs(node):
            hoist_loop_invariants(sub)
        if node.op_type == "Loop":
            nodes += _uncarry(graph, node)
            nodes += _lifted(graph, node)
        nodes.append(node)
    replaced = {n.output[0]: n.input[0] for n in nodes if n.op_type == "Identity"}
    outputs = {output.name for output in graph.output}
    kept = [n for n in nodes if n.op_type != "Identity" or n.output[0] in outputs]
    del graph.node[:]
    graph.node.extend(kept)
    rename_uses(graph, resolved({a: b for a, b in replaced.items() if a not in outputs}))


def lift_from_branches(graph: GraphProto) -> None:
    """Takes out of the branches of conditions what they compute of the graph's constants: weights in other layouts.

    A branch keeps its own constants: shape inference knows only these by their values.
    """
    constants = {tensor.name for tensor in graph.initializer}
    made: dict[tuple, str] = {}  # what both branches compute is computed once
    names: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        for branch in subgraphs(node) if node.op_type == "If" else ():
            outputs, kept = {value.name for value in branch.output}, []
            for inner in branch.node:
                fixed = not subgraphs(inner) and inner.op_type not in _RANDOM and constants.issuperset(inner.input)
                if not fixed or outputs.intersection(inner.output):
                    kept.append(inner)
                    continue
                constants.update(inner.output)
                read = (names.get(name, name) for name in inner.input)
                key = (inner.op_type, *read, *sorted(a.SerializeToString() for a in inner.attribute))
                if len(inner.output) == 1 and key in made:
                    names[inner.output[0]] = made[key]
                else:
                    made[key] = inner.output[0]
                    nodes.append(inner)
            del branch.node[:]
            branch.node.extend(kept)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    rename_uses(graph, names)


def _uncarry(graph: GraphProto, loop: NodeProto) -> list[NodeProto]:
    """Lets the body read unchanging values from outside; returns Identity nodes in place of the loop's outputs."""
    (body,) = subgraphs(loop)
    aliases, names = [], {}
    copies = resolved({node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity"})
    for i in reversed(range(len(loop.input) - 2)):
        carried, handed_on = body.input[i + 2].name, body.output[i + 1].name
        if copies.get(handed_on, handed_on) != carried:
            continue
        names[carried] = loop.input[i + 2]
        aliases.append(helper.make_node("Identity", [loop.input[i + 2]], [loop.output[i]]))
        del loop.input[i + 2], loop.output[i], body.input[i + 2], body.output[i + 1]
    for output in body.output:
        if output.name in names:  # a body has to make its outputs itself
            made = f"{output.name}/made"
            body.node.append(helper.make_node("Identity", [names[output.name]], [made]))
            output.name = made
    rename_uses(body, names)
    return aliases


def _lifted(graph: GraphProto, loop: NodeProto) -> list[NodeProto]:
    (body,) = subgraphs(loop)
    changing = {value.name for value in body.input}
    outputs = {value.name for value in body.output}
    graph.initializer.extend(t for t in body.initializer if t.name not in outputs)
    kept_constants = [t for t in body.initializer if t.name in outputs]
    del body.initializer[:]
    body.initializer.extend(kept_constants)
    lifted, kept = [], []
    for node in body.node:
        fixed = not subgraphs(node) and node.op_type not in _RANDOM and not outputs.intersection(node.output)
        if fixed and not changing.intersection(node.input):
            lifted.append(node)
        else:
            kept.append(node)
            changing.update(node.output)
    del body.node[:]
    body.node.extend(kept)
    return lifted
