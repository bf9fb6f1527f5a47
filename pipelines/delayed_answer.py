"""Read all, then answer in the same time frame, with one RNN: number words -> digits, or sums -> their value.

Learns from: numbers in words, sums.
Makes: answers to what was read to its end.
Quick: 100 s.

    python -m pipelines.delayed_answer quick                     # numbers below ten thousand, in words
    python -m pipelines.delayed_answer full                      # numbers below a million
    python -m pipelines.delayed_answer full_addition             # sums of up to three digits
"""

from dataclasses import dataclass, field
from typing import Literal

import keras

import tfseq
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from pipelines.parts.translation import encoded
from tfseq.data import DataSet, Part, addition, bucketed_batches, character_tokenizer, number_words
from tfseq.exporting import as_float32
from tfseq.models import DelayedAnswer
from tfseq.training import Precision, SupervisedSettings, WholeAnswers, one_stream_per_core, train, training_precision
from tfseq.training.setting_ranges import CheckedSettings, Count, Depth, Name, ShareBelowOne, Size

SHOWN, CHECKED = 6, 500  # test examples that the card shows, and that the file answers


@dataclass(frozen=True)
class DelayedAnswers(CheckedSettings):
    """Settings of one run.

    Attributes:
        task: what to answer: the digits of a number in words, or the value of a sum.
        languages: of the number words.
        largest: number in words that there is.
        digits: of a summand at most.
        sizes: examples to train, to validate and to test on.
        cell: the recurrent cell.
        units: width of each hidden state.
        depth: recurrent layers.
        embedding_dim: width of the embedding of a character.
        reverse: read a source from its end.
        dropout: rate on each layer's output.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/.
        resume: go on with the run of this name where it was interrupted.
    """

    task: Literal["number_words", "addition"] = "number_words"
    languages: tuple[str, ...] = ("en",)
    largest: Count = 999_999
    digits: Count = 3
    sizes: tuple[Count, Count, Count] = (100_000, 2_000, 5_000)
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 256
    depth: Depth = 1
    embedding_dim: Size = 32
    reverse: bool = False
    dropout: ShareBelowOne = 0.0
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name = "delayed_answer"
    resume: bool = False


QUICK = DelayedAnswers(
    largest=9_999,
    sizes=(3_200, 200, 500),
    units=64,
    reverse=True,
    training=SupervisedSettings(epochs=9, batch=32, learning_rate=1e-2),
)
FULL = DelayedAnswers(
    units=192,
    training=SupervisedSettings(epochs=3, batch=128, learning_rate=4e-3),
    name="number_words",
)
FULL_ADDITION = DelayedAnswers(
    task="addition",
    sizes=(200_000, 2_000, 5_000),
    reverse=True,
    training=SupervisedSettings(epochs=4, batch=256, learning_rate=5e-3),
    name="addition",
)


def main(settings: DelayedAnswers) -> None:
    one_stream_per_core(settings.training.batch)
    run = run_folder(settings.name)
    settings = with_precision(settings, run)
    data = load(settings)
    tokenizer = character_tokenizer("".join([*data.train.inputs, *data.train.targets]), start_and_end=True)
    print(f"{data.source}: {len(data.train):,} examples to learn from, {tokenizer.vocabulary_size} tokens")
    model = build(settings, tokenizer)
    train(
        model,
        batches(data.train, tokenizer, settings.training.batch, settings.training.seed),
        batches(data.validation, tokenizer, settings.training.batch, None)(0),
        settings.training,
        run,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight"),
        metrics=[WholeAnswers()],
        resume=settings.resume,
        identity={"model": model.get_config(), "data": data.sha256},
    )
    exact = as_float32(model)
    score = whole_answers(exact, batches(data.test, tokenizer, settings.training.batch, None)(0))
    print(f"test: {score:.2%} whole answers")
    publish(
        exact,
        settings.name,
        what=f"Delayed many to many: {settings.depth} x {settings.units} {settings.cell.upper()} reads a text to its "
        "end, then answers in the same time frame",
        data=data.provenance(),
        scores={"test_whole_answers": round(score, 4)},
        settings=settings,
        run=run,
        sample=lambda file: answers_of(file, data),
        tokenizer=tokenizer,
        decode=tfseq.Greedy(),
    )


def whole_answers(model, held_out) -> float:
    """Share of answers that are right in every token; an answer does not depend on what is fed beside blanks."""
    share = WholeAnswers()
    for inputs, answers, weights in held_out:
        share.update_state(answers, model.predict_on_batch(inputs), weights)
    return float(share.result())


def answers_of(file, data: DataSet) -> str:
    """The answers of the file to a few test examples, and how many of more it has right."""
    questions, truth = (part[:CHECKED] for part in (data.test.inputs, data.test.targets))
    answers = file.generate(questions, max_length=max(map(len, truth)) + 1)
    lines = [
        f"{question} -> {answer}" + ("" if answer == right else f"   (truly {right})")
        for question, answer, right in zip(questions[:SHOWN], answers, truth)
    ]
    right = sum(answer == right for answer, right in zip(answers, truth))
    return "\n".join([*lines, f"{right} of the first {len(truth)} test examples, answered whole and right"])


def load(settings: DelayedAnswers) -> DataSet:
    if settings.task == "addition":
        return addition(settings.sizes, settings.digits)
    return number_words(settings.sizes, settings.languages, settings.largest)


def batches(part: Part, tokenizer, batch: int, seed: int | None):
    """From an epoch to batches of sources and answers as tokens."""
    return bucketed_batches(*encoded(part, tokenizer), batch, seed=seed)


def build(settings: DelayedAnswers, tokenizer) -> DelayedAnswer:
    keras.utils.set_random_seed(settings.training.seed)
    return DelayedAnswer(
        tokenizer.vocabulary_size,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        embedding_dim=settings.embedding_dim,
        reverse=settings.reverse,
        dropout=settings.dropout,
        start=tokenizer.start,
        end=tokenizer.end,
        dtype=training_precision(settings.precision),
        name="delayed_answer",
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL, full_addition=FULL_ADDITION)
