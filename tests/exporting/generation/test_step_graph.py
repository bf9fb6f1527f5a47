"""Decode step graphs, run as a stream of text."""

import keras
import numpy as np
import pytest

import tfseq
from tfseq.decoding import decode_step, generate
from tfseq.errors import ExportError
from tfseq.exporting import export, verify
from tfseq.exporting.generation.step_graph import step_graph
from tfseq.models import (
    AttentionSeq2Seq,
    Generator,
    RecurrentLanguageModel,
    StateSpaceLanguageModel,
    Transformer,
    TransformerLanguageModel,
)
from tfseq.runtime import CharacterTokenizer, load
from tfseq.runtime.session import Session
from tfseq.runtime.text_stream import TextStream

LETTERS = CharacterTokenizer(["<unk>", "<start>", "<end>", *"abcdefgh"])


def model(kind):
    keras.utils.set_random_seed(0)
    vocabulary = LETTERS.vocabulary_size
    match kind:
        case "lstm":
            built = RecurrentLanguageModel(vocabulary, 8, embedding_dim=5, initial_state="learned")
        case "transformer language model":
            built = TransformerLanguageModel(vocabulary, units=16, heads=2, hidden=24, depth=2, end=2)
        case "state space":
            built = StateSpaceLanguageModel(vocabulary, units=8, depth=2, states=3, end=2)
        case "gru attention":
            built = AttentionSeq2Seq(vocabulary, units=8, cell="gru")
        case "transformer":
            built = Transformer(vocabulary, units=16, heads=2, hidden=24, depth=1, dropout=0.0)
    read = np.ones((1, 2), "int32")
    built(read if built.start is None else {"source": read, "target": read})
    random = np.random.default_rng(0)
    for weight in built.weights:
        weight.assign(weight + random.normal(size=weight.shape, scale=0.4))
    return built


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        ("lstm", tfseq.Sample(temperature=0.9, top_p=0.95, repetition_penalty=1.2)),
        ("gru attention", tfseq.Greedy(min_length=3)),
        ("transformer", tfseq.Sample(top_k=5, seed=7)),
        ("transformer language model", tfseq.Greedy(repetition_penalty=1.1)),
        ("state space", tfseq.Sample(temperature=0.8, seed=2)),
    ],
)
def test_a_stream_writes_what_one_call_does(kind, strategy, tmp_path):
    one = model(kind)
    manifest = export(one, tmp_path / "model.onnx", decode=strategy, tokenizer=LETTERS, streaming=True)
    assert manifest.task == "stream_generate"
    assert manifest.tokenizer["kind"] == "characters"
    assert manifest.parity["passed"]
    tokens, _ = manifest.parity["checks"]
    assert tokens["identical"] + tokens["ties"] == 224
    stream = load(tmp_path / "model.onnx").stream_text("abcc", max_length=15)
    text = "".join(stream)
    read = LETTERS.encode("abcc")[None]
    given = {"prompt": read} if one.start is None else {"source": read}
    expected = generate(one, **given, decode=strategy, max_length=15)
    assert stream.tokens == np.asarray(expected.tokens)[0].tolist()
    assert text == LETTERS.decode(stream.tokens)
    assert stream.score == pytest.approx(float(expected.scores[0]), abs=1e-4)


def test_the_memory_of_an_encoder_decoder_is_computed_once_and_handed_on(tmp_path):
    one = model("gru attention")
    manifest = export(one, tmp_path / "model.onnx", decode=tfseq.Greedy(), streaming=True, verify=False)
    assert [spec.name for spec in manifest.inputs[:5]] == ["tokens", "position", "index", "min_length", "source"]
    assert [spec.name for spec in manifest.outputs[:2]] == ["chosen", "log_probability"]
    assert [state.output for state in manifest.states] == [f"{state.input}_next" for state in manifest.states]
    assert manifest.operators["If"] == 1
    session = Session(tmp_path / "model.onnx")

    def run(feeds):
        return session.run({name: np.asarray(value, dtypes[name]) for name, value in feeds.items()})

    dtypes = {spec.name: spec.dtype for spec in manifest.inputs}
    memory = [spec for spec in manifest.inputs if spec.name.startswith("memory")]
    states = {
        spec.name: np.zeros(
            [{"batch": 2}.get(size, 0) if isinstance(size, str) else size for size in spec.shape], spec.dtype
        )
        for spec in manifest.inputs[5:]
    }
    first = {"tokens": [1, 1], "position": 0, "index": 0, "min_length": 0}
    source = np.array([[3, 4, 5], [6, 0, 0]])
    outputs = run({**first, "source": source, **states})
    expected = keras.tree.flatten(one.encode(source))
    for spec, value in zip(memory, expected):
        assert np.allclose(outputs[f"{spec.name}_next"], value, atol=1e-6)
    states = {state.input: outputs[state.output] for state in manifest.states}
    nothing = np.zeros((2, 1), "int32")  # at later steps, the source is not read
    later = [
        run({**first, "position": 1, "index": 1, "tokens": outputs["chosen"], "source": other, **states})
        for other in (source, nothing)
    ]
    for name in later[0]:
        assert np.array_equal(later[0][name], later[1][name])


def test_a_cache_grows_from_nothing():
    step = step_graph(model("transformer language model"), tfseq.Greedy())
    cache = next(spec for spec in step.signature.inputs if spec.name == "state_1")
    assert cache.shape == ("batch", 2, "entries", 8)
    assert {state.initial for state in step.states} == {0}
    position = next(spec for spec in step.signature.inputs if spec.name == "state_5")
    assert (position.dtype, position.shape) == ("int32", ())


def test_a_language_model_starts_from_its_learned_state():
    one = model("lstm")
    step = step_graph(one, tfseq.Greedy())
    assert [np.shape(state.initial) for state in step.states] == [(8,), (8,)]
    assert np.allclose(step.states[0].initial, one.h0[0][0])


def test_a_saved_model_takes_steps_too(tmp_path):
    one = model("gru attention")
    manifest = export(one, tmp_path / "saved", decode=tfseq.Greedy(), streaming=True)
    assert manifest.parity["passed"]
    assert verify(tmp_path / "saved", one).passed


class Sideways(Generator):
    """Keeps its state with the rows in the last axis."""

    vocabulary_size = 4

    def initial_state(self, memory, batch_size):
        return keras.ops.zeros((5, batch_size))

    def step(self, tokens, state, memory=()):
        return keras.ops.one_hot(tokens, 4), state


def test_a_state_without_rows_in_front_is_refused(tmp_path):
    one = Sideways()
    one.built = True
    with pytest.raises(ExportError, match=r"shape \(5, 3\) as state for 3 rows; expected a tensor \(batch, ...\)"):
        export(one, tmp_path / "model.onnx", decode=tfseq.Greedy(), streaming=True)


@pytest.mark.parametrize("kind", ["lstm", "transformer language model"])
def test_a_stream_reads_a_text_in_one_step(kind, tmp_path):
    one = model(kind)
    strategy = tfseq.Sample(seed=3, repetition_penalty=1.2)
    manifest = export(one, tmp_path / "model.onnx", decode=strategy, tokenizer=LETTERS, streaming=True, verify=False)
    assert str(manifest.inputs[0]) == "tokens int32 (batch, time)"
    session, read = Session(tmp_path / "model.onnx"), []

    def run(feeds):
        read.append(feeds["tokens"].tolist())
        return session.run(feeds)

    stream = TextStream(manifest, LETTERS, run, "abcc", 3, {"seed": 3})
    list(stream)
    first = list(stream.tokens)
    prompt = LETTERS.encode("abcc").tolist()
    assert read == [[prompt], [first[:1]], [first[1:2]]]
    expected = generate(one, [prompt], decode=strategy, max_length=3)
    assert first == np.asarray(expected.tokens)[0].tolist()
    list(stream.more("ba", 2))
    longer = prompt + first + LETTERS.encode("ba").tolist()
    assert read[3] == [[first[2], *LETTERS.encode("ba").tolist()]]
    expected = generate(one, [longer], decode=strategy, max_length=2)
    assert stream.tokens[3:] == np.asarray(expected.tokens)[0].tolist()


@pytest.mark.parametrize("strategy", [tfseq.Greedy(repetition_penalty=1.3), tfseq.Sample(seed=2)])
def test_steps_that_read_several_tokens_choose_what_single_ones_do(strategy):
    one = model("transformer language model")
    settings = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(one).items()}
    tokens = np.array([[4, 3, 7, 5, 4], [6, 4, 9, 9, 3]], "int32")

    def after(*lengths):
        state, rules_state, begin = one.initial_state((), 2), strategy.first_rules_state(one, 2), 0
        for end in np.cumsum(lengths):
            read = tokens[:, begin] if end == begin + 1 else tokens[:, begin:end]
            place = np.int32(begin), np.int32(end - 5)
            read = keras.ops.convert_to_tensor(read)
            *chosen, rules_state, state = decode_step(one, strategy, read, *place, rules_state, state, (), settings)
            begin = end
        return [*map(np.asarray, chosen), *map(np.asarray, keras.tree.flatten(rules_state))]

    expected = after(1, 1, 1, 1, 1)
    for lengths in ((5,), (2, 3), (3, 1, 1)):
        for got, wanted in zip(after(*lengths), expected):
            np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_a_stream_ends_at_any_of_the_tokens_that_end_a_sequence(tmp_path):
    one = RecurrentLanguageModel(LETTERS.vocabulary_size, 8, embedding_dim=5, end=(2, 9))
    one.build()
    random = np.random.default_rng(1)
    for weight in one.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.7))
    manifest = export(one, tmp_path / "model.onnx", decode=tfseq.Sample(), tokenizer=LETTERS, streaming=True)
    assert manifest.parity["passed"]
    assert list(manifest.decoding["end"]) == [2, 9]
    model, last = load(tmp_path / "model.onnx"), set()
    for seed in range(12):
        stream = model.stream_text("ab", max_length=30, seed=seed)
        "".join(stream)
        expected = generate(one, LETTERS.encode("ab")[None], decode=tfseq.Sample(), max_length=30, seed=seed)
        assert stream.tokens == np.asarray(expected.tokens)[0].tolist()
        assert stream.ended == (len(stream.tokens) < 30)
        last.add(int(stream._unread[0]))
    assert last >= {2, 9}
