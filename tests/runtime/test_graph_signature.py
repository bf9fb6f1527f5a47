"""Manifests that describe other inputs, outputs or defaults than their graph has: refused when the file is opened."""

import dataclasses

import onnx
import pytest

from tfseq.errors import ArtefactError
from tfseq.runtime import Manifest, TensorSpec, load


def with_manifest(path, **changes):
    model = onnx.load(path)
    metadata = dataclasses.replace(Manifest.from_file(path), **changes).to_metadata()
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"outputs": (TensorSpec("shifty", "float32", ("batch", 3)),)},
            r"describes the outputs \['shifty'\]; the graph gives",
        ),
        (
            {"inputs": (TensorSpec("x", "float64", ("batch", 3)), TensorSpec("by", "int32", ("batch",)))},
            r"describes x float64 \(batch, 3\); in the graph it is float32 \(\?, 3\)",
        ),
        (
            {"inputs": (TensorSpec("x", "float32", ("batch", 4)), TensorSpec("by", "int32", ("batch",)))},
            "describes x float32",
        ),
        (
            {"inputs": (TensorSpec("x", "float32", ("batch",)), TensorSpec("by", "int32", ("batch",)))},
            "describes x float32",
        ),
        ({"labels": ("a", "b")}, "names 2 classes"),
    ],
)
def test_what_the_graph_does_not_have_is_refused(shifter, changes, message):
    with pytest.raises(ArtefactError, match=rf"shifter\.onnx can't be used: .*{message}"):
        load(with_manifest(shifter, **changes))


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1"),
        ({"top_k": 0.5}, "top_k is 0.5"),
        ({"seed": "x"}, "decoding.seed is 'x'"),
        ({"start": 1}, "begins with a start token, and there is no source"),
    ],
)
def test_a_default_is_one_that_the_graph_takes(counter, default, message):
    decoding = {**Manifest.from_file(counter).decoding, **default}
    with pytest.raises(ArtefactError, match=message):
        load(with_manifest(counter, decoding=decoding))


def test_names_that_are_not_utf_8_are_damage(shifter):
    shifter.write_bytes(shifter.read_bytes().replace(b"shifted", b"\xff\xfehifted"[:7]))
    with pytest.raises(ArtefactError, match=r"shifter\.onnx"):
        load(shifter)
