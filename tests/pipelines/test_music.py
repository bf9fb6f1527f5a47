from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("music21")

from pipelines import music
from tfseq import runtime
from tfseq.analysis.abc_to_midi import adds_up
from tfseq.training import SupervisedSettings

TINY = music.Music(
    data=Path("tunes.abc"),
    units=24,
    embedding_dim=8,
    keys=2,
    training=SupervisedSettings(epochs=30, batch=8, learning_rate=2e-2),
    tunes=6,
    kept=1,
    temperature=0.0,
)
BAR = "abcd efga|"


def collection(count):
    """Tunes of one scale; each has one note played twice. The last tune has a bar that is too long."""
    scale = [f"{note}8|" for note in "GABcdefg"]
    tunes = []
    for i in range(count):
        bars = [f"{bar[0]}4{bar[0]}4|" if place == i % 8 else bar for place, bar in enumerate(scale)]
        tunes.append(f"X:{i}\nT:Tune {i}\nM:C\nL:1/8\nK:G\n{''.join(bars)}]\n{'z8|' * (i // 8)}\n")
    return "\n".join([*tunes, f"X:9\nM:C\nL:1/8\nK:G\nab{BAR}{BAR}\n"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    (folder / "tunes.abc").write_text(collection(28), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        music.main(TINY)
    return folder / "exported" / "music_tunes"


def test_a_run_leaves_the_model_and_a_tune_as_text_midi_and_score(exported):
    names = {path.name for path in exported.iterdir()}
    assert {"model.onnx", "card.md", "tune_1.abc", "tune_1.mid", "tune_1.png"} <= names
    assert adds_up((exported / "tune_1.abc").read_text(encoding="utf-8"))
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "6 of 6 (100.0%) parse in music21 with bars that add up" in card
    assert "![tune 1](tune_1.png)" in card
    assert str(exported.parent) not in card


def test_the_file_ends_its_tunes_itself(exported):
    file = runtime.load(exported / "model.onnx")
    tune = "X:1\n" + file.generate("X:1\n", max_length=2000, temperature=0)
    assert len(tune) < 200
    assert tune.endswith("|\n") or tune.endswith("|]\n")


def test_tunes_with_a_wrong_bar_are_not_learned_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tunes.abc").write_text(collection(28), encoding="utf-8")
    tunes = music.load(Path("tunes.abc"))
    assert len(tunes.train) + len(tunes.validation) + len(tunes.test) in (28, 29)
    assert not any("ab" + BAR in tune for tune in tunes.train)


def test_loss_is_counted_over_characters_and_ends(tmp_path, monkeypatch):
    """A model of zeros gives every token the same probability."""
    import numpy as np

    tunes = ["X:1\nK:G\nabc|\n", "X:1\nK:D\nabcdefg abcdefg|\n"]
    tokenizer = music.character_tokenizer("".join(tunes), start_and_end=True)
    model = music.RecurrentLanguageModel(tokenizer.vocabulary_size, units=3)
    model.build()
    model.set_weights([np.zeros(w.shape) for w in model.weights])
    assert music.nats_of(model, tunes, tokenizer) == pytest.approx(np.log(tokenizer.vocabulary_size), rel=1e-5)


def test_passages_are_four_bars_in_a_row_whatever_their_lines():
    assert music.passages("X:1\nK:G\nA|B||\nC:|1D|2E|]\n") == [("A", "B", "C", "D"), ("B", "C", "D", "E")]


def test_a_report_compares_with_real_tunes_and_with_what_was_learned_from():
    real = "X:1\nM:4/4\nL:1/8\nK:G\n" + BAR * 8 + "\n"
    other = real.replace("abcd", "gbcd")
    tunes = music.Tunes([real], [], [other], None, {}, "tunes")
    text = music.report([real, other, other], [real, other], tunes, replace(TINY, temperature=0.5))
    assert "3 of 3 (100.0%) parse in music21 with bars that add up; of held-out tunes, 1 of 1 (100.0%)." in text
    assert "If closing bars have to match an opening: 2 of 3 (66.7%); of held-out tunes, 1 of 1 (100.0%)." in text
    assert "1 of 3 (33.3%) differ" in text
    assert "33.3% of their passages" in text
    assert text.endswith("0.0%.\n")
