import os
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tfseq.decoding import generate
from tfseq.errors import InputError
from tfseq.models import RecurrentLanguageModel

VOCABULARY = 11


def language_model(cell="lstm", embedding_dim=None, seed=0, **kwargs):
    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(VOCABULARY, 8, cell=cell, embedding_dim=embedding_dim, **kwargs)
    model.build()
    for weight in model.weights:  # larger than usual, so that logits differ and biases count
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape, scale=0.7))
    return model


def prompts(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, VOCABULARY, (4, 6)).astype("int32"), np.array([6, 1, 3, 4], "int32")


def lowbias32(x):
    x = x ^ x >> np.uint32(16)
    x = x * np.uint32(0x7FEB352D)
    x = x ^ x >> np.uint32(15)
    x = x * np.uint32(0x846CA68B)
    return x ^ x >> np.uint32(16)


def generated_by_hand(model, prompt, row, new_tokens, temperature, top_k, seed):
    """One row at a time, the whole sequence through `call` for each symbol, the choice in NumPy."""
    sequence = list(prompt)
    stream = lowbias32(lowbias32(np.array([seed ^ 0x9E3779B9], "uint32")) ^ np.uint32(row))
    for _ in range(new_tokens):
        logits = np.asarray(model(np.array([sequence])))[0, -1]
        if top_k:
            logits = np.where(logits >= np.sort(logits)[-top_k], logits, -np.inf)
        key = lowbias32(stream ^ np.uint32(len(sequence)))
        bits = lowbias32(key ^ lowbias32(np.arange(VOCABULARY, dtype="uint32")))
        noise = -np.log(-np.log(((bits >> np.uint32(9)) + np.float64(0.5)) * 2.0**-23))
        sequence.append(int(np.argmax(logits + temperature * noise)))
    return sequence[len(prompt) :]


@pytest.mark.parametrize("cell", ["rnn", "irnn", "lstm", "gru"])
@pytest.mark.parametrize("settings", [(0.0, 0), (1.0, 0), (0.7, 3)])
def test_symbols_are_those_of_feeding_the_whole_sequence_again(cell, settings):
    model = language_model(cell, embedding_dim=5, initial_state="learned", depth=2)
    temperature, top_k = settings
    prompt, lengths = prompts()
    tokens = np.asarray(generate(model, prompt, lengths, new_tokens=6, temperature=temperature, top_k=top_k, seed=9))
    for row, length in enumerate(lengths):
        by_hand = generated_by_hand(model, prompt[row, :length], row, 6, temperature, top_k, 9)
        assert tokens[row].tolist() == by_hand


def test_a_row_depends_neither_on_padding_nor_on_other_rows():
    model = language_model()
    prompt, lengths = prompts()
    tokens = np.asarray(generate(model, prompt, lengths, new_tokens=9, seed=1))
    noise = np.where(np.arange(6) < lengths[:, None], prompt, VOCABULARY - 1)
    padded_otherwise = np.pad(noise, ((0, 0), (0, 3)))
    assert np.array_equal(generate(model, padded_otherwise, lengths, new_tokens=9, seed=1), tokens)
    assert np.array_equal(generate(model, prompt[:1], lengths[:1], new_tokens=9, seed=1), tokens[:1])


def test_fewer_new_symbols_are_a_prefix():
    model = language_model()
    prompt, lengths = prompts()
    tokens = np.asarray(generate(model, prompt, lengths, new_tokens=9, seed=1))
    for n in (0, 1, 5):
        assert np.array_equal(generate(model, prompt, lengths, new_tokens=n, seed=1), tokens[:, :n])


def test_generating_in_two_goes_is_generating_in_one():
    model = language_model("gru")
    prompt, _ = prompts()
    at_once = np.asarray(generate(model, prompt, new_tokens=8, seed=4))
    first = np.asarray(generate(model, prompt, new_tokens=3, seed=4))
    then = np.asarray(generate(model, np.concatenate([prompt, first], 1), new_tokens=5, seed=4))
    assert np.array_equal(np.concatenate([first, then], 1), at_once)


def test_seeds_rows_and_positions_draw_differently():
    model = language_model()
    prompt = np.zeros((2, 3), "int32")
    one, other = (np.asarray(generate(model, prompt, new_tokens=40, seed=s)) for s in (1, 2))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_training_on_changes_what_is_generated():
    model = language_model()
    prompt, _ = prompts()
    before = np.asarray(generate(model, prompt, new_tokens=20, temperature=0.0))
    for weight in model.weights:
        weight.assign(-np.asarray(weight))
    assert not np.array_equal(generate(model, prompt, new_tokens=20, temperature=0.0), before)


def test_a_single_prompt_needs_no_batch_axis():
    assert generate(language_model(), [1, 2, 3], new_tokens=4).shape == (1, 4)


def test_cost_per_symbol_is_flat():
    model = language_model()

    def seconds(n):
        generate(model, [1], new_tokens=n)
        started = time.perf_counter()
        np.asarray(generate(model, [1], new_tokens=n))
        return time.perf_counter() - started

    few, many = min(seconds(500) for _ in range(3)), min(seconds(4000) for _ in range(3))
    assert many < 3 * 8 * few


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": [[1.5]]}, "integers"),
        ({"prompt": [[]]}, "one symbol at least"),
        ({"prompt": [[1, 2], [3]]}, "ragged"),
        ({"prompt": [[VOCABULARY]]}, "expected 0 to 10"),
        ({"prompt": [[-1]]}, "expected 0 to 10"),
        ({"prompt": [[1, 2]], "prompt_length": [0]}, "from 1 to 2"),
        ({"prompt": [[1, 2]], "prompt_length": [3]}, "from 1 to 2"),
        ({"prompt": [[1, 2]], "prompt_length": [1, 1]}, "expected 1 integers"),
        ({"prompt": [[1]], "new_tokens": -1}, "new_tokens"),
        ({"prompt": [[1]], "new_tokens": 1.5}, "new_tokens"),
        ({"prompt": [[1]], "temperature": -1.0}, "temperature"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        generate(language_model(), **({"new_tokens": 2} | arguments))


def test_padding_may_hold_anything():
    model = language_model()
    expected = np.asarray(generate(model, [[1, 0]], [1], new_tokens=5))
    assert np.array_equal(generate(model, [[1, -1]], [1], new_tokens=5), expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares JAX with TensorFlow")
def test_jax_generates_the_same_symbols(tmp_path):
    model = language_model("gru", embedding_dim=4)
    model.save(tmp_path / "model.keras")
    prompt, lengths = prompts()
    expected = np.asarray(generate(model, prompt, lengths, new_tokens=30, temperature=0.9, top_k=6, seed=3))
    np.savez(tmp_path / "prompts.npz", prompt=prompt, lengths=lengths)
    code = """
import sys, keras, numpy as np, tfseq.models
from tfseq.decoding import generate
from tfseq.decoding.random import draw_bits
assert keras.backend.backend() == "jax"
model = keras.saving.load_model(f"{sys.argv[1]}/model.keras")
data = np.load(f"{sys.argv[1]}/prompts.npz")
tokens = generate(model, data["prompt"], data["lengths"], new_tokens=30, temperature=0.9, top_k=6, seed=3)
np.savez(f"{sys.argv[1]}/jax.npz", tokens=tokens, bits=draw_bits(np.arange(9, dtype="uint32")[:, None], 9))
"""
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True, timeout=120)
    result = np.load(tmp_path / "jax.npz")
    assert np.array_equal(result["tokens"], expected)
    keys, symbols = np.arange(9, dtype="uint32")[:, None], np.arange(9, dtype="uint32")
    assert np.array_equal(result["bits"], lowbias32(keys ^ lowbias32(symbols)))
