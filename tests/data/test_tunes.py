"""Tunes in ABC notation: splitting files, header fields, duplicates, and parts."""

import os
from pathlib import Path

import pytest

from tfseq.data import load_tunes
from tfseq.data.tunes import split_tunes, title, with_fields
from tfseq.errors import DataError

DATA = Path(os.environ.get("TFSEQ_TEST_DATA", "nowhere"))
TUNE = "X:7\nT: A Reel \nT:Another Name\nZ:typed in by someone\n%comment\nM:4/4\nK:D\nabc|%\n% said\ndef|\n"


def test_tunes_end_at_the_next_or_at_an_empty_line():
    text = f"A preface\r\n\r\n{TUNE}\n\nWords between.\n{TUNE}{TUNE}"
    assert split_tunes(text) == [TUNE] * 3


def test_the_header_keeps_what_concerns_the_music():
    assert with_fields(TUNE) == "X:7\nT: A Reel\nT:Another Name\nM:4/4\nK:D\nabc|%\ndef|\n"
    assert title(TUNE) == "A Reel"


@pytest.mark.parametrize("tune", ["X:1\nT:no key\nabc\n", "X:1\nK:D\n", "X:1\nK:D\n\n"])
def test_what_has_no_key_or_no_notes_is_no_tune(tune):
    assert with_fields(tune) == ""


def test_ryans_collection_comes_with_music21():
    pytest.importorskip("music21")
    data = load_tunes()
    parts = [data.train.inputs, data.validation.inputs, data.test.inputs]
    assert [len(part) for part in parts] == [837, 104, 104]
    assert all(tune.startswith("X:") and "\nK:" in tune and tune.endswith("\n") for part in parts for tune in part)
    music = [tune[tune.index("\nK:") :] for part in parts for tune in part]
    assert len(set(music)) == len(music)  # no tune twice, so none in two parts


def test_a_file_of_tunes_is_read(tmp_path):
    tunes = [f"X:{i}\nT:Tune {i}\nK:G\n{'abcdefg'[i % 7] * (1 + i)}|\n" for i in range(20)]
    (tmp_path / "mine.abc").write_text("\n".join([*tunes, tunes[3]]))
    data = load_tunes(tmp_path / "mine.abc")
    assert (len(data.train), len(data.validation), len(data.test)) == (16, 2, 2)
    assert sorted(data.train.inputs + data.validation.inputs + data.test.inputs) == sorted(tunes)
    assert data.source == "file mine.abc"


@pytest.mark.skipif(not (DATA / "irish.abc").is_file(), reason="TFSEQ_TEST_DATA names no folder with irish.abc")
def test_the_irish_tunes_are_804_of_which_4_are_repeated():
    data = load_tunes(DATA / "irish.abc")
    assert len(data.train) + len(data.validation) + len(data.test) == 800


def test_a_file_without_tunes_is_refused(tmp_path):
    (tmp_path / "prose.abc").write_text("Once upon a time")
    with pytest.raises(DataError, match="holds 0 tunes; expected 10 or more"):
        load_tunes(tmp_path / "prose.abc")
