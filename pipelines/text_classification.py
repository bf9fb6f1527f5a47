"""Many to one on text: a network reads a line and says which language it is, or whether it is praise.

Learns from: names in ten languages; rt-polarity, imdb.
Makes: a classifier of texts.
Quick: 90 s.

    python -m pipelines.text_classification quick                      # lists of names in ten languages, by characters
    python -m pipelines.text_classification full --data DIRECTORY      # rt-polarity by words, in ten folds
    python -m pipelines.text_classification full --tfds imdb_reviews

quick_transformer and full_transformer are the same by a Transformer encoder in place of the recurrent network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, pstdev
from typing import Literal

import keras
import numpy as np

from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import DataSet, Part, bucketed_batches, load_texts, rt_polarity
from tfseq.data.language_names import names_by_language
from tfseq.data.tokenizers import reading_tokenizer
from tfseq.exporting import as_float32
from tfseq.models import RecurrentClassifier, TransformerClassifier
from tfseq.runtime import Model, Tokenizer
from tfseq.training import Precision, SupervisedSettings, one_stream_per_core, train_classifier, training_precision
from tfseq.training.setting_ranges import (
    Amount,
    CheckedSettings,
    Count,
    CountOrNone,
    Depth,
    Name,
    Seed,
    ShareBelowOne,
    Size,
    check_heads,
)

Classifier = RecurrentClassifier | TransformerClassifier


@dataclass(frozen=True)
class TextClassification(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a directory with a text file per label, or with rt-polarity.neg and .pos; names in ten languages if none.
        tfds: a data set of tensorflow-datasets instead, such as imdb_reviews.
        folds: of rt-polarity, each the test part of a model of its own; the first model is exported.
        tokens: what is read one by one.
        vocabulary: tokens at most; what is found once in the training part is unknown.
        longest: tokens of a text that are read while training and evaluating.
        encoder: what reads: a recurrent network, or a Transformer encoder.
        units: width of the hidden state, in each direction; or of the Transformer's states.
        depth: recurrent layers, or blocks.
        heads: of each attention of the Transformer.
        cell: the recurrent cell, as all from here to `spread` is of the recurrent network.
        bidirectional: read from both ends.
        pooling: what of the states is classified; a Transformer's mean is.
        embedding_dim: width of the embedding.
        spread: standard deviation of the embedding's first weights.
        lost_features: share of the embedding's columns that are zeroed while training, per text.
        prior: the embedding's first columns begin as the tokens' log-count ratios times this (Wang and Manning, 2012),
            counted in the training part; 0 leaves them random.
        lost_tokens: share of the tokens that are zeroed while training.
        dropout: rate between layers and before the softmax; and in a Transformer on the embedding.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        seed: of the first weights.
        name: of the artefact, in exported/; by default text_classification, _transformer if it is one, and the data's
            name unless it is the default's.
    """

    data: Path | None = None
    tfds: str | None = None
    folds: CountOrNone = 1
    tokens: Literal["words", "characters"] = "characters"
    vocabulary: Count = 20_000
    longest: Count = 400
    encoder: Literal["recurrent", "transformer"] = "recurrent"
    units: Size = 48
    depth: Depth = 1
    heads: Size = 4
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    bidirectional: bool = True
    pooling: Literal["last", "max", "mean"] = "max"
    embedding_dim: Size = 32
    spread: Amount = 0.05
    lost_features: ShareBelowOne = 0.0
    prior: Amount = 0.0
    lost_tokens: ShareBelowOne = 0.0
    dropout: ShareBelowOne = 0.2
    precision: Precision = "auto"
    training: SupervisedSettings = field(
        default_factory=lambda: SupervisedSettings(epochs=8, batch=32, learning_rate=5e-3)
    )
    seed: Seed = 0
    name: Name | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.encoder == "transformer":
            check_heads(self.units, self.heads)


QUICK = TextClassification()
FULL = TextClassification(
    folds=10,
    tokens="words",
    cell="lstm",
    embedding_dim=64,
    units=64,
    prior=0.3,
    spread=0.1,
    lost_tokens=0.2,
    lost_features=0.2,
    dropout=0.5,
    training=SupervisedSettings(epochs=3, batch=64),
)
QUICK_TRANSFORMER = TextClassification(
    encoder="transformer",
    depth=2,
    dropout=0.0,
    training=SupervisedSettings(epochs=7, batch=64, learning_rate=4e-3),
)
FULL_TRANSFORMER = replace(
    FULL,
    encoder="transformer",
    prior=0.6,
    dropout=0.3,
    training=SupervisedSettings(epochs=4, batch=64, learning_rate=1e-3),
)


def main(settings: TextClassification) -> None:
    one_stream_per_core(settings.training.batch)
    accuracies: list[float] = []
    first = None
    for data in data_sets(settings):
        name = settings.name or artefact_name(settings, data)
        if first is None:
            settings = with_precision(settings, run_folder(name))
        by_character = settings.tokens == "characters"
        tokenizer = reading_tokenizer(data.train.inputs, settings.vocabulary, characters=by_character)
        print(f"{data.source}: {len(data.train):,} texts, {tokenizer.vocabulary_size:,} {settings.tokens}")
        model = fit(settings, data, tokenizer, run_folder(name))
        accuracies.append(accuracy(model, encoded(data.test, tokenizer, settings.longest)))
        print(f"test accuracy {accuracies[-1]:.4f}")
        first = first or (model, data, tokenizer, name)
    scores = {"test_accuracy": round(accuracies[0], 4)}
    if len(accuracies) > 1:
        print(f"{len(accuracies)} folds: mean {mean(accuracies):.4f}, deviation {pstdev(accuracies):.4f}")
        scores |= {"mean_of_folds": round(mean(accuracies), 4), "deviation_of_folds": round(pstdev(accuracies), 4)}
    assert first is not None  # there is one data set at least
    model, data, tokenizer, name = first
    publish(
        model,
        name,
        what=f"Text classifier: {_described(settings)}",
        data=data.provenance(),
        scores=scores,
        settings=settings,
        run=run_folder(name),
        sample=lambda file: sample(file, data),
        labels=data.labels,
        tokenizer=tokenizer,
    )


def data_sets(settings: TextClassification) -> Iterator[DataSet]:
    """What to learn from: one data set, or one per fold."""
    if _is_default(settings):
        yield names_by_language()
    elif settings.data and settings.folds > 1 and any(settings.data.glob("rt-polarity.*")):
        yield from (rt_polarity(settings.data, fold, settings.folds) for fold in range(settings.folds))
    else:
        yield load_texts(settings.data, settings.tfds)


def artefact_name(settings: TextClassification, data: DataSet) -> str:
    by_attention = ["transformer"] if settings.encoder == "transformer" else []
    return "_".join(["text_classification", *by_attention, *([] if _is_default(settings) else [data.name])])


def build(settings: TextClassification, tokens: int, classes: int) -> Classifier:
    keras.utils.set_random_seed(settings.seed)
    if settings.encoder == "transformer":
        return transformer(settings, tokens, classes)
    return recurrent(settings, tokens, classes)


def recurrent(settings: TextClassification, tokens: int, classes: int) -> RecurrentClassifier:
    policy = {"dtype": training_precision(settings.precision)}
    spread = keras.initializers.RandomNormal(stddev=settings.spread)
    front = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(tokens, settings.embedding_dim, spread, mask_zero=True, **policy),
            keras.layers.Dropout(settings.lost_tokens, noise_shape=(None, None, 1), **policy),
            keras.layers.SpatialDropout1D(settings.lost_features, **policy),
        ],
        name="embedded",
    )
    return RecurrentClassifier(
        front,
        classes,
        settings.units,
        depth=settings.depth,
        cell=settings.cell,
        bidirectional=settings.bidirectional,
        pooling=settings.pooling,
        dropout=settings.dropout,
        name="text_classifier",
        **policy,
    )


def transformer(settings: TextClassification, tokens: int, classes: int) -> TransformerClassifier:
    model = TransformerClassifier(
        tokens,
        classes,
        settings.units,
        settings.heads,
        depth=settings.depth,
        dropout=settings.dropout,
        lost_tokens=settings.lost_tokens,
        name="text_classifier",
        dtype=training_precision(settings.precision),
    )
    model.build((None, None))
    return model


def fit(settings: TextClassification, data: DataSet, tokenizer: Tokenizer, run: Path) -> Classifier:
    """A trained model, with the weights of the epoch that did best on the validation part."""
    training, validation = (encoded(part, tokenizer, settings.longest) for part in (data.train, data.validation))
    model = build(settings, tokenizer.vocabulary_size, len(data.labels))
    if settings.prior:
        ratios = log_count_ratios(training.inputs, training.targets, tokenizer.vocabulary_size, len(data.labels))
        begin_with_prior(model, settings.prior * ratios)
    train_classifier(
        model,
        bucketed_batches(*training, settings.training.batch, seed=settings.training.seed),
        bucketed_batches(*validation, 256, seed=0)(0),
        settings.training,
        run,
    )
    return model


def begin_with_prior(model: Classifier, columns: np.ndarray) -> None:
    """Sets the first columns of the embedding, (tokens, columns); training goes on from there."""
    recurrent = isinstance(model, RecurrentClassifier)
    embedding = model.front.layers[0] if recurrent else model.embedding.symbols
    (table,) = embedding.get_weights()
    table[:, : columns.shape[1]] = columns
    embedding.set_weights([table])


def log_count_ratios(texts: Sequence[np.ndarray], labels: np.ndarray, tokens: int, classes: int) -> np.ndarray:
    """r = log((p / |p|) / (q / |q|)): how much more of a class's texts than of the others' have a token.

    p counts the texts of the class that a token is in, plus 1, and q those of the other classes (Wang and Manning,
    2012). Token 0, padding, has 0.

    Returns:
        (tokens, classes), or (tokens, 1) where there are two classes: the other column is its negative.
    """
    counts = np.ones((classes, tokens))
    for text, label in zip(texts, labels):
        counts[label, np.unique(text)] += 1
    others = counts.sum(0) - counts - (classes - 2)  # the 1 that was added once, not once per other class
    ratios = np.log(counts / counts.sum(1, keepdims=True)) - np.log(others / others.sum(1, keepdims=True))
    ratios[:, 0] = 0
    return ratios.T[:, 1:] if classes == 2 else ratios.T


def encoded(part: Part, tokenizer: Tokenizer, longest: int) -> Part:
    """Texts as tokens; one without any is a single unknown one."""
    texts = [tokenizer.encode(text)[:longest] for text in part.inputs]
    return Part([text if len(text) else np.array([1], "int32") for text in texts], part.targets)


def accuracy(model: Classifier, part: Part) -> float:
    """The share of examples whose likeliest class is theirs, by a float32 copy of the model."""
    exact = as_float32(model)
    batches = bucketed_batches(*part, 256, seed=0)(0)
    return float(np.concatenate([exact.predict_on_batch(x).argmax(-1) == y.numpy() for x, y in batches]).mean())


def sample(file: Model, data: DataSet) -> str:
    """What the file makes of the first texts of the test part, and whether that is so."""
    some = np.linspace(0, len(data.test) - 1, 8).astype(int)  # they may be sorted by class
    texts, targets = [data.test.inputs[row] for row in some], data.test.targets[some]
    rows = [(said, data.labels[target], text) for said, target, text in zip(file.classify(texts), targets, texts)]
    return "\n".join(f"{said!s:20} {'' if said.name == true else f'is {true}':14} {text}" for said, true, text in rows)


def _is_default(settings: TextClassification) -> bool:
    return settings.data is None and settings.tfds is None


def _described(settings: TextClassification) -> str:
    if settings.encoder == "transformer":
        blocks = f"{settings.depth} {'block' if settings.depth == 1 else 'blocks'}"
        return f"Transformer encoder of {blocks} of {settings.units} units over {settings.tokens}"
    direction = "bidirectional " if settings.bidirectional else ""
    return f"{settings.depth} x {settings.units} {direction}{settings.cell.upper()} over {settings.tokens}"


if __name__ == "__main__":
    run_with_presets(
        main, quick=QUICK, full=FULL, quick_transformer=QUICK_TRANSFORMER, full_transformer=FULL_TRANSFORMER
    )
