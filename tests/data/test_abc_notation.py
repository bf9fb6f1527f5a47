"""Normalized and transposed ABC notation: compared with the pitches that music21 parses."""

import pytest

from tfseq.data.abc_notation import in_other_keys, key_of, plain, transposed
from tfseq.errors import DataError

ORNAMENTED = """X: 12
T:A Reel
R:reel
M:C|
L: 1/8
Q:1/4=100
K: D Mixolydian
"Am"uA2 (3.B.c.d {g}(fe) | d>^c [M:2/4] !trill! d1 x2:|1 ~A/2 B3/2 |[2 e4 ::
w:some words
[DFA]2 z/4- d//|| f' D, _B=c |] % the end
"""
PLAIN = """X:1
M:2/2
L:1/8
K:Dmix
A2 (3Bcd fe|d>^c
M:2/4
d z2:|1A/ B3/2|2e4:||:
[DFA]2 z/4- d//||f' D, _B=c|]
"""
JIG = "X:1\nM:6/8\nL:1/8\nK:Ador\ne|A2a =f^ga|_b3 c'B,C|^G=G_A ^^F__B=F|[Ace]3 G,3:|\n"


def pitches(tune):
    converter = pytest.importorskip("music21.converter")
    return [pitch.ps for pitch in converter.parseData(tune, format="abc").flatten().pitches]


def test_ornaments_words_and_spellings_go():
    assert plain(ORNAMENTED) == PLAIN


@pytest.mark.parametrize("tune", [PLAIN, JIG])
def test_plain_notation_stays_as_it_is(tune):
    assert plain(tune) == tune


@pytest.mark.parametrize("tune", ["X:1\nM:4/4\nK:Hp\nabc|\n", "X:1\nM:free\nK:G\nabc|\n", "X:1\nT:no key\n"])
def test_an_unknown_key_or_metre_makes_no_tune(tune):
    assert plain(tune) == ""


def test_plain_notation_sounds_the_same():
    tune = "X:1\nT:Title\nM:C\nL:1/8\nK:E Minor\nE2 (GA) ~B3 ^d | .e f/2g/2 z2 =d4 :|\n"
    assert pitches(plain(tune)) == pitches(tune)


@pytest.mark.parametrize(("tonic", "half_tones"), [("D", 5), ("E", -5), ("G", -2), ("B", 2), ("Bb", 1), ("C", 3)])
def test_transposed_tunes_move_by_one_interval(tonic, half_tones):
    """From A to these tonics, the shorter way."""
    before, after = pitches(JIG), pitches(transposed(JIG, tonic))
    assert {b - a for a, b in zip(before, after, strict=True)} == {half_tones}


def test_there_and_back_again_is_the_same_tune():
    there = transposed(JIG, "E")
    assert key_of(there) == ("E", "dor")
    assert transposed(there, "A") == JIG


def test_a_tune_that_changes_its_key_stays():
    tune = JIG + "K:D\nabc abc|\n"
    assert transposed(tune, "G") == tune


def test_other_keys_are_those_of_the_same_mode():
    tunes = ["X:1\nK:G\nGAB|\n", "X:1\nK:D\nDEF|\n", JIG]
    moved = in_other_keys(tunes, 5, seed=1)
    assert moved[:3] == tunes
    assert len(moved) == 15
    assert {key_of(tune) for tune in moved} == {("G", ""), ("D", ""), ("A", "dor")}
    assert "X:1\nK:D\nDEF|\n" in moved[3::3]  # the first tune, in the key of the second


def test_a_tune_without_a_key_is_refused():
    with pytest.raises(DataError, match="has no key"):
        key_of("X:1\nabc\n")
