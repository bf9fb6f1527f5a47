"""`Manifest` as JSON and ONNX metadata: round trips, later versions, damage."""

import json

import pytest

from tfseq.errors import ArtefactError
from tfseq.runtime.manifest import FORMAT, METADATA_KEY, Manifest, TensorSpec

DOCUMENT = {
    "format": 1,
    "name": "doubler",
    "task": "predict",
    "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 3]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": ["batch", 3]}],
    "operators": {"Add": 1},
    "opset": 18,
    "tokenizer": None,
    "labels": ["cat", "dog", "bird"],
    "decoding": None,
    "states": [{"input": "x", "output": "y", "initial": 0}],
    "notes": ["layer (Cell) runs as a loop."],
    "provenance": {"tfseq": "0.1.0"},
    "parity": {"passed": True, "checks": []},
    "quantization": None,
    "external_data": {"file": "doubler.onnx.data", "bytes": 3, "sha256": "0" * 64},
    "vocabulary_sizes": {},
}


def test_the_document_survives_reading_and_writing():
    assert Manifest.from_json(DOCUMENT).to_json() == DOCUMENT


def test_the_metadata_is_json_under_one_key():
    metadata = Manifest.from_json(DOCUMENT).to_metadata()
    assert list(metadata) == [METADATA_KEY] == ["tfseq"]
    assert json.loads(metadata["tfseq"]) == DOCUMENT
    assert Manifest.from_metadata(metadata) == Manifest.from_json(DOCUMENT)


def test_a_signature_keeps_its_axes():
    assert Manifest.from_json(DOCUMENT).inputs == (TensorSpec("x", "float32", ("batch", 3)),)
    assert str(TensorSpec("x", "float32", ("batch", 3))) == "x float32 (batch, 3)"


def test_keys_of_later_versions_are_ignored():
    assert Manifest.from_json(DOCUMENT | {"colour": "blue"}).name == "doubler"


def test_a_later_format_asks_for_an_upgrade():
    with pytest.raises(ArtefactError, match="Upgrade tfseq"):
        Manifest.from_json(DOCUMENT | {"format": FORMAT + 1})


@pytest.mark.parametrize("key", ["name", "task", "inputs", "outputs", "operators", "opset", "format"])
def test_a_missing_key_is_named(key):
    with pytest.raises(ArtefactError, match=key):
        Manifest.from_json({k: v for k, v in DOCUMENT.items() if k != key})


@pytest.mark.parametrize("damage", [{"task": "fly"}, {"inputs": [{"name": "x"}]}, {"inputs": ["x"]}, {"operators": []}])
def test_a_damaged_document_is_refused(damage):
    with pytest.raises(ArtefactError):
        Manifest.from_json(DOCUMENT | damage)


@pytest.mark.parametrize("metadata", [{}, {"tfseq": "{"}, {"tfseq": "[]"}])
def test_metadata_without_a_manifest_is_refused(metadata):
    with pytest.raises(ArtefactError, match="manifest"):
        Manifest.from_metadata(metadata)
