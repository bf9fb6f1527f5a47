"""Text classification data: no line is in two parts, and files are read in their own encoding."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from tfseq.data import languages, load_texts, rt_polarity
from tfseq.errors import DataError

DATA = Path(os.environ.get("TFSEQ_TEST_DATA", "nowhere"))


def parts_of(data):
    return data.train, data.validation, data.test


@pytest.fixture(scope="module")
def titles():
    pytest.importorskip("music21")
    return languages()


def test_no_title_is_in_two_parts(titles):
    lines = [line.lower() for part in parts_of(titles) for line in part.inputs]
    assert len(set(lines)) == len(lines) > 8000


def test_each_language_has_its_words(titles):
    assert titles.labels == ("Chinese", "English", "German")
    words = {"der": 2, "the": 1, "und": 2, "ge": 0}
    for word, label in words.items():
        of = [y for part in parts_of(titles) for x, y in zip(*part) if word in x.lower().split()]
        assert len(of) > 50
        assert np.mean(np.array(of) == label) > 0.9, word
    assert all(np.bincount(part.targets, minlength=3).min() > 50 for part in parts_of(titles))


def test_titles_are_free_of_what_the_files_add(titles):
    lines = [line for part in parts_of(titles) for line in part.inputs]
    assert not [line for line in lines if any(c.isdigit() or "\x7f" <= c <= "\x9f" for c in line)]
    assert not [line for line in lines if line.isupper() or line.endswith((" Reel --", "-- Reel"))]


def write_reviews(directory, count=30):
    for label in ("neg", "pos"):
        lines = [f"{label} café {i} \n" for i in range(count)]
        (directory / f"rt-polarity.{label}").write_bytes("".join(lines).encode("cp1252"))


def test_reviews_are_read_from_cp1252_and_folds_cover_all_of_them(tmp_path):
    write_reviews(tmp_path)
    tested = []
    for fold in range(10):
        data = rt_polarity(tmp_path, fold)
        assert [len(part) for part in parts_of(data)] == [48, 6, 6]
        assert np.bincount(data.test.targets).tolist() == [3, 3]
        assert not set(data.test.inputs) & set(data.train.inputs + data.validation.inputs)
        assert all(line.startswith(("neg café", "pos café")[label]) for line, label in zip(*data.test))
        tested += data.test.inputs
    assert len(tested) == len(set(tested)) == 60
    assert load_texts(tmp_path).test.inputs == rt_polarity(tmp_path, 0).test.inputs


@pytest.mark.skipif(not (DATA / "rt-polarity.pos").is_file(), reason="TFSEQ_TEST_DATA names no folder with rt-polarity")
def test_pang_and_lees_reviews_are_5331_of_each():
    data = rt_polarity(DATA, 3)
    assert sum(np.bincount(part.targets) for part in parts_of(data)).tolist() == [5331, 5331]


def test_a_file_per_label_is_read(tmp_path):
    for label in ("yes", "no", "perhaps"):
        (tmp_path / f"{label}.txt").write_text("".join(f"{label} {i}\n" for i in range(20)))
    data = load_texts(tmp_path)
    assert data.labels == ("no", "perhaps", "yes")
    assert [len(part) for part in parts_of(data)] == [48, 6, 6]
    assert all(line.split()[0] == data.labels[label] for part in parts_of(data) for line, label in zip(*part))


def test_tfds_texts_are_read():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=40):
        data = load_texts(tfds="imdb_reviews")
    assert data.labels == ("neg", "pos")
    assert [len(part) for part in parts_of(data)] == [36, 4, 40]
    assert all(isinstance(line, str) for line in data.train.inputs)


def test_tfds_sets_without_texts_are_refused():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(), pytest.raises(DataError, match=r"mnist has no text: its features are"):
        load_texts(tfds="mnist")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"0 files that end in .txt; expected one per label"):
        load_texts(tmp_path)
    with pytest.raises(DataError, match=r"There is no file .*rt-polarity.neg"):
        rt_polarity(tmp_path)
    with pytest.raises(DataError, match="fold is 10; expected 0 to 9"):
        rt_polarity(tmp_path, 10)
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_bytes(b"\xff\xff")
    with pytest.raises(DataError, match="not UTF-8"):
        load_texts(tmp_path)
