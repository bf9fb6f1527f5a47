"""The same weights make the same file, byte for byte: in any process, and whatever was exported before."""

import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
from keras import layers
from keras.src.backend.common import global_state

import tfseq
from tfseq.errors import ExportError
from tfseq.exporting import export
from tfseq.models import Seq2Seq, TransformerLanguageModel


def classifier():
    return keras.Sequential(
        [
            keras.Input((None, 4)),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.Conv1D(4, 3, padding="same", activation="gelu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3, activation="softmax", name="probabilities"),
        ]
    )


MODELS = {
    "classifier": (classifier, {"verify": False}),
    "language model": (
        lambda: TransformerLanguageModel(11, units=8, heads=2, depth=2),
        {"decode": tfseq.Sample(repetition_penalty=1.2)},
    ),
    "translator": (lambda: Seq2Seq(11, units=8), {"decode": tfseq.Beam(2), "verify": False}),
}


def hashes(folder, made=0):
    """Of the files of all models.

    Args:
        made: how many layers of each kind were made before: the next names end in the numbers that follow.
    """
    found = {}
    for name, (build, options) in MODELS.items():
        global_state.set_global_attribute("object_name_uids", defaultdict(lambda: made))
        keras.utils.set_random_seed(1)
        export(build(), Path(folder) / "model.onnx", **options)
        found[name] = hashlib.sha256((Path(folder) / "model.onnx").read_bytes()).hexdigest()
    return found


def test_the_same_weights_make_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = hashes(tmp_path)
    assert hashes(tmp_path, made=3) == first  # names end in 9 and 10 here and there, which sort the other way round
    program = f"from tests.exporting.writing.test_reproducible import hashes; print(hashes({str(tmp_path)!r}))"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == str(first)


def test_the_report_then_says_nothing_that_the_machine_decides(tmp_path, monkeypatch):
    measured = export(classifier(), tmp_path / "model.onnx").parity["checks"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    manifest = export(classifier(), tmp_path / "model.onnx")
    assert manifest.parity["passed"]
    kept = ("name", "of", "against", "tolerance")
    assert manifest.parity["checks"] == [{name: check[name] for name in kept} for check in measured]
    assert "relative error at most 1e-04" in str(manifest)


def test_the_date_is_that_of_reproducible_builds(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    manifest = export(classifier(), tmp_path / "model.onnx", verify=False)
    assert manifest.provenance["created"] == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    with pytest.raises(ExportError, match="SOURCE_DATE_EPOCH is 'tomorrow'"):
        export(classifier(), tmp_path / "model.onnx")
