"""The same model on JAX and on TensorFlow: equal outputs for equal weights."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("jax")

from tfseq.models import RecurrentLanguageModel

ON_JAX = """
import sys
import keras, numpy as np
from tfseq.models import RecurrentLanguageModel
from tfseq.training import TruncatedBPTT
assert keras.backend.backend() == "jax"
folder = sys.argv[1]
tokens = np.load(f"{folder}/tokens.npy")
for cell in ("rnn", "irnn", "lstm", "gru"):
    model = keras.models.load_model(f"{folder}/{cell}.keras")
    np.save(f"{folder}/{cell}.npy", model(tokens))
    trainer = TruncatedBPTT(model, batch=len(tokens))
    trainer.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    chunk = {"tokens": tokens[:, :-1], "starts": np.ones(len(tokens), bool)}
    trainer.train_on_batch(chunk, tokens[:, 1:])
    np.save(f"{folder}/{cell}_trained.npy", model(tokens))
"""


def test_jax_gives_the_logits_of_tensorflow_before_and_after_a_training_step(tmp_path, on_jax):
    tokens = np.random.default_rng(0).integers(0, 7, (3, 6)).astype("int32")
    np.save(tmp_path / "tokens.npy", tokens)
    expected = {}
    for cell in ("rnn", "irnn", "lstm", "gru"):
        model = RecurrentLanguageModel(7, units=5, depth=2, cell=cell, embedding_dim=3, initial_state="learned")
        expected[cell] = np.asarray(model(tokens))
        model.save(tmp_path / f"{cell}.keras")
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.train_on_batch(tokens[:, :-1], tokens[:, 1:])
        expected[f"{cell}_trained"] = np.asarray(model(tokens))
    on_jax(ON_JAX, tmp_path)
    for name, logits in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), logits, atol=2e-5, err_msg=name)
