"""Parsing tunes in ABC notation with music21: whether their bars add up, and writing them as MIDI."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from tfseq.data.abc_bars import Bar, joined, wrong_bars
from tfseq.data.abc_notation import plain
from tfseq.data.optional_packages import import_package
from tfseq.errors import DataError


def adds_up(tune: str, at_least: int = 8, matched: bool = True) -> bool:
    """Whether a tune is one that can be played: music21 parses it, by its count of every note each bar adds up, and
    the tune holds nothing but plain notation, which music21 would pass over in silence.

    Args:
        tune: as `tfseq.data.abc_notation.plain` writes them.
        at_least: bars that a tune has.
        matched: as `tfseq.data.abc_bars.wrong_bars` takes it.

    Raises:
        DataError: music21 is not installed.
    """
    abc = import_package("music21.abcFormat", "music21", "Reading ABC notation")
    try:
        parsed(tune)
        read = bars_by_music21(tune)
    except DataError:
        return False
    return abc is not None and len(read) >= at_least and not wrong_bars(read, matched) and plain(tune) == tune


def bars_by_music21(tune: str) -> list[Bar]:
    """The bars as they are written: in the measures of music21's parse, those that are too long have been cut in two.

    Raises:
        DataError: music21 can't read the tune, or is not installed.
    """
    abc = import_package("music21.abcFormat", "music21", "Reading ABC notation")
    metre, length = Fraction(4), Fraction(0)
    signs = []
    try:
        for token in abc.ABCFile().readstr(tune).tokens:
            if isinstance(token, abc.ABCMetadata) and token.isMeter():
                metre = Fraction(token.getTimeSignatureObject().barDuration.quarterLength)
            elif isinstance(token, abc.ABCNote) and not token.inGrace:
                length += _length(token)
            elif isinstance(token, abc.ABCBar):
                signs.append((length, metre, token.src))
                length = Fraction(0)
    except Exception as error:  # music21 raises whatever its parts do
        raise DataError(f"music21 can't read the tune {tune[:60]!r}: {error}") from error
    return joined([*signs, (length, metre, "|]")])


def _length(note: Any) -> Fraction:
    length = Fraction(note.quarterLength).limit_denominator(1024)
    return length * (Fraction(note.activeTuplet.tupletMultiplier()) if note.activeTuplet else 1)


def parsed(tune: str) -> Any:
    """The tune as a `music21.stream.Score`.

    Raises:
        DataError: music21 can't read it, or is not installed.
    """
    converter = import_package("music21.converter", "music21", "Reading ABC notation")
    try:
        return converter.parseData(tune, format="abc")
    except Exception as error:  # music21 raises whatever its parts do
        raise DataError(f"music21 can't read the tune {tune[:60]!r}: {error}") from error


def write_midi(tune: str, path: Path) -> None:
    """Writes the tune as a MIDI file, with its repeats played.

    Raises:
        DataError: music21 can't read it, or is not installed.
    """
    parsed(tune).write("midi", path)
