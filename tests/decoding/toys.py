"""Toy models for the tests of decoding, whose logits are also computed without a state."""

import keras
import numpy as np
from keras import ops

from tfseq.decoding import Generated, decode
from tfseq.layers.loops import compiled
from tfseq.models import Generator, RecurrentLanguageModel

STATES = 211


class TableTranslator(Generator):
    """An encoder-decoder whose logits are a row of a random table, which one depends on all that it read.

    Its attention weights are values that tell which source and which state they came from.
    """

    sources = (keras.InputSpec(shape=(None, None), dtype="int32", name="source"),)

    def __init__(self, vocabulary_size, seed=0, start=1, end=2, shares_memory=False, scale=1.5):
        super().__init__()
        self.vocabulary_size, self.start, self.end = vocabulary_size, start, end
        self.shares_memory = shares_memory
        self.table = np.random.default_rng(seed).normal(size=(STATES, vocabulary_size), scale=scale).astype("float32")
        self.steps = 0  # that ran, where nothing is compiled
        self.built = True

    def encode(self, inputs=None):
        places = ops.arange(1, ops.shape(inputs)[1] + 1, dtype="int32")
        return {"source": inputs, "key": ops.sum(inputs * places, axis=1)}

    def initial_state(self, memory, batch_size):
        return [ops.zeros((batch_size,), "int32")]

    def step(self, tokens, state, memory=()):
        logits, state, _ = self.step_with_attention(tokens, state, memory)
        return logits, state

    def step_with_attention(self, tokens, state, memory=()):
        self.steps += 1
        key, source = memory["key"], memory["source"]  # (batch,), (batch, source_time)
        if self.shares_memory:  # of batch * width rows
            of_rows = ops.arange(ops.shape(tokens)[0]) // (ops.shape(tokens)[0] // ops.shape(key)[0])
            key, source = ops.take(key, of_rows, axis=0), ops.take(source, of_rows, axis=0)
        state = (state[0] * 31 + tokens * 7 + key + 1) % STATES
        weights = ops.cast(source, "float32") + ops.cast(state, "float32")[:, None] * 0.001
        return ops.take(self.table, state, axis=0), [state], weights

    def logits_of(self, source):
        """Logits as a function of what was read."""
        return lambda read: self.table[self.state_by_hand(source, read)]

    def state_by_hand(self, source, read):
        key, state = sum(int(token) * (i + 1) for i, token in enumerate(source)), 0
        for token in read:
            state = (state * 31 + int(token) * 7 + key + 1) % STATES
        return state


def sources(rows, time=5, seed=0):
    """(rows, time) int32, padded with 0."""
    random = np.random.default_rng(seed)
    tokens = random.integers(1, 9, (rows, time))
    return (tokens * (np.arange(time) < random.integers(1, time + 1, (rows, 1)))).astype("int32")


def language_model(cell="lstm", vocabulary=11, seed=0, end=None, **kwargs):
    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(vocabulary, 8, cell=cell, **kwargs)
    model.build()
    for weight in model.weights:  # larger than usual, so that logits differ and biases count
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape, scale=0.7))
    model.end = end
    return model


def logits_of_language_model(model):
    """Logits as a function of what was read: all of it, by `call`."""
    call = compiled(lambda tokens: model(tokens))
    return lambda read: np.asarray(call(ops.convert_to_tensor(np.array([read], "int32"))))[0, -1]


def logits_by_source(model):
    """For a source, the logits of an encoder-decoder as a function of what was read: all of it, by `call`."""
    call = compiled(lambda source, target: model({"source": source, "target": target}))

    def of_source(source):
        def after(read):
            arrays = np.array([source], "int32"), np.array([read], "int32")
            return np.asarray(call(*map(ops.convert_to_tensor, arrays)))[0, -1]

        return after

    return of_source


def prompts(vocabulary=11, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, vocabulary, (4, 6)).astype("int32"), np.array([6, 1, 3, 4], "int32")


def decoded(model, strategy, *, max_length, return_attention=False, **inputs):
    """What `generate` returns, by the same loop not compiled: a model is traced in seconds and runs in milliseconds."""
    inputs["max_length"] = np.int32(max_length)
    for name, dtype in strategy.dtypes(model).items():
        inputs[name] = np.asarray(strategy.settings[name], dtype)
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
    return Generated(**decode(model, strategy, tensors, ["attention"] if return_attention else []))


def assert_same(generated, expected):
    """`expected`: new tokens and score of each row."""
    tokens, lengths, scores, _ = map(np.asarray, generated)
    longest = max(len(new) for new, *_ in expected)
    assert tokens.shape == (len(expected), longest)
    assert lengths.tolist() == [len(new) for new, *_ in expected]
    for row, (new, *_) in enumerate(expected):
        assert tokens[row].tolist() == new + [0] * (longest - len(new))
    np.testing.assert_allclose(scores, [score for _, score, *_ in expected], atol=1e-5, rtol=1e-5)
