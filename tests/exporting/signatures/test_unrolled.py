"""Recurrent layers that unroll, over a free length: the file gives what Keras' unrolled steps give."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from tfseq.exporting import export
from tfseq.runtime import load

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "gelu"])  # an operator's, and a loop's
def test_unrolled_layers_with_masks(tmp_path, activation, zeros):
    x = layers.Input((None, 3), name="x")
    masked = layers.Masking()(x)
    outputs = []
    for backwards, sequences in itertools.product((False, True), repeat=2):
        options = {"go_backwards": backwards, "return_sequences": sequences, "return_state": sequences}
        made = layers.GRU(2, activation, unroll=True, zero_output_for_mask=zeros, **options)(masked)
        outputs += made if sequences else [made]
    half = layers.GRU(2, activation, unroll=True, return_sequences=True, zero_output_for_mask=zeros)
    outputs.append(layers.Bidirectional(half)(masked))
    model = keras.Model(x, outputs)
    export(model, tmp_path / "model.onnx")
    run = load(tmp_path / "model.onnx")
    for length in (1, 6):
        values = RANDOM.normal(size=(4, length, 3)).astype("float32")
        values[RANDOM.random((4, length)) < 0.4] = 0
        expected = model(values, training=False)
        found = run.predict(values)
        found = found.values() if isinstance(found, dict) else found
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
