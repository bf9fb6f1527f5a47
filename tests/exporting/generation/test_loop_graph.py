"""Generation graphs: every decoding strategy with a language model, a recurrent encoder-decoder and a Transformer."""

import functools
import itertools
from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import pytest

import tfseq
from tfseq.decoding import generate
from tfseq.errors import ArtefactError, ExportError
from tfseq.exporting import export, verify
from tfseq.exporting.generation.generation_cases import generation_cases, sample_cases
from tfseq.exporting.generation.loop_graph import decoding_json, strategy_of
from tfseq.exporting.generation.token_interface import CodePointInterface, TokenIdInterface
from tfseq.exporting.proving import parity
from tfseq.exporting.proving.generation_parity import check_generation
from tfseq.exporting.rewriting import all_graphs
from tfseq.models import (
    AttentionSeq2Seq,
    Generator,
    RecurrentLanguageModel,
    StateSpaceLanguageModel,
    Transformer,
    TransformerLanguageModel,
)
from tfseq.runtime import CharacterTokenizer, load
from tfseq.runtime.manifest import TensorSpec
from tfseq.runtime.session import Session

LETTERS = CharacterTokenizer(["<unk>", "<start>", "<end>", *"abcdefgh"])
SOURCE = {"source": np.array([[4, 3, 7, 5, 9], [6, 4, 0, 0, 0], [3, 0, 0, 0, 0]], "int32")}
PROMPT = {"prompt": np.array([[4, 3, 7], [6, 4, 0], [3, 0, 0]], "int32"), "prompt_length": np.array([3, 2, 1], "int32")}
STRATEGIES = {
    "greedy": tfseq.Greedy(repetition_penalty=1.2, forbidden=(7,)),
    "sample": tfseq.Sample(temperature=0.8, top_k=6, top_p=0.9, seed=3),
    "beam": tfseq.Beam(width=3, length_penalty=0.6),
}


@functools.cache
def model(kind):
    keras.utils.set_random_seed(0)
    vocabulary = LETTERS.vocabulary_size
    match kind:
        case "lstm":
            built = RecurrentLanguageModel(
                vocabulary, 8, depth=2, cell="lstm", embedding_dim=5, initial_state="learned"
            )
        case "transformer language model":
            built = TransformerLanguageModel(vocabulary, units=16, heads=2, hidden=24, depth=2, end=2)
        case "state space":
            built = StateSpaceLanguageModel(vocabulary, units=8, depth=2, states=3, end=2)
        case "gru attention":
            built = AttentionSeq2Seq(vocabulary, units=8, cell="gru")
        case "lstm attention":
            built = AttentionSeq2Seq(vocabulary, units=8, cell="lstm", depth=2, alignment="dot")
        case "transformer":
            built = Transformer(vocabulary, units=16, heads=2, hidden=24, depth=2, dropout=0.0)
        case "rotary transformer":
            built = Transformer(vocabulary, units=16, heads=2, hidden=24, depth=2, dropout=0.0, positions="rotary")
    read = np.ones((1, 2), "int32")
    built(read if built.start is None else {"source": read, "target": read})
    random = np.random.default_rng(0)
    for weight in built.weights:  # so that the sources matter, and sequences end here and there
        weight.assign(weight + random.normal(size=weight.shape, scale=0.4))
    return built


def inputs(kind):
    return PROMPT if model(kind).start is None else SOURCE


def in_keras(kind, strategy, max_length=12, **options):
    given = inputs(kind) if model(kind).start is None else {"source": inputs(kind)}
    return generate(model(kind), **given, decode=strategy, max_length=max_length, **options)


def feeds(kind, strategy, max_length=12):
    settings = {
        name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model(kind)).items()
    }
    return {**inputs(kind), "max_length": np.asarray(max_length, "int32"), **settings}


# Each strategy and each kind once; the other pairs take long, and decoding is written once for all kinds.
EVERY_TIME = {"lstm": "greedy", "gru attention": "sample", "transformer": "beam", "rotary transformer": "greedy"}
EVERY_TIME |= {"state space": "sample"}
PAIRS = itertools.product(EVERY_TIME, STRATEGIES)


@pytest.mark.parametrize(
    ("kind", "name"),
    [pytest.param(kind, name, marks=[] if EVERY_TIME[kind] == name else pytest.mark.slow) for kind, name in PAIRS],
)
def test_every_strategy_of_every_kind_of_model_is_verified(kind, name, tmp_path):
    strategy = STRATEGIES[name]
    attention = model(kind).start is not None
    manifest = export(model(kind), tmp_path / "model.onnx", decode=strategy, attention=attention)
    checks = {check["name"]: check for check in manifest.parity["checks"]}
    assert checks.keys() == {"logits", "tokens", "scores", *(["attention"] if attention else [])}
    assert checks["tokens"]["identical"] + checks["tokens"]["ties"] == checks["tokens"]["sequences"] == 224
    assert max(checks[name]["worst_relative"] for name in checks.keys() - {"tokens"}) < 1e-5
    got, expected = load(tmp_path / "model.onnx").run(feeds(kind, strategy)), in_keras(kind, strategy)
    assert np.array_equal(got["tokens"], expected.tokens)
    assert np.array_equal(got["lengths"], expected.lengths)


@pytest.mark.parametrize("kind", ["lstm attention", "transformer language model"])
def test_a_saved_model_and_an_onnx_file_give_what_keras_gives(kind, tmp_path):
    strategy = tfseq.Beam(2)
    export(model(kind), tmp_path / "saved", decode=strategy, verify=False)
    export(model(kind), tmp_path / "model.onnx", decode=strategy, verify=False)
    expected = in_keras(kind, strategy)._asdict()
    for path in ("saved", "model.onnx"):
        run = parity.opened(tmp_path / path).runs["generate"]
        got = run(feeds(kind, strategy))
        assert np.array_equal(got["tokens"], expected["tokens"])
        assert np.array_equal(got["lengths"], expected["lengths"])
        assert np.allclose(got["scores"], expected["scores"], atol=1e-5)


def test_a_saved_model_of_an_encoder_decoder_is_verified_both_ways(tmp_path):
    manifest = export(model("gru attention"), tmp_path / "saved", decode=tfseq.Greedy())
    assert [check["name"] for check in manifest.parity["checks"]] == ["logits", "tokens", "scores"]
    assert manifest.parity["passed"]
    assert verify(tmp_path / "saved", model("gru attention")).passed


def test_the_forward_graph_of_an_encoder_decoder_takes_source_and_target(tmp_path):
    manifest = export(model("transformer"), tmp_path / "model.onnx")
    assert [str(spec) for spec in manifest.inputs] == [
        *("source int32 (batch, source_time)", "target int32 (batch, time)")
    ]
    assert [str(spec) for spec in manifest.outputs] == ["logits float32 (batch, time, 11)"]
    assert manifest.parity["passed"]
    target = np.array([[1, 4, 4, 3], [1, 9, 5, 3], [1, 1, 1, 1]])
    logits = load(tmp_path / "model.onnx").predict(**SOURCE, target=target)
    assert np.allclose(logits, model("transformer")({**SOURCE, "target": target}), atol=1e-5)


def test_the_manifest_says_what_a_generation_takes_gives_and_does(tmp_path):
    beam = tfseq.Beam(3, forbidden=(4, 7), repetition_penalty=1.1)
    manifest = export(model("transformer"), tmp_path / "model.onnx", decode=beam, attention=True, verify=False)
    assert [str(spec) for spec in manifest.inputs] == [
        *("source int32 (batch, source_time)", "max_length int32 ()", "min_length int32 ()"),
        *("length_penalty float32 ()", "repetition_penalty float32 ()"),
    ]
    assert [str(spec) for spec in manifest.outputs] == [
        *("tokens int32 (batch, new_time)", "lengths int32 (batch)", "scores float32 (batch)"),
        "attention float32 (batch, new_time, source_time)",
    ]
    settings = manifest.decoding.pop("settings")
    assert list(settings) == ["min_length", "length_penalty", "repetition_penalty"]
    assert manifest.decoding == {
        **{"strategy": "beam", "width": 3, "patience": 1.0, "forbidden": (4, 7)},
        **{"min_length": 0, "length_penalty": 1.0, "repetition_penalty": 1.1, "start": 1, "end": 2},
    }
    assert strategy_of(load(tmp_path / "model.onnx").manifest.decoding) == beam
    assert manifest.opset == 23  # for Attention
    graph = onnx.load(tmp_path / "model.onnx").graph
    axes = {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.input}
    assert axes["source"] == ["batch", "source_time"]


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_strategy_comes_back_from_the_manifest(strategy):
    assert strategy_of(decoding_json(model("transformer"), strategy)) == strategy


def test_a_strategy_of_a_newer_version_is_said():
    with pytest.raises(ArtefactError, match="no strategy 'unheard_of'"):
        strategy_of({"strategy": "unheard_of"})


@pytest.fixture(scope="module")
def by_code_points(tmp_path_factory):
    path = tmp_path_factory.mktemp("code_points") / "model.onnx"
    manifest = export(model("gru attention"), path, decode=tfseq.Beam(2), tokenizer=LETTERS)
    return path, manifest


def test_text_goes_in_and_out_as_code_points(by_code_points):
    path, manifest = by_code_points
    assert manifest.parity["passed"]
    assert manifest.tokenizer == {"kind": "code_points", "symbols": LETTERS.symbols}
    texts = ["abcXd", "h", "\0😀"]
    tokens = np.zeros((3, 5), "int32")
    for row, text in zip(tokens, texts):
        row[: len(text)] = LETTERS.encode(text)
    expected = generate(model("gru attention"), source=tokens, decode=tfseq.Beam(2), max_length=12)
    codes = np.array([[ord(c) for c in text.ljust(5, "\0")] for text in texts], "int32")
    got = Session(path).run(feeds("gru attention", tfseq.Beam(2)) | {"source": codes})
    assert np.array_equal(got["lengths"], expected.lengths)
    for row, wanted, length in zip(got["tokens"], np.asarray(expected.tokens), got["lengths"]):
        characters = [ord(LETTERS.symbols[t]) if len(LETTERS.symbols[t]) == 1 else 0xFFFD for t in wanted[:length]]
        assert row.tolist() == characters + [0] * (len(row) - length)


def test_a_file_that_writes_other_characters_fails_verification(by_code_points, tmp_path):
    path, _ = by_code_points
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.int32 and values.shape == (11,) and ord("c") in values:
            swapped = np.where(values == ord("c"), ord("d"), values)
            tensor.CopyFrom(onnx.numpy_helper.from_array(swapped.astype("int32"), tensor.name))
    onnx.save(graph, tmp_path / "model.onnx")
    tokens = next(c for c in verify(tmp_path / "model.onnx", model("gru attention")).checks if c.name == "tokens")
    assert not tokens.passed


def test_token_ids_go_in_and_out_if_asked_for(tmp_path):
    options = {"tokenizer": LETTERS, "code_points": False, "verify": False}
    manifest = export(model("lstm"), tmp_path / "model.onnx", decode=tfseq.Greedy(), **options)
    assert manifest.tokenizer["kind"] == "characters"
    got = load(tmp_path / "model.onnx").run(feeds("lstm", tfseq.Greedy()))
    assert np.array_equal(got["tokens"], in_keras("lstm", tfseq.Greedy()).tokens)


class Captioner(Generator):
    """Describes an image by what its four corners sum to; its attention is over those."""

    vocabulary_size, start, end = 6, 1, 2
    sources = (keras.InputSpec(shape=(None, 2, 2), dtype="float32", name="image"),)

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(6)
        self.head.build((None, 5))
        self.built = True

    def encode(self, inputs=None):
        return keras.ops.reshape(inputs, (-1, 4))

    def call(self, inputs, training=False):
        memory = keras.ops.expand_dims(self.encode(inputs["image"]), 1)  # (batch, 1, 4)
        steps = keras.ops.cumsum(keras.ops.ones_like(inputs["target"], "float32"), axis=1)[:, :, None]
        return self.head(keras.ops.concatenate([memory + 0 * steps, keras.ops.sin(steps)], axis=-1))

    def initial_state(self, memory, batch_size):
        return keras.ops.zeros((batch_size,))

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_attention(tokens, state, memory)
        return logits, state

    def step_with_attention(self, tokens, state, memory=()):
        state = state + 1
        x = keras.ops.concatenate([memory, keras.ops.sin(state)[:, None]], axis=-1)
        return self.head(x), state, keras.ops.softmax(memory)


class Past(NamedTuple):
    """All embeddings so far, (batch, time, 4), and their sum, (batch, 4)."""

    embeddings: Any
    total: Any

    growing_axis = (1, None)


class LooksBack(Generator):
    """A language model whose state grows along its second axis: it weighs all past embeddings by the last one."""

    vocabulary_size, end = 7, 2

    def __init__(self):
        super().__init__()
        self.embedding, self.head = keras.layers.Embedding(7, 4), keras.layers.Dense(7)
        self.embedding.build((None,))
        self.head.build((None, 8))
        self.built = True

    def call(self, tokens, training=False):
        x = self.embedding(tokens)
        scores = keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1)))
        steps = keras.ops.arange(keras.ops.shape(tokens)[1])
        scores = keras.ops.where(steps[:, None] >= steps, scores, -1e9)
        mean = keras.ops.matmul(keras.ops.softmax(scores), x)
        return self.head(keras.ops.concatenate([mean, keras.ops.tanh(keras.ops.cumsum(x, axis=1))], axis=-1))

    def initial_state(self, memory, batch_size):
        return Past(keras.ops.zeros((batch_size, 0, 4)), keras.ops.zeros((batch_size, 4)))

    def step(self, tokens, state, memory=()):
        x = self.embedding(tokens)
        past = Past(keras.ops.concatenate([state.embeddings, x[:, None]], axis=1), state.total + x)
        weights = keras.ops.softmax(keras.ops.sum(past.embeddings * x[:, None], axis=-1))
        mean = keras.ops.sum(past.embeddings * weights[:, :, None], axis=1)
        return self.head(keras.ops.concatenate([mean, keras.ops.tanh(past.total)], axis=-1)), past


@pytest.mark.parametrize(
    ("strategy", "streaming"), [(tfseq.Beam(2), False), (tfseq.Greedy(), False), (tfseq.Sample(), True)]
)
def test_a_state_may_grow_along_any_axis(strategy, streaming, tmp_path):
    grows = LooksBack()
    random = np.random.default_rng(0)
    for weight in grows.weights:
        weight.assign(random.normal(size=weight.shape))
    manifest = export(grows, tmp_path / "model.onnx", decode=strategy, streaming=streaming)
    assert manifest.parity["passed"]
    if streaming:
        states = {state.input for state in manifest.states}
        shapes = [spec.shape for spec in manifest.inputs if spec.name in states]
        assert shapes == [("batch", "entries", 4), ("batch", 4)]


def test_sources_of_numbers_are_inputs_too(tmp_path):
    manifest = export(Captioner(), tmp_path / "model.onnx", decode=tfseq.Beam(2), attention=True)
    assert [str(spec) for spec in manifest.inputs[:1]] == ["image float32 (batch, 2, 2)"]
    assert str(manifest.outputs[3]) == "attention float32 (batch, new_time, 4)"
    assert manifest.parity["passed"]


def test_cases_are_ragged_and_go_through_the_settings():
    cases = list(generation_cases(model("transformer"), STRATEGIES["sample"]))
    assert sum(case.rows for case in cases) == 224
    sources = [case.inputs["source"] for case in cases]
    assert {source.shape for source in sources} >= {(1, 12), (3, 1), (8, 5), (20, 24)}
    assert any(len({int((row != 0).sum()) for row in source}) > 3 for source in sources)
    for source in sources:  # zeros stand behind the tokens, and nowhere else
        assert (source[:, 0] != 0).all()
        assert (np.diff((source != 0).astype(int), axis=1) <= 0).all()
        assert source.max() < 11
    for name in ("temperature", "top_k", "top_p", "min_length"):
        assert len({case.strategy.settings[name] for case in cases}) > 2
    assert len({case.strategy.seed for case in cases}) == 28
    assert cases[0].strategy == STRATEGIES["sample"]


@pytest.mark.parametrize(
    ("kind", "samples", "rows"),
    [
        ("transformer", SOURCE["source"], 3),
        ("transformer", [SOURCE, {"source": np.array([[3, 4]])}], 4),
        ("lstm", PROMPT, 3),
        ("lstm", [PROMPT["prompt"][:1], PROMPT], 4),
    ],
)
@pytest.mark.parametrize("ragged", [True, False])
def test_samples_join_the_cases(kind, samples, rows, ragged):
    cases = sample_cases(model(kind), STRATEGIES["sample"], samples, ragged)
    assert sum(case.rows for case in cases) == rows
    assert {case.strategy for case in cases} == {STRATEGIES["sample"]}
    begun = [case.begun_of(model(kind), row).tolist() for case in cases for row in range(case.rows)]
    assert begun[-3:] == ([[4, 3, 7], [6, 4], [3]] if kind == "lstm" else [[1], [1], [1]])
    if not ragged and kind == "lstm":
        assert {case.inputs["prompt"].shape[1] - case.inputs["prompt_length"][0] for case in cases} == {0}


def test_samples_that_are_no_sources_are_refused(tmp_path):
    with pytest.raises(ExportError, match=r"has shape \(3,\); expected source int32 \(batch, source_time\)"):
        export(model("transformer"), tmp_path / "model.onnx", decode=tfseq.Greedy(), samples=np.array([3, 4, 5]))


def test_samples_are_compared_too(tmp_path):
    options = {"decode": tfseq.Greedy(), "samples": [SOURCE, SOURCE]}
    manifest = export(model("gru attention"), tmp_path / "model.onnx", **options)
    tokens = next(check for check in manifest.parity["checks"] if check["name"] == "tokens")
    assert tokens["sequences"] == 230


def keras_as_a_file(kind, change):
    """A file that does what Keras does, but for a change of its outputs."""

    def run(feeds):
        given = {name: feeds[name] for name in inputs(kind)}
        given = given if model(kind).start is None else {"source": given}
        settings = {k: v.item() for k, v in feeds.items() if k not in (*inputs(kind), "max_length")}
        strategy = STRATEGIES["beam"] if "length_penalty" in feeds else STRATEGIES["sample"]
        result = generate(
            model(kind), **given, decode=strategy, max_length=int(feeds["max_length"]), **settings
        )._asdict()
        return change({name: np.array(value) for name, value in result.items() if value is not None})

    return run


def replaced(**changes):
    return lambda outputs: outputs | {name: change(outputs[name]) for name, change in changes.items()}


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        (replaced(), (True, True)),
        (replaced(scores=lambda x: x * (1 + 5e-4)), (True, False)),
        (replaced(lengths=lambda x: np.maximum(x - 1, 0)), (False, True)),
        (replaced(tokens=lambda x: np.where(np.arange(x.shape[1]) == 3, (x + 1) % 11, x)), (False, True)),
        (lambda outputs: {name: array[:-1] for name, array in outputs.items()}, (False, True)),
    ],
    ids=["nothing", "scores", "lengths", "tokens", "rows"],
)
@pytest.mark.parametrize("name", ["beam", "sample"])
def test_a_difference_is_found(name, change, passes):
    run = keras_as_a_file("gru attention", change)
    checks = check_generation(run, model("gru attention"), STRATEGIES[name], "file", 1e-4, TokenIdInterface())
    assert tuple(check.passed for check in checks) == passes


def test_a_beam_as_good_as_the_one_expected_is_a_tie():
    """Tokens 3 and 4 are twins: same embedding, same logits. A file may choose either; that is reported as a tie."""
    twins = AttentionSeq2Seq.from_config(model("gru attention").get_config())
    twins(SOURCE | {"target": np.ones((3, 2), "int32")})
    twins.set_weights(model("gru attention").get_weights())
    embedding, kernel, bias = twins.target_embedding.embeddings, twins.head.logits.kernel, twins.head.logits.bias
    embedding.assign(np.where(np.arange(11)[:, None] == 4, embedding.numpy()[3], embedding.numpy()))
    kernel.assign(np.where(np.arange(11) == 4, kernel.numpy()[:, 3:4], kernel.numpy()))
    bias.assign(np.where(np.arange(11) == 4, 2.0, np.where(np.arange(11) == 3, 2.0, bias.numpy())))

    def run(feeds):
        settings = {name: feeds[name].item() for name in ("min_length", "length_penalty")}
        source = {"source": feeds["source"]}
        expected = generate(
            twins, source=source, decode=tfseq.Beam(2), max_length=feeds["max_length"].item(), **settings
        )
        tokens = np.array(expected.tokens)
        return {"tokens": np.where(tokens == 3, 4, tokens), "lengths": expected.lengths, "scores": expected.scores}

    tokens, _ = check_generation(run, twins, tfseq.Beam(2), "file", 1e-4, TokenIdInterface())
    assert tokens.passed
    assert tokens.ties > 20
    assert tokens.identical < 224


def test_tokens_that_a_graph_of_code_points_cannot_tell_apart_are_one():
    interface = CodePointInterface(["<unk>", "<start>", "a", "b"], 5)
    assert interface.round_trip(np.array([0, 1, 2, 3, 4])).tolist() == [0, 0, 2, 3, 0]
    assert interface.readable == [0, 2, 3]
    padded = CodePointInterface(["<pad>", "<unk>", "a", "\ufffd"], 4)
    assert padded.round_trip(np.array([0, 1, 2, 3])).tolist() == [3, 3, 2, 3]
    assert padded.readable == [1, 2, 3]
    fed = {}
    source = TensorSpec("source", "int32", ("batch", "source_time"))
    run = padded.in_token_ids(lambda feeds: fed.update(feeds) or {"tokens": np.array([[0x61, 0x62, 0]])}, [source])
    assert run({"source": np.array([[2, 1, 3, 0]])})["tokens"].tolist() == [[2, 1, 0]]
    assert fed["source"][0, [0, 2, 3]].tolist() == [0x61, 0xFFFD, 0]
    assert fed["source"][0, 1] not in (0, 0x61, 0xFFFD)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": True}, "attention is that of a loop"),
        ({"decode": tfseq.Greedy, "attention": True}, r"expected tfseq.Greedy\(\)"),
        ({"decode": tfseq.Greedy(), "attention": True, "model": "lstm"}, "has no attention to give out"),
        ({"decode": tfseq.Greedy(min_length=3), "model": "lstm"}, "min_length is 3, but no token ends"),
        ({"decode": tfseq.Greedy(forbidden=(11,))}, "forbidden holds 11"),
        ({"decode": tfseq.Beam(), "streaming": True}, "A beam search knows its first token only when"),
        ({"decode": tfseq.Greedy(), "streaming": True, "attention": True}, "outputs no attention"),
        ({"tokenizer": CharacterTokenizer(["<unk>", "<end>", "<start>", *"abcdefgh"])}, "start is token 2"),
        ({"streaming": True}, r"token by token: .* decode=tfseq.Greedy\(\)"),
        ({"streaming": True, "model": "transformer language model"}, r"token by token: .* decode=tfseq.Greedy\(\)"),
    ],
)
def test_what_cannot_be_generated_is_refused(arguments, message, tmp_path):
    arguments = {"model": "transformer"} | arguments
    with pytest.raises(ExportError, match=message):
        export(model(arguments.pop("model")), tmp_path / "model.onnx", **arguments)
    assert not list(tmp_path.iterdir())


def test_only_standard_operators_are_in_a_beam_search(tmp_path):
    export(model("transformer"), tmp_path / "model.onnx", decode=tfseq.Beam(3), verify=False)
    graph = onnx.load(tmp_path / "model.onnx")
    assert [opset.domain for opset in graph.opset_import] == [""]
    assert {node.domain for g in all_graphs(graph.graph) for node in g.node} == {""}
