"""Examples with answers: the best epoch is kept, and a run that was cut off goes on as if it had not been."""

from dataclasses import replace

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tensorflow as tf

from tfseq.data import shuffled_batches
from tfseq.errors import TrainingError
from tfseq.training import SupervisedSettings, train

X = np.random.RandomState(0).randn(90, 3).astype("float32")
Y = (X.sum(1) > 0).astype("int32")
SETTINGS = SupervisedSettings(epochs=4, batch=16, learning_rate=0.03)
VALIDATION = shuffled_batches(X[60:], Y[60:], 16, seed=None)(0)


def model_of(dtype=None):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2, dtype="float32")]
    return keras.Sequential(layers) if dtype is None else keras.Sequential([keras.Input((3,)), *_with(layers, dtype)])


def _with(layers, dtype):
    return [type(layer).from_config(layer.get_config() | {"dtype": dtype}) for layer in layers[:-1]] + layers[-1:]


def run(directory, settings=SETTINGS, batches=None, model=None, monitor="accuracy", **kwargs):
    model = model or model_of()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    batches = batches or shuffled_batches(X[:60], Y[:60], settings.batch, seed=1)
    history = train(
        model, batches, VALIDATION, settings, directory, loss=loss, metrics=["accuracy"], monitor=monitor, verbose=0,
        **kwargs,
    )  # fmt: skip
    return model, history


def cut_off(epoch_of, epoch):
    """The batches of `epoch_of`, but in this epoch the second one never comes."""

    def fail(step):
        if step == 1:
            raise RuntimeError("power cut")
        return step

    def batches(now):
        steps = tf.data.Dataset.range(10).map(lambda s: tf.cond(
            tf.equal(tf.cast(now, tf.int64), epoch), lambda: tf.ensure_shape(tf.py_function(fail, [s], tf.int64), ()),
            lambda: s,
        ))  # fmt: skip
        return tf.data.Dataset.zip(epoch_of(now), steps).map(lambda batch, _: batch)

    return batches


def same_weights(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_an_interrupted_run_ends_with_the_same_bits_as_an_uninterrupted_one(tmp_path):
    epoch_of = shuffled_batches(X[:60], Y[:60], 16, seed=1)
    whole, history = run(tmp_path / "whole", batches=epoch_of)
    with pytest.raises(Exception, match="power cut"):
        run(tmp_path / "cut", batches=cut_off(epoch_of, 2))
    resumed, resumed_history = run(tmp_path / "cut", batches=epoch_of, resume=True)
    assert same_weights(whole, resumed)
    assert [r["val_loss"] for r in history] == [r["val_loss"] for r in resumed_history]


def test_a_shuffled_dataset_goes_on_where_it_was(tmp_path):
    def dataset():
        return tf.data.Dataset.from_tensor_slices((X[:60], Y[:60])).shuffle(60, seed=5).batch(16)

    whole, history = run(tmp_path / "whole", batches=dataset())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", batches=dataset(), model=_Interrupted(model_of(), after=9))
    resumed, resumed_history = run(tmp_path / "cut", batches=dataset(), resume=True)
    assert same_weights(whole, resumed)
    assert [r["loss"] for r in history] == [r["loss"] for r in resumed_history]


def _Interrupted(model, after):
    """The model, whose training is interrupted after so many steps."""
    fit = model.fit

    class Interrupt(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == after:
                raise KeyboardInterrupt

    model.fit = lambda *args, callbacks, **kwargs: fit(*args, callbacks=[*callbacks, Interrupt()], **kwargs)
    return model


def in_order(batch):
    """The first 48 examples, in an order that does not depend on the batch."""
    return shuffled_batches(X[:48], Y[:48], batch, seed=None)


def without_dropout():
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(2)])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_batches_side_by_side_learn_as_one_batch_of_all_their_examples(tmp_path, optimizer):
    settings = SupervisedSettings(epochs=3, batch=16, learning_rate=0.03, optimizer=optimizer)
    whole, history = run(tmp_path / "whole", settings, in_order(16), without_dropout())
    halves = replace(settings, batch=8, side_by_side=2)
    parts, parts_history = run(tmp_path / "parts", halves, in_order(8), without_dropout())
    for ours, theirs in zip(parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 if optimizer == "adamw" else 2e-3)
    for ours, theirs in zip(parts_history, history, strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.03)
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)


def test_side_by_side_an_interrupted_run_ends_with_the_same_bits_too(tmp_path):
    settings = replace(SETTINGS, batch=6, side_by_side=3)
    epoch_of = shuffled_batches(X[:60], Y[:60], 6, seed=1)
    whole, history = run(tmp_path / "whole", settings, epoch_of)
    with pytest.raises(Exception, match="power cut"):
        run(tmp_path / "cut", settings, cut_off(epoch_of, 2))
    resumed, _ = run(tmp_path / "cut", settings, epoch_of, resume=True)
    assert same_weights(whole, resumed)
    assert [r["step"] for r in history] == [3, 6, 9, 12]


def test_batches_too_few_for_a_step_are_left_out(tmp_path):
    _, history = run(tmp_path, replace(SETTINGS, side_by_side=3))  # 60 examples are 4 batches
    assert [r["step"] for r in history] == [1, 2, 3, 4]
    with pytest.raises(TrainingError, match="no batch to train on; expected enough of them for one step"):
        run(tmp_path, replace(SETTINGS, side_by_side=5))


def test_a_weight_that_a_loss_does_not_depend_on_stays_as_it_is(tmp_path):
    class WithSpare(keras.layers.Dense):
        def build(self, shape):
            super().build(shape)
            self.spare = self.add_weight((2,), "ones", name="spare_bias")

    keras.utils.set_random_seed(0)
    settings = replace(SETTINGS, side_by_side=2)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        model, _ = run(tmp_path, settings, model=keras.Sequential([WithSpare(2)]))
    np.testing.assert_array_equal(model.layers[0].spare, [1, 1])


def test_the_weights_of_the_best_epoch_are_kept(tmp_path):
    model, history = run(tmp_path, SupervisedSettings(epochs=8, batch=16, learning_rate=0.3))
    best = max(r["val_accuracy"] for r in history)
    answers = np.asarray(model(X[60:])).argmax(-1)
    assert (answers == Y[60:]).mean() == pytest.approx(best)
    assert best > 0.8


def test_a_loss_is_best_where_it_is_lowest(tmp_path):
    model, history = run(tmp_path, SupervisedSettings(epochs=5, batch=16, learning_rate=0.5), monitor="val_loss")
    logits = np.asarray(model(X[60:]), "float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -log_p[np.arange(30), Y[60:]].mean()
    assert loss == pytest.approx(min(r["val_loss"] for r in history), rel=1e-4)


def test_training_stops_when_patience_runs_out(tmp_path):
    settings = SupervisedSettings(epochs=9, batch=16, learning_rate=0.0, weight_decay=0.0, patience=2)
    _, history = run(tmp_path, settings)
    assert len(history) == 3
    assert [r["step"] for r in history] == [4, 8, 12]  # 60 examples are 4 batches


def test_models_compute_in_their_own_precision_and_keep_weights_in_float32(tmp_path):
    model, _ = run(tmp_path, SupervisedSettings(epochs=1, batch=16), model=model_of("mixed_bfloat16"))
    assert model.layers[0].compute_dtype == "bfloat16"
    assert {w.dtype for w in model.weights if "seed" not in w.path} == {"float32"}


def test_a_run_leaves_a_learning_curve_and_tensorboard_logs(tmp_path):
    run(tmp_path, SupervisedSettings(epochs=1, batch=16))
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").rglob("events*"))


def test_resuming_nothing_or_another_run_is_refused(tmp_path):
    settings = SupervisedSettings(epochs=1, batch=16)
    with pytest.raises(TrainingError, match="no checkpoint"):
        run(tmp_path, settings, resume=True)
    run(tmp_path, settings, identity={"data": "a"})
    with pytest.raises(TrainingError, match="data 'a', now 'b'"):
        run(tmp_path, settings, resume=True, identity={"data": "b"})


def test_a_metric_that_is_not_measured_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"val_f1 was not measured; expected one of .*val_accuracy"):
        run(tmp_path, SupervisedSettings(epochs=1, batch=16), monitor="f1")


def test_a_training_that_diverges_is_stopped(tmp_path):
    batches = shuffled_batches(np.full((16, 3), np.inf, "float32"), Y[:16], 16)
    with pytest.raises(TrainingError, match=r"val_loss is nan after step 1: .*learning rate"):
        run(tmp_path, SupervisedSettings(epochs=1, batch=16, warmup=0.0), batches=batches, monitor="loss")


def test_batches_without_end_or_without_examples_are_refused(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    with pytest.raises(TrainingError, match="never end"):
        run(tmp_path, batches=dataset.repeat())
    with pytest.raises(TrainingError, match="no batch to train on"):
        run(tmp_path, batches=dataset.take(0))


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"epochs": 0}, {"side_by_side": 0}, {"warmup": 1.0}, {"warmup": -0.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(TrainingError, match="expected"):
        SupervisedSettings(**wrong)
