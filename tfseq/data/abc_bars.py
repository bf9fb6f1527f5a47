"""Bars of a tune in ABC notation: their lengths against the metre, and which do not add up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tfseq.data.abc_notation import TOKEN

COMPOUND_METRES = (6, 9, 12)  # counted in threes


@dataclass(frozen=True)
class Bar:
    """What stands between two bar lines.

    Attributes:
        length: of its notes and rests, in quarter notes.
        metre: what the metre asks for, in quarter notes.
        opens: whether it begins a section: the tune, or what follows a repeat, a double bar or an ending's number.
        closes: whether it ends one.
    """

    length: Fraction
    metre: Fraction
    opens: bool
    closes: bool


def bars(tune: str) -> list[Bar]:
    """The bars of a tune as `tfseq.data.abc_notation.plain` writes it."""
    metre, unit, compound = Fraction(4), Fraction(1, 2), False
    signs: list[tuple[Fraction, Fraction, str]] = []  # length and metre of what stands before each bar line
    notes: list[Fraction] = []
    for line in tune.split("\n"):
        field = re.fullmatch(r"([A-Z]):(\S*)", line)
        if field and field[1] == "M":
            above, below = map(int, field[2].split("/"))
            metre, compound = Fraction(4 * above, below), above in COMPOUND_METRES
        elif field and field[1] == "L":
            unit = 4 * Fraction(field[2])
        if field:
            continue
        factor, in_tuplet, ratio = Fraction(1), 0, Fraction(1)  # of the notes that follow
        for token in TOKEN.finditer(line):
            match token.lastgroup:
                case "note" | "chord":
                    length = unit * _multiple(token[0]) * factor * (ratio if in_tuplet else 1)
                    notes.append(length)
                    factor, in_tuplet = Fraction(1), max(in_tuplet - 1, 0)
                case "tuplet":
                    in_tuplet, ratio = _tuplet(token[0], compound)
                case "other" if token[0][0] in "<>" and notes:
                    short = Fraction(1, 2 ** len(token[0]))
                    first, factor = (2 - short, short) if token[0][0] == ">" else (short, 2 - short)
                    notes[-1] *= first
                case "bar":
                    signs.append((sum(notes, Fraction(0)), metre, token[0]))
                    notes = []
    return joined([*signs, (sum(notes, Fraction(0)), metre, "|]")])


def joined(signs: Sequence[tuple[Fraction, Fraction, str]]) -> list[Bar]:
    """Bars of the bar lines of a tune: signs side by side, such as the end of one repeat and the start of the next,
    are one.

    Args:
        signs: length and metre of what stands before each bar line, and how that is written.
    """
    read: list[Bar] = []
    opens = True
    for length, metre, sign in signs:
        edge = sign != "|"
        if length:
            read.append(Bar(length, metre, opens, edge))
            opens = edge
        elif edge:
            opens = True
            read[-1:] = [Bar(bar.length, bar.metre, bar.opens, True) for bar in read[-1:]]
    return read


def wrong_bars(read: Sequence[Bar], matched: bool = True) -> list[int]:
    """Which bars of a tune do not add up, counted from 0.

    A bar has the length of the metre. It may be shorter in two places only: where a section opens, with the notes
    before the first beat; and where one closes, if what is left for the metre is what some opening takes: of the
    section that follows, of the section itself, which is repeated, or of the tune.

    Args:
        read: the bars of a tune.
        matched: False lets a closing bar be short whatever the openings are, as people also write tunes.
    """
    wrong = []
    tune_opening = section_opening = read[0].length if read else Fraction(0)
    for number, bar in enumerate(read):
        if bar.opens:
            section_opening = bar.length
        following = read[number + 1].length if number + 1 < len(read) else tune_opening
        fits_an_opening = bar.metre - bar.length in (section_opening, following, tune_opening)
        may_be_short = bar.opens or (bar.closes and (fits_an_opening or not matched))
        if bar.length > bar.metre or (bar.length < bar.metre and not may_be_short):
            wrong.append(number)
    return wrong


def _multiple(written: str) -> Fraction:
    """How many units a note takes: 3/2 is one and a half, / a half, // a quarter. A chord takes what its first does."""
    if written[0] == "[":
        first, outer = written[1:].split("]")[0], written.rpartition("]")[2]
        lengths = re.findall(r"[A-Ga-gz][,']*([\d/]*)", first)
        return _fraction(lengths[0]) * _fraction(outer)
    return _fraction(re.sub(r"[^\d/]", "", written))


def _fraction(length: str) -> Fraction:
    above, _, below = length.partition("/")
    if below.strip("/"):
        return Fraction(int(above or 1), int(below.strip("/")))
    return Fraction(int(above or 1), 2 ** length.count("/"))


def _tuplet(written: str, compound: bool) -> tuple[int, Fraction]:
    """How many notes it holds, and what each is shortened by: (p:q:r puts p notes in the time of q, for r notes."""
    p, q, r = (int(n) if n else 0 for n in [*written[1:].split(":"), "", ""][:3])
    usual = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}.get(p, 3 if compound else 2)
    return r or p, Fraction(q or usual, p)
