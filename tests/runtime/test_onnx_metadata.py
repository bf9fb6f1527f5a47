"""Reading an ONNX file's metadata: beside the onnx package; files that are cut, none, or large."""

import random
from pathlib import Path

import onnx
import pytest

from tfseq.errors import ArtefactError
from tfseq.runtime import Manifest
from tfseq.runtime.onnx_metadata import read_metadata

EXPORTED = sorted((Path(__file__).parents[2] / "exported").glob("*/*.onnx"))


@pytest.mark.parametrize("path", EXPORTED, ids=lambda path: path.parent.name)
def test_the_metadata_is_what_onnx_reads(path):
    assert read_metadata(path) == {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_the_last_of_two_entries_counts_and_one_without_a_value_is_empty(counter):
    with counter.open("ab") as file:
        for entry in (b"\n\1a\x12\1b", b"\n\1a\x12\2\xc3\xbc", b"\n\5empty"):
            file.write(field(14, entry))
    metadata = read_metadata(counter)
    assert (metadata["a"], metadata["empty"]) == ("ü", "")
    assert Manifest.from_metadata(metadata).name == "counter"


def test_numbers_of_every_size_are_stepped_over(counter):
    numbers = b"\x28" + b"\xff" * 9 + b"\1" + b"\xa5\1" + b"\x72" * 4 + b"\xa9\1" + b"\x72" * 8  # fields 5, 20, 21
    counter.write_bytes(numbers + counter.read_bytes())
    assert Manifest.from_file(counter).name == "counter"


def test_gigabytes_are_stepped_over(counter):
    small, large = counter.read_bytes(), counter.with_name("large.onnx")
    with large.open("wb") as file:
        file.write(small + b"\x3a" + varint(2**31))  # a graph of 2 GB, whose parts are merged: a hole in the file
        file.seek(2**31, 1)
        file.write(field(14, b"\n\1a\x12\1b"))
    assert read_metadata(large)["a"] == "b"


def test_a_file_that_is_cut_anywhere_is_refused(counter):
    content = counter.read_bytes()
    ends = [0, *random.Random(0).sample(range(1, len(content)), 300), len(content) - 1]
    for end in ends:
        counter.write_bytes(content[:end])
        with pytest.raises(
            ArtefactError, match=r"counter\.onnx (is not an ONNX file|can't be used: There is no tfseq)"
        ):
            Manifest.from_file(counter)


def test_whatever_the_bytes_are_the_error_is_one_of_ours(tmp_path):
    chance = random.Random(0)
    path = tmp_path / "random.onnx"
    for _ in range(2000):
        path.write_bytes(chance.randbytes(chance.randrange(60)))
        with pytest.raises(ArtefactError):
            Manifest.from_file(path)


@pytest.mark.parametrize(
    "added",
    [
        b"\x3a" + b"\xff" * 8 + b"\x7f",  # a length of 2 ** 63
        b"\x08" + b"\xff" * 20,  # an endless number
        b"\x72\x03\n\x01\xff",  # metadata that are not UTF-8
        b"\x72\x02\n\x09",  # an entry that ends too early
        b"\x0b",  # a group
        b"\x02\x00",  # field 0
    ],
)
def test_damage_behind_a_whole_file_is_seen(counter, added):
    with counter.open("ab") as file:
        file.write(added)
    with pytest.raises(ArtefactError, match="not an ONNX file, or it is damaged or truncated"):
        read_metadata(counter)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(ArtefactError, match=r"none\.onnx: No such file"):
        read_metadata(tmp_path / "none.onnx")
    with pytest.raises(ArtefactError, match="folder"):
        read_metadata(tmp_path)


def field(number: int, value: bytes) -> bytes:
    return varint(number * 8 + 2) + varint(len(value)) + value


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + varint(number // 128)
