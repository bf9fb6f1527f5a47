"""Captioning: an image in, the sentence that describes it out, by four ways to see and to write.

Learns from: drawn scenes, emoji; Flickr8k, COCO.
Makes: a captioner, and where it looked.
Quick: 120 s.

    python -m pipelines.captioning quick                                    # drawn scenes: "a red circle ..."
    python -m pipelines.captioning quick --architecture cnn_rnn
    python -m pipelines.captioning quick_vit
    python -m pipelines.captioning full                                     # 12,000 scenes; full_vit: no convolution
    python -m pipelines.captioning emoji                                    # OpenMoji's pictures, as Unicode names them
    python -m pipelines.captioning full --data DIR --backbone MobileNetV2   # a folder in Flickr8k's format, such a CNN
    python -m pipelines.captioning full --tfds coco_captions
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

import tfseq
from pipelines.parts.caption_batches import encoded, moved, shown, taught
from pipelines.parts.contact_sheet import draw_contact_sheet
from pipelines.parts.image_batches import ANSWERED, Distortion
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.analysis.bleu import bleu
from tfseq.analysis.caption_attention import plot_word_attention, word_attention
from tfseq.analysis.cider import cider
from tfseq.data import DataSet, Part, load_captions, scenes, subword_tokenizer
from tfseq.data.tokenizers import word_tokenizer
from tfseq.decoding import Strategy, generate
from tfseq.errors import TrainingError
from tfseq.exporting import as_float32
from tfseq.layers.backbone import Backbone
from tfseq.layers.caption_decoders import AttentionCaptionDecoder, RecurrentCaptionDecoder, TransformerCaptionDecoder
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.layers.vision import VisionEncoder
from tfseq.models import Captioner
from tfseq.runtime import SubwordTokenizer
from tfseq.runtime.character_tokenizer import UNKNOWN
from tfseq.training import Precision, SupervisedSettings, WholeAnswers, one_stream_per_core, train, training_precision
from tfseq.training.label_smoothing import SmoothedCrossEntropy
from tfseq.training.setting_ranges import CheckedSettings, Count, Depth, Name, ShareBelowOne, Size

SHOWN = 18  # pictures on the card
LOOKED_AT = 4  # of them with where the model looked
COLUMNS = 6


@dataclass(frozen=True)
class Captioning(CheckedSettings):
    """Settings of one run.

    Attributes:
        architecture: what sees and what writes: a CNN whose one vector enters every step of an RNN; a CNN and an RNN
            that looks at the CNN's grid anew at every step; a CNN and a Transformer that looks at the grid; or a vision
            Transformer and a Transformer, without convolution.
        pictures: those that need no folder: drawn scenes of two shapes, or OpenMoji's with their names.
        scenes: how many to train, to validate and to test on.
        data: a folder in Flickr8k's format, with captions.txt and pictures, instead.
        tfds: pictures with captions of tensorflow-datasets instead, such as coco_captions.
        size: height and width of the pictures, in pixels; 32 for scenes and 48 for others by default.
        vocabulary: words there are at most; rarer ones are left out of what is learned.
        subwords: write pieces of words in place of words.
        filters: kernels of each stage of our CNN; each stage halves the grid.
        convolutions: of each stage.
        backbone: a CNN of keras.applications in place of ours, such as MobileNetV2, without its last layers.
        backbone_weights: of it: imagenet, which are downloaded; the path of a file; or None for random ones.
        fine_tune: whether the backbone learns, too.
        patch_size: of the vision Transformer, in pixels.
        seeing_depth: blocks of the vision Transformer.
        cell: the recurrent cell.
        units: width of the states of what sees and what writes.
        depth: layers of what writes.
        heads: of each attention of a Transformer.
        dropout: rate on what is seen, on words and before the logits; in Transformers on what each layer adds.
        distortion: of the pictures to train on; none may make a caption wrong.
        smoothing: share of each word's probability that goes to all words alike.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        beam: captions that decoding follows at a time; 1 takes the likeliest word each time.
        training: how to train.
        name: of the artefact, in exported/; captioning_ARCHITECTURE by default, captioning_DATA_ARCHITECTURE for data
            other than scenes.
        resume: go on with the run of this name where it was interrupted.
    """

    architecture: Literal["cnn_rnn", "cnn_rnn_attention", "cnn_transformer", "vit_transformer"] = "cnn_rnn_attention"
    pictures: Literal["scenes", "emoji"] = "scenes"
    scenes: tuple[Count, Count, Count] = (12_000, 500, 1_000)
    data: Path | None = None
    tfds: str | None = None
    size: Size | None = None
    vocabulary: Count = 3_000
    subwords: bool = False
    filters: tuple[Size, ...] = (32, 64)
    convolutions: Size = 2
    backbone: str | None = None
    backbone_weights: Path | None = Path("imagenet")
    fine_tune: bool = False
    patch_size: Size = 4
    seeing_depth: Depth = 3
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 96
    depth: Depth = 1
    heads: Size = 4
    dropout: ShareBelowOne = 0.1
    distortion: Distortion = field(default_factory=lambda: Distortion(shift=2.0, turn=0.0, zoom=0.0, slant=0.0))
    smoothing: ShareBelowOne = 0.0
    precision: Precision = "auto"
    beam: Size = 3
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False


QUICK = Captioning(
    scenes=(4_000, 250, 500),
    filters=(32, 64, 64),
    convolutions=1,
    patch_size=8,
    dropout=0.0,
    training=SupervisedSettings(epochs=5, batch=32, learning_rate=2e-3),
)
QUICK_VIT = replace(
    QUICK,
    architecture="vit_transformer",
    units=64,
    training=SupervisedSettings(epochs=8, batch=32, learning_rate=2e-3),
)
FULL = Captioning(training=SupervisedSettings(epochs=6, batch=64, learning_rate=2e-3, weight_decay=0.05))
FULL_VIT = Captioning(
    architecture="vit_transformer",
    scenes=(60_000, 500, 1_000),
    units=64,
    dropout=0.0,
    training=SupervisedSettings(epochs=14, batch=64, learning_rate=2e-3, weight_decay=0.05),
)
EMOJI = Captioning(
    pictures="emoji",
    filters=(32, 64, 128),
    dropout=0.3,
    distortion=Distortion(shift=3.0, turn=8.0, zoom=0.1, slant=0.1),
    smoothing=0.1,
    training=SupervisedSettings(epochs=30, batch=32, learning_rate=1.5e-3, weight_decay=0.05),
)


def main(settings: Captioning) -> None:
    one_stream_per_core(settings.training.batch)
    data = read(settings)
    tokenizer = tokenizer_of(settings, data.train)
    name = settings.name or artefact_name(settings, data)
    run = run_folder(name)
    settings = with_precision(settings, run)
    image_shape = data.train.inputs.shape[1:]
    print(
        f"{data.source}: {len(data.train):,} pictures of {image_shape}, {tokenizer.vocabulary_size:,} tokens to write"
    )
    model = build(settings, image_shape, tokenizer)
    batch, seed = settings.training.batch, settings.training.seed
    learnt, held_out = encoded(data.train.targets, tokenizer), encoded(data.validation.targets, tokenizer)
    history = train(
        model,
        taught(moved(shown(data.train, learnt, batch, seed), data.train.inputs, settings.distortion, seed)),
        taught(shown(data.validation, held_out, 2 * batch, None))(0),
        settings.training,
        run,
        loss=SmoothedCrossEntropy(settings.smoothing, reduction="mean_with_sample_weight"),
        metrics=[WholeAnswers()],
        resume=settings.resume,
        identity={"model": model.get_config(), "data": data.sha256},
    )
    exact = as_float32(model)
    longest = learnt[1].shape[1] - 1  # words, and the end
    decode = strategy(settings, tokenizer)
    written = captions_of(exact, data.test.inputs, tokenizer, decode, longest)
    likest = [data.train.targets[i][0] for i in nearest(data.test.inputs, data.train.inputs)]
    scores = {
        "validation_loss": round(min(epoch["val_loss"] for epoch in history), 4),
        **{f"test_{score}": value for score, value in scores_of(written, data.test.targets).items()},
        **{f"nearest_picture_{score}": value for score, value in scores_of(likest, data.test.targets).items()},
        "training_seconds": round(history[-1]["seconds"]),
        "parameters": model.count_params(),
    }
    print(", ".join(f"{score.replace('_', ' ')} {value:g}" for score, value in scores.items()))
    looks = run / "where_it_looked.png" if model.decoder.looks else None
    publish(
        exact,
        name,
        what=f"Captioner, {WHAT[settings.architecture]}: {settings.units} units",
        data=data.provenance(),
        scores=scores,
        settings=settings,
        run=run,
        sample=lambda file: said_of(file, data.test, longest, run / "images.png", looks),
        tokenizer=tokenizer,
        decode=decode,
        attention=looks is not None,
        pictures=[run / "images.png", *([] if looks is None else [looks])],
    )


WHAT = {
    "cnn_rnn": "a CNN's vector at every step of an RNN",
    "cnn_rnn_attention": "an RNN that looks at a CNN's grid",
    "cnn_transformer": "a Transformer that looks at a CNN's grid",
    "vit_transformer": "a Transformer that looks at a vision Transformer's patches",
}


def read(settings: Captioning) -> DataSet:
    """The pictures, and captions in small letters without punctuation, as captions are usually learned and scored."""
    given = settings.data is not None or settings.tfds is not None
    if settings.pictures == "scenes" and not given:
        return scenes(settings.scenes, settings.size or 32)
    data = load_captions(settings.data, settings.tfds, settings.size or 48)
    train, validation, test = (
        Part(part.inputs, [[plain(caption) for caption in captions] for captions in part.targets])
        for part in (data.train, data.validation, data.test)
    )
    return DataSet(data.name, train, validation, test, data.source, data.sha256)


def plain(caption: str) -> str:
    """A caption's words and numbers in small letters."""
    return " ".join(re.findall(r"\w+(?:['’]\w+)*", caption.lower()))


def artefact_name(settings: Captioning, data: DataSet) -> str:
    middle = "" if data.name == "scenes" else f"{data.name}_"
    return f"captioning_{middle}{settings.architecture}"


def tokenizer_of(settings: Captioning, part: Part) -> SubwordTokenizer:
    texts = [caption for captions in part.targets for caption in captions]
    return (subword_tokenizer if settings.subwords else word_tokenizer)(texts, settings.vocabulary)


def build(settings: Captioning, image_shape: Sequence[int], tokenizer: SubwordTokenizer) -> Captioner:
    """
    Raises:
        TrainingError: settings that can't be, of a model or its backbone.
    """
    keras.utils.set_random_seed(settings.training.seed)
    try:
        model = Captioner(
            encoder_of(settings),
            decoder_of(settings),
            image_shape,
            tokenizer.vocabulary_size,
            dropout=settings.dropout,
            start=tokenizer.start,
            end=tokenizer.end,
            dtype=training_precision(settings.precision),
            name=settings.architecture,
        )
        model.build()
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return model


def encoder_of(settings: Captioning) -> keras.layers.Layer:
    named: dict[str, Any] = {"name": "encoder", "dtype": training_precision(settings.precision)}
    if settings.backbone is not None:
        if settings.architecture == "vit_transformer":
            raise ValueError("vit_transformer sees without a CNN; leave backbone out, or choose cnn_transformer.")
        weights = None if settings.backbone_weights is None else str(settings.backbone_weights)
        return Backbone(settings.backbone, weights, trainable=settings.fine_tune, **named)
    if settings.architecture == "vit_transformer":
        return VisionEncoder(
            settings.patch_size,
            settings.units,
            settings.heads,
            depth=settings.seeing_depth,
            dropout=settings.dropout,
            class_token=False,
            activation="relu",
            **named,
        )
    return ConvolutionalEncoder(settings.filters, convolutions=settings.convolutions, grid=True, **named)


def decoder_of(settings: Captioning) -> keras.layers.Layer:
    named: dict[str, Any] = {"name": "decoder", "dtype": training_precision(settings.precision)}
    if settings.architecture == "cnn_rnn":
        return RecurrentCaptionDecoder(settings.units, settings.depth, settings.cell, **named)
    if settings.architecture == "cnn_rnn_attention":
        return AttentionCaptionDecoder(settings.units, settings.depth, settings.cell, **named)
    return TransformerCaptionDecoder(
        settings.units, settings.heads, depth=settings.depth, dropout=settings.dropout, activation="relu", **named
    )


def strategy(settings: Captioning, tokenizer: SubwordTokenizer) -> Strategy:
    """How the file decodes; the unknown word is never written."""
    unknown = () if settings.subwords else (tokenizer.token(UNKNOWN),)
    return tfseq.Beam(settings.beam, forbidden=unknown) if settings.beam > 1 else tfseq.Greedy(forbidden=unknown)


def captions_of(
    model: Captioner, pictures: np.ndarray, tokenizer: SubwordTokenizer, decode: Strategy, longest: int
) -> list[str]:
    """What the Keras model writes of pictures."""
    texts = []
    for first in range(0, len(pictures), ANSWERED):
        some = pictures[first : first + ANSWERED]
        tokens, lengths, *_ = generate(model, source=some, decode=decode, max_length=longest)
        texts += [tokenizer.decode(row[:length]) for row, length in zip(np.asarray(tokens), np.asarray(lengths))]
    return texts


def scores_of(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """The share that is one of the references, BLEU-4 from 0 to 100, and CIDEr from 0 to 10."""
    exact = np.mean([text in texts for text, texts in zip(written, references)])
    return {
        "exactly_right": round(float(exact), 4),
        "bleu_4": round(bleu(written, references), 2),
        "cider": round(cider(written, references), 3),
    }


def nearest(pictures: np.ndarray, among: np.ndarray) -> list[int]:
    """For each picture the one whose pixels differ least from its own, in squares: what a captioner has to beat."""
    known = among.reshape(len(among), -1).astype("float32")
    squares = (known**2).sum(1)
    found: list[int] = []
    for first in range(0, len(pictures), ANSWERED):
        some = pictures[first : first + ANSWERED].reshape(-1, known.shape[1]).astype("float32")
        found += (squares - 2 * some @ known.T).argmin(1).tolist()
    return found


def said_of(file: tfseq.runtime.Model, part: Part, longest: int, sheet: Path, looks: Path | None) -> str:
    """What the file writes of a few test pictures, also as a picture, and where it looked as another."""
    from textwrap import fill

    pictures, right = part.inputs[:SHOWN], part.targets[:SHOWN]
    written = file.generate(pictures, longest)
    draw_contact_sheet(pictures, [fill(text, 16) for text in written], sheet, COLUMNS)
    if looks is not None:
        plot_word_attention(pictures[:LOOKED_AT], word_attention(file, pictures[:LOOKED_AT], longest), looks)
    return "\n".join(
        text if text in texts else f"{text}, truly {texts[0]}" for text, texts in zip(written[:COLUMNS], right)
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, quick_vit=QUICK_VIT, full=FULL, full_vit=FULL_VIT, emoji=EMOJI)
