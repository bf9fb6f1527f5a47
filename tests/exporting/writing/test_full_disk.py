"""A disk that is full, after any number of bytes: one message, and what was there before stays as it was."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
from keras import layers

import tfseq
from tests.training.test_checkpoint import files_of_at_most
from tfseq.errors import ExportError
from tfseq.exporting.quantization.quantize import quantize

UNITS = 40


def model(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((None, 8)), layers.LSTM(UNITS), layers.Dense(50)])


def onnx_file(folder):
    tfseq.export(model(1), folder / "model.onnx", verify=False)


def two_files(folder):
    tfseq.export(model(1), folder / "model.onnx", verify=False, external_data=True)


def saved_model(folder):
    tfseq.export(model(1), folder / "model", verify=False)


def smaller_file(folder):
    quantize(folder / "source.onnx", folder / "model.onnx", "float16")


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write", [onnx_file, two_files, saved_model, smaller_file])
def test_what_was_there_stays(write, tmp_path):
    tfseq.export(model(2), tmp_path / "source.onnx", verify=False)
    write(tmp_path)
    before = contents(tmp_path)
    whole = max(len(content) for name, content in before.items() if name.name != "source.onnx")
    for room in [0, *np.random.default_rng(len(before)).integers(1, whole, 2), whole - 1]:
        with pytest.raises(ExportError, match=r"Can't write .*/model(\.onnx)?: ."), files_of_at_most(int(room)):
            write(tmp_path)
        assert contents(tmp_path) == before, room
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")], room
