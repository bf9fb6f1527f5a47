"""Export on the JAX and PyTorch backends: the file is that of the model as it is, with its classes; or one sentence."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfseq
from tests.on_jax import ENVIRONMENT

ROOT = Path(__file__).parents[2]
BACKENDS = {"jax": ENVIRONMENT, "torch": {"KERAS_BACKEND": "torch"}}
OWN_LAYERS = """
import keras

@keras.saving.register_keras_serializable("own")
class Shift(keras.layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(shape=shape[-1:], initializer="random_normal")

    def call(self, x):
        return x + self.shift
"""


@pytest.fixture(scope="module", params=["jax", pytest.param("torch", marks=pytest.mark.slow)])
def exported(request, tmp_path_factory):
    """How the exports of a script on that backend went, and the folder that they were to go into."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "own_layers.py").write_text(OWN_LAYERS)
    script = Path(__file__).with_name("on_other_backends.py")
    environment = {"PYTHONPATH": str(ROOT), **BACKENDS[request.param]}
    ran = subprocess.run(
        [sys.executable, script, folder], capture_output=True, text=True, cwd=folder, env=os.environ | environment
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1]) | {"files": {path.name for path in folder.glob("*.onnx*")}}


def test_a_classifier_takes_its_classes_functions_and_steps_along(exported):
    classifier = exported["classifier"]
    assert classifier["difference"] < 1e-5
    assert classifier["steps"] == ["converting", "verifying"]


@pytest.mark.parametrize("exported", [pytest.param("torch", marks=pytest.mark.slow)], indirect=True)
def test_a_model_that_was_never_called_is_called_on_its_samples(exported):
    assert exported["two_inputs"]["difference"] < 1e-5
    assert not exported["two_inputs"]["changed"]  # verified against the model as it is


def test_a_generator_gives_the_tokens_that_it_gives_on_its_backend(exported):
    assert exported["generator"]["got"] == exported["generator"]["expected"]


def test_a_model_that_is_another_one_on_tensorflow_makes_no_file(exported):
    kind, message = exported["differs"]
    assert kind == "ParityError"
    assert "differs from the model" in message


def test_what_can_not_be_exported_is_refused_in_a_sentence(exported):
    assert exported["without_config"] == [
        "ExportError",
        "WithoutConfig has no get_config, by which it could be rebuilt on TensorFlow: add one that returns the "
        "arguments of WithoutConfig.__init__ beside those of super().get_config().",
    ]
    kind, message = exported["framework"]
    assert kind == "ExportError"
    assert message.startswith("The layer in_one_framework (InOneFramework) computes in ")
    assert message.endswith("write it with keras.ops, and it can be exported from every backend.")
    assert exported["argument"] == ["ExportError", "opset is 99; expected 13 to 24, and from 18 with decode."]


def test_refused_models_leave_nothing_behind(exported):
    assert exported["files"] - {"two_inputs.onnx"} == {"classifier.onnx", "generator.onnx"}


def test_the_exporter_is_imported_without_tensorflow(exported):
    assert exported["tensorflow"] is False


def test_without_tensorflow_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    module = importlib.import_module("tfseq.exporting.export")
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "tensorflow" else found(name))
    with pytest.raises(tfseq.errors.ExportError, match=r"needs tensorflow, .* not installed: pip install"):
        module.export(None, tmp_path / "model.onnx")
