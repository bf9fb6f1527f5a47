"""What the pipelines that translate have in common: pairs of texts -> an encoder-decoder -> ONNX -> scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

import tfseq
from pipelines.parts.presets import with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.analysis.attention_maps import attention_map, plot_attention
from tfseq.analysis.bleu import bleu
from tfseq.data import (
    DataSet,
    Part,
    bucketed_batches,
    character_tokenizer,
    dates,
    parallel_texts,
    subword_tokenizer,
    translations_of_tfds,
)
from tfseq.decoding import Strategy, generate
from tfseq.exporting import as_float32
from tfseq.models import Generator
from tfseq.runtime import Tokenizer
from tfseq.training import Precision, SupervisedSettings, train, training_precision
from tfseq.training.label_smoothing import SmoothedCrossEntropy
from tfseq.training.r_drop import RDropCrossEntropy, twice
from tfseq.training.setting_ranges import Amount, CheckedSettings, Count, CountOrNone, Name, Number, ShareBelowOne, Size

Examples = tuple[dict[str, list], list]  # {"source", "target"}, and what comes after each token of the target
SHOWN = 6  # translations on the card


@dataclass(frozen=True)
class Translation(CheckedSettings):
    """Settings that all of them have.

    Attributes:
        data: a directory of parallel texts, such as train.en.gz and train.fr.gz; the default are dates in many forms
            and languages, to be written as 2025-03-03.
        tfds: a data set of translations of tensorflow-datasets instead, such as ted_hrlr_translate/pt_to_en.
        source: language to translate from, as the files' names end or the data set calls it.
        target: language to translate into.
        dates: how many to train, to validate and to test on.
        subwords: how many there are at most, for both languages together; 0 reads and writes characters.
        longest: tokens of a text to learn from; longer pairs are left out of the training part.
        smoothing: share of each target's probability that goes to all tokens alike.
        r_drop: weight of R-Drop, which reads each batch twice, dropping differently, and has the two agree; 0 for none.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        beam: sequences that decoding follows at a time; 1 takes the likeliest token each time.
        length_penalty: of the beam search; more favours longer texts.
        training: how to train.
        name: of the artefact, in exported/.
        resume: go on with the run of this name where it was interrupted.
    """

    data: Path | None = None
    tfds: str | None = None
    source: str = "en"
    target: str = "fr"
    dates: tuple[Count, Count, Count] = (8_000, 500, 1_000)
    subwords: CountOrNone = 0
    longest: Count = 100
    smoothing: ShareBelowOne = 0.0
    r_drop: Amount = 0.0
    precision: Precision = "auto"
    beam: Size = 1
    length_penalty: Number = 1.0
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name = "translation"
    resume: bool = False


def translate(
    settings: Translation, build: Callable[..., Generator], what: str, attention: bool = False
) -> tfseq.runtime.Model:
    """Trains a model, measures how well it translates held-out texts, and publishes it.

    Args:
        settings: of the pipeline.
        build: makes the model of vocabulary_size, start, end and dtype.
        what: the architecture, in a line.
        attention: whether the model looks back: the file then says where, and the artefact shows it.

    Returns:
        model.onnx, opened by ONNX Runtime.
    """
    run = run_folder(settings.name)
    settings = with_precision(settings, run)
    data = read(settings)
    tokenizer = tokenizer_of(settings, data.train)
    learnt = to_learn_from(settings, data.train, tokenizer)
    print(f"{data.source}: {len(learnt[1]):,} pairs to learn from, {tokenizer.vocabulary_size:,} tokens to write")
    keras.utils.set_random_seed(settings.training.seed)
    model = build(
        vocabulary_size=tokenizer.vocabulary_size,
        start=tokenizer.start,
        end=tokenizer.end,
        dtype=training_precision(settings.precision),
        name=settings.name,
    )
    batch, seed = settings.training.batch, settings.training.seed
    learn = bucketed_batches(*learnt, batch, seed=seed)
    validate = bucketed_batches(*encoded(data.validation, tokenizer), 2 * batch, seed=None)(0)
    loss = SmoothedCrossEntropy(settings.smoothing, reduction="mean_with_sample_weight")
    if settings.r_drop:
        learn, validate = (lambda epoch, once=learn: twice(once(epoch))), twice(validate)
        loss = RDropCrossEntropy(settings.r_drop, settings.smoothing, reduction="mean_with_sample_weight")
    history = train(
        model,
        learn,
        validate,
        settings.training,
        run,
        loss=loss,
        resume=settings.resume,
        identity={
            "model": model.get_config(),
            "data": data.sha256,
            "smoothing": settings.smoothing,
            "r_drop": settings.r_drop,
        },
    )
    exact = as_float32(model)
    decode = tfseq.Beam(settings.beam, length_penalty=settings.length_penalty) if settings.beam > 1 else tfseq.Greedy()
    scores = {
        "validation_loss": round(min(round_["val_loss"] for round_ in history), 4),
        **held_out_scores(exact, data.test, tokenizer, decode),
        "training_seconds": round(history[-1]["seconds"]),
        "parameters": model.count_params(),
    }
    print(", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in scores.items()))
    return publish(
        exact,
        settings.name,
        what=what,
        data=data.provenance(),
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: shown(file, data.test, run / "attention.png" if attention else None),
        tokenizer=tokenizer,
        decode=decode,
        attention=attention,
        pictures=[run / "attention.png"] if attention else [],
    )


def read(settings: Translation) -> DataSet:
    if settings.tfds is not None:
        return translations_of_tfds(settings.tfds, settings.source, settings.target)
    if settings.data is not None:
        return parallel_texts(settings.data, settings.source, settings.target)
    return dates(settings.dates)


def tokenizer_of(settings: Translation, texts: Part) -> Tokenizer:
    """One tokenizer for both languages, whose sources end with `end` where it has subwords."""
    both = [*texts.inputs, *texts.targets]
    if settings.subwords:
        return subword_tokenizer(both, settings.subwords, append_end=True)
    return character_tokenizer("".join(both), start_and_end=True)


def to_learn_from(settings: Translation, part: Part, tokenizer: Tokenizer) -> Examples:
    """Every pair that is short enough."""
    inputs, answers = encoded(part, tokenizer)
    pairs = zip(inputs["source"], inputs["target"], answers)
    kept = [pair for pair in pairs if max(len(pair[0]), len(pair[1])) <= settings.longest]
    sources, targets, answers = ([pair[i] for pair in kept] for i in range(3))
    return {"source": sources, "target": targets}, answers


def encoded(part: Part, tokenizer: Tokenizer) -> Examples:
    """Inputs and targets of teacher forcing: the target's tokens behind `start`, and the same before `end`."""
    sources = [np.array([*tokenizer.encode(text), *tokenizer.append], "int32") for text in part.inputs]
    targets = [np.array([tokenizer.start, *tokenizer.encode(text), tokenizer.end], "int32") for text in part.targets]
    return {"source": sources, "target": [t[:-1] for t in targets]}, [t[1:] for t in targets]


def held_out_scores(model: Generator, part: Part, tokenizer: Tokenizer, decode: Strategy) -> dict[str, float]:
    """Translations beside those of the data: the share that is the same; for sentences BLEU, lower-cased and cased."""
    written = translations(model, part.inputs, tokenizer, decode)
    exact = np.mean([ours == theirs for ours, theirs in zip(written, part.targets)])
    scores = {"test_exactly_right": round(float(exact), 4)}
    if all(" " not in text for text in part.targets):
        return scores
    cased, lower = (bleu(written, part.targets, lowercase) for lowercase in (False, True))
    return scores | {"test_bleu": round(lower, 2), "test_bleu_cased": round(cased, 2)}


def translations(model: Generator, texts: Sequence[str], tokenizer: Tokenizer, decode: Strategy) -> list[str]:
    """What the Keras model makes of texts, in batches of similar lengths."""
    sources = [[*tokenizer.encode(text), *tokenizer.append] for text in texts]
    written = [""] * len(texts)
    order = np.argsort([len(source) for source in sources])
    for rows in np.array_split(order, -(-len(order) // 250)):
        width = max(len(sources[row]) for row in rows)
        batch = np.array([sources[row] + [0] * (width - len(sources[row])) for row in rows])  # (rows, width)
        tokens, lengths, *_ = generate(model, source=batch, decode=decode, max_length=2 * width + 10)
        for row, ids, length in zip(rows, np.asarray(tokens), np.asarray(lengths)):
            written[row] = tokenizer.decode(ids[:length])
    return written


def shown(file: tfseq.runtime.Model, part: Part, picture: Path | None) -> str:
    """The first texts of a part, what the file makes of them and what is right; draws where it looked."""
    texts = list(part.inputs[:SHOWN])
    written = file.generate(texts)
    if picture is not None:
        plot_attention(attention_map(file, max(texts, key=len)), picture)
    return "\n".join(
        f"{text} -> {ours}{'' if ours == right else f'  (data: {right})'}"
        for text, ours, right in zip(texts, written, part.targets)
    )
