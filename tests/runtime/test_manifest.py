"""`Manifest` as JSON and ONNX metadata: round trips, later versions, damage."""

import hashlib
import json

import onnx
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
    "sampling_rate": None,
    "graph_sha256": None,
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


OUTPUT = {"name": "y", "dtype": "float32", "shape": ["batch", 3]}
STATE = {"input": "x", "output": "y", "initial": 0}


def nested(depth):
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"notes": 5}, "notes is 5; expected a list"),
        ({"notes": [5]}, r"notes\[0\] is 5; expected a text"),
        ({"opset": True}, "opset is True; expected a whole number"),
        ({"operators": {"Add": "1"}}, "operators.Add is '1'"),
        ({"labels": ["cat", "dog"]}, "it names 2 classes; its output 'y' has 3"),
        ({"inputs": [{**OUTPUT, "dtype": "O"}]}, r"inputs\[0\].dtype is 'O'; expected one of bool, int8"),
        ({"inputs": [{**OUTPUT, "shape": [-1]}]}, r"inputs\[0\].shape\[0\] is -1"),
        ({"outputs": [OUTPUT, OUTPUT]}, "two of its outputs have one name"),
        ({"outputs": []}, r"outputs is \[\]; expected a list of 1 or more"),
        ({"states": [{**STATE, "output": "z"}]}, "a state has the output 'z'; expected one of its outputs"),
        ({"states": [STATE, STATE]}, "a state has the input 'x'; .*once each"),
        ({"states": [{**STATE, "initial": [[1], [1, 2]]}]}, "the state 'x' begins with"),
        ({"states": [{**STATE, "initial": [1, 2]}]}, "the state 'x' begins with"),
        (
            {"inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 10**6, 10**6]}]},
            "its states have more than 1,073,741,824 bytes",
        ),
        ({"parity": {"passed": "yes"}}, "parity.passed is 'yes'; expected true or false"),
        (
            {"parity": {"passed": True, "checks": [{"worst_relative": "0"}]}},
            r"parity.checks\[0\].worst_relative is '0'",
        ),
        ({"provenance": nested(50)}, "nested more than 32 levels deep"),
        ({"provenance": {"parameters": 10**400}}, "provenance.parameters is 10"),
        ({"quantization": {"to": "int8"}}, "quantization is .*expected an object with weights"),
        ({"decoding": {"max_positions": 0}}, "decoding.max_positions is 0; expected a whole number, 1 or more"),
        ({"decoding": {"settings": {"seed": {"low": float("nan")}}}}, "decoding.settings.seed.low is nan"),
        ({"decoding": {"end": [-1]}}, r"decoding.end\[0\] is -1"),
        ({"tokenizer": {"kind": 5}}, "tokenizer.kind is 5"),
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"vocabulary_sizes": {"z": 3}}, "vocabulary_sizes names the input 'z'"),
        ({"task": "generate", "labels": []}, "no output 'tokens'"),
        ({"notes": ["a" * 10**6, "\x1b[2J", 5]}, r"notes\[2\] is 5"),
        ({"\x1b[2J": nested(50)}, r"damaged: \\x1b\[2J"),
    ],
)
def test_each_field_is_described(damage, message):
    with pytest.raises(ArtefactError, match=message) as raised:
        Manifest.from_json(DOCUMENT | damage)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "1" * 10**4, "\xff", ""])
def test_what_is_no_json_is_said(text):
    with pytest.raises(ArtefactError, match="The manifest is damaged"):
        Manifest.from_metadata({"tfseq": text})


@pytest.mark.parametrize("damaged", [False, True])
def test_a_graph_that_has_changed_is_found_by_its_hash(shifter, damaged):
    manifest = Manifest.from_file(shifter)
    with pytest.raises(ArtefactError, match="says no hash of its graph"):
        manifest.check_content(shifter)
    manifest = manifest.with_graph_hash(shifter)
    content = onnx.load(shifter).graph.SerializeToString()
    assert manifest.graph_sha256 == hashlib.sha256(content).hexdigest()
    if not damaged:
        manifest.check_content(shifter)
        return
    shifter.write_bytes(shifter.read_bytes().replace(b"axis_1", b"axis_2"))
    with pytest.raises(ArtefactError, match="is not what was exported: its graph or weights have changed"):
        manifest.check_content(shifter)
