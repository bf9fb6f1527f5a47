"""A prompt that is read at once: the loop chooses the tokens that it does where it reads token by token."""

import os
from itertools import islice
from unittest import mock

import keras
import numpy as np
import pytest
from keras import ops

from tests.decoding.toys import language_model
from tfseq.decoding import Beam, Greedy, Sample, decode, generate
from tfseq.models import Generator, RecurrentLanguageModel, StateSpaceLanguageModel, TransformerLanguageModel

VOCABULARY = 11
CASES = 6


def transformer(**options):
    shape = {"units": 8, "heads": 2, "depth": 2, "max_positions": 24}
    return varied(TransformerLanguageModel, **shape | options)


def varied(kind, **options):
    keras.utils.set_random_seed(0)
    model = kind(VOCABULARY, **options)
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:  # so that logits differ
        weight.assign(np.asarray(weight) + random.normal(size=weight.shape, scale=0.4))
    return model


MODELS = {
    "lstm": lambda end: language_model("lstm", end=end, depth=2, initial_state="learned"),
    "gru": lambda end: language_model("gru", end=end, embedding_dim=5),
    "rnn": lambda end: language_model("rnn", end=end),
    "transformer": lambda end: transformer(end=end),
    "rotary transformer of a window": lambda end: transformer(end=end, positions="rotary", window=3, depth=1),
    "sinusoidal transformer": lambda end: transformer(end=end, positions="sinusoidal", tied=False, depth=1),
    "state space": lambda end: varied(StateSpaceLanguageModel, units=6, depth=2, states=3, window=3, end=end),
}


def token_by_token(model):
    """Within, the model lacks `read`."""
    return mock.patch.object(type(model), "read", Generator.read)


def cases(model, seed):
    """Strategies and inputs: ragged prompts, prompts of one token, of equal lengths, and every setting there is.

    Every other one for a model with an end, the others for one without.
    """
    for case in range(model.end is None, CASES, 2):
        random = np.random.default_rng((seed, case))
        width = int(random.integers(1, 9))
        lengths = random.integers(1, width + 1, int(random.integers(1, 5)))
        if case == 0:
            lengths[:] = 1
        elif case in (1, 2):
            lengths[:] = width
        max_length = 1 if case in (0, 1) else int(random.integers(2, 12))
        rules = {
            "repetition_penalty": float(random.choice([1.0, 1.3, 0.8])),
            "forbidden": tuple(random.integers(4, VOCABULARY, int(random.integers(0, 3))).tolist()),
            "min_length": 0 if model.end is None else int(random.integers(0, 6)),
        }
        draws = {"temperature": float(random.choice([0.5, 1.0, 1.5])), "seed": int(random.integers(-(2**31), 2**31))}
        for strategy in (
            Greedy(**rules),
            Sample(**rules, **draws, top_k=int(random.choice([0, 4])), top_p=float(random.choice([1.0, 0.8]))),
            Beam(int(random.integers(1, 5)), float(random.choice([0.0, 0.8])), **rules),
        ):
            inputs = {
                "prompt": random.integers(0, VOCABULARY, (len(lengths), width)).astype("int32"),
                "prompt_length": lengths.astype("int32"),
                "max_length": np.int32(max_length),
            }
            for name, dtype in strategy.dtypes(model).items():
                inputs[name] = np.asarray(strategy.settings[name], dtype)
            yield strategy, {name: ops.convert_to_tensor(value) for name, value in inputs.items()}


@pytest.mark.parametrize("end", [None, 3])
@pytest.mark.parametrize("name", MODELS)
def test_reading_at_once_changes_no_token(name, end):
    model = MODELS[name](end)
    assert model.reads_at_once
    for strategy, inputs in cases(model, seed=len(name)):
        got = decode(model, strategy, inputs, ["logits"])
        with token_by_token(model):
            assert not model.reads_at_once
            expected = decode(model, strategy, inputs, ["logits"])
        for output in ("tokens", "lengths"):
            np.testing.assert_array_equal(got[output], expected[output], err_msg=f"{strategy} {inputs}")
        for output in ("scores", "logits"):
            np.testing.assert_allclose(got[output], expected[output], atol=1e-4)


@pytest.mark.parametrize("strategy", [Greedy(), Sample(seed=1), Beam(2)])
def test_the_loop_goes_on_behind_the_shortest_prompt(strategy):
    """Steps counted where nothing is compiled."""
    model, read = language_model("gru"), []
    prompt = np.random.default_rng(0).integers(0, VOCABULARY, (3, 7)).astype("int32")
    inputs = {"prompt": prompt, "prompt_length": np.array([5, 7, 4], "int32"), "max_length": np.int32(6)}
    inputs |= {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model).items()}
    step, at_once = RecurrentLanguageModel.step, RecurrentLanguageModel.read
    with (
        mock.patch.object(RecurrentLanguageModel, "step", lambda self, *given: read.append(1) or step(self, *given)),
        mock.patch.object(
            RecurrentLanguageModel, "read", lambda self, *given: read.append(given[0].shape[1]) or at_once(self, *given)
        ),
    ):
        decode(model, strategy, {name: ops.convert_to_tensor(value) for name, value in inputs.items()})
    assert read == [4] + [1] * (3 + 5)  # what is left of the longest prompt, then all new tokens but the last


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_a_compiled_loop_reads_prompts_of_any_length(name):
    """Also one that runs no step after the prompt, because one token was asked for or the first one ends it."""
    model = MODELS[name](None)
    random = np.random.default_rng(1)
    model.end = int(np.asarray(generate(model, [[1, 2, 4]], max_length=1).tokens)[0, 0])
    for length, max_length in [(1, 1), (6, 1), (1, 5), (6, 5), (3, 9), (2, 9)]:
        prompt = random.integers(0, VOCABULARY, (1, length)).astype("int32")
        got = generate(model, prompt, max_length=max_length)
        inputs = {"prompt": prompt, "prompt_length": np.array([length]), "max_length": max_length, "min_length": 0}
        with token_by_token(model):
            expected = decode(model, Greedy(), {k: ops.convert_to_tensor(x, "int32") for k, x in inputs.items()})
        np.testing.assert_array_equal(got.tokens, expected["tokens"])
        np.testing.assert_allclose(got.scores, expected["scores"], atol=1e-5)
    assert generate(model, [[1, 2, 4]], max_length=5).tokens.shape == (1, 0)


ON_JAX = """
import sys
from itertools import islice
import keras, numpy as np
sys.path.insert(0, sys.argv[2])
from tests.decoding.test_read import cases
from tfseq.decoding import decode
assert keras.backend.backend() == "jax"
for name in ("lstm", "transformer"):
    model = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    for i, (strategy, inputs) in enumerate(islice(cases(model, seed=7), 0, None, 7)):
        outputs = decode(model, strategy, inputs)
        np.savez(f"{sys.argv[1]}/{name}_{i}.npz", **{name: np.asarray(x) for name, x in outputs.items()})
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares JAX with TensorFlow")
def test_jax_chooses_the_same_tokens(tmp_path, on_jax):
    models = {name: MODELS[name](3) for name in ("lstm", "transformer")}
    for name, model in models.items():
        model.save(tmp_path / f"{name}.keras")
    on_jax(ON_JAX, tmp_path, os.getcwd())
    for name, model in models.items():
        for i, (strategy, inputs) in enumerate(islice(cases(model, seed=7), 0, None, 7)):  # one of each kind
            got = np.load(tmp_path / f"{name}_{i}.npz")
            with token_by_token(model):
                expected = decode(model, strategy, inputs)
            np.testing.assert_array_equal(got["tokens"], expected["tokens"], err_msg=f"{strategy} {inputs}")
            np.testing.assert_allclose(got["scores"], expected["scores"], atol=1e-4)
