"""`as_float32`: layers of any policy, anywhere in a model, come out in float32 with the same weights."""

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from tfseq.exporting import export
from tfseq.exporting.conversion.float32_copy import as_float32, precision
from tfseq.runtime import load

POLICIES = [None, "float32", "mixed_float16", "mixed_bfloat16", "float16", "bfloat16"]

policies = st.sampled_from(POLICIES)


@keras.saving.register_keras_serializable("tests")
class OwnPolicy(layers.Layer):
    """A layer whose sublayer is made in a policy that no configuration tells."""

    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner
        self.dense = layers.Dense(3, dtype=inner)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return super().get_config() | {"inner": self.inner}


kinds = st.one_of(
    st.builds(lambda dtype: layers.Dense(4, activation="tanh", dtype=dtype), policies),
    st.builds(lambda dtype: layers.LayerNormalization(dtype=dtype), policies),
    st.builds(lambda dtype: layers.Conv1D(3, 2, padding="same", dtype=dtype), policies),
    st.builds(
        lambda dtype: layers.GRU(3, return_sequences=True, recurrent_initializer="normal", dtype=dtype), policies
    ),
    st.builds(lambda inner, dtype: OwnPolicy(inner, dtype=dtype), policies, policies),
    st.builds(lambda dtype: layers.TimeDistributed(layers.Dense(3, dtype=dtype)), policies),
)


@settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(policies, st.lists(kinds, min_size=1, max_size=4), st.booleans())
def test_layers_of_any_policy_are_exported_in_float32(tmp_path_factory, usual, stack, functional):
    keras.config.set_dtype_policy(usual or "float32")
    try:
        x = keras.Input((5, 3))
        if functional:
            y = x
            for layer in stack:
                y = layer(y)
            model = keras.Model(x, y)
        else:
            model = keras.Sequential([x, *stack])
        before = model.compute_dtype
        path = tmp_path_factory.mktemp("policies") / "model.onnx"
        export(model, path)
        assert model.compute_dtype == before
        assert keras.config.dtype_policy().name == (usual or "float32")
    finally:
        keras.config.set_dtype_policy("float32")
    values = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    got = load(path).predict(values)
    assert got.dtype == "float32"
    assert np.allclose(got, keras.ops.cast(model(values), "float32"), atol=0.1)  # three digits are bfloat16's
    assert precision(as_float32(model)) == "float32"


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_quantized_layers_are_exported_with_float32_around_their_integers(mode, policy, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu", dtype=policy), layers.Dense(3, dtype=policy)])
    model.quantize(mode)
    export(model, tmp_path / "model.onnx")
    copy = as_float32(model)
    assert {weight.dtype for weight in copy.weights} == {weight.dtype for weight in model.weights}
    for weight, own in zip(copy.weights, model.weights, strict=True):
        assert np.array_equal(weight, own)
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    expected = keras.ops.convert_to_numpy(keras.ops.cast(model(x), "float32"))
    assert np.allclose(load(tmp_path / "model.onnx").predict(x), expected, atol=0.05)


def test_a_model_of_float32_is_not_copied():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    assert as_float32(model) is model


def test_the_policy_of_a_single_layer_is_told():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2), layers.Dense(2, dtype="mixed_float16")])
    assert precision(model) == "mixed_float16"
