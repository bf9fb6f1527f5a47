"""Normalizing tunes in ABC notation (one spelling for each element), and transposing them."""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from tfseq.errors import DataError

MODES = ("maj", "min", "dor", "phr", "lyd", "mix", "aeo", "loc", "ion")
NAMED_METRES = {"C": "4/4", "C|": "2/2"}

_LENGTH = r"\d*(?:/\d*)*"
_NOTE = rf"(?:\^\^|__|[\^_=])?[A-Ga-gzx][,']*{_LENGTH}"
_BAR_SIGN = r"(?:[|\]:]|\[(?=[|\]:]|\s*$))"
_BAR = rf"\[\d|(?=[\[\]:\s]*(?:\||::)){_BAR_SIGN}(?:\s*{_BAR_SIGN})*(?:\s*\[?\d)?"
TOKEN = re.compile(
    rf"(?P<note>{_NOTE})"
    rf"|(?P<chord>\[(?:{_NOTE})+\]{_LENGTH})"
    r"|(?P<field>\[[A-Za-z]:[^\]]*\])"
    rf"|(?P<bar>{_BAR})"
    r"|(?P<tuplet>\(\d(?::\d?){0,2})"
    r"|(?P<other>[<>]+|-)"
    r"|(?P<space>\s+)"
    r'|"[^"]*"|![^!\n]*!|\{[^}]*\}|.',  # chord symbols, decorations, grace notes, slurs, bowing: not kept
)


def plain(tune: str) -> str:
    """A tune as `load_tunes` gives it, reduced to what its melody is played from.

    The header becomes X:1, then metre, note length and key (M:, L:, K:) in this order and in one spelling each. Titles,
    names, tempo, ornaments, bowing, chord symbols, slurs and words are left out; notes, rests, chords, ties, tuplets,
    dotted pairs (> and <), bars, repeats, endings and the spaces that group notes stay.

    Returns:
        the tune, which ends in a line feed; "" if its key or metre is none that is known here.
    """
    header, _, body = tune.partition("\nK:")
    key_line, _, body = body.partition("\n")
    metre, length, key = _metre(_field(header, "M")), _field(header, "L"), _key(key_line)
    if not (metre and key):
        return ""
    lines = [line for written in body.split("\n") for line in _lines(written.partition("%")[0])]
    return "\n".join(["X:1", f"M:{metre}", f"L:{length or '1/8'}", f"K:{key}", *lines]) + "\n"


def _field(header: str, name: str) -> str:
    found = re.findall(rf"(?m)^{name}:[ \t]*(\S*)", header)
    return found[-1] if found else ""


def _metre(value: str) -> str:
    value = NAMED_METRES.get(value, value)
    return value if re.fullmatch(r"\d+/\d+", value) else ""


def _key(value: str) -> str:
    """ "D Mixolydian" is Dmix, "G Major" G and "E Minor" Em."""
    found = re.match(r"\s*([A-G][#b]?)\s*([A-Za-z]*)", value)
    if not found:
        return ""
    tonic, mode = found[1], found[2].lower()
    if mode in ("", "m"):
        return tonic + mode
    mode = mode[:3]
    if mode not in MODES:
        return ""
    return tonic + {"maj": "", "ion": "", "min": "m", "aeo": "m"}.get(mode, mode)


def _lines(line: str) -> Iterator[str]:
    """One line of a tune's body; more where the metre or the key changes within it."""
    field = re.match(r"([A-Za-z]):[ \t]*(\S*)", line)
    if field:
        yield from _change(field[1], field[2])
        line = line[field.end() :] if field[1] == "M" else ""
    written: list[str] = []
    for token in TOKEN.finditer(line):
        match token.lastgroup:
            case "field":
                yield from _joined(written)
                yield from _change(token[0][1], token[0][3:-1].strip())
                written = []
            case "bar":
                written.append(_bar(token[0]))
            case "note" | "chord":
                written.append(re.sub(r"(?<!\d)1(?!\d)(?!/)|(?<!\d/)(?<=/)2(?!\d)", "", token[0]).replace("x", "z"))
            case "space":
                written.append(" ")
            case "tuplet" | "other":
                written.append(token[0])
    yield from _joined(written)


def _joined(written: list[str]) -> Iterator[str]:
    text = re.sub(r" +", " ", "".join(written))
    text = re.sub(r" ?([|:\[\]]*\|[|:\[\]]*\d?|\[\d) ?", r"\1", text).strip()
    text = re.sub(r"(\|\])+", "|]", text)
    if text:
        yield text


def _change(name: str, value: str) -> Iterator[str]:
    new = _metre(value) if name == "M" else _key(value) if name == "K" else value if name == "L" else ""
    if new:
        yield f"{name}:{new}"


def _bar(written: str) -> str:
    """One spelling for every kind of bar line; first and second endings are |1 and :|2."""
    signs, digit = re.sub(r"[\s\d]|\[(?=\d)", "", written), re.sub(r"\D", "", written)
    ends, starts = signs.startswith(":"), signs.endswith(":")
    if ends and starts:
        bar = ":||:"  # music21 takes A:: for a field named A
    elif ends or starts:
        bar = ":|" if ends else "|:"
    elif "]" in signs:
        bar = "|]"
    else:
        bar = "||" if signs.count("|") > 1 or "[" in signs else "|"
    ending = digit if digit in ("1", "2") and bar in ("|", ":|") else ""
    return bar + ending


_LETTERS = "CDEFGAB"
_FIFTHS = "FCGDAEB"  # the order in which sharps enter a key signature
_MODE_FIFTHS = {"": 0, "m": -3, "dor": -2, "phr": -4, "lyd": 1, "mix": -1, "loc": -5}
_ACCIDENTALS = {"__": -2, "_": -1, "=": 0, "^": 1, "^^": 2}
_SIGNS = {alteration: sign for sign, alteration in _ACCIDENTALS.items()}
_PITCH = re.compile(r"(\^\^|__|[\^_=])?([A-Ga-g])([,']*)")


def key_of(tune: str) -> tuple[str, str]:
    """Tonic and mode of a plain tune: ("D", "mix"); the mode of a major key is ""."""
    found = re.search(r"(?m)^K:([A-G][#b]?)(\w*)$", tune)
    if not found:
        raise DataError(f"The tune {tune[:40]!r} has no key; expected a line such as K:G or K:Ador.")
    return found[1], found[2]


def transposed(tune: str, tonic: str) -> str:
    """A plain tune in the same mode on another tonic, in the octave nearest to where it was.

    A tune that changes its key, or needs an accidental that has no sign, is returned as it is.

    Args:
        tune: as `plain` returns it.
        tonic: such as "D", "Bb" or "F#".

    Raises:
        DataError: the tune has no key.
    """
    old, mode = key_of(tune)
    header, _, body = tune.partition(f"\nK:{old}{mode}\n")
    if "K:" in body or old == tonic:
        return tune
    signature, new_signature = _signature(old, mode), _signature(tonic, mode)
    steps = (_LETTERS.index(tonic[0]) - _LETTERS.index(old[0]) + 3) % 7 - 3  # scale steps: from 3 down to 3 up

    def moved(note: re.Match[str]) -> str:
        sign, letter, octaves = note.groups()
        place = (
            _LETTERS.index(letter.upper()) + steps + 7 * (letter.islower() + octaves.count("'") - octaves.count(","))
        )
        octave, degree = divmod(place, 7)
        new = _LETTERS[degree]
        written = new + "," * -octave if octave < 1 else new.lower() + "'" * (octave - 1)
        if sign is None:
            return written
        return _SIGNS[_ACCIDENTALS[sign] - signature[letter.upper()] + new_signature[new]] + written

    try:
        lines = [line if re.match(r"[A-Z]:", line) else _PITCH.sub(moved, line) for line in body.split("\n")]
    except KeyError:  # a triple sharp
        return tune
    return "\n".join([header, f"K:{tonic}{mode}", *lines])


def _signature(tonic: str, mode: str) -> dict[str, int]:
    """How a key alters each letter: 1 for a sharp, -1 for a flat."""
    sharps = _FIFTHS.index(tonic[0]) - 1 + 7 * (tonic.count("#") - tonic.count("b")) + _MODE_FIFTHS[mode]
    return {letter: (sharps - i + 6) // 7 for i, letter in enumerate(_FIFTHS)}


def in_other_keys(tunes: Sequence[str], keys: int, seed: int = 0) -> list[str]:
    """Every plain tune, and `keys` - 1 times more on a tonic drawn from those that the tunes of its mode have."""
    draw = np.random.default_rng(seed)
    tonics: dict[str, list[str]] = {}
    for tune in tunes:
        tonic, mode = key_of(tune)
        tonics.setdefault(mode, []).append(tonic)
    moved = [transposed(tune, draw.choice(tonics[key_of(tune)[1]])) for _ in range(keys - 1) for tune in tunes]
    return [*tunes, *moved]
