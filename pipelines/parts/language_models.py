"""What the pipelines of language models have in common: how they learn from blocks of text, and are published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import tfseq
from pipelines.parts.presets import with_precision
from pipelines.parts.publish import publish
from pipelines.parts.runs import run_folder
from tfseq.data import Corpus, character_tokenizer, load_corpus, random_blocks, sliding_blocks
from tfseq.errors import TrainingError
from tfseq.exporting import as_float32
from tfseq.models import Generator
from tfseq.runtime import Tokenizer
from tfseq.training import bits, evaluate_blocks, nats_per_token, token_loss, train


class Writing(Protocol):
    """Settings of what a model is to write: the sample starts with `prompt`, and `length` characters follow."""

    @property
    def prompt(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def temperature(self) -> float: ...


def run_on_blocks(settings: Any, kind: str, build: Callable[[Any, int], Generator], *, what: str) -> None:
    """Trains a character model on random blocks of a text, measures and publishes it.

    Args:
        settings: with `data`, `tfds`, `block`, `steps`, `training`, `precision`, `name`, `resume`, and `Writing`'s.
        kind: names the artefact where `settings` do not, with the text behind it where that is not the default.
        build: of settings and vocabulary size.
        what: the model is, in a few words.
    """
    training, block = settings.training, settings.block
    corpus = load_corpus(settings.data, settings.tfds)
    default_data = settings.data is None and settings.tfds is None
    name = settings.name or (kind if default_data else f"{kind}_{corpus.name}")
    run = run_folder(name)
    settings = with_precision(settings, run)
    tokenizer = character_tokenizer(corpus.train)
    learned, held_out = tokenizer.encode(corpus.train), tokenizer.encode(corpus.validation)
    print(f"{corpus.source}: {len(learned):,} characters to learn from, {tokenizer.vocabulary_size} tokens")

    model = build(settings, tokenizer.vocabulary_size)
    _check_room(settings, tokenizer, model.max_positions)
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
        what=f"Character language model: {what}",
        corpus=corpus,
        tokenizer=tokenizer,
        scores=scores,
        history=history,
        settings=settings,
        run=run,
    )


def _check_room(settings: Writing, tokenizer: Tokenizer, positions: int | None) -> None:
    """Before training: whether the sample that is to be written fits into what the model reads."""
    read = len(tokenizer.encode(settings.prompt))
    if positions is not None and read + settings.length - 1 > positions:
        raise TrainingError(
            f"prompt has {read} tokens and length is {settings.length}; expected {positions + 1} together at most, "
            f"as the model reads {positions} (block)."
        )


def publish_language_model(
    model: Generator,
    name: str,
    *,
    what: str,
    corpus: Corpus,
    tokenizer: Tokenizer,
    scores: dict[str, float],
    history: list[dict[str, Any]],
    settings: Writing,
    run: Path,
) -> tfseq.runtime.Model:
    """`publish` with a file that samples, and a text that it wrote."""
    return publish(
        model,
        name,
        what=what,
        data=corpus.provenance(),
        scores=scores | {"steps": history[-1]["step"], "training_seconds": history[-1]["seconds"]},
        settings=settings,
        run=run,
        sample=lambda file: settings.prompt + file.generate(settings.prompt, max_length=settings.length),
        tokenizer=tokenizer,
        decode=tfseq.Sample(temperature=settings.temperature),
    )
