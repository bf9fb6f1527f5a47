"""Older versions of Keras: what is made for them does what the newest does; what they lack is left alone or named."""

import types

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tfseq import keras_versions
from tfseq.errors import InputError


@pytest.mark.parametrize("tied", [True, False])
def test_an_embedding_is_reversed_by_its_table_or_by_another(tied):
    layer = keras_versions._ReversibleEmbedding(11, 4, tied, embeddings_initializer="random_normal")
    layer.build()
    tables = [np.array(weight) for weight in layer.weights]
    assert [table.shape for table in tables] == [(11, 4)] if tied else [(11, 4), (4, 11)]
    tokens, states = np.random.randint(0, 11, (2, 3)), np.random.normal(size=(2, 3, 4)).astype("float32")
    assert_allclose(layer(tokens), tables[0][tokens])
    assert_allclose(layer(states, reverse=True), states @ (tables[0].T if tied else tables[1]), atol=1e-6)
    assert layer(keras.Input((3,))).shape == (None, 3, 4)
    assert layer(keras.Input((3, 4)), reverse=True).shape == (None, 3, 11)


def test_a_state_is_divided_by_its_root_mean_square():
    layer = keras_versions._RMSNormalization(epsilon=0.01)
    x = np.random.normal(size=(2, 3, 4)).astype("float32")
    layer.build(x.shape)
    layer.scale.assign([1, 2, 3, 4])
    expected = x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 0.01) * [1, 2, 3, 4]
    assert_allclose(layer(x), expected, atol=1e-6)
    assert layer.get_config()["epsilon"] == 0.01


def test_functions_that_an_older_keras_lacks_are_left_alone(monkeypatch):
    module = types.SimpleNamespace(old=1)
    monkeypatch.setattr(keras_versions, "INSTALLED", (3, 8))
    with keras_versions.patched([(module, "old", 2), (module, "young", 2)]):
        assert vars(module) == {"old": 2}
    assert vars(module) == {"old": 1}
    assert keras_versions.function_of(module, "young") is None


def test_functions_that_a_newer_keras_calls_otherwise_are_found_out(monkeypatch):
    module = types.SimpleNamespace(old=1)
    monkeypatch.setattr(keras_versions, "INSTALLED", (3, 99))
    with pytest.raises(AttributeError, match="renamed"), keras_versions.patched([(module, "renamed", 2)]):
        pass
    with pytest.raises(AttributeError, match="renamed"):
        keras_versions.function_of(module, "renamed")


def test_muon_is_named_where_keras_has_none():
    with pytest.raises(InputError, match=r"muon needs Keras 3\.10; this is .*use adamw"):
        keras_versions._NoMuon(0.1)
