"""A Transformer that translates: no recurrence, attention alone.

Learns from: dates in many languages; parallel texts.
Makes: a translator, and where it looked.
Quick: 100 s.

    python -m pipelines.transformer quick            # dates in many forms and languages -> 2025-03-03
    python -m pipelines.transformer full --data DIR  # English -> French, of files such as train.en.gz and train.fr.gz
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from pipelines.parts.presets import run_with_presets
from pipelines.parts.translation import Translation, translate
from tfseq.models import Transformer
from tfseq.training import SupervisedSettings, one_stream_per_core
from tfseq.training.setting_ranges import Depth, Name, ShareBelowOne, Size, check_heads


@dataclass(frozen=True)
class TransformerTranslation(Translation):
    """Settings of one run.

    Attributes:
        units: width of the model.
        heads: of each attention.
        hidden: width of the feed-forward networks.
        depth: blocks of the encoder.
        decoder_depth: blocks of the decoder; as many as the encoder's if None.
        dropout: rate on embeddings and on what each layer adds.
        positions: how it knows where a token stands.
        norm: whether layers are normalized before or after their sums.
        activation: of the feed-forward networks.
    """

    units: Size = 128
    heads: Size = 4
    hidden: Size = 256
    depth: Depth = 4
    decoder_depth: Depth | None = None
    dropout: ShareBelowOne = 0.1
    positions: Literal["sinusoidal", "learned", "rotary"] = "sinusoidal"
    norm: Literal["pre", "post"] = "pre"
    activation: Literal["relu", "gelu"] = "relu"
    name: Name = "transformer"

    def __post_init__(self):
        super().__post_init__()
        check_heads(self.units, self.heads)


QUICK = TransformerTranslation(
    units=64,
    hidden=128,
    depth=2,
    dropout=0.0,
    training=SupervisedSettings(epochs=5, batch=64, learning_rate=4e-3, warmup=0.15),
)
FULL = TransformerTranslation(
    positions="rotary",
    subwords=8_000,
    smoothing=0.1,
    dropout=0.15,
    r_drop=3.0,
    beam=5,
    length_penalty=1.8,
    training=SupervisedSettings(epochs=28, batch=32, side_by_side=2, optimizer="muon", learning_rate=4e-3, warmup=0.05),
    name="transformer_multi30k",
)


def main(settings: TransformerTranslation) -> None:
    if settings.units < 128 or settings.training.side_by_side > 1:  # products too narrow for two cores to share
        one_stream_per_core(settings.training.batch)
    build = partial(
        Transformer,
        units=settings.units,
        heads=settings.heads,
        hidden=settings.hidden,
        depth=settings.depth,
        decoder_depth=settings.decoder_depth,
        dropout=settings.dropout,
        positions=settings.positions,
        norm=settings.norm,
        activation=settings.activation,
    )
    depth = f"{settings.depth} + {settings.decoder_depth or settings.depth}"
    what = f"Transformer: {depth} blocks of {settings.units} units, {settings.heads} heads"
    translate(settings, build, what, attention=True)


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL)
