"""Music: a character model of tunes in ABC notation, which writes new ones: text, MIDI and a picture of the score.

Learns from: Ryan's Mammoth Collection; ABC files.
Makes: a composer: ABC, MIDI and scores.
Quick: 120 s.

    python -m pipelines.music quick                        # Ryan's Mammoth Collection, which comes with music21
    python -m pipelines.music full --data irish.abc        # what benchmarks/RESULTS.md reports
    python -m pipelines.music ryan                         # the collection again, for longer
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import keras
import numpy as np

import tfseq
from pipelines.parts.presets import run_with_presets, with_precision
from pipelines.parts.publish import EXPORTED, publish
from pipelines.parts.runs import run_folder
from tfseq.analysis.abc_to_midi import adds_up, write_midi
from tfseq.analysis.music_notation import plot_score
from tfseq.data import bucketed_batches, character_tokenizer, load_tunes
from tfseq.data.abc_bars import bars, wrong_bars
from tfseq.data.abc_notation import in_other_keys, plain
from tfseq.exporting import as_float32
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime import CharacterTokenizer
from tfseq.training import Precision, SupervisedSettings, bits, one_stream_per_core, train, training_precision
from tfseq.training.language_model_loss import nats_per_token, token_loss
from tfseq.training.setting_ranges import (
    Amount,
    CheckedSettings,
    Count,
    CountOrNone,
    Depth,
    Name,
    ShareBelowOne,
    Size,
    Text,
)

LONGEST = 1000  # characters that the file writes at most
SEED = 0  # of the tunes that are counted


@dataclass(frozen=True)
class Music(CheckedSettings):
    """Settings of one run.

    Attributes:
        data: a file of tunes in ABC notation; the default is Ryan's Mammoth Collection.
        cell: the recurrent cell.
        units: width of each hidden state.
        depth: recurrent layers.
        embedding_dim: width of a learned embedding; none feeds one-hot vectors.
        dropout: rate between layers.
        keys: keys that every tune comes in per epoch: its own, and others drawn as the collection has them.
        precision: of products while training; auto takes mixed_bfloat16 where this machine computes it faster, else
            float32. What is exported is always float32.
        training: how to train.
        name: of the artefact, in exported/; music, or music_DATA.
        resume: go on with the run of this name where it was interrupted.
        tunes: how many the file writes, to count those whose bars add up.
        kept: of these, how many are written as .abc, .mid and .png files.
        temperature: of the samples, and the file's default.
        prompt: what a tune begins with; metre, note length and key may be given, too.
    """

    data: Path | None = None
    cell: Literal["rnn", "irnn", "lstm", "gru"] = "lstm"
    units: Size = 224
    depth: Depth = 1
    embedding_dim: Size | None = None
    dropout: ShareBelowOne = 0.0
    keys: Count = 1
    precision: Precision = "auto"
    training: SupervisedSettings = field(default_factory=SupervisedSettings)
    name: Name | None = None
    resume: bool = False
    tunes: Count = 200
    kept: CountOrNone = 2
    temperature: Amount = 0.6
    prompt: Text = "X:1\n"


QUICK = Music(embedding_dim=32, training=SupervisedSettings(epochs=4, batch=8, learning_rate=8e-3), tunes=20)
FULL = Music(
    units=512,
    depth=2,
    embedding_dim=64,
    dropout=0.5,
    keys=6,
    training=SupervisedSettings(epochs=5, batch=16, learning_rate=3e-3),
)
RYAN = Music(
    units=224,
    embedding_dim=32,
    dropout=0.2,
    keys=3,
    training=SupervisedSettings(epochs=8, batch=16, learning_rate=5e-3),
)


class Tunes(NamedTuple):
    """A collection in plain notation, what is known of where it came from, and its characters."""

    train: list[str]
    validation: list[str]
    test: list[str]
    tokenizer: CharacterTokenizer
    data: dict
    name: str


def main(settings: Music) -> None:
    one_stream_per_core(settings.training.batch)
    name = settings.name or (f"music_{settings.data.stem}" if settings.data else "music")
    run = run_folder(name)
    settings = with_precision(settings, run)
    tunes = load(settings.data)
    model, history = fit(settings, tunes, run)
    exact = as_float32(model)
    nats = nats_of(exact, tunes.test, tunes.tokenizer)
    print(f"test: {nats:.4f} nats ({bits(nats):.4f} bits) per character, in float32")

    def sample(file: tfseq.runtime.Model) -> str:
        written = write(file, settings)
        good = [tune for tune in written if adds_up(tune)]
        for number, tune in enumerate(good[: settings.kept], 1):
            (EXPORTED / name / f"tune_{number}.abc").write_text(tune, encoding="utf-8")
            write_midi(tune, EXPORTED / name / f"tune_{number}.mid")
            plot_score(tune, run / f"tune_{number}.png")
        return "\n".join([report(written, good, tunes, settings), *good[: settings.kept]])

    publish(
        exact,
        name,
        what=f"Tunes in ABC notation, character by character: {settings.depth} x {settings.units} "
        f"{settings.cell.upper()}",
        data=tunes.data,
        scores={"test_nats": round(nats, 4), "steps": history[-1]["step"], "training_seconds": history[-1]["seconds"]},
        settings=settings,
        run=run,
        sample=sample,
        tokenizer=tunes.tokenizer,
        decode=tfseq.Sample(temperature=settings.temperature),
        pictures=[run / f"tune_{number}.png" for number in range(1, settings.kept + 1)],
    )


def load(path: Path | None) -> Tunes:
    """The tunes of a file, or of Ryan's Mammoth Collection; none is learned from that has a bar that is wrong."""
    data = load_tunes(path)
    parts = [
        [text for tune in part.inputs if (text := plain(tune))] for part in (data.train, data.validation, data.test)
    ]
    learned = [tune for tune in parts[0] if not wrong_bars(bars(tune))]
    tokenizer = character_tokenizer("".join(learned), start_and_end=True)
    print(
        f"{data.source}: {len(learned)} tunes to learn from, {sum(map(len, learned)):,} characters, "
        f"{tokenizer.vocabulary_size} tokens; {len(parts[0]) - len(learned)} with bars that do not add up are left out"
    )
    return Tunes(learned, parts[1], parts[2], tokenizer, data.provenance(), data.name)


def fit(settings: Music, tunes: Tunes, run: Path) -> tuple[RecurrentLanguageModel, list[dict[str, float]]]:
    """The trained model, with the weights of its best epoch on the validation tunes, and a record per epoch."""
    training, tokenizer = settings.training, tunes.tokenizer
    keras.utils.set_random_seed(training.seed)
    model = RecurrentLanguageModel(
        tokenizer.vocabulary_size,
        units=settings.units,
        depth=settings.depth,
        cell=settings.cell,
        embedding_dim=settings.embedding_dim,
        dropout=settings.dropout,
        end=tokenizer.end,
        dtype=training_precision(settings.precision),
        name="music",
    )
    history = train(
        model,
        batches(in_other_keys(tunes.train, settings.keys, training.seed), tokenizer, training.batch, training.seed),
        batches(tunes.validation, tokenizer, 32, None)(0),
        training,
        run,
        loss=token_loss(),
        metrics=[nats_per_token()],
        monitor="nats",
        resume=settings.resume,
        identity={"model": model.get_config(), "data": tunes.data["sha256"]},
    )
    return model, history


def batches(tunes: Sequence[str], tokenizer: CharacterTokenizer, batch: int, seed: int | None):
    """Each tune is a sequence: every character from those before it, and the end after the last."""
    sequences = [np.append(tokenizer.encode(tune), [tokenizer.end]).astype("int32") for tune in tunes]
    return bucketed_batches([s[:-1] for s in sequences], [s[1:] for s in sequences], batch, seed=seed)


def nats_of(model: keras.Model, tunes: Sequence[str], tokenizer: CharacterTokenizer) -> float:
    """Mean cross-entropy per character, ends included, each tune read by itself."""
    model.compile(loss=token_loss(), weighted_metrics=[nats_per_token()], jit_compile=False)
    held_out = batches(tunes, tokenizer, 32, None)(0)
    return float(model.evaluate(held_out, verbose=0, return_dict=True)["nats"])


def write(file: tfseq.runtime.Model, settings: Music) -> list[str]:
    """Tunes that the file writes. One that has not ended after `LONGEST` characters stays as it is, cut off."""
    prompts = [settings.prompt] * settings.tunes
    rest = file.generate(prompts, max_length=LONGEST, temperature=settings.temperature, seed=SEED)
    return [prompt + text for prompt, text in zip(prompts, rest)]


def report(written: Sequence[str], good: Sequence[str], tunes: Tunes, settings: Music) -> str:
    """How many tunes add up and how much of them is new, beside real tunes that the model has not seen."""
    held_out = tunes.test[: settings.tunes]
    real, loose, real_loose = (
        [tune for tune in some if adds_up(tune, matched=matched)]
        for some, matched in ((held_out, True), (written, False), (held_out, False))
    )
    new = {*map(music_of, written)} - {*map(music_of, tunes.train)}
    known = {passage for tune in tunes.train for passage in passages(tune)}

    def share(some: Sequence[str], of: Sequence[str]) -> str:
        return f"{len(some)} of {len(of)} ({len(some) / len(of):.1%})"

    def copied(some: Sequence[str]) -> str:
        found = [float(passage in known) for tune in some for passage in passages(tune)]
        return f"{np.mean(found or [0.0]):.1%}"

    return f"""At temperature {settings.temperature:g}:
{share(loose, written)} parse in music21 with bars that add up; of held-out tunes, {share(real_loose, held_out)}.
If closing bars have to match an opening: {share(good, written)}; of held-out tunes, {share(real, held_out)}.
{share(list(new), written)} differ from each other and from every tune that was learned from.
{copied(written)} of their passages of four bars are in such a tune; of the held-out tunes', {copied(held_out)}.
"""


def passages(tune: str) -> list[tuple[str, ...]]:
    """Every four bars in a row, as they are written."""
    read = [bar for bar in re.split(r"[|:\[\]\n]+\d?", music_of(tune)) if bar]
    return [tuple(read[i : i + 4]) for i in range(len(read) - 3)]


def music_of(tune: str) -> str:
    """What follows the header."""
    return tune.partition("\nK:")[2].partition("\n")[2]


if __name__ == "__main__":
    run_with_presets(main, quick=QUICK, full=FULL, ryan=RYAN)
