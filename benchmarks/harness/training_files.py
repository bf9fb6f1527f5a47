"""Checkpoints and models saved by Keras, damaged from a seed, and used as `--resume` and `tfseq export` use them."""

import functools
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.damaged_archives import damaged_file, damaged_hdf5
from benchmarks.harness.damaged_values import damaged_bytes

KINDS = ("checkpoint", "keras", "keras", "hdf5")
_FILES = ("checkpoint.npz", "checkpoint.previous.npz", "best.npz")


def import_what_opens_them() -> None:
    """Takes the seconds that TensorFlow takes before the first seed is watched; plots show no window.

    Makes the files that are damaged, too.
    """
    import matplotlib

    from tfseq.terminal import import_tensorflow_quietly

    matplotlib.use("Agg")
    import_tensorflow_quietly()
    import tfseq

    tfseq.export  # noqa: B018
    import tfseq.training


def open_training_file(seed: int) -> None:
    """Resumes a run from damaged checkpoints, or loads and exports a damaged model.

    Raises:
        TfseqError: as it should.
    """
    warnings.simplefilter("ignore")
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if kind == "checkpoint":
            _resume(rng, folder)
        else:
            _export(rng, folder, kind)


def _resume(rng: random.Random, folder: Path) -> None:
    damaged = rng.sample(_FILES, rng.choice((1, 1, 1, 2, 3)))
    for name, content in _checkpoints().items():
        (folder / name).write_bytes(damaged_file(rng, content) if name in damaged else content)
    _train(folder, resume=True)


def _train(folder: Path, resume: bool) -> None:
    import keras

    from tfseq.data import shuffled_batches
    from tfseq.training import SupervisedSettings, train

    x = np.linspace(-1, 1, 120, dtype=np.float32).reshape(40, 3)
    y = (x.sum(1) > 0).astype(np.int32)
    layers = [keras.layers.Dense(4, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2)]
    train(
        keras.Sequential([keras.Input((3,)), *layers]),
        shuffled_batches(x, y, 20, seed=1),
        shuffled_batches(x, y, 20, seed=None)(0),
        SupervisedSettings(epochs=3, batch=20),
        folder,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        resume=resume,
        verbose=0,
    )


@functools.cache
def _checkpoints() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        _train(Path(folder), resume=False)
        return {name: Path(folder, name).read_bytes() for name in _FILES}


def _export(rng: random.Random, folder: Path, kind: str) -> None:
    import tfseq
    from tfseq.keras_files import load_keras_model

    if kind == "hdf5":
        path = folder / "model.h5"
        content = rng.choice(_models(".h5"))
        path.write_bytes(damaged_bytes(rng, content) if rng.random() < 0.3 else damaged_hdf5(rng, content))
    else:
        path = folder / "model.keras"
        path.write_bytes(damaged_file(rng, rng.choice(_models(".keras"))))
    model = load_keras_model(path)
    if rng.random() < 0.1:  # it takes a second or two
        tfseq.export(model, folder / "model.onnx")


@functools.cache
def _models(suffix: str) -> list[bytes]:
    """Saved by Keras; as HDF5 those that it can save so."""
    import keras

    made = (_dense, _recurrent) if suffix == ".h5" else (_dense, _recurrent, _attentive, _of_ours)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for make in made:
            keras.utils.set_random_seed(0)
            keras.backend.clear_session()
            path = Path(folder, f"model{suffix}")
            make().save(path)
            found.append(path.read_bytes())
    return found


def _dense() -> Any:
    import keras

    layers = [keras.layers.Rescaling(0.5), keras.layers.Dense(4, "gelu"), keras.layers.BatchNormalization()]
    return keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2, "softmax")])


def _recurrent() -> Any:
    from keras import Input, Sequential, layers

    backwards = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
    return Sequential([Input((None,), dtype="int32"), layers.Embedding(9, 4, mask_zero=True), backwards, layers.GRU(3)])


def _attentive() -> Any:
    import keras
    from keras import layers

    x = keras.Input((5, 4))
    inner = keras.Sequential([keras.Input((5, 4)), layers.Conv1D(4, 3, padding="same"), layers.LayerNormalization()])
    y = layers.Add()([x, layers.MultiHeadAttention(2, 2)(x, inner(x))])
    return keras.Model(x, layers.Dense(2)(keras.ops.mean(y, axis=1)))


def _of_ours() -> Any:
    from tfseq.models import RecurrentLanguageModel

    model = RecurrentLanguageModel(11, units=4, depth=1)
    model(np.zeros((1, 3), np.int32))
    return model


if __name__ == "__main__":
    import_what_opens_them()
    open_training_file(int(sys.argv[1]))
