from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
statsmodels = pytest.importorskip("statsmodels.datasets.sunspots")

from pipelines import forecasting
from tfseq import runtime
from tfseq.training import SupervisedSettings

TINY = replace(forecasting.QUICK, units=4, past=12, horizon=3, training=SupervisedSettings(epochs=2, batch=64))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecasting")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        forecasting.main(TINY)
    return folder / "exported" / "forecasting"


def test_a_run_leaves_the_file_its_pictures_and_its_card(exported):
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.onnx", "model.keras", "saved_model", "learning_curve.png", "forecasts.png", "card.md"}
    assert "test RMSE of autoreg of statsmodels, 3 ahead" in (exported / "card.md").read_text(encoding="utf-8")


def test_ar_has_the_error_of_statsmodels_at_every_horizon(exported):
    scores = runtime.load(exported / "model.onnx").manifest.provenance["data"]
    for ahead in (1, 3):
        peer = scores[f"test RMSE of autoreg of statsmodels, {ahead} ahead"]
        assert scores[f"test RMSE of ar, {ahead} ahead"] == pytest.approx(peer, abs=1e-3)


def test_the_file_has_the_error_on_its_card(exported):
    """Recomputed from the file, one year after the other."""
    file = runtime.load(exported / "model.onnx")
    series = statsmodels.load_pandas().data["SUNACTIVITY"].to_numpy("float32")  # from 1700
    begins = range(250, len(series) - 2)
    for name in ("ar", "latent"):
        forecasts = np.stack([file.predict(history=series[None, begin - 250 : begin])[name][0] for begin in begins])
        errors = forecasts[:, 2] - series[252:]
        expected = file.manifest.provenance["data"][f"test RMSE of {name}, 3 ahead"]
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(expected, rel=1e-3)


def test_windows_are_put_together_to_the_series_they_came_from():
    series = np.arange(30.0)
    part = forecasting.Part(np.stack([series[i : i + 5] for i in range(25)])[..., None], series[5:, None])
    np.testing.assert_array_equal(forecasting.years_of(part), series)


def test_errors_by_year_of_a_forecast_that_is_off_by_its_horizon():
    series = np.arange(20.0)
    errors = forecasting.errors_by_year(lambda known: known[:, -1:] + 2 * np.arange(1, 5), series, 12, 4)
    np.testing.assert_allclose(errors, [1, 2, 3, 4])
