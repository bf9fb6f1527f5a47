"""KV caches in loop bodies become Attention's own, and results stay what they were."""

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("tensorflow")
import keras
from onnx import TensorProto, helper

from tfseq import Beam, Greedy
from tfseq.decoding import decode, generate
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.rewriting import subgraphs
from tfseq.exporting.rewriting.key_value_caches import append_in_attention, share_masks
from tfseq.models import Transformer
from tfseq.runtime.manifest import TensorSpec

DEPTH = 2


def exported(strategy, attention=False):
    keras.utils.set_random_seed(1)
    model = Transformer(19, units=16, heads=2, hidden=24, depth=1, decoder_depth=DEPTH, tied=False)
    model.build()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape))
    inputs = [TensorSpec("source", "int32", ("batch", "source_time")), TensorSpec("max_length", "int32", ())]
    inputs += [TensorSpec(name, dtype, ()) for name, dtype in strategy.dtypes(model).items()]
    return model, to_onnx(
        lambda **inputs: decode(model, strategy, inputs, ["attention"] if attention else []), inputs, None
    )


def body_of_steps(graph):
    bodies = [body for node in graph.node if node.op_type == "Loop" for body in subgraphs(node)]
    return max(bodies, key=lambda body: len(body.node))


@pytest.mark.parametrize("strategy", [Greedy(), Beam(3)], ids=["one beam", "three beams"])
def test_a_step_of_a_transformer_is_lean_and_right(strategy):
    model, converted = exported(strategy)
    nodes = body_of_steps(converted.graph).node
    kinds = [node.op_type for node in nodes]
    cached = [node for node in nodes if node.op_type == "Attention" and len(node.input) == 6]
    assert len(cached) == DEPTH  # self-attention, each with its past
    assert all(len(node.output) == 3 for node in cached)
    assert len({node.input[3] for node in cached}) == 1  # one mask for all layers
    assert kinds.count("Attention") == 2 * DEPTH
    assert kinds.count("LayerNormalization") == 3 * DEPTH + 1
    assert not {"Softmax", "ReduceMean", "Sqrt"}.intersection(kinds)
    source = np.array([[4, 5, 6, 7], [8, 9, 0, 0], [3, 0, 0, 0]], "int32")
    settings = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model).items()}
    feeds = {"source": source, "max_length": np.array(9, "int32")} | settings
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    tokens, lengths, scores = session.run(["tokens", "lengths", "scores"], feeds)
    expected = generate(model, source=source, decode=strategy, max_length=9)
    np.testing.assert_array_equal(tokens, expected.tokens)
    np.testing.assert_array_equal(lengths, expected.lengths)
    np.testing.assert_allclose(scores, expected.scores, atol=1e-4)


def test_attention_weights_that_are_asked_for_are_kept():
    model, converted = exported(Greedy(), attention=True)
    source = np.array([[4, 5, 6, 7], [8, 9, 0, 0]], "int32")
    feeds = {"source": source, "max_length": np.array(5, "int32"), "min_length": np.array(0, "int32")}
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    (weights,) = session.run(["attention"], feeds)
    expected = generate(model, source=source, max_length=5, return_attention=True)
    np.testing.assert_allclose(weights, expected.attention, atol=1e-5)


def step_graph(past="past_k", extra=()):
    """One step: attention of (1, 1, 1, 2) over a past of (1, 1, entries, 2)."""

    def tensor(name, entries):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, entries, 2])

    nodes = [
        helper.make_node("Identity", ["past_k"], ["made"]),
        helper.make_node("Concat", [past, "k"], ["keys"], axis=2),
        helper.make_node("Concat", ["past_v", "v"], ["values"], axis=-2),
        *extra,
        helper.make_node("Attention", ["q", "keys", "values"], ["y"], scale=0.7),
    ]
    inputs = [tensor(name, 1) for name in ("q", "k", "v")] + [tensor(name, None) for name in ("past_k", "past_v")]
    outputs = [tensor("y", 1), tensor("keys", None), tensor("values", None)]
    outputs += [tensor(node.output[0], None) for node in extra]
    graph = helper.make_graph(nodes, "step", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def run(model):
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=(1, 1, 1, 2)).astype("float32") for name in ("q", "k", "v")}
    feeds |= {name: rng.normal(size=(1, 1, 3, 2)).astype("float32") for name in ("past_k", "past_v")}
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


def test_appending_moves_into_attention_where_the_past_is_given():
    model = step_graph()
    expected = run(model)
    append_in_attention(model)
    assert [node.op_type for node in model.graph.node] == ["Attention"]
    assert list(model.graph.node[0].input) == ["q", "k", "v", "", "past_k", "past_v"]
    for result, wanted in zip(run(model), expected, strict=True):
        np.testing.assert_allclose(result, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"past": "made"}, {"extra": [helper.make_node("Neg", ["keys"], ["read"])]}],
    ids=["a past that is computed", "keys that are read before"],
)
def test_appending_stays_where_it_is_needed(options):
    model = step_graph(**options)
    expected = run(model)
    append_in_attention(model)
    assert [node.op_type for node in model.graph.node].count("Concat") == 2
    for result, wanted in zip(run(model), expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_equal_masks_are_one_and_different_ones_stay():
    def mask(name, huge):
        constant = helper.make_tensor(f"{name}/huge", TensorProto.FLOAT, [], [huge])
        return constant, helper.make_node("Where", ["m", "zero", f"{name}/huge"], [name])

    masks = [mask("a", -1e9), mask("b", -1e9), mask("c", -2e9)]
    sums = [helper.make_node("Sum", ["a", "b", "c"], ["y"])]
    graph = helper.make_graph(
        [node for _, node in masks] + sums,
        "masks",
        [helper.make_tensor_value_info("m", TensorProto.BOOL, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]), *(constant for constant, _ in masks)],
    )
    share_masks(graph)
    assert list(graph.node[-1].input) == ["a", "a", "c"]
