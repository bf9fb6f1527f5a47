import subprocess
import sys

import pytest

import tfseq


def loaded_by(statement):
    """The top-level modules that a fresh interpreter holds after `statement`."""
    program = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_tfseq_loads_nothing_heavy():
    assert loaded_by("import tfseq").isdisjoint({"tensorflow", "keras", "onnx", "onnxruntime", "numpy", "tyro"})


def test_the_runtime_and_the_command_line_do_not_load_tensorflow():
    assert loaded_by("import tfseq.runtime, tfseq.cli").isdisjoint({"tensorflow", "keras", "tf2onnx", "onnx", "jax"})


def test_reading_tokenizers_and_manifests_does_not_load_onnx_runtime():
    assert "onnxruntime" not in loaded_by("from tfseq.runtime import CharacterTokenizer, Manifest")


@pytest.mark.parametrize("name", tfseq.__all__)
def test_every_public_name_loads(name):
    assert getattr(tfseq, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Exporter"):
        _ = tfseq.Exporter
