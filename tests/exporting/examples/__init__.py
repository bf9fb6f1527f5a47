"""Small models in the manner of public Keras example code: what users will bring to `tfseq.export`."""

from tests.exporting.examples import (
    attention_variants,
    dense_prediction,
    generative,
    language,
    recurrent,
    speech,
    tables,
    time_series,
    translation,
    video,
    vision,
)
from tests.exporting.examples.registry import EXAMPLES, Example

__all__ = [
    "EXAMPLES",
    "Example",
    "attention_variants",
    "dense_prediction",
    "generative",
    "language",
    "recurrent",
    "speech",
    "tables",
    "time_series",
    "translation",
    "video",
    "vision",
]
