"""Bars of tunes: lengths counted by hand and by music21, and which bars do not add up."""

from fractions import Fraction

import pytest

from tfseq.data import load_tunes
from tfseq.data.abc_bars import bars, wrong_bars
from tfseq.data.abc_notation import plain


def tune(music, metre="2/4"):
    return f"X:1\nM:{metre}\nL:1/8\nK:G\n{music}\n"


def lengths(music, metre="2/4"):
    return [bar.length * 2 for bar in bars(tune(music, metre))]  # in eighths


@pytest.mark.parametrize(
    ("music", "expected"),
    [
        ("ABcd|", [4]),
        ("A2 B c/ d/|e4|", [4, 4]),
        ("A3/2 B/ c// d// z|", [Fraction(7, 2)]),
        ("A>B c<d|", [4]),
        ("A>>B c<<d|", [4]),
        ("(3ABc d2|", [4]),
        ("(3A2B2c2|", [4]),
        ("(5:4:5ABcde|", [4]),
        ("[GB]2 [d2g2]|", [4]),
        ("A2-A2|", [4]),
        ("A4|M", [4]),
        ("|:A4:||:B4|1c4:|2d4|]", [4, 4, 4, 4]),
    ],
)
def test_lengths_counted_by_hand(music, expected):
    assert lengths(music) == expected


def test_a_pair_of_notes_is_longer_in_compound_time():
    assert lengths("(2AB c3|", "6/8") == [6]


def test_a_change_of_metre_holds_from_there_on():
    read = bars(tune("A4|\nM:3/4\nA6|"))
    assert [bar.metre for bar in read] == [2, 3]
    assert not wrong_bars(read)


@pytest.mark.parametrize(
    ("music", "wrong"),
    [
        ("ABcd|ABcd|", []),
        ("ABc|ABcd|", []),  # the notes before the first beat
        ("ABcd|ABc|ABcd|", [1]),  # short amid a section
        ("ABcd|ABcde|ABcd|", [1]),
        ("ABcde|ABcd|", [0]),
        ("d|ABcd|ABc:|", []),  # ends where its opening begins
        ("d|ABcd|AB:|", [2]),
        ("d|ABcd|AB:|cd|ABcd|AB:|", []),  # ends where the next opening begins
        ("d|ABcd|ABc||ABcd|ABc|]", []),  # ends where the tune's opening begins
        ("ABcd|ABc:|", [1]),
        ("d|ABcd|1ABc:|2ABcd|]", []),
        ("", []),
    ],
)
def test_which_bars_do_not_add_up(music, wrong):
    assert wrong_bars(bars(tune(music))) == wrong


def test_music21_counts_the_same_in_real_tunes():
    pytest.importorskip("music21")
    from tfseq.analysis.abc_to_midi import bars_by_music21

    tunes = [plain(text) for text in load_tunes().test.inputs[1:25]]
    assert [bars(text) for text in tunes] == [bars_by_music21(text) for text in tunes]


@pytest.mark.parametrize(
    ("music", "wrong"),
    [
        ("d|ABcd|AB:|", []),  # short where a section closes, whatever its opening
        ("ABcd|ABc|ABcd|", [1]),  # but not amid a section
        ("ABcd|ABcde:|", [1]),  # and never too long
    ],
)
def test_closing_bars_may_be_short_if_they_need_not_match(music, wrong):
    assert wrong_bars(bars(tune(music)), matched=False) == wrong
