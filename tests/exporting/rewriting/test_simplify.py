"""`simplify` over graphs built by hand: ONNX Runtime gives the same results before and after."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfseq.exporting.rewriting import count_operators, remove_outputs, simplify, subgraphs
from tfseq.exporting.rewriting.loop_invariants import lift_from_branches


def graph_of(nodes, inputs, outputs, constants=()):
    values = [
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in side] for side in (inputs, outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()]
    return helper.make_graph(nodes, "g", *values, tensors)


def model_of(*arguments):
    return helper.make_model(graph_of(*arguments), opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model, **feeds):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


def simplified(model, **feeds):
    """The simplified model, once it was seen to give the same."""
    before = run(model, **feeds)
    simplify(model)
    for a, b in zip(run(model, **feeds), before, strict=True):
        assert np.array_equal(a, b)
    return model


FLOATS = ("x", TensorProto.FLOAT, [2, 3])
X = np.arange(6, dtype="float32").reshape(2, 3)
W = np.arange(9, dtype="float32").reshape(3, 3) / 10


def loop_over_x(weights="carried"):
    """h = 0; three times: h = x @ W + h + (W[0] + W[0]), with W handed from step to step as tf2onnx does."""
    body = graph_of(
        [
            helper.make_node("MatMul", ["x_in", "w_in"], ["product"]),
            helper.make_node("Add", ["product", "h_in"], ["sum"]),
            helper.make_node("Gather", ["w_in", "zero"], ["row"]),
            helper.make_node("Add", ["row", "row"], ["twice"]),
            helper.make_node("Add", ["sum", "twice"], ["h_out"]),
            helper.make_node("Identity", ["w_in"], ["w_out"]),
            helper.make_node("Identity", ["x_in"], ["x_out"]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Identity", ["h_out"], ["each"]),
        ],
        [
            ("i", TensorProto.INT64, []),
            ("go_in", TensorProto.BOOL, []),
            ("h_in", TensorProto.FLOAT, [2, 3]),
            ("w_in", TensorProto.FLOAT, [3, 3]),
            ("x_in", TensorProto.FLOAT, [2, 3]),
        ],
        [
            ("go_out", TensorProto.BOOL, []),
            ("h_out", TensorProto.FLOAT, [2, 3]),
            ("w_out", TensorProto.FLOAT, [3, 3]),
            ("x_out", TensorProto.FLOAT, [2, 3]),
            ("each", TensorProto.FLOAT, [2, 3]),
        ],
        {"zero": np.int64(0)},
    )
    return helper.make_node("Loop", ["three", "true", "h0", "w", "x"], ["h", "w_last", "x_last", "all"], body=body)


def looping_model(extra=(), outputs=(("h", TensorProto.FLOAT, [2, 3]), ("all", TensorProto.FLOAT, [3, 2, 3]))):
    constants = {"three": np.int64(3), "true": np.bool_(True), "h0": np.zeros((2, 3), "float32"), "w": W}
    return model_of([loop_over_x(), *extra], [FLOATS], outputs, constants)


def loop_in(model):
    (loop,) = [node for node in model.graph.node if node.op_type == "Loop"]
    return loop, subgraphs(loop)[0]


def test_a_loop_carries_only_what_changes():
    loop, body = loop_in(simplified(looping_model(), x=X))
    assert list(loop.input) == ["three", "true", "h0"]
    assert list(loop.output) == ["h", "all"]
    assert not body.initializer


def test_what_is_the_same_at_every_step_is_computed_once():
    _, body = loop_in(simplified(looping_model(), x=X))
    assert count_operators(body) == {"Add": 2, "Identity": 2}  # the product and the doubled row moved out


def test_the_last_value_of_an_unchanging_variable_is_still_given_out():
    use = helper.make_node("MatMul", ["x_last", "w_last"], ["y"])
    outputs = [
        ("h", TensorProto.FLOAT, [2, 3]),
        ("y", TensorProto.FLOAT, [2, 3]),
        ("w_last", TensorProto.FLOAT, [3, 3]),
    ]
    loop, _ = loop_in(simplified(looping_model([use], outputs), x=X))
    assert len(loop.input) == 3


def test_loops_that_use_the_same_names_do_not_mix_up():
    body_constant = {"c": np.float32(1)}, {"c": np.float32(10)}
    loops = []
    for i, constants in enumerate(body_constant):
        body = graph_of(
            [
                helper.make_node("Add", ["c", "c"], ["s"]),
                helper.make_node("Add", ["v_in", "s"], ["v_out"]),
                helper.make_node("Identity", ["go_in"], ["go_out"]),
            ],
            [("i", TensorProto.INT64, []), ("go_in", TensorProto.BOOL, []), ("v_in", TensorProto.FLOAT, [2, 3])],
            [("go_out", TensorProto.BOOL, []), ("v_out", TensorProto.FLOAT, [2, 3])],
            constants,
        )
        loops.append(helper.make_node("Loop", ["three", "true", ["x", "v0"][i]], [f"v{i}"], body=body))
    constants = {"three": np.int64(3), "true": np.bool_(True)}
    model = simplified(model_of(loops, [FLOATS], [("v1", TensorProto.FLOAT, [2, 3])], constants), x=X)
    assert np.array_equal(run(model, x=X)[0], X + 3 * 2 + 3 * 20)


def test_random_numbers_are_drawn_at_every_step():
    body = graph_of(
        [
            helper.make_node("RandomUniform", [], ["r"], shape=[1]),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        [("i", TensorProto.INT64, []), ("go_in", TensorProto.BOOL, [])],
        [("go_out", TensorProto.BOOL, []), ("r", TensorProto.FLOAT, [1])],
    )
    loop = helper.make_node("Loop", ["three", "true"], ["all"], body=body)
    model = model_of([loop], [], [("all", TensorProto.FLOAT, [3, 1])], {"three": np.int64(3), "true": np.bool_(True)})
    simplify(model)
    assert len(set(run(model)[0].ravel().tolist())) == 3


def test_identities_go_and_outputs_keep_their_names():
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Add", ["a", "a"], ["b"]),
        helper.make_node("Identity", ["b"], ["c"]),
        helper.make_node("Identity", ["c"], ["y"]),
        helper.make_node("Mul", ["c", "b"], ["z"]),
        helper.make_node("Identity", ["x"], ["same"]),
    ]
    outputs = [(name, TensorProto.FLOAT, [2, 3]) for name in ("y", "z", "same")]
    model = simplified(model_of(nodes, [FLOATS], outputs), x=X)
    assert count_operators(model.graph) == {"Add": 1, "Identity": 1, "Mul": 1}


def test_a_row_is_looked_up_instead_of_multiplied():
    nodes = [
        helper.make_node("OneHot", ["index", "depth", "values"], ["hot"], axis=-1),
        helper.make_node("MatMul", ["hot", "w"], ["y"]),
    ]
    constants = {"depth": np.int64(3), "values": np.array([0, 1], "float32"), "w": W}
    model = model_of(nodes, [("index", TensorProto.INT64, [4])], [("y", TensorProto.FLOAT, [4, 3])], constants)
    assert count_operators(simplified(model, index=np.array([2, 0, 1, 1])).graph) == {"Gather": 1}


def test_gathering_counts_from_the_end_by_itself():
    nodes = [
        helper.make_node("Less", ["index", "zero"], ["negative"]),
        helper.make_node("Add", ["index", "size"], ["shifted"]),
        helper.make_node("Where", ["negative", "shifted", "index"], ["repaired"]),
        helper.make_node("Gather", ["w", "repaired"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "size": np.int64(3), "w": W}
    model = model_of(nodes, [("index", TensorProto.INT64, [4])], [("y", TensorProto.FLOAT, [4, 3])], constants)
    assert count_operators(simplified(model, index=np.array([2, -1, -3, 0])).graph) == {"Gather": 1}


@pytest.mark.parametrize("shift", [2, 5])
def test_other_shifts_of_an_index_stay(shift):
    nodes = [
        helper.make_node("Less", ["index", "zero"], ["negative"]),
        helper.make_node("Add", ["index", "size"], ["shifted"]),
        helper.make_node("Where", ["negative", "shifted", "index"], ["repaired"]),
        helper.make_node("Gather", ["w", "repaired"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "size": np.int64(shift), "w": W}
    model = model_of(nodes, [("index", TensorProto.INT64, [2])], [("y", TensorProto.FLOAT, [2, 3])], constants)
    simplified(model, index=np.array([1, -shift]))


def test_equal_constants_are_kept_once():
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["a"]), helper.make_node("MatMul", ["a", "w2"], ["y"])]
    model = model_of(nodes, [FLOATS], [("y", TensorProto.FLOAT, [2, 3])], {"w1": W, "w2": W.copy()})
    assert len(simplified(model, x=X).graph.initializer) == 1


def test_an_output_that_is_taken_away_leaves_nothing_in_the_loop():
    model = looping_model()
    (_, stacked), (expected, _) = run(model, x=X), run(model, x=X)
    assert stacked.shape == (3, 2, 3)
    remove_outputs(model.graph, ["all"])
    loop, body = loop_in(model)
    assert "all" not in loop.output
    assert "each" not in [name for node in body.node for name in node.output]
    (got,) = run(model, x=X)
    assert np.array_equal(got, expected)


def test_branches_share_what_they_compute_of_weights_and_keep_their_own_constants():
    """x W' + 1 if x is large, x W' + 2 if not."""
    branches = {}
    for name, number in (("then_branch", 1.0), ("else_branch", 2.0)):
        nodes = [
            helper.make_node("Transpose", ["w"], [f"{name}/t"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", f"{name}/t"], [f"{name}/m"]),
            helper.make_node("Add", [f"{name}/m", f"{name}/number"], [f"{name}/y"]),
        ]
        output = helper.make_tensor_value_info(f"{name}/y", TensorProto.FLOAT, [2, 3])
        constant = numpy_helper.from_array(np.array([number], "float32"), f"{name}/number")
        branches[name] = helper.make_graph(nodes, name, [], [output], [constant])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], **branches),
    ]
    weight = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
    constants = {"w": weight, "zero": np.float32(0)}
    for x, number in ((np.abs(X), 1), (-np.abs(X), 2)):
        model = model_of(nodes, [FLOATS], [("y", TensorProto.FLOAT, [2, 3])], constants)
        lift_from_branches(model.graph)
        assert [node.op_type for node in model.graph.node] == ["ReduceMax", "Greater", "Transpose", "If"]
        for branch in subgraphs(model.graph.node[-1]):
            assert [node.op_type for node in branch.node] == ["MatMul", "Add"]
            assert len(branch.initializer) == 1
        (got,) = run(model, x=x)
        np.testing.assert_allclose(got, x @ weight.T + number, rtol=1e-5)
