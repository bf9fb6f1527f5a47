"""A recurrent encoder-decoder whose decoder looks back at the source at every step.

Learns from: dates in many languages; parallel texts.
Makes: a translator, and where it looked.
Quick: 140 s.

    python -m pipelines.attention_seq2seq quick            # dates in many forms and languages -> 2025-03-03
    python -m pipelines.attention_seq2seq full --data DIR  # English -> French, as docs/ shows beside no attention
    python -m pipelines.attention_seq2seq quick --alignment cosine
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from pipelines.parts.presets import run_with_presets
from pipelines.parts.translation import Translation, translate
from tfseq.models import AttentionSeq2Seq
from tfseq.training import SupervisedSettings, one_stream_per_core
from tfseq.training.setting_ranges import Depth, Name, ShareBelowOne, Size


@dataclass(frozen=True)
class AttentionTranslation(Translation):
    """Settings of one run.

    Attributes:
        alignment: how the decoder's state is compared with the encoder's: by a small network (Bahdanau et al., 2015),
            the dot product, a general product (Luong et al., 2015) or the cosine.
        cell: the recurrent cell.
        units: width of the encoder's states and of the decoder's.
        depth: recurrent layers of each.
        embedding_dim: width of the embeddings.
        dropout: rate on embeddings and before the logits.
    """

    alignment: Literal["network", "dot", "general", "cosine"] = "network"
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "gru"
    units: Size = 128
    depth: Depth = 1
    embedding_dim: Size = 64
    dropout: ShareBelowOne = 0.0
    name: Name = "attention_seq2seq"


QUICK = AttentionTranslation(units=96, training=SupervisedSettings(epochs=4, batch=64, learning_rate=5e-3))
FULL = AttentionTranslation(
    units=256,
    embedding_dim=256,
    dropout=0.3,
    subwords=3_000,
    beam=5,
    training=SupervisedSettings(epochs=10, batch=128, learning_rate=2e-3),
    name="attention_seq2seq_multi30k",
)


def main(settings: AttentionTranslation) -> None:
    one_stream_per_core(settings.training.batch)
    build = partial(
        AttentionSeq2Seq,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        alignment=settings.alignment,
        embedding_dim=settings.embedding_dim,
        dropout=settings.dropout,
    )
    what = f"Encoder-decoder with attention ({settings.alignment}): {settings.depth} x {settings.units}"
    translate(settings, build, f"{what} {settings.cell.upper()}", attention=True)


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
