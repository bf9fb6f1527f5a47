"""`printable`: no character of a file reaches the terminal that is more than a sign on its line."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.printable import printable

ANYTHING = st.text(st.characters(exclude_categories=()))
TURNS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(ANYTHING)
def test_nothing_is_left_that_a_terminal_obeys(text):
    shown = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not set(shown) & set(TURNS)
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"))))
def test_ordinary_text_stays(text):
    assert printable(text) == text


def test_lines_of_a_text_stay_if_wanted():
    assert printable("a\n\tb\r\x1b", lines=True) == "a\n\tb\\r\\x1b"
    assert printable("ein Emoji 👩\u200d🚀") == "ein Emoji 👩\u200d🚀"  # joined by a character without a width


def test_a_name_cannot_forge_a_line_of_the_table():
    forged = "model\nparity      passed\x1b[8m"
    specs = (TensorSpec("x\rparity      passed", "float32", ("batch\x0b",)),)
    manifest = Manifest(
        forged,
        "predict",
        specs,
        specs,
        {"Add\n": 1},
        18,
        labels=("a\u2028parity",),
        notes=("b\nc",),
        provenance={"data\n": {"e\n": "f\x9b"}},
    )
    lines = str(manifest).splitlines()
    assert sum(line.startswith("parity") for line in lines) == 1
    assert all(character.isprintable() for line in lines for character in line)
