"""A recurrent encoder-decoder: a text becomes one vector, and the vector a text.

Learns from: dates in many languages; parallel texts.
Makes: a translator.
Quick: 160 s.

    python -m pipelines.seq2seq quick                      # dates in many forms and languages -> 2025-03-03
    python -m pipelines.seq2seq full --data DIR            # English -> French, as docs/ shows beside attention
    python -m pipelines.seq2seq full --tfds ted_hrlr_translate/pt_to_en --source pt --target en
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from pipelines.parts.presets import run_with_presets
from pipelines.parts.translation import Translation, translate
from tfseq.models import Seq2Seq
from tfseq.training import SupervisedSettings, one_stream_per_core
from tfseq.training.setting_ranges import Depth, Name, ShareBelowOne, Size


@dataclass(frozen=True)
class RecurrentTranslation(Translation):
    """Settings of one run.

    Attributes:
        cell: the recurrent cell.
        units: width of the encoder's states and of the decoder's.
        depth: recurrent layers of each.
        bidirectional: whether the encoder also reads from the end.
        embedding_dim: width of the embeddings.
        dropout: rate on embeddings and before the logits.
    """

    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 128
    depth: Depth = 1
    bidirectional: bool = True
    embedding_dim: Size = 64
    dropout: ShareBelowOne = 0.0
    name: Name = "seq2seq"


QUICK = RecurrentTranslation(units=112, training=SupervisedSettings(epochs=9, batch=64, learning_rate=5e-3))
FULL = RecurrentTranslation(
    units=256,
    embedding_dim=256,
    dropout=0.3,
    subwords=3_000,
    beam=5,
    training=SupervisedSettings(epochs=10, batch=128, learning_rate=2e-3),
    name="seq2seq_multi30k",
)


def main(settings: RecurrentTranslation) -> None:
    one_stream_per_core(settings.training.batch)
    build = partial(
        Seq2Seq,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        bidirectional=settings.bidirectional,
        embedding_dim=settings.embedding_dim,
        dropout=settings.dropout,
    )
    translate(settings, build, f"Encoder-decoder: {settings.depth} x {settings.units} {settings.cell.upper()}")


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
