"""Text corpora: read and split without TensorFlow; what can't be read is refused in one sentence."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfseq.data import Corpus, load_corpus
from tfseq.data.corpus import split
from tfseq.errors import DataError


def write(directory, content):
    path = directory / "my text.txt"
    path.write_bytes(content)
    return path


def test_the_default_is_the_help_of_python_in_sorted_order():
    corpus = load_corpus()
    text = corpus.train + corpus.validation
    start = 0
    for name in sorted(topics):
        topic = topics[name].strip("\n")
        assert text.startswith(topic, start)
        start += len(topic) + len("\n\n")
    assert start == len(text) + len("\n\n")
    assert corpus.name == "pydoc_topics"
    assert load_corpus() == corpus


def test_the_last_tenth_is_for_validation(tmp_path):
    corpus = load_corpus(write(tmp_path, b"0123456789" * 3))
    assert corpus.train == "0123456789" * 2 + "0123456"
    assert corpus.validation == "789"


def test_tiny_shakespeare_is_split_where_nanogpt_splits_it():
    train, validation = split("x" * 1_115_394)
    assert (len(train), len(validation)) == (1_003_854, 111_540)  # the counts that nanoGPT's prepare.py states


@given(st.text(min_size=2, max_size=50), st.floats(0.3, 0.7))
def test_no_character_is_lost_between_the_parts(text, fraction):
    if int(len(text) * (1 - fraction)) > 0:
        assert "".join(split(text, fraction)) == text


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(DataError, match="between 0 and 1"):
        split("some text", fraction)


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_too_short_to_cut_is_refused(text):
    with pytest.raises(DataError, match=f"{len(text)} characters.*longer text"):
        split(text)


def test_the_file_may_be_given_as_a_string(tmp_path):
    path = write(tmp_path, b"twenty characters :)")
    assert load_corpus(str(path)) == load_corpus(path)


def test_line_ends_stay_as_they_are_and_the_byte_order_mark_goes(tmp_path):
    text = "one\r\ntwo\rthree\nfour\u2028five\x0csix \ufeff"
    corpus = load_corpus(write(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert corpus.train + corpus.validation == text


def test_the_provenance_names_the_file_but_not_its_directory(tmp_path):
    content = "Es ist schön.\n".encode() * 10
    corpus = load_corpus(write(tmp_path, content))
    provenance = corpus.provenance()
    assert provenance == {
        "name": "my text",
        "source": "file my text.txt",
        "sha256": hashlib.sha256(content).hexdigest(),
        "train_characters": 126,
        "validation_characters": 14,
    }
    assert json.loads(json.dumps(provenance)) == provenance


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*nowhere.txt"):
        load_corpus(tmp_path / "nowhere.txt")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a directory"):
        load_corpus(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b" \n\t\r\n"])
def test_a_file_without_text_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=rf"holds no text \({len(content)} bytes\)"):
        load_corpus(write(tmp_path, content))


def test_a_file_that_is_not_utf8_is_refused_with_the_place_and_the_remedy(tmp_path):
    path = write(tmp_path, "first line\ncafé au lait".encode("cp1252"))
    with pytest.raises(DataError, match=r"not UTF-8: byte 0xe9 at position 14 .*line 2.*iconv -f cp1252"):
        load_corpus(path)


def test_the_byte_position_counts_the_byte_order_mark(tmp_path):
    with pytest.raises(DataError, match="byte 0xff at position 4 "):
        load_corpus(write(tmp_path, b"\xef\xbb\xbfa\xff"))


def test_utf16_is_recognised(tmp_path):
    with pytest.raises(DataError, match=r"position 0 .*iconv -f utf-16"):
        load_corpus(write(tmp_path, "text".encode("utf-16")))


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"can't be read: .*Permission denied"):
        load_corpus(tmp_path / "secret.txt")


def test_a_path_no_file_can_have_is_refused():
    with pytest.raises(DataError, match=r"can't be read: .*null byte"):
        load_corpus("a\0b")


def test_a_file_and_a_data_set_together_are_refused():
    with pytest.raises(DataError, match="give one of them"):
        load_corpus("a.txt", tfds="tiny_shakespeare")


def test_a_python_without_help_texts_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(DataError, match=r"without pydoc_data.*Give a text file"):
        load_corpus()


def test_reading_loads_no_tensorflow():
    code = "import sys, tfseq.data; tfseq.data.load_corpus(); assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def tfds_texts(**texts):
    """tfds.load that serves these texts, one example each, through the real builder of tiny_shakespeare."""
    tf, tfds = pytest.importorskip("tensorflow"), pytest.importorskip("tensorflow_datasets")

    def as_dataset(builder, split, **kwargs):
        return tf.data.Dataset.from_tensor_slices({"text": texts[split]})

    return tfds.testing.mock_data(as_dataset_fn=as_dataset)


def test_the_splits_of_a_tfds_data_set_are_used_as_they_are():
    with tfds_texts(train=["First Citizen:\nBefore", "söme"], validation=["GREMIO:\nGood"]):
        corpus = load_corpus(tfds="tiny_shakespeare")
    text = "First Citizen:\nBefore\n\nsömeGREMIO:\nGood"
    assert corpus == Corpus(
        name="tiny_shakespeare",
        train="First Citizen:\nBefore\n\nsöme",
        validation="GREMIO:\nGood",
        source="tensorflow-datasets tiny_shakespeare/1.0.0",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def test_tfds_mock_data_is_read():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=2):
        corpus = load_corpus(tfds="tiny_shakespeare")
    assert corpus.train.count("\n\n") == corpus.validation.count("\n\n") == 1


def test_a_downloaded_tfds_data_set_is_built_and_read(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("importlib_resources", reason="tensorflow-datasets 4.9 needs it to build, and does not say so")
    text = "".join(f"{number} bottles of beer\n" for number in range(100))
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(tfds.download.DownloadManager, "download", lambda manager, url: write(tmp_path, text.encode()))
    corpus = load_corpus(tfds="tiny_shakespeare")
    cut, end = int(len(text) * 0.9), int(len(text) * 0.95)  # 90 % train, 5 % validation, 5 % test
    assert (corpus.train, corpus.validation) == (text[:cut], text[cut:end])


def test_a_tfds_split_without_text_is_refused():
    with tfds_texts(train=["something"], validation=[""]), pytest.raises(DataError, match="no text in its"):
        load_corpus(tfds="tiny_shakespeare")


def test_a_tfds_data_set_of_pictures_is_refused():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(), pytest.raises(DataError, match=r"cifar10 has no text: its features are .*label"):
        load_corpus(tfds="cifar10")


def test_a_tfds_name_that_does_not_exist_is_refused_in_one_line():
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(DataError, match=r"tiny_shakespear not found. Check the name") as caught:
        load_corpus(tfds="tiny_shakespear")
    assert "\n" not in str(caught.value)


def test_a_failed_download_says_what_to_do(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")

    def unreachable(*args, **kwargs):
        raise ConnectionError("Max retries exceeded\nand a long story")

    monkeypatch.setattr(tfds, "load", unreachable)
    with pytest.raises(DataError, match=r"Max retries exceeded. .*reaches the internet.*give its path"):
        load_corpus(tfds="tiny_shakespeare")


def test_without_tensorflow_datasets_the_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"Install tfseq\[train\]"):
        load_corpus(tfds="tiny_shakespeare")
