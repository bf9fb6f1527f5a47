"""`check_generator`: each mistake is found by name, alone and beside another one; right models have no findings."""

import itertools

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

from tests.decoding.toys import TableTranslator, language_model
from tests.models import test_generators as common
from tfseq.layers.caption_decoders import AttentionCaptionDecoder, RecurrentCaptionDecoder, TransformerCaptionDecoder
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.models import Captioner, DelayedAnswer, Finding, Generator, ImageNamer, check_generator

VOCABULARY, UNITS = 9, 6


class Translator(Generator):
    """A small encoder-decoder, as in tutorials, with the mistakes that it is asked for."""

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
        if "no start" in self.mistakes:
            self.start = None
        mask = "an encode that reads padding" not in self.mistakes
        self.source_embedding = keras.layers.Embedding(VOCABULARY, units, mask_zero=mask)
        self.encoder = keras.layers.GRU(units)
        self.embedding = keras.layers.Embedding(VOCABULARY, units)
        self.decoder = keras.layers.GRU(units, return_sequences=True)
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
        logits = self._logits(self.decoder(x, initial_state=self._first_state(self.encode(source))))
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
        if "a scalar in the state" in self.mistakes:
            return [h, ops.zeros((), "int32")]
        if "a state without rows" in self.mistakes:
            return [h, ops.zeros((UNITS,))]
        if "a state that grows" in self.mistakes:
            return [h, ops.zeros((batch_size, 1))]
        return [h]

    def step(self, tokens, state, memory=()):
        x, h = self.decoder.cell(self.embedding(tokens), state[0])
        more = list(state[1:])
        if "a state that grows" in self.mistakes:
            more = [ops.concatenate([more[0], more[0][:, -1:]], axis=1)]
        elif more:
            more = [more[0] + 1]
        logits = self._logits(x)
        if "a step that returns no state" in self.mistakes:
            return logits
        return (logits[:, None] if "a step with a time axis" in self.mistakes else logits), [h, *more]

    def _logits(self, x):
        return ops.softmax(self.head(x)) if "a softmax in the head" in self.mistakes else self.head(x)

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
    for i in random.choice(len(pairs), 16, replace=False):
        assert {TOGETHER[mistake] for mistake in pairs[i]} <= rules(translator(*pairs[i])), pairs[i]
