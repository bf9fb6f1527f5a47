"""A character language model: text -> truncated BPTT -> ONNX -> text.

Learns from: Python's help topics; any text.
Makes: a text generator.
Quick: 160 s.

    python -m pipelines.char_lm quick                      # the help texts that come with Python
    python -m pipelines.char_lm full --data FILE           # the README's figure
    python -m pipelines.char_lm quick --cell gru --tfds tiny_shakespeare
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras

from pipelines.parts.language_models import publish_language_model
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.runs import run_folder
from tfseq.data import character_tokenizer, contiguous_streams, evaluation_stream, load_corpus
from tfseq.exporting import as_float32
from tfseq.models import RecurrentLanguageModel
from tfseq.training import Precision, TrainingSettings, bits, evaluate, fit, one_stream_per_core, training_precision
from tfseq.training.setting_ranges import Amount, CheckedSettings, Count, Depth, Name, ShareBelowOne, Size, Text

EVALUATION_STREAMS = 16


@dataclass(frozen=True)
class CharLM(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a UTF-8 text file; the default is the English text of Python's own help topics.
        tfds: a text data set of tensorflow-datasets instead, such as tiny_shakespeare.
        cell: the recurrent cell.
        units: width of each hidden state.
        depth: recurrent layers.
        embedding_dim: width of a learned embedding; none feeds one-hot vectors.
        initial_state: the state before the first character.
        dropout: rate between layers.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; char_lm_CELL or char_lm_DATA_CELL by default.
        resume: go on with the run of this name where it was interrupted.
        prompt: what the sample starts with.
        length: characters the sample adds.
        temperature: of the sample, and the file's default.
    """

    data: Path | None = None
    tfds: str | None = None
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "lstm"
    units: Size = 256
    depth: Depth = 1
    embedding_dim: Size | None = None
    initial_state: Literal["zeros", "random", "learned"] = "zeros"
    dropout: ShareBelowOne = 0.0
    precision: Precision = "auto"
    training: TrainingSettings = field(default_factory=TrainingSettings)
    name: Name | None = None
    resume: bool = False
    prompt: Text = "The "
    length: Count = 400
    temperature: Amount = 0.7


QUICK = CharLM(training=TrainingSettings(batch=32, chunk=64, steps=1000, evaluate_every=200, learning_rate=8e-3))
FULL = CharLM(
    units=512,
    depth=2,
    embedding_dim=128,
    dropout=0.5,
    training=TrainingSettings(batch=64, chunk=128, steps=3600, evaluate_every=300, warmup=100),
)


def main(settings: CharLM) -> None:
    one_stream_per_core(settings.training.batch)
    training = settings.training
    corpus = load_corpus(settings.data, settings.tfds)
    name = settings.name or artefact_name(settings, corpus.name)
    run = run_folder(name)
    settings = with_precision(settings, run)
    tokenizer = character_tokenizer(corpus.train)
    train, validation = tokenizer.encode(corpus.train), tokenizer.encode(corpus.validation)
    print(f"{corpus.source}: {len(train):,} characters to learn from, {tokenizer.vocabulary_size} tokens")

    def streams(step):
        return contiguous_streams(train, training.batch, training.chunk, start=step, epochs=None, seed=training.seed)

    held_out = evaluation_stream(validation, EVALUATION_STREAMS, training.chunk)
    model = build(settings, tokenizer.vocabulary_size)
    identity = {"model": model.get_config(), "data": corpus.sha256}
    history = fit(
        model,
        streams,
        held_out,
        training,
        run,
        resume=settings.resume,
        identity=identity,
        evaluation_batch=EVALUATION_STREAMS,
        verbose=1 if sys.stdout.isatty() else 2,
    )

    exact = as_float32(model)
    nats = evaluate(exact, held_out, EVALUATION_STREAMS)
    print(f"validation: {nats:.4f} nats ({bits(nats):.4f} bits) per character, in float32")

    scores = {"validation_nats": round(nats, 4), "validation_bits": round(bits(nats), 4)}
    publish_language_model(
        exact,
        name,
        what=f"Character language model: {settings.depth} x {settings.units} {settings.cell.upper()}",
        corpus=corpus,
        tokenizer=tokenizer,
        scores=scores,
        history=history,
        settings=settings,
        run=run,
    )


def artefact_name(settings: CharLM, corpus: str) -> str:
    default_data = settings.data is None and settings.tfds is None
    return f"char_lm_{settings.cell}" if default_data else f"char_lm_{corpus}_{settings.cell}"


def build(settings: CharLM, vocabulary_size: int) -> RecurrentLanguageModel:
    keras.utils.set_random_seed(settings.training.seed)
    return RecurrentLanguageModel(
        vocabulary_size,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        embedding_dim=settings.embedding_dim,
        initial_state=settings.initial_state,
        dropout=settings.dropout,
        dtype=training_precision(settings.precision),
        name="char_lm",
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
