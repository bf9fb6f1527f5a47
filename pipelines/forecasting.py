"""Autoregression: sunspots forecast from a fixed window, AR(9), and from a hidden state that has read all the past.

Learns from: sunspots.
Makes: forecasters: AR(9), and a hidden state.
Quick: 55 s.

    python -m pipelines.forecasting quick                  # yearly sunspot numbers, which come with statsmodels
    python -m pipelines.forecasting full
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras
import numpy as np

import tfseq
from pipelines.parts.presets import run_with_presets
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.analysis.palette import BLACK, BLUE, RED
from tfseq.data import DataSet, Part, shuffled_batches, sunspots
from tfseq.models import Autoregressive, Forecaster, LatentAutoregressive
from tfseq.training import SupervisedSettings, one_stream_per_core, train
from tfseq.training.setting_ranges import CheckedSettings, Count, Depth, Name, ShareBelowOne, Size

SHOWN = 60  # years before the forecast that the picture shows


@dataclass(frozen=True)
class Forecasting(CheckedSettings):
    """Settings of one run.

    Attributes:
        window: years that AR sees.
        cell: the latent model's recurrent cell.
        units: width of its hidden state.
        depth: its recurrent layers.
        dropout: rate on what they give.
        past: years that it reads in training; the exported model reads as many as it is given.
        horizon: years ahead.
        training: how to train the latent model.
        name: of the artefact, in exported/.
    """

    window: Size = 9
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 32
    depth: Depth = 1
    dropout: ShareBelowOne = 0.4
    past: Count = 48
    horizon: Count = 11
    training: SupervisedSettings = field(
        default_factory=lambda: SupervisedSettings(epochs=150, batch=152, learning_rate=1e-2)
    )
    name: Name = "forecasting"


QUICK = Forecasting()
FULL = Forecasting(
    units=64, dropout=0.5, training=SupervisedSettings(epochs=150, batch=16, learning_rate=3e-3, patience=40)
)


def main(settings: Forecasting) -> None:
    one_stream_per_core(settings.training.batch)
    data, run = sunspots(past=settings.past), run_folder(settings.name)
    learned, validated, tested = (years_of(part) for part in (data.train, data.validation, data.test))
    series = np.concatenate([learned, validated[settings.past :], tested[settings.past :]])  # 1700 to 2008
    first = len(series) - len(data.test)  # index of the first year to test on
    print(f"{data.source}: {len(learned)} years to learn from, {len(data.test)} to test on")

    window = Autoregressive(settings.window, name="ar")
    window.fit_least_squares(learned)
    latent = fit_latent(settings, data, learned, run)

    models = {"ar": Forecaster(window, settings.horizon), "latent": Forecaster(latent, settings.horizon)}
    errors = {
        name: errors_by_year(model.predict_on_batch, series, first, settings.horizon) for name, model in models.items()
    }
    peer = autoreg(learned, settings.window, settings.horizon)
    errors["autoreg of statsmodels"] = errors_by_year(peer, series, first, settings.horizon)
    print_errors(errors)

    history = keras.Input((None,), name="history")
    both = keras.Model(history, {name: model(history) for name, model in models.items()}, name="forecasting")
    run.mkdir(parents=True, exist_ok=True)
    picture = run / "forecasts.png"
    known, truth = series[: -settings.horizon], series[-settings.horizon :]
    last_year = 1700 + len(series) - 1
    plot(
        known,
        truth,
        {name: model.predict_on_batch(known[None])[0] for name, model in models.items()},
        errors,
        last_year,
        picture,
    )

    def sample(file: tfseq.runtime.Model) -> str:
        forecasts = file.predict(history=known[None])
        years = range(last_year - settings.horizon + 1, last_year + 1)
        rows = zip(years, truth, forecasts["ar"][0], forecasts["latent"][0])
        lines = [f"{year}  {real:6.1f}  {ar:6.1f}  {hidden:6.1f}" for year, real, ar, hidden in rows]
        return "\n".join(["year   truth      ar  latent", *lines])

    publish(
        both,
        settings.name,
        what=f"AR({settings.window}) and a latent autoregressive model ({settings.units} {settings.cell.upper()} units)"
        f": the next {settings.horizon} values of a series, each prediction fed back",
        data=data.provenance(),
        scores={
            f"test RMSE of {name}, {ahead} ahead": round(float(error[ahead - 1]), 4)
            for ahead in (1, settings.horizon)
            for name, error in errors.items()
        },
        settings=settings,
        run=run,
        sample=sample,
        pictures=[picture],
    )


def years_of(part: Part) -> np.ndarray:
    """The series that windows were cut from, (time,)."""
    return np.concatenate([part.inputs[0, :, 0], part.targets[:, 0]])


def fit_latent(settings: Forecasting, data: DataSet, learned: np.ndarray, run: Path) -> LatentAutoregressive:
    """Trained by teacher forcing: in every window, each value is predicted from those before it."""
    keras.utils.set_random_seed(settings.training.seed)
    model = LatentAutoregressive(
        settings.units, depth=settings.depth, cell=settings.cell, dropout=settings.dropout, name="latent"
    )
    model.scale.adapt(learned[:, None])
    variance = float(learned.var())

    def in_deviations(truth, predicted):
        return keras.losses.mean_squared_error(truth, predicted) / variance

    def batches(part: Part, seed: int | None):
        following = np.concatenate([part.inputs[:, 1:, 0], part.targets], axis=1)  # (windows, past)
        return shuffled_batches(part.inputs[..., 0], following, settings.training.batch, seed=seed)

    train(
        model,
        batches(data.train, settings.training.seed),
        batches(data.validation, None)(0),
        settings.training,
        run,
        loss=in_deviations,
        verbose=0,
    )
    return model


def errors_by_year(forecast, series: np.ndarray, first: int, horizon: int) -> np.ndarray:
    """Root mean squared error 1, 2, ... years ahead, over every year in the test part that a forecast can begin with.

    Args:
        forecast: (batch, time) -> (batch, horizon).

    Returns:
        (horizon,).
    """
    begins = np.arange(first, len(series) - horizon + 1)
    known = np.stack([series[begin - first : begin] for begin in begins])  # as many years for each
    truth = np.stack([series[begin : begin + horizon] for begin in begins])
    return np.sqrt(np.mean((np.asarray(forecast(known)) - truth) ** 2, axis=0))


def autoreg(learned: np.ndarray, window: int, horizon: int):
    """The peer: statsmodels' AutoReg, estimated on the same years, forecasting from the same ones."""
    from statsmodels.tsa.ar_model import AutoReg

    parameters = AutoReg(learned, window).fit().params

    def forecast(known):
        return np.stack(
            [AutoReg(row, window).predict(parameters, start=len(row), end=len(row) + horizon - 1) for row in known]
        )

    return forecast


def print_errors(errors: dict[str, np.ndarray]) -> None:
    print("RMSE by years ahead" + "".join(f"{ahead + 1:8}" for ahead in range(len(errors["ar"]))))
    for name, values in errors.items():
        print(f"{name:19}" + "".join(f"{value:8.3f}" for value in values))


def plot(known, truth, forecasts, errors, last_year: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    horizon = len(truth)
    years = np.arange(last_year - horizon - SHOWN + 1, last_year + 1)
    names = {"ar": ("AR, fixed window", BLUE), "latent": ("latent, hidden state", RED)}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), width_ratios=(2, 1), layout="constrained")
    left.plot(years, np.concatenate([known[-SHOWN:], truth]), color=BLACK, linewidth=1, label="measured")
    left.axvspan(years[-horizon] - 0.5, years[-1] + 0.5, color="0.93")
    for name, values in forecasts.items():
        label, color = names[name]
        left.plot(years[-horizon:], values, color=color, marker=".", label=label)
        right.plot(range(1, horizon + 1), errors[name], color=color, marker=".", label=label)
    left.set(xlabel="year", ylabel="sunspot number", title=f"{horizon} years ahead, each prediction fed back")
    right.set(xlabel="years ahead", ylabel="test RMSE", ylim=(0, None), title="Error by horizon")
    right.legend(frameon=False, loc="lower right", fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
