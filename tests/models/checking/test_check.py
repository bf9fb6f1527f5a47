"""`check_generator`: each mistake is found by name, alone and beside another one; right models have no findings."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tfseq.layers.caption_decoders import AttentionCaptionDecoder, RecurrentCaptionDecoder, TransformerCaptionDecoder
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.models import (
    AttentionSeq2Seq,
    Captioner,
    DelayedAnswer,
    Generator,
    ImageNamer,
    RecurrentLanguageModel,
    Seq2Seq,
    Transformer,
    TransformerLanguageModel,
    check_generator,
)

VOCABULARY, UNITS = 9, 6


class Translator(Generator):
    """A small encoder-decoder that adds up what it reads, with the mistakes that it is asked for."""

    start, end = 1, 2
    sources = (keras.InputSpec(shape=(None, None), dtype="int32", name="source"),)

    def __init__(self, mistakes=(), units=UNITS, **kwargs):
        super().__init__(**kwargs)
        self.mistakes, self.units = frozenset(mistakes), units
        if "no vocabulary_size" not in self.mistakes:
            self.vocabulary_size = VOCABULARY + ("another vocabulary_size" in self.mistakes)
        self.sources = {
            "a source without a name": (keras.InputSpec(shape=(None, None), dtype="int32"),),
            "a source that is a string": ("source",),
            "no sources": (),
            "an InputSpec in no tuple": type(self).sources[0],
            "a source of a fixed batch": (keras.InputSpec(shape=(3, None), dtype="int32", name="source"),),
        }.get(next((m for m in mistakes if m in SOURCES), None), type(self).sources)
        self.shares_memory = "a memory that is not shared" in self.mistakes
        if "no start" in self.mistakes:
            self.start = None
        mask = "an encode that reads padding" not in self.mistakes
        self.source_embedding = keras.layers.Embedding(VOCABULARY, units, mask_zero=mask)
        self.encoder = keras.layers.GlobalAveragePooling1D()
        self.embedding = keras.layers.Embedding(VOCABULARY, units)
        self.head = keras.layers.Dense(VOCABULARY)

    def call(self, inputs, training=False):
        if "a call of a tuple" in self.mistakes:
            source, target = inputs
        else:
            source, target = inputs["source"], inputs["target"]
        if "a call that fails" in self.mistakes:
            return self.head(ops.concatenate([self.embedding(target), self.encode(source)], axis=-1))
        x = self.embedding(target)
        if "a call that differs" in self.mistakes:
            x = x * UNITS**0.5
        logits = self._logits(self._first_state(self.encode(source))[:, None] + ops.cumsum(x, axis=1))
        if "noise" in self.mistakes:
            logits = logits + keras.random.normal((ops.shape(target)[0], 1, VOCABULARY))
        return ops.cast(logits, "float16") if "half precision" in self.mistakes else logits

    def encode(self, inputs=None):
        memory = self.encoder(self.source_embedding(inputs))
        if "a batch that is mixed" in self.mistakes:
            memory = memory - ops.mean(memory, axis=0, keepdims=True)
        return {"memory": memory, "temperature": 0.5} if "a memory of a number" in self.mistakes else memory

    def _first_state(self, memory):
        return memory["memory"] if isinstance(memory, dict) else memory

    def initial_state(self, memory, batch_size):
        h = self._first_state(memory)
        h = 0 * h if self.shares_memory else h
        if "a scalar in the state" in self.mistakes:
            return [h, ops.zeros((), "int32")]
        if "a state without rows" in self.mistakes:
            return [h, ops.zeros((UNITS,))]
        if "a state that grows" in self.mistakes:
            return [h, ops.zeros((batch_size, 1))]
        return [h]

    def step(self, tokens, state, memory=()):
        h = state[0] + self.embedding(tokens)
        more = list(state[1:])
        if "a state that grows" in self.mistakes:
            more = [ops.concatenate([more[0], more[0][:, -1:]], axis=1)]
        elif more:
            more = [more[0] + 1]
        logits = self._logits(h + self._first_state(memory) if self.shares_memory else h)
        if "a step that returns no state" in self.mistakes:
            return logits
        return (logits[:, None] if "a step with a time axis" in self.mistakes else logits), [h, *more]

    def _logits(self, x):
        logits = self.head(ops.tanh(20 * x))
        return ops.softmax(logits) if "a softmax in the head" in self.mistakes else logits

    def get_config(self):
        if "a get_config that forgets" in self.mistakes:
            return super().get_config() | {"mistakes": sorted(self.mistakes)}
        if "a get_config that fails" in self.mistakes:
            raise RuntimeError("no configuration")
        return super().get_config() | {"mistakes": sorted(self.mistakes), "units": self.units}


SOURCES = {
    "a source without a name": "sources",
    "a source that is a string": "sources",
    "no sources": "sources",
    "an InputSpec in no tuple": "sources",
    "a source of a fixed batch": "sources",
}
STATES = {"a scalar in the state": "state", "a state without rows": "state", "a state that grows": "state"}
CONFIGS = {"a get_config that forgets": "get_config", "a get_config that fails": "get_config"}
VOCABULARIES = {"no vocabulary_size": "vocabulary_size", "another vocabulary_size": "vocabulary_size"}
CALLS = {"a call that differs": "call and step"}
HIDING = {  # what comes behind these is not seen until they are gone
    "a call that fails": "call",
    "a step that returns no state": "step",
    "noise": "random",
    "a batch that is mixed": "neighbours",
}
OTHERS = {
    "no start": "start",
    "a call of a tuple": "call",
    "half precision": "call",
    "a step with a time axis": "step",
    "a memory of a number": "memory",
    "a memory that is not shared": "beams",
    "an encode that reads padding": "padding",
    "a softmax in the head": "logits",
}
TOGETHER = SOURCES | STATES | CONFIGS | VOCABULARIES | CALLS | OTHERS
MISTAKES = TOGETHER | HIDING
GROUPS = [SOURCES, STATES, CONFIGS, VOCABULARIES]  # of which a model makes one at a time


def translator(*mistakes):
    keras.utils.set_random_seed(3)
    units = UNITS + 2 if "a get_config that forgets" in mistakes else UNITS
    return Translator(mistakes, units=units)


def rules(model):
    findings = check_generator(model)
    for finding in findings:
        text = str(finding)
        assert text.startswith(type(model).__name__) or text.startswith("The ")
        assert "; expected " in text
        assert "\n" not in text
        assert text.endswith(".")
    return {finding.rule for finding in findings}


def test_a_right_model_has_no_findings():
    assert check_generator(translator()) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found_by_name(mistake):
    assert rules(translator(mistake)) == {MISTAKES[mistake]}


def test_two_mistakes_are_both_found():
    pairs = [
        pair for pair in itertools.combinations(TOGETHER, 2) if not any(set(pair) <= set(group) for group in GROUPS)
    ]
    random = np.random.default_rng(0)
    for i in random.choice(len(pairs), 12, replace=False):
        assert {TOGETHER[mistake] for mistake in pairs[i]} <= rules(translator(*pairs[i])), pairs[i]


class LanguageModel(Generator):
    """Adds up what it reads, step by step or at once, with the mistake that it is asked for."""

    vocabulary_size = VOCABULARY

    def __init__(self, mistake=None, **kwargs):
        super().__init__(**kwargs)
        self.mistake = mistake
        self.embedding = keras.layers.Embedding(VOCABULARY, UNITS)
        self.head = keras.layers.Dense(VOCABULARY)
        if mistake in ATTRIBUTES:
            setattr(self, mistake, ATTRIBUTES[mistake])

    def call(self, tokens, training=False):
        x = self.embedding(tokens)
        return self.head(ops.sum(x, axis=1, keepdims=True) + x if self.mistake == "call" else ops.cumsum(x, axis=1))

    def initial_state(self, memory, batch_size):
        if self.mistake == "neighbours":
            return {"h": ops.full((batch_size, UNITS), 0.1 * batch_size)}
        return {"h": ops.zeros((batch_size, UNITS))}

    def step(self, tokens, state, memory=()):
        h = state["h"] + self.embedding(tokens)
        return self.head(h), {"g" if self.mistake == "structure" else "h": h}

    def read(self, tokens, state, memory=()):
        x = self.embedding(tokens)
        h = state["h"] + ops.sum(x, axis=1)
        if self.mistake == "read forgets":
            h = ops.sum(x, axis=1)
        logits = self.head(state["h"][:, None] + ops.cumsum(x, axis=1))
        if self.mistake == "read is late":
            return logits[:, -2] if tokens.shape[1] > 1 else logits[:, -1], {"h": h}
        kept = {"h": ops.cast(h, "float16") if self.mistake == "read dtype" else h * (self.mistake != "read state")}
        return (logits if self.mistake == "read all" else logits[:, -1]), kept

    def step_with_attention(self, tokens, state, memory=()):
        logits, state = self.step(tokens, state, memory)
        if self.mistake == "attention logits":
            logits = logits + 1
        weights = ops.ones((ops.shape(tokens)[0], 2), "int32" if self.mistake == "attention" else "float32")
        return (logits, state) if self.mistake == "no attention" else (logits, state, weights)

    def get_config(self):
        return super().get_config() | {"mistake": self.mistake}


ATTRIBUTES = {
    "vocabulary_size": "9",
    "start": 1,
    "end": "<end>",
    "max_positions": 0,
    "shares_memory": None,
    "sources": "source",
}
OF_LANGUAGE_MODELS = {
    None: set(),
    **{name: {name} for name in ATTRIBUTES},
    "call": {"call and step"},
    "neighbours": {"neighbours", "call and step"},
    "structure": {"state"},
    "read forgets": {"read and step"},
    "read is late": {"read and step"},
    "read state": {"read and step"},
    "read dtype": {"state"},
    "read all": {"read"},
    "attention": {"step_with_attention"},
    "attention logits": {"step_with_attention"},
    "no attention": {"step_with_attention"},
}


@pytest.mark.parametrize("mistake", OF_LANGUAGE_MODELS)
def test_mistakes_of_a_language_model_are_found(mistake):
    assert rules(LanguageModel(mistake)) == OF_LANGUAGE_MODELS[mistake]


def test_a_model_that_is_no_generator_is_a_finding():
    for model in (keras.Sequential(), LanguageModel, None, 3):
        (finding,) = check_generator(model)
        assert finding.rule == "class"


def test_a_finding_is_one_sentence_with_the_line_to_write():
    (finding,) = check_generator(translator("no vocabulary_size"))
    assert str(finding) == (
        "Translator has no vocabulary_size; expected the number of tokens that `step` scores: write "
        "`self.vocabulary_size = 9` in its __init__."
    )
    (finding,) = check_generator(translator("a call that fails"))
    assert "Ranks of all input" in finding.saw or "concat" in finding.saw.lower()
    assert "Exception encountered" not in str(finding)


def raises(*_, **__):
    raise KeyError("of its own")


STRANGE = [raises, lambda *_: None, lambda *_: "a string", lambda *_: (), lambda *_: ops.ones((2, 2)), lambda *_: {}]
VALUES = [None, "a string", -1, 2.5, (), (None,), {"a": 1}, np.ones(2), object(), property(raises)]


def test_whatever_a_model_does_is_a_finding_and_nothing_is_raised():
    random = np.random.default_rng(0)
    methods = ("call", "encode", "initial_state", "step", "read", "step_with_attention", "get_config", "from_config")
    attributes = ("vocabulary_size", "start", "end", "sources", "max_positions", "shares_memory")
    for _ in range(25):
        names = random.choice([*methods, *attributes], random.integers(1, 4), replace=False)
        body = {
            name: STRANGE[random.integers(len(STRANGE))] if name in methods else VALUES[random.integers(len(VALUES))]
            for name in names
        }
        base = (LanguageModel, Translator, Generator)[random.integers(3)]
        try:
            model = type("Strange", (base,), body)()
        except Exception:  # an attribute that can't be set
            continue
        findings = check_generator(model)
        if {"call", "initial_state", "step"} & {*names} or base is Generator:
            assert findings, body
        assert all("\n" not in str(finding) for finding in findings)


class WithoutInit(Generator):
    def __init__(self):
        pass


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError


class RaisesSpeechless(LanguageModel):
    def step(self, *_):
        raise Speechless

    @property
    def end(self):
        raise Speechless

    @property
    def reads_at_once(self):
        raise Speechless


class Past(NamedTuple):
    """Embeddings of all tokens so far, (batch, time, units)."""

    embeddings: Any

    growing_axis = 1


class Remembers(LanguageModel):
    """The same sums, of all that it remembers; it begins with an entry too many if it is asked for that mistake."""

    read = Generator.read
    step_with_attention = Generator.step_with_attention

    def initial_state(self, memory, batch_size):
        return Past(ops.zeros((batch_size, int(self.mistake == "begins"), UNITS)))

    def step(self, tokens, state, memory=()):
        past = ops.concatenate([state.embeddings, self.embedding(tokens)[:, None]], axis=1)
        return self.head(ops.sum(past, axis=1)), Past(past)


def test_a_state_that_says_along_which_axis_it_grows_is_right():
    assert rules(Remembers()) == set()
    assert rules(Remembers("begins")) == {"growing state"}


def test_a_model_that_raises_whatever_is_asked_of_it_has_findings():
    assert {"initial_state", "step"} <= rules(WithoutInit())
    assert {"step", "end"} <= rules(RaisesSpeechless())


SMALL = {"source_vocabulary_size": 11, "units": 8}
ENCODER = {"image_shape": (8, 8, 1), "vocabulary_size": VOCABULARY}
OURS = {
    "lstm": lambda: RecurrentLanguageModel(VOCABULARY, units=8),
    "gru, learned start": lambda: RecurrentLanguageModel(
        VOCABULARY, units=8, cell="gru", embedding_dim=5, initial_state="learned"
    ),
    "rnn": lambda: RecurrentLanguageModel(VOCABULARY, units=8, cell="rnn"),
    "rotary, of a window": lambda: TransformerLanguageModel(
        VOCABULARY, units=8, heads=2, depth=1, positions="rotary", window=2
    ),
    "seq2seq": lambda: Seq2Seq(VOCABULARY, embedding_dim=5, cell="rnn", **SMALL),
    "attention": lambda: AttentionSeq2Seq(VOCABULARY, embedding_dim=5, cell="rnn", alignment="dot", **SMALL),
    "transformer": lambda: Transformer(VOCABULARY, heads=2, hidden=16, depth=1, **SMALL),
    "transformer in 16 bits": lambda: Transformer(
        VOCABULARY, heads=2, hidden=16, depth=1, dtype="mixed_bfloat16", **SMALL
    ),
    "delayed answer": lambda: DelayedAnswer(VOCABULARY, units=8, cell="rnn", reverse=True),
    "image namer": lambda: ImageNamer(ConvolutionalEncoder((3,), units=8), units=8, cell="rnn", **ENCODER),
    "captioner": lambda: Captioner(
        ConvolutionalEncoder((3,), grid=True), AttentionCaptionDecoder(8, cell="rnn"), **ENCODER
    ),
}
MORE_OF_OURS = {
    "captioner of lstm": lambda: Captioner(
        ConvolutionalEncoder((3,), grid=True), RecurrentCaptionDecoder(8, cell="lstm"), **ENCODER
    ),
    "captioner of transformer": lambda: Captioner(
        ConvolutionalEncoder((3,), grid=True), TransformerCaptionDecoder(8, heads=2), **ENCODER
    ),
    "few positions": lambda: TransformerLanguageModel(
        VOCABULARY, units=8, heads=2, depth=1, positions="learned", max_positions=2
    ),
    "post, learned, untied": lambda: Transformer(
        VOCABULARY, heads=2, hidden=16, norm="post", positions="learned", tied=False, **SMALL
    ),
    "sinusoidal, untied": lambda: TransformerLanguageModel(
        VOCABULARY, units=8, heads=2, positions="sinusoidal", tied=False, dtype="mixed_bfloat16"
    ),
    "attention of lstm": lambda: AttentionSeq2Seq(VOCABULARY, embedding_dim=5, cell="lstm", depth=2, **SMALL),
    "seq2seq in both directions": lambda: Seq2Seq(
        VOCABULARY, embedding_dim=5, cell="lstm", depth=2, bidirectional=True, **SMALL
    ),
    "delayed answer of lstm": lambda: DelayedAnswer(VOCABULARY, units=8, depth=2, cell="lstm"),
}


def with_random_weights(model):
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:  # biases and norms too, so that none is neutral
        weight.assign(weight + random.normal(0, 0.2, weight.shape))
    return model


@pytest.mark.parametrize("name", OURS)
def test_our_models_have_no_findings(name):
    assert check_generator(with_random_weights(OURS[name]())) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS | MORE_OF_OURS)
def test_more_of_our_models_have_no_findings_before_they_have_weights(name):
    keras.utils.set_random_seed(1)
    assert check_generator((OURS | MORE_OF_OURS)[name]()) == []
