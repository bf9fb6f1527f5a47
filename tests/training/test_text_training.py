import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.data import contiguous_streams, evaluation_stream
from tfseq.errors import TrainingError
from tfseq.models import RecurrentLanguageModel
from tfseq.training import TrainingSettings, fit

TEXT = np.tile(np.array([1, 2, 3, 4, 3, 2], "int32"), 120)
SETTINGS = TrainingSettings(batch=4, chunk=10, steps=12, evaluate_every=3, warmup=2, scheduled_sampling=0.5)


def run(directory, settings=SETTINGS, resume=False, train=None, identity=None):
    keras.utils.set_random_seed(3)
    model = RecurrentLanguageModel(5, units=8, depth=2, dropout=0.2, initial_state="learned")

    def streams(step):
        return contiguous_streams(TEXT[:600], settings.batch, settings.chunk, start=step, epochs=None, seed=1)

    validation = evaluation_stream(TEXT[600:], 2, settings.chunk)
    history = fit(
        model,
        train or streams,
        validation,
        settings,
        directory,
        resume=resume,
        identity=identity,
        evaluation_batch=2,
        verbose=0,
    )
    return model, history, streams


def failing_after(steps, streams):
    def train(start):
        yield from streams(start).take(steps)
        raise RuntimeError("power cut")

    return train


def test_an_interrupted_run_ends_with_the_same_bits_as_an_uninterrupted_one(tmp_path):
    whole, whole_history, streams = run(tmp_path / "whole")
    with pytest.raises(Exception, match="power cut"):
        run(tmp_path / "cut", train=failing_after(8, streams))  # dies in the third round, after two checkpoints
    resumed, resumed_history, _ = run(tmp_path / "cut", resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [r["val_nats"] for r in whole_history] == [r["val_nats"] for r in resumed_history]


def test_the_loss_of_a_learned_text_falls_and_the_best_weights_are_kept(tmp_path):
    settings = TrainingSettings(batch=4, chunk=10, steps=60, evaluate_every=20, learning_rate=0.03, warmup=5)
    model, history, _ = run(tmp_path, settings)
    best = min(history, key=lambda r: r["val_nats"])
    assert best["val_nats"] < 0.7 * np.log(5)
    logits = np.asarray(model(TEXT[None, 600:-1]))[0].astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -log_p[np.arange(len(log_p)), TEXT[601:]].mean()
    # The validation text was read in two streams; read in one it has a longer past at one place only.
    assert nats == pytest.approx(best["val_nats"], abs=0.05)


def test_bits_are_nats_over_ln_2(tmp_path):
    _, history, _ = run(tmp_path)
    assert history[0]["val_bits"] == pytest.approx(history[0]["val_nats"] / np.log(2))


def test_training_stops_when_patience_runs_out(tmp_path):
    settings = TrainingSettings(
        batch=4, chunk=10, steps=30, evaluate_every=1, warmup=0, learning_rate=0.0, weight_decay=0.0, patience=2
    )
    _, history, _ = run(tmp_path, settings)
    assert len(history) == 3


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="no checkpoint"):
        run(tmp_path, resume=True)


def test_resuming_another_run_is_refused_and_names_the_difference(tmp_path):
    run(tmp_path, identity={"data": "a"})
    with pytest.raises(TrainingError, match="data 'a', now 'b'"):
        run(tmp_path, resume=True, identity={"data": "b"})


def test_a_run_whose_newest_checkpoint_is_damaged_ends_with_the_same_bits_from_the_one_before_it(tmp_path):
    whole, history, _ = run(tmp_path)
    checkpoint = tmp_path / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="goes on from the checkpoint before it"):
        resumed, resumed_history, _ = run(tmp_path, resume=True)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [r["val_nats"] for r in history] == [r["val_nats"] for r in resumed_history]
    for name in ("checkpoint.npz", "checkpoint.previous.npz"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(TrainingError, match=r"not a checkpoint that can be read.*one before it can't be read either"):
        run(tmp_path, resume=True)


def test_a_finished_run_leaves_a_learning_curve_and_tensorboard_logs(tmp_path):
    run(tmp_path)
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").rglob("events*"))


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"steps": 0}, {"warmup": 50, "steps": 50}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(TrainingError, match="expected"):
        TrainingSettings(**wrong)
