"""Pictures of what goes on inside: gradients, hidden units, errors that compound, convolution.

Learns from: a model that it trains, or yours.
Makes: pictures of what happens inside.
Quick: 60 s.

    python -m pipelines.explain                    # all of them into explained/, with models trained on the way
    python -m pipelines.explain gradient-flow      # or hidden-units, forcing or convolution alone
    python -m pipelines.explain hidden-units --model exported/char_lm_lstm/model.keras --text notes.txt
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tyro.extras import SubcommandApp

from pipelines.parts.runs import machine_limits
from tfseq.analysis import convolution, gradient_flow, gradient_remedies, hidden_units, teacher_forcing
from tfseq.data import character_tokenizer, contiguous_streams, evaluation_stream, load_corpus
from tfseq.data.files import decode, read_bytes
from tfseq.errors import DataError, InputError
from tfseq.exporting import as_float32
from tfseq.keras_files import load_keras_model
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime.tokenizer_kinds import Tokenizer, read_tokenizer
from tfseq.terminal import one_line_errors
from tfseq.training import (
    ScheduledSampling,
    TrainingSettings,
    TruncatedBPTT,
    fit,
    one_stream_per_core,
    training_precision,
)
from tfseq.training.language_model_loss import token_loss
from tfseq.training.optimizers import adamw
from tfseq.training.setting_ranges import Count, Seed, checked

FOLDER = Path("explained")
app = SubcommandApp()


@app.command(name="all")
@checked
def everything(folder: Path = FOLDER, seed: Seed = 0) -> None:
    """All of them; the character model that hidden-units trains is also one whose gradients are followed.

    Args:
        folder: Where the pictures go.
        seed: Of every draw.
    """
    one_stream_per_core()
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer, text = _train_character_model(folder, seed)
    _gradient_flow(folder, seed)
    _flow_in(model, tokenizer, text, folder)
    _hidden_units(model, tokenizer, text, folder)
    _forcing(folder, seed, steps=200)
    _convolution(folder)


@app.command(name="gradient-flow")
@checked
def flow(model: Path | None = None, text: Path | None = None, folder: Path = FOLDER, seed: Seed = 0) -> None:
    """How gradients vanish and explode on their way back, and what clipping and truncation do.

    Args:
        model: A recurrent character model saved by Keras, with tokenizer.json beside it, to follow as well.
        text: What it reads; Python's help texts if not given.
        folder: Where the pictures go.
        seed: Of weights and noise.
    """
    one_stream_per_core()
    folder.mkdir(parents=True, exist_ok=True)
    trained = None if model is None else _load(model)
    held_out = _held_out(text)
    _gradient_flow(folder, seed)
    if trained is not None:
        _flow_in(*trained, held_out, folder)


@app.command(name="hidden-units")
@checked
def units(model: Path | None = None, text: Path | None = None, folder: Path = FOLDER, seed: Seed = 0) -> None:
    """Which single units follow quotes, brackets, the position in the line and indentation; a text in their colours.

    Args:
        model: A recurrent character model saved by Keras, with tokenizer.json beside it, such as
            exported/char_lm_lstm/model.keras after python -m pipelines.char_lm quick. If not given, a small LSTM is
            trained on Python's help texts, and kept in the folder.
        text: That the model was not trained on; the held-out part of Python's help texts if not given.
        folder: Where the pictures go.
        seed: Of the small LSTM.
    """
    one_stream_per_core()
    folder.mkdir(parents=True, exist_ok=True)
    held_out = _held_out(text)
    if model is not None:
        trained, tokenizer = _load(model)
    else:
        trained, tokenizer, _ = _train_character_model(folder, seed)
    _hidden_units(trained, tokenizer, held_out, folder)


@app.command(name="forcing")
@checked
def compounding(folder: Path = FOLDER, steps: Count = 200, seed: Seed = 0) -> None:
    """How errors compound with length after teacher forcing, scheduled sampling and free running.

    Args:
        folder: Where the picture goes.
        steps: To train each of the three models.
        seed: Of models and data.
    """
    one_stream_per_core()
    folder.mkdir(parents=True, exist_ok=True)
    _forcing(folder, seed, steps)


@app.command(name="convolution")
@checked
def convolutions(folder: Path = FOLDER) -> None:
    """Convolution by its definitions, over channels, and backwards.

    Args:
        folder: Where the picture goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _convolution(folder)


def _gradient_flow(folder: Path, seed: int) -> None:
    data = gradient_flow.explain(seed=seed)
    _show(gradient_flow, data, folder / "gradient_flow.png")
    corpus = load_corpus()
    tokenizer = character_tokenizer(corpus.train)
    tokens = tokenizer.encode(corpus.train)

    def exploding() -> keras.Model:
        keras.utils.set_random_seed(seed)
        model = RecurrentLanguageModel(tokenizer.vocabulary_size, units=64, cell="rnn")
        model.build((None, None))
        gradient_flow.scale_recurrent_weights(model.recurrent[0], 1.3)
        return model

    def batches() -> Iterator[tuple[Any, Any]]:
        for inputs, targets, *_ in contiguous_streams(tokens, 16, 50, start=0, epochs=None, seed=seed):
            yield inputs["tokens"], targets

    remedies = gradient_remedies.explain(exploding, batches, clip_norm=0.5, learning_rate=2.0, steps=150, seed=seed)
    _show(gradient_remedies, remedies, folder / "gradient_remedies.png")


def _flow_in(model: keras.Model, tokenizer: Tokenizer, text: str, folder: Path, steps: int = 100) -> None:
    tokens = np.asarray(tokenizer.encode(text[: steps + 1]))[None]
    flows = [
        gradient_flow.Flow(f"{flow.name}, {state}", flow.norms, flow.singular_values)
        for state, candidate in (("trained", model), ("untrained", hidden_units.untrained(model)))
        for flow in gradient_flow.flow_in_model(candidate, tokens)
    ]
    path = folder / "gradient_flow_of_model.png"
    gradient_flow.plot_flows(flows, path, "What is left of a gradient in a character model")
    print(f"\n{path}\nthe norm of dh_T/dh_t, {tokens.shape[1]} steps back:")
    for flow in flows:
        parts = ", ".join(f"{name} {flow.mean(name)[-1]:.1e}" for name in flow.norms)
        print(f"  {flow.name:24} {parts}")


def _hidden_units(model: keras.Model, tokenizer: Tokenizer, text: str, folder: Path) -> None:
    data = hidden_units.explain(model, tokenizer, text[:CHARACTERS])
    _show(hidden_units, data, folder / "hidden_units.png")
    hidden_units.write_html(data, folder / "hidden_units.html")
    print(f"  more text, in colour: {folder / 'hidden_units.html'}")


CHARACTERS = 50_000  # of held-out text: half to choose units on, half to score them


def _forcing(folder: Path, seed: int, steps: int) -> None:
    train = teacher_forcing.noisy_waves(BATCH * steps, TIME + 1, seed=seed)
    models = {regime: _train_on_waves(regime, train, steps, seed) for regime in REGIMES}
    held_out = teacher_forcing.noisy_waves(512, TIME + 1, seed=seed + 1)
    _show(teacher_forcing, teacher_forcing.explain(models, held_out, PROMPT), folder / "forcing.png")


BATCH, TIME, PROMPT = 64, 60, 16
REGIMES = ("teacher forcing", "scheduled sampling", "free running")


def _train_on_waves(regime: str, waves: teacher_forcing.Waves, steps: int, seed: int) -> keras.Model:
    """The same small GRU on the same waves in the same order, whatever it reads while it learns."""
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(waves.levels, units=48, cell="gru", embedding_dim=16)
    model.build((None, None))
    given = np.arange(TIME) < PROMPT
    scheduled = ScheduledSampling(1.0, steps, seed)
    reads = {
        "teacher forcing": None,
        "scheduled sampling": lambda tokens, logits: tf.where(given, tokens, scheduled(tokens, logits)),
        "free running": lambda tokens, logits: teacher_forcing.free_running_inputs(model, tokens, PROMPT),
    }
    trainer = TruncatedBPTT(model, BATCH, scheduled_sampling=reads[regime])
    trainer.compile(adamw(8e-3, steps, 20, 0.01, 1.0), token_loss(), jit_compile=False)
    starts = tf.ones((BATCH,), bool)
    batches = tf.data.Dataset.from_tensor_slices(waves.tokens).batch(BATCH)
    trainer.fit(batches.map(lambda t: ({"tokens": t[:, :-1], "starts": starts}, t[:, 1:])), shuffle=False, verbose=0)
    return model


def _convolution(folder: Path) -> None:
    _show(convolution, convolution.explain(), folder / "convolution.png")


def _show(module: Any, data: Any, path: Path) -> None:
    module.plot(data, path)
    print(f"\n{path}\n{data}", flush=True)


SMALL_LSTM = TrainingSettings(batch=32, chunk=64, steps=600, evaluate_every=600, learning_rate=1e-2, warmup=30)


def _train_character_model(folder: Path, seed: int) -> tuple[keras.Model, Tokenizer, str]:
    """A small LSTM, its tokenizer, and text that it was not trained on."""
    corpus = load_corpus()
    tokenizer = character_tokenizer(corpus.train)
    train, validation = tokenizer.encode(corpus.train), tokenizer.encode(corpus.validation)
    print(f"training a small LSTM on {corpus.source}, for some seconds", flush=True)
    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(tokenizer.vocabulary_size, units=128, dtype=training_precision(), name="char_lm")
    settings = replace(SMALL_LSTM, seed=seed)
    history = fit(
        model,
        lambda step: contiguous_streams(train, settings.batch, settings.chunk, start=step, epochs=None, seed=seed),
        evaluation_stream(validation, settings.batch, settings.chunk),
        settings,
        folder / "training",
        verbose=0,
    )
    exact = as_float32(model)
    exact.save(folder / "model.keras")
    tokenizer.save(folder / "tokenizer.json")
    print(f"{history[-1]['val_nats']:.2f} nats per character on held-out text; kept in {folder / 'model.keras'}")
    return exact, tokenizer, corpus.validation


def _load(path: Path) -> tuple[keras.Model, Tokenizer]:
    beside = path.parent / "tokenizer.json"
    model = load_keras_model(path)
    if not beside.is_file():
        raise InputError(f"There is no {beside}; a character model needs the tokenizer that it was trained with.")
    return model, read_tokenizer(beside)


def _held_out(path: Path | None) -> str:
    if path is None:
        return load_corpus().validation
    text = decode(read_bytes(path, "a UTF-8 text file"), path)
    if len(text) < 2:
        raise DataError(f"{path} holds no text to read.")
    return text


def run(arguments: list[str]) -> None:
    """The command line; without a subcommand it is `all`."""
    with one_line_errors("explain"), machine_limits():
        if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
            arguments = ["all", *arguments]
        app.cli(prog="python -m pipelines.explain", description=__doc__, args=arguments)


if __name__ == "__main__":
    run(sys.argv[1:])
