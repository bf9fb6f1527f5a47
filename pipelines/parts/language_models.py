"""What the pipelines of language models have in common: how they are published."""

from pathlib import Path
from typing import Any, Protocol

import tfseq
from pipelines.parts.publish import publish
from tfseq.data import Corpus
from tfseq.models import Generator
from tfseq.runtime import Tokenizer


class Writing(Protocol):
    """Settings of what a model is to write: the sample starts with `prompt`, and `length` characters follow."""

    @property
    def prompt(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def temperature(self) -> float: ...


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
