"""Steps of several batches on a backend that does not compute them side by side."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("jax")

ON_JAX = """
import sys
from pathlib import Path
import keras, numpy as np
from tfseq.data import shuffled_batches
from tfseq.training import SupervisedSettings, train
assert keras.backend.backend() == "jax"
folder = Path(sys.argv[1])
x = np.random.RandomState(0).randn(52, 3).astype("float32")
y = (x.sum(1) > 0).astype("int32")
for batch, side_by_side in ((16, 1), (8, 2)):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])
    model.build((None, 3))
    start = model.get_weights()
    settings = SupervisedSettings(epochs=8, batch=batch, side_by_side=side_by_side, learning_rate=0.03)
    rows = 48 if side_by_side == 1 else 52  # of which the last four are no whole step
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = train(
        model, shuffled_batches(x[:rows], y[:rows], batch, seed=None), shuffled_batches(x, y, 52, seed=None)(0),
        settings, folder / str(batch), loss=loss, verbose=0,
    )
    np.savez(folder / f"{batch}.npz", np.array([r["step"] for r in history]),
             *(after - before for after, before in zip(model.get_weights(), start)))
"""


def test_gradients_of_batches_are_accumulated_where_they_are_not_computed_side_by_side(tmp_path, on_jax):
    on_jax(ON_JAX, tmp_path)
    with np.load(tmp_path / "16.npz") as whole, np.load(tmp_path / "8.npz") as parts:
        assert parts["arr_0"].tolist() == whole["arr_0"].tolist() == [3, 6, 9, 12, 15, 18, 21, 24]
        for name in whole.files[1:]:  # learning rates are half a step apart
            assert np.linalg.norm(parts[name] - whole[name]) < 0.1 * np.linalg.norm(whole[name])
