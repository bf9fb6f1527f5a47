"""Tunes parsed by music21: which add up, their MIDI, and their sheet music."""

import pytest

pytest.importorskip("music21")

from music21 import midi

from tfseq.analysis.abc_to_midi import adds_up, bars_by_music21, parsed, write_midi
from tfseq.analysis.music_notation import plot_score
from tfseq.data.abc_bars import wrong_bars
from tfseq.errors import DataError

HEADER = "X:1\nM:2/4\nL:1/8\nK:D\n"
TUNE = HEADER + "A|dfaf|g2fe|(3ddd c>B|A3:|\na/b/|afdf|z [ce] c-c|^G=G_BA|1d2A2:|2d4|]\n"


def test_a_tune_that_can_be_played():
    assert adds_up(TUNE)
    assert not adds_up(TUNE, at_least=12)


@pytest.mark.parametrize(
    "tune",
    [
        TUNE.replace("g2fe", "g2f"),
        TUNE.replace("g2fe", "g2fed"),
        TUNE.replace("dfaf|g2fe|", "dfafg2fe|"),  # two bars in one, which music21's parse would cut in two
        TUNE.replace("dfaf", 'df"D"af'),
        TUNE.replace("dfaf", "dQf$af"),
        TUNE.replace("M:2/4", "M:2/0"),
        "no tune",
        "",
    ],
)
def test_a_tune_that_can_not(tune):
    assert not adds_up(tune)


def test_bars_are_counted_as_they_are_written():
    tune = HEADER + "dfafg2fe|dfaf|"
    assert [bar.length for bar in bars_by_music21(tune)] == [4, 2]
    assert wrong_bars(bars_by_music21(tune)) == [0]
    measures = parsed(tune).parts[0].getElementsByClass("Measure")
    assert [measure.highestTime for measure in measures] == [2, 2, 2]  # why its parse is not asked


def test_what_music21_refuses_ends_in_our_error():
    with pytest.raises(DataError, match="music21 can't read"):
        bars_by_music21("X:1\nM:2/0\nK:D\nabc|\n")


def test_the_midi_file_holds_the_notes(tmp_path):
    tune = HEADER + "d2f2|a4|"
    write_midi(tune, tmp_path / "tune.mid")
    file = midi.MidiFile()
    file.open(tmp_path / "tune.mid")
    file.read()
    file.close()
    played = [event.pitch for track in file.tracks for event in track.events if event.isNoteOn() and event.velocity]
    assert played == [74, 78, 81]  # D5, F sharp, A


def test_the_score_is_drawn_bar_by_bar(tmp_path, monkeypatch):
    """As many bar lines as bars, as many heads as notes, an accidental for each sign."""
    from tfseq.analysis import music_notation

    drawn = []
    for sign in ("head", "bar_line", "rest", "beam", "tie", "text"):
        kept = getattr(music_notation._Pen, sign)

        def counted(self, *arguments, sign=sign, kept=kept, **style):
            drawn.append((sign, *arguments))
            return kept(self, *arguments, **style)

        monkeypatch.setattr(music_notation._Pen, sign, counted)
    plot_score(TUNE, tmp_path / "tune.png", "A tune")
    assert (tmp_path / "tune.png").read_bytes().startswith(b"\x89PNG")
    count = [sign for sign, *_ in drawn].count
    assert count("bar_line") == 11
    assert count("head") == 1 + 4 + 3 + 5 + 1 + 2 + 4 + 4 + 4 + 2 + 1
    assert count("rest") == 1
    assert count("tie") == 1
    texts = [arguments[2] for sign, *arguments in drawn if sign == "text"]
    assert texts.count("♮") == 1
    assert texts.count("♭") == 1
    assert texts.count("♯") == 2 * 2 + 1  # of the key on two staves, and of one G
    assert {"3", "1.", "2."} <= set(texts)
