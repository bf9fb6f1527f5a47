"""Strategies and rules of a user's own, written here as a user would, and those of tfseq's: Keras, ONNX, streams."""

import functools
import json
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import onnx
import pytest
from keras import ops

import tfseq
from tests.decoding import by_hand
from tfseq.decoding import Automaton, Choice, NoRepeatNGram, Rule, Sample, Strategy, setting
from tfseq.errors import ArtefactError, ExportError, InputError
from tfseq.exporting import export, verify
from tfseq.exporting.generation.loop_graph import strategy_of
from tfseq.models import AttentionSeq2Seq, RecurrentLanguageModel, TransformerLanguageModel
from tfseq.runtime import CharacterTokenizer, Manifest, load
from tfseq.runtime.manifest_table import describe

LETTERS = CharacterTokenizer(["<unk>", "<start>", "<end>", *"abcdefgh"])
PROMPT = {"prompt": np.array([[4, 3, 7], [6, 4, 0], [3, 0, 0]], "int32"), "prompt_length": np.array([3, 2, 1], "int32")}


class Past(NamedTuple):
    """Directions of the hidden states so far, (rows, time, units)."""

    directions: Any

    @property
    def growing_axis(self):
        return 1


@dataclass(frozen=True)
class Contrastive(Strategy):
    """Contrastive search (Su et al., 2022): likely tokens whose hidden states are unlike those so far."""

    alpha: float = setting(0.6, "how much being unlike what was read counts", neutral=0.0, low=0, high=1)
    k: int = 3

    sees_hidden: ClassVar[bool] = True

    def first(self, model, rows):
        return Past(ops.zeros((rows, 0, model.units)))

    def choose(self, context):
        probabilities, candidates = ops.top_k(ops.softmax(context.logits), self.k)
        _, hidden = context.ahead(candidates)  # (rows, k, units)
        now = ops.expand_dims(ops.normalize(context.hidden, axis=-1), 1)
        past = ops.concatenate([context.own.directions, now], axis=1)
        alike = ops.max(ops.matmul(ops.normalize(hidden, axis=-1), ops.transpose(past, (0, 2, 1))), axis=2)
        alpha = context.settings["alpha"]
        _, best = ops.top_k((1 - alpha) * probabilities - alpha * alike, 1)
        return Choice(ops.take_along_axis(candidates, best, axis=1)[:, 0], own=Past(past))


@dataclass(frozen=True)
class Typical(Sample):
    """Locally typical sampling (Meister et al., 2023): as surprising as the distribution is on average."""

    typical_p: float = setting(0.9, "keeps the most typical tokens", neutral=1.0, low=0, high=1, above=True)

    def keep(self, logits, settings):
        log_p = ops.log_softmax(logits)
        p = ops.exp(log_p)
        entropy = -ops.sum(ops.where(p > 0, p * log_p, 0.0), axis=1, keepdims=True)
        closeness, order = ops.top_k(-ops.abs(log_p + entropy), logits.shape[1])
        p = ops.take_along_axis(p, order, axis=1)
        inside = ops.cumsum(p, axis=1) - p < settings["typical_p"]
        least = ops.min(ops.where(inside, closeness, 0.0), axis=1, keepdims=True)
        return ops.where(-ops.abs(log_p + entropy) < least, float("-inf"), logits)


@dataclass(frozen=True)
class Alternating(Rule):
    """Favours odd tokens and even ones in turn; it counts the tokens that a row has read."""

    favour: float = setting(2.0, "added to logits", neutral=0.0)

    def first(self, model, rows):
        return ops.zeros((rows,), "int32")

    def read(self, state, tokens):
        return state + ops.shape(tokens)[1]

    def apply(self, context, state):
        state = state + 1
        ids = np.arange(context.model.vocabulary_size)
        turn = ops.equal(ops.expand_dims(state, 1) % 2, ids % 2)
        return ops.where(turn, context.logits + context.settings["favour"], context.logits), state


@functools.cache
def model(kind):
    keras.utils.set_random_seed(0)
    vocabulary = LETTERS.vocabulary_size
    built = {
        "gru": lambda: RecurrentLanguageModel(vocabulary, 8, cell="gru", embedding_dim=5, end=2),
        "causal": lambda: TransformerLanguageModel(vocabulary, units=16, heads=2, hidden=24, depth=1, end=2),
        "translator": lambda: AttentionSeq2Seq(vocabulary, units=8, cell="gru"),
    }[kind]()
    read = np.ones((1, 2), "int32")
    built(read if built.start is None else {"source": read, "target": read})
    random = np.random.default_rng(1)
    for weight in built.weights:
        weight.assign(weight + random.normal(size=weight.shape, scale=0.5))
    return built


def hidden_of(one, read):
    """The hidden state after each token read, and the logits after the last, token by token."""
    state, states = one.initial_state((), 1), []
    for token in read:
        logits, state, hidden = one.step_with_hidden(ops.convert_to_tensor(np.array([token], "int32")), state)
        states.append(np.asarray(hidden)[0])
    return np.stack(states), np.asarray(logits)[0]


def contrastive_by_hand(one, read, max_length, alpha, k):
    """Su et al., 2022, eq. 5, in plain NumPy; every candidate is read behind all that came before."""
    new = []
    while len(new) < max_length:
        _, logits = hidden_of(one, [*read, *new])
        p = np.exp(by_hand.log_softmax(logits.astype("float64")))
        scores = {}
        for token in np.argsort(-p)[:k]:
            ahead, _ = hidden_of(one, [*read, *new, token])
            unit = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
            scores[int(token)] = (1 - alpha) * p[token] - alpha * max(unit[:-1] @ unit[-1])
        best = max(scores, key=lambda token: scores[token])
        if best == one.end:
            break
        new.append(best)
    return new


def tokens_of(outputs):
    return [row[:n].tolist() for row, n in zip(np.asarray(outputs["tokens"]), np.asarray(outputs["lengths"]))]


@pytest.mark.parametrize("kind", ["gru", "causal"])
def test_contrastive_search_looks_ahead_in_keras_and_in_the_file(kind, tmp_path):
    one, strategy = model(kind), Contrastive(alpha=0.5)
    expected = [
        contrastive_by_hand(one, row[:n].tolist(), 6, 0.5, 3)
        for row, n in zip(PROMPT["prompt"], PROMPT["prompt_length"])
    ]
    assert tokens_of(tfseq.generate(one, **PROMPT, decode=strategy, max_length=6)._asdict()) == expected
    path = tmp_path / "model.onnx"
    manifest = export(one, path, decode=strategy, tokenizer=LETTERS, code_points=False)
    tokens = next(check for check in manifest.parity["checks"] if check["name"] == "tokens")
    assert tokens["identical"] == tokens["sequences"]
    feeds = {**PROMPT, "max_length": 6, "min_length": 0, "alpha": 0.5}
    assert tokens_of(load(path).run(feeds)) == expected
    assert tokens_of(load(path).run(feeds | {"alpha": 0.0})) == tokens_of(
        tfseq.generate(one, **PROMPT, decode=tfseq.Greedy(), max_length=6)._asdict()
    )
    assert set(manifest.operators) & {"Scan"} == set()


def test_the_file_says_what_a_strategy_takes(tmp_path):
    path = tmp_path / "model.onnx"
    export(model("gru"), path, decode=Contrastive(alpha=0.5), tokenizer=LETTERS, verify=False)
    loaded = load(path)
    alpha = loaded.settings["alpha"]
    assert (alpha.default, alpha.neutral, alpha.low, alpha.high, alpha.dtype) == (0.5, 0.0, 0, 1, "float32")
    assert loaded.generate("abc", 5, alpha=0.9) == loaded.generate("abc", 5, alpha=np.float32(0.9))
    with pytest.raises(InputError, match=r"alpha is 1.5; expected a number, 0 or more, 1 at most"):
        loaded.generate("abc", 5, alpha=1.5)
    lines = describe(loaded.manifest).splitlines()
    assert "decoding    contrastive, k 3, min_length 0, alpha 0.5, end 2" in lines
    line = [line for line in lines if line.strip().startswith("alpha")][-1]
    assert line.split(maxsplit=5)[1:] == ["0.5", "from", "0", "to", "1  how much being unlike what was read counts"]
    old = json.loads(loaded.manifest.to_metadata()["tfseq"])
    del old["decoding"]["settings"]  # as files had it
    assert Manifest.from_json(old).decoding["alpha"] == 0.5


def test_a_strategy_is_found_by_its_class(tmp_path):
    strategies = [
        Contrastive(alpha=0.25, k=2, repetition_penalty=1.5),
        Typical(0.9, typical_p=0.5, min_p=0.1),
        tfseq.Beam(3, patience=np.inf, rules=[NoRepeatNGram(2), Alternating(1.5)]),
    ]
    one = model("gru")
    for strategy in strategies:
        path = tmp_path / "model.onnx"
        manifest = export(one, path, decode=strategy, verify=False)
        assert strategy_of(json.loads(json.dumps(manifest.to_json()))["decoding"]) == strategy
    with pytest.raises(ArtefactError, match="no strategy 'unheard_of' here: import the module that defines it"):
        strategy_of({"strategy": "unheard_of"})
    with pytest.raises(ArtefactError, match=r"no rule .*'unheard_of'.* here"):
        strategy_of({"strategy": "greedy", "rules": [{"rule": "unheard_of"}]})
    with pytest.raises(ArtefactError, match="contrastive is damaged: alpha is 7"):
        strategy_of({"strategy": "contrastive", "alpha": 7})


def test_a_strategy_with_a_name_of_tfseqs_is_refused(tmp_path):
    @dataclass(frozen=True)
    class Mine(Strategy):
        NAME: ClassVar[str] = "greedy"

    with pytest.raises(ExportError, match="tfseq has a strategy named 'greedy'"):
        export(model("gru"), tmp_path / "model.onnx", decode=Mine())


def test_a_model_that_shows_no_hidden_states_is_refused(tmp_path):
    with pytest.raises(ExportError, match="Contrastive looks at hidden states, and AttentionSeq2Seq gives none"):
        export(model("translator"), tmp_path / "model.onnx", decode=Contrastive())


RULED = {
    "sample, automaton": ("gru", Sample(seed=3, rules=[Automaton.pattern("(?:ab|c){2,4}h?", LETTERS)])),
    "beam, automaton": ("translator", tfseq.Beam(3, rules=[Automaton.answers(["abc", "abd", "h"], LETTERS)])),
    "beam, n-grams, own": ("translator", tfseq.Beam(2, rules=[NoRepeatNGram(2), Alternating()])),
    "greedy, n-grams, own": ("causal", tfseq.Greedy(rules=[Alternating(), NoRepeatNGram(2)])),
    "typical, min-p": ("causal", Typical(0.9, min_p=0.05, repetition_penalty=1.2)),
}


@pytest.mark.parametrize("name", RULED)
def test_rules_are_verified_in_the_file(name, tmp_path):
    kind, strategy = RULED[name]
    manifest = export(model(kind), tmp_path / "model.onnx", decode=strategy, tokenizer=LETTERS)
    tokens = next(check for check in manifest.parity["checks"] if check["name"] == "tokens")
    assert tokens["identical"] + tokens["ties"] == tokens["sequences"]
    assert tokens["ties"] <= 1
    assert all(operator != "Unknown" for operator in manifest.operators)


@pytest.mark.parametrize(
    ("strategy", "beside"),
    [
        (tfseq.Greedy(), 2),  # the tokens, and which rows go on
        (Sample(), 2),
        (
            tfseq.Beam(2),
            6,
        ),  # also the beams' scores, the best one's score, pick and step, how many ended; all rows go on
        (tfseq.Greedy(repetition_penalty=1.2), 3),
        (Sample(min_p=0.1), 2),
        (Sample(rules=[NoRepeatNGram(2)]), 3),
        (Sample(rules=[NoRepeatNGram(2), NoRepeatNGram(3), Automaton.pattern("a*", LETTERS)]), 4),
        (Contrastive(), 3),
    ],
)
def test_a_loop_carries_what_is_used_and_no_more(strategy, beside, tmp_path):
    """Beside the state of a GRU."""
    path = tmp_path / "model.onnx"
    manifest = export(model("gru"), path, decode=strategy, verify=False)
    (loop, *_) = (node for node in onnx.load(path).graph.node if node.op_type == "Loop")
    body = next(part.g for part in loop.attribute if part.name == "body")
    assert len(body.input) == 4 + beside  # iteration and condition, the step, the GRU's h
    names = [spec.name for spec in manifest.inputs]
    assert ("min_p" in names) == bool(getattr(strategy, "min_p", 0))
    operators = manifest.operators
    scattered = operators.get("ScatterND", 0) + operators.get("ScatterElements", 0)
    assert (scattered > 0) == (bool(strategy.rules) or strategy.repetition_penalty != 1)


def test_unknown_strategies_and_rules_do_not_keep_files_from_running(tmp_path):
    """Only verifying needs the class."""

    @dataclass(frozen=True)
    class Passing(tfseq.Greedy):
        NAME: ClassVar[str] = "passing"
        push: float = setting(0.0, "nothing", neutral=0.0)

    path = tmp_path / "model.onnx"
    export(model("gru"), path, decode=Passing(), tokenizer=LETTERS)
    Passing.NAME = "another"
    assert load(path).generate("ab", 4, push=1.0) == load(path).generate("ab", 4)
    with pytest.raises(ArtefactError, match="no strategy 'passing' here"):
        verify(path, model("gru"))


STEPPED = {
    "contrastive": ("gru", Contrastive()),
    "counted": ("gru", Sample(seed=4, rules=[NoRepeatNGram(2), Alternating()])),
    "counted, read at once": ("causal", Sample(seed=4, rules=[NoRepeatNGram(2), Alternating()])),
    "automaton": ("causal", Sample(rules=[Automaton.pattern("(?:ab|c)*h", LETTERS)])),
}


@pytest.mark.parametrize("name", STEPPED)
def test_steps_keep_the_states_of_strategies_and_rules(name, tmp_path):
    (kind, strategy), path = STEPPED[name], tmp_path / "model.onnx"
    one = model(kind)
    export(one, path, decode=strategy, tokenizer=LETTERS, streaming=True, verify=kind == "causal")
    stream = load(path).stream_text("abcab", max_length=12, **({"seed": 5} if isinstance(strategy, Sample) else {}))
    "".join(stream)
    given = {"seed": 5} if isinstance(strategy, Sample) else {}
    expected = tfseq.generate(one, [LETTERS.encode("abcab")], decode=strategy, max_length=12, **given)
    assert stream.tokens == tokens_of(expected._asdict())[0]
