"""A character language model of Transformer blocks: text -> random blocks -> ONNX -> text.

Learns from: Python's help topics; any text.
Makes: a text generator.
Quick: 125 s.

    python -m pipelines.transformer_lm quick                 # the help texts that come with Python
    python -m pipelines.transformer_lm full --data FILE      # the figure of benchmarks/RESULTS.md
    python -m pipelines.transformer_lm quick --positions learned --tfds tiny_shakespeare
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import keras

from pipelines.parts.language_models import publish_language_model
from pipelines.parts.presets import run_with_presets, with_precision
from tfseq.data import character_tokenizer, load_corpus, random_blocks, sliding_blocks
from tfseq.exporting import as_float32
from tfseq.models import TransformerLanguageModel
from tfseq.training import (
    Precision,
    SupervisedSettings,
    bits,
    evaluate_blocks,
    nats_per_token,
    token_loss,
    train,
    training_precision,
)


@dataclass(frozen=True)
class TransformerLM:
    """Settings of one run.

    Attributes:
        data: a UTF-8 text file; the default is the English text of Python's own help topics.
        tfds: a text data set of tensorflow-datasets instead, such as tiny_shakespeare.
        block: characters that the model reads at a time while it is trained.
        steps: training steps of an epoch, which ends with an evaluation and a checkpoint.
        units: width of the states.
        heads: of each attention.
        depth: number of blocks of layers.
        dropout: rate on embeddings and on what each layer adds.
        positions: learned for each of the first `block`, sinusoidal, or rotary, which turns queries and keys.
        window: characters that each layer looks back at, which with rotary positions lets the model write texts of any
            length; none looks back at all of the block, and writes badly beyond it.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; transformer_lm or transformer_lm_DATA by default.
        resume: go on with the run of this name where it was interrupted.
        prompt: what the sample starts with.
        length: characters the sample adds.
        temperature: of the sample, and the file's default.
    """

    data: Path | None = None
    tfds: str | None = None
    block: int = 64
    steps: int = 100
    units: int = 112
    heads: int = 2
    depth: int = 2
    dropout: float = 0.0
    positions: Literal["learned", "sinusoidal", "rotary"] = "rotary"
    window: int | None = 32
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: str | None = None
    resume: bool = False
    prompt: str = "A class "
    length: int = 400
    temperature: float = 0.7


QUICK = TransformerLM(training=SupervisedSettings(epochs=7, batch=16, learning_rate=4e-3))
FULL = TransformerLM(
    block=256,
    window=128,
    steps=400,
    units=256,
    heads=4,
    depth=6,
    dropout=0.2,
    training=SupervisedSettings(epochs=13, batch=16, learning_rate=2e-3, warmup=0.03, weight_decay=0.1),
)


def main(settings: TransformerLM) -> None:
    training, block = settings.training, settings.block
    corpus = load_corpus(settings.data, settings.tfds)
    name = settings.name or artefact_name(settings, corpus.name)
    run = Path("runs", name)
    settings = with_precision(settings, run)
    tokenizer = character_tokenizer(corpus.train)
    learned, held_out = tokenizer.encode(corpus.train), tokenizer.encode(corpus.validation)
    print(f"{corpus.source}: {len(learned):,} characters to learn from, {tokenizer.vocabulary_size} tokens")

    model = build(settings, tokenizer.vocabulary_size)
    history = train(
        model,
        random_blocks(learned, training.batch, block, settings.steps, training.seed),
        sliding_blocks(held_out, training.batch, block),
        training,
        run,
        loss=token_loss(),
        metrics=[nats_per_token()],
        monitor="nats",
        resume=settings.resume,
        identity={"model": model.get_config(), "data": corpus.sha256, "block": block, "steps": settings.steps},
    )

    exact = as_float32(model)
    alone = evaluate_blocks(exact, sliding_blocks(held_out, training.batch, block))
    sliding = evaluate_blocks(exact, sliding_blocks(held_out, training.batch, block, context=block // 2))
    print(
        f"validation: {sliding:.4f} nats ({bits(sliding):.4f} bits) per character, from {block // 2} or more before it"
    )
    print(f"            {alone:.4f} nats in blocks of {block} read alone, both in float32")

    scores = {"validation_nats": round(sliding, 4), "validation_bits": round(bits(sliding), 4)}
    scores |= {"validation_nats_of_blocks_alone": round(alone, 4)}
    publish_language_model(
        exact,
        name,
        what=f"Character language model: decoder-only Transformer, {settings.depth} blocks of {settings.units} units",
        corpus=corpus,
        tokenizer=tokenizer,
        scores=scores,
        history=history,
        settings=settings,
        run=run,
    )


def artefact_name(settings: TransformerLM, corpus: str) -> str:
    default_data = settings.data is None and settings.tfds is None
    return "transformer_lm" if default_data else f"transformer_lm_{corpus}"


def build(settings: TransformerLM, vocabulary_size: int) -> TransformerLanguageModel:
    keras.utils.set_random_seed(settings.training.seed)
    return TransformerLanguageModel(
        vocabulary_size,
        units=settings.units,
        heads=settings.heads,
        depth=settings.depth,
        dropout=settings.dropout,
        positions=settings.positions,
        max_positions=settings.block,
        window=settings.window,
        dtype=training_precision(settings.precision),
        name="transformer_lm",
    )


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
