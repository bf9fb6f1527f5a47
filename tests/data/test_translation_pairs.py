"""Sequence-to-sequence pairs: targets checked independently of what wrote them; nothing is in two parts."""

import datetime
import gzip
import os
import re
from pathlib import Path

import pytest

from tfseq.data import addition, dates, number_words, parallel_texts, text_pairs, translations_of_tfds
from tfseq.errors import DataError

DATA = Path(os.environ.get("TFSEQ_TEST_DATA", "nowhere"))
SIZES = (300, 50, 50)


def parts_of(data):
    return data.train, data.validation, data.test


def pairs_of(data):
    return [pair for part in parts_of(data) for pair in zip(*part)]


def assert_disjoint(*parts):
    assert len(set().union(*parts)) == sum(len(set(part)) for part in parts)


def test_english_dates_are_those_that_python_reads():
    pytest.importorskip("babel")
    data = dates(SIZES, ["en_US"])
    forms = ("%A, %B %d, %Y", "%B %d, %Y", "%b %d, %Y")

    def read(text):
        for form in forms:
            try:
                return datetime.datetime.strptime(text, form).date().isoformat()
            except ValueError:
                pass
        return None

    assert [read(source) for source, _ in pairs_of(data)] == [target for _, target in pairs_of(data)]
    assert [len(part) for part in parts_of(data)] == list(SIZES)


def test_dates_have_one_meaning_and_are_in_one_part():
    pytest.importorskip("babel")
    data = dates((3000, 300, 300))
    meanings = {}
    assert all(meanings.setdefault(source, target) == target for source, target in pairs_of(data))
    assert_disjoint(*(part.targets for part in parts_of(data)))
    numbers = [[int(n) for n in re.split("[-./]", source) if n.isdigit()] for source, _ in pairs_of(data)]
    in_digits = [(n, target) for n, (_, target) in zip(numbers, pairs_of(data)) if len(n) == 3]
    assert len(in_digits) > 500
    assert all(f"{year}-{month:02d}-{day:02d}" == target for (day, month, year), target in in_digits)
    assert any("février" in source for source, _ in pairs_of(data))


def test_number_words_are_read_back_word_by_word():
    pytest.importorskip("num2words")
    units = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    units = dict(zip([*units.split(), "seventeen", "eighteen", "nineteen"], range(20)))
    tens = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    units |= dict(zip(tens, range(20, 100, 10)))

    def read(text):
        total = part = 0
        for word in text.replace("-", " ").replace(",", "").replace(" and ", " ").split():
            if word == "hundred":
                part *= 100
            elif word == "thousand":
                total, part = total + part * 1000, 0
            else:
                part += units[word]
        return str(total + part)

    data = number_words((400, 50, 50))
    assert [read(source) for source, _ in pairs_of(data)] == [target for _, target in pairs_of(data)]
    assert_disjoint(*(part.targets for part in parts_of(data)))
    assert {str(n) for n in range(100)} <= set(data.train.targets)
    assert len({len(target) for target in data.train.targets}) == 6


def test_numbers_are_written_in_other_languages():
    pytest.importorskip("num2words")
    data = number_words((200, 5, 5), languages=("de", "fr"), largest=999)
    assert {("sieben", "7"), ("sept", "7")} & set(pairs_of(data))
    with pytest.raises(DataError, match="does not know one of the languages xx"):
        number_words(languages=("xx",))


def test_sums_are_right_and_in_one_part_in_either_order():
    data = addition((500, 50, 50))
    sums = [[tuple(sorted(map(int, source.split("+")))) for source in part.inputs] for part in parts_of(data)]
    assert [str(sum(s)) for part in sums for s in part] == [target for _, target in pairs_of(data)]
    everything = [s for part in sums for s in part]
    assert len(set(everything)) == len(everything) == 600
    assert {len(source.split("+")[0]) for source in data.train.inputs} == {1, 2, 3}


@pytest.mark.parametrize("make", [dates, number_words, addition])
def test_a_seed_gives_the_same_pairs_and_another_seed_others(make):
    pytest.importorskip("babel")
    pytest.importorskip("num2words")
    first, again, other = (make((150, 5, 5), seed=seed) for seed in (0, 0, 1))
    assert pairs_of(first) == pairs_of(again)
    assert first.sha256 == again.sha256 != other.sha256


def write_parts(directory, stems=("train", "val", "test_2016_flickr")):
    for stem in stems:
        (directory / f"{stem}.en").write_text(f"{stem} 1\n{stem} 2\n\nlast")
        (directory / f"{stem}.fr.gz").write_bytes(gzip.compress(f"é {stem} 1\né {stem} 2\n\nfin\n".encode()))


@pytest.mark.parametrize("stems", [("train", "val", "test_2016_flickr"), ("train", "dev", "test")])
def test_parts_of_parallel_texts_are_files_plain_or_packed(tmp_path, stems):
    write_parts(tmp_path, stems)
    data = parallel_texts(tmp_path)
    assert list(zip(*data.test)) == [(f"{stems[2]} {i}", f"é {stems[2]} {i}") for i in (1, 2)] + [("last", "fin")]
    assert [len(part) for part in parts_of(data)] == [3, 3, 3]


@pytest.mark.skipif(not (DATA / "multi30k").is_dir(), reason="TFSEQ_TEST_DATA names no folder with multi30k")
def test_multi30k_is_read():
    data = parallel_texts(DATA / "multi30k")
    assert [len(part) for part in parts_of(data)] == [29000, 1014, 1000]


def test_two_files_are_split_so_that_no_sentence_is_in_two_parts(tmp_path):
    (tmp_path / "a").write_text("".join(f"s{i % 50}\n" for i in range(100)))
    (tmp_path / "b").write_text("".join(f"t{i}\n" for i in range(100)))
    data = text_pairs(tmp_path / "a", tmp_path / "b")
    assert sorted(pairs_of(data)) == sorted((f"s{i % 50}", f"t{i}") for i in range(100))
    assert [len(part) for part in parts_of(data)] == [80, 10, 10]
    assert_disjoint(*(part.inputs for part in parts_of(data)))


def test_files_that_do_not_match_are_refused(tmp_path):
    write_parts(tmp_path)
    (tmp_path / "val.en").write_text("one line\n")
    with pytest.raises(DataError, match=r"val.en has 1 lines and val.fr.gz 4"):
        parallel_texts(tmp_path)
    (tmp_path / "train.en").unlink()
    with pytest.raises(DataError, match=r"has none of train.en, train.en.gz"):
        parallel_texts(tmp_path)
    with pytest.raises(DataError, match="too few to hold out"):
        text_pairs(tmp_path / "val.en", tmp_path / "val.en")


def test_translations_of_tfds_are_read_by_the_names_of_their_languages():
    tf, tfds = pytest.importorskip("tensorflow"), pytest.importorskip("tensorflow_datasets")

    def as_dataset(builder, split, **kwargs):
        return tf.data.Dataset.from_tensors({"pt": f"olá {split}", "en": f"hello {split}"})

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        data = translations_of_tfds("ted_hrlr_translate/pt_to_en", "pt", "en")
        with pytest.raises(DataError, match="has no fr: its features are"):
            translations_of_tfds("ted_hrlr_translate/pt_to_en", "pt", "fr")
    assert pairs_of(data) == [(f"olá {part}", f"hello {part}") for part in ("train", "validation", "test")]
    assert data.name == "ted_hrlr_translate_pt_to_en_pt_en"
