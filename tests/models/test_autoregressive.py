"""AR(tau), the latent autoregressive model and forecasts, against NumPy and statsmodels."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.errors import TrainingError
from tfseq.models import Autoregressive, Forecaster, LatentAutoregressive

SERIES = np.random.default_rng(0).normal(size=(3, 20)).cumsum(axis=1).astype("float32")


def window_model():
    model = Autoregressive(4)
    model.build()
    model.linear.set_weights([np.array([0.4, -0.3, 0.2, 0.5])[:, None, None], np.array([0.7])])
    return model


def latent_model(**settings):
    keras.utils.set_random_seed(0)
    model = LatentAutoregressive(6, **settings)
    model.scale.adapt(3 * SERIES.reshape(-1, 1) + 1)
    model(SERIES)
    return model


MODELS = {
    "window": window_model,
    **{cell: lambda cell=cell: latent_model(cell=cell, depth=2) for cell in ("rnn", "irnn", "lstm", "gru")},
}


def test_each_prediction_is_the_weighted_sum_of_the_last_values():
    predictions = np.asarray(window_model()(SERIES))
    assert predictions.shape == SERIES.shape
    for t in range(3, 20):
        expected = 0.7 + SERIES[:, t - 3 : t + 1] @ [0.4, -0.3, 0.2, 0.5]
        np.testing.assert_allclose(predictions[:, t], expected, rtol=1e-4)
    before = 0.7 + SERIES[:, 0] * (0.4 - 0.3 + 0.2 + 0.5)  # the series stood still at its first value
    np.testing.assert_allclose(predictions[:, 0], before, rtol=1e-4)


def test_it_learns_the_coefficients_of_statsmodels():
    autoregression = pytest.importorskip("statsmodels.tsa.ar_model")
    series = SERIES[0].repeat(2) + np.sin(np.arange(40))
    model = Autoregressive(3)
    model.fit_least_squares(series)
    weights, bias = model.coefficients
    expected = autoregression.AutoReg(series.astype("float64"), 3).fit().params
    np.testing.assert_allclose([bias, *weights], expected, rtol=1e-4)


@pytest.mark.parametrize("series", [SERIES, SERIES[0, :8]])
def test_what_is_too_short_or_no_series_is_refused(series):
    with pytest.raises(TrainingError, match=r"5 weights and a bias need .* 11 values or more"):
        Autoregressive(5).fit_least_squares(series)


@pytest.mark.parametrize("name", MODELS)
def test_steps_go_on_where_reading_stopped(name):
    model = MODELS[name]()
    expected, _ = model.read(SERIES)
    _, state = model.read(SERIES[:, :12])
    for t in range(12, 20):
        prediction, state = model.step(SERIES[:, t], state)
        np.testing.assert_allclose(prediction, expected[:, t], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_are_predictions_of_a_history_with_the_earlier_ones_appended(name):
    model = MODELS[name]()
    history = SERIES
    for _ in range(5):
        history = np.concatenate([history, np.asarray(model(history))[:, -1:]], axis=1)
    np.testing.assert_allclose(Forecaster(model, 5)(SERIES), history[:, 20:], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(Forecaster(model, 1)(SERIES), history[:, 20:21], rtol=1e-4)


def test_the_latent_model_follows_its_equation_in_measured_units():
    """x_{t+1} = x_t + deviation * (w . h_t + b), h_t from standardised values."""
    model = latent_model(cell="rnn")
    scaled = 3 * SERIES.astype("float64") + 1
    mean, deviation = scaled.mean(), scaled.std()
    kernel, recurrent, bias = (w.astype("float64") for w in model.recurrent[0].get_weights())
    weights, offset = model.head.get_weights()
    h = np.zeros((3, 6))
    for t in range(20):
        h = np.tanh(((SERIES[:, t] - mean) / deviation)[:, None] @ kernel + h @ recurrent + bias)
        expected = SERIES[:, t] + deviation * (h @ weights + offset)[:, 0]
        np.testing.assert_allclose(np.asarray(model(SERIES))[:, t], expected, rtol=1e-3, atol=1e-4)


ON_JAX = """
import sys
import keras, numpy as np
import tfseq.models
assert keras.backend.backend() == "jax"
for name in ("window", "lstm"):
    model = keras.models.load_model(f"{sys.argv[1]}/{name}.keras")
    np.save(f"{sys.argv[1]}/{name}.npy", model(np.load(f"{sys.argv[1]}/series.npy")))
"""


def test_saved_forecasters_come_back_the_same_and_do_so_on_jax(tmp_path, on_jax):
    np.save(tmp_path / "series.npy", SERIES)
    expected = {}
    for name in ("window", "lstm"):
        forecaster = Forecaster(MODELS[name](), 4)
        expected[name] = np.asarray(forecaster(SERIES))
        forecaster.save(tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / f"{name}.keras")(SERIES), expected[name])
    on_jax(ON_JAX, tmp_path)
    for name, forecasts in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), forecasts, rtol=1e-4, atol=1e-4)


def test_a_forecaster_is_loaded_without_the_loss_that_its_model_learned_by(tmp_path):
    model = latent_model()
    model.compile("adam", loss=lambda truth, guess: keras.ops.mean((truth - guess) ** 2))
    forecaster = Forecaster(model, 4)
    expected = np.asarray(forecaster(SERIES))
    inputs = keras.Input((None,))
    keras.Model(inputs, {"forecasts": forecaster(inputs)}).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(loaded(SERIES)["forecasts"]), expected, rtol=1e-5)


def test_the_exported_file_forecasts_from_a_history_of_any_length(tmp_path):
    tfseq = pytest.importorskip("tfseq")
    pytest.importorskip("onnxruntime")
    forecaster = Forecaster(latent_model(), 4)
    forecaster(SERIES)
    tfseq.export(forecaster, tmp_path / "forecaster.onnx")
    file = tfseq.runtime.load(tmp_path / "forecaster.onnx")
    for length in (1, 7, 20):
        np.testing.assert_allclose(
            file.predict(SERIES[:, :length]), forecaster(SERIES[:, :length]), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Autoregressive(0), "window is 0; expected at least 1"),
        (lambda: LatentAutoregressive(0), "units is 0"),
        (lambda: LatentAutoregressive(4, cell="cnn"), "cell is 'cnn'; expected one of"),
        (lambda: Forecaster(Autoregressive(2), 0), "horizon is 0; expected at least 1"),
    ],
)
def test_settings_that_make_no_model_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
