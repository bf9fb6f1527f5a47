"""What happens to a run's folder and disk while training: one clear message, and what is good there stays."""

import errno
import itertools
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tests.training.test_checkpoint import files_of_at_most
from tfseq.data import shuffled_batches
from tfseq.errors import TrainingError
from tfseq.training import SupervisedSettings, train
from tfseq.training.run_folder import prepared_run

X = np.random.RandomState(0).randn(40, 3).astype("float32")
Y = (X.sum(1) > 0).astype("int32")
SETTINGS = SupervisedSettings(epochs=4, batch=20, learning_rate=0.03)


class Between(keras.callbacks.Callback):
    """Something that happens when a number of steps have been trained."""

    def __init__(self, step, event):
        super().__init__()
        self.steps, self.event = itertools.count(1), event
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if next(self.steps) == self.step:
            self.event(self.model)


def run(directory, step=None, event=None, resume=False):
    """Trains for 8 steps, with an evaluation after every other one; after `step`, `event` is told the model."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    if step is not None:
        fit = model.fit
        model.fit = lambda *a, callbacks, **k: fit(*a, callbacks=[*callbacks, Between(step, event)], **k)
    train(
        model, shuffled_batches(X, Y, 20, seed=1), shuffled_batches(X, Y, 20, seed=None)(0), SETTINGS, directory,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), resume=resume, verbose=0,
    )  # fmt: skip
    return model.get_weights()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"))


def same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


class Killed(BaseException):
    """A process that ends here: nothing after this happens."""


def dying(call, calls, last):
    def until_then(*arguments, **more):
        if next(calls) >= last:
            raise Killed
        return call(*arguments, **more)

    return until_then


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_killed_while_it_writes_ends_with_the_same_bits(seed, tmp_path, whole, monkeypatch):
    draw = np.random.RandomState(seed)
    calls, last = itertools.count(), 1 + draw.randint(22)
    with monkeypatch.context() as patches:
        for module, name in [(os, "replace"), (os, "fsync"), (tempfile, "mkstemp"), (np, "savez"), (Path, "unlink")]:
            patches.setattr(module, name, dying(getattr(module, name), calls, last))
        with pytest.raises(Killed):
            run(tmp_path)
    begun = (tmp_path / "checkpoint.npz").exists() or (tmp_path / "checkpoint.previous.npz").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newest may be missing
        assert same(run(tmp_path, resume=begun), whole)
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("seed", range(3))
def test_a_disk_that_is_full_ends_the_run_in_a_sentence_and_loses_nothing(seed, tmp_path, whole):
    draw = np.random.RandomState(seed)
    disk = files_of_at_most(int(draw.randint(2000)))
    try:
        with (
            pytest.raises(TrainingError, match=r"^Can't write .*npz: File too large"),
            warnings.catch_warnings(record=True) as warned,
        ):
            run(tmp_path, 3 + draw.randint(4), lambda _: disk.__enter__())
    finally:
        disk.__exit__(None, None, None)
    assert {str(w.message).split(" in /")[0] for w in warned} <= {"Can't write TensorBoard's logs"}
    assert same(run(tmp_path, resume=True), whole)


def test_a_folder_that_vanishes_is_said(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"The folder .*run has gone; (best|checkpoint).npz can't be written there"):
        run(folder, 3, lambda _: shutil.rmtree(folder))
    with pytest.raises(TrainingError, match=r"The folder .*run has gone|There is no checkpoint at .*best.npz"):
        run(folder, 8, lambda _: shutil.rmtree(folder))


def test_a_run_that_diverges_leaves_its_last_good_checkpoint(tmp_path, whole):
    def diverge(model):
        model.layers[0].kernel.assign(np.full((3, 8), np.nan))

    with pytest.raises(TrainingError, match="diverged"):
        run(tmp_path, 5, diverge)
    assert same(run(tmp_path, resume=True), whole)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_a_folder_that_cannot_be_written_is_said_before_training(error, tmp_path, monkeypatch):
    def refuse(*arguments, **more):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(TrainingError, match=f"can't be kept in .*: {os.strerror(error)}"):
        prepared_run(tmp_path / "run").__enter__()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "runs").touch()
    for run_ in (tmp_path / "runs", tmp_path / "runs" / "name", tmp_path / "runs" / "a" / "b"):
        with pytest.raises(TrainingError, match=r"/runs is a file; expected a folder"):
            prepared_run(run_).__enter__()


def interrupt(model):
    raise KeyboardInterrupt


def test_lost_best_weights_are_written_again_or_said(tmp_path, whole):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 5, interrupt)
    (tmp_path / "best.npz").write_bytes(b"PK")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        weights = run(tmp_path, resume=True)
    assert same(weights, whole) or any("take the place of the best ones" in str(w.message) for w in warned)


def test_two_trainings_at_once_in_one_folder_are_refused_and_one_after_the_other_is_not(tmp_path, whole):
    with prepared_run(tmp_path), pytest.raises(TrainingError, match="Another training writes to"):
        run(tmp_path)
    assert same(run(tmp_path), whole)
