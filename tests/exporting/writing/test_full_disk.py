"""A disk that is full, at whatever byte: one sentence, what was there stays, and nothing else is left."""

import itertools
import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import tfseq
from tests.training.test_checkpoint import files_of_at_most
from tfseq.errors import ExportError


def model(units):
    keras.utils.set_random_seed(units)
    return keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(units), keras.layers.Dense(2)])


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def size_of(folder):
    return max(map(len, contents(folder).values()))


@pytest.mark.parametrize(("name", "external"), [("model.onnx", False), ("model.onnx", True), ("saved", None)])
def test_a_disk_that_is_full_during_an_export_loses_nothing(name, external, tmp_path):
    draw = np.random.default_rng(len(name) + bool(external))
    path = tmp_path / name
    tfseq.export(model(4), path, external_data=external, verify=False)
    before = contents(tmp_path)
    new = model(40)
    largest = 4 * 4 * 40 * 44  # bytes of its largest weights and a little
    for size in [0, 1, *draw.integers(0, largest, 2).tolist()]:
        with files_of_at_most(size), pytest.raises(ExportError) as error:
            tfseq.export(new, path, external_data=external, verify=False)
        assert "\n" not in str(error.value)
        assert f"Can't write {path}: " in str(error.value)
        assert contents(tmp_path) == before
        assert os.listdir(tmp_path) == [name] or external
    tfseq.export(new, path, external_data=external)
    assert size_of(tmp_path) > 20_000


@pytest.mark.parametrize("failing", range(5))
def test_any_move_or_folder_that_a_full_disk_refuses_loses_nothing(failing, tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    calls = itertools.count()

    def refusing(call):
        def refuse_one(*arguments, **more):
            if next(calls) == failing and str(tmp_path) in str(arguments[0]):
                raise OSError(28, os.strerror(28))
            return call(*arguments, **more)

        return refuse_one

    with monkeypatch.context() as patches:
        for name in ("mkdir", "replace"):
            patches.setattr(os, name, refusing(getattr(os, name)))
        try:
            tfseq.export(model(4), path, verify=False)
        except ExportError as error:
            assert f"Can't write {path}: No space left" in str(error)  # noqa: PT017
            assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.onnx"]
