"""benchmarks.translation_runtimes: a runtime that is missing is a row, and ends the command only if all are."""

from types import SimpleNamespace

import pytest

pytest.importorskip("sacrebleu")

from benchmarks import translation_runtimes as benchmark
from tfseq.data import Part
from tfseq.errors import InputError

RIGHT = ["un chien court dans le parc", "deux hommes mangent une pomme ici"]
DATA = SimpleNamespace(test=Part(["one dog", "two men"], RIGHT))


def refuse(*arguments):
    raise InputError("Node is not installed; expected 20 or later.")


@pytest.fixture
def without_node(monkeypatch):
    monkeypatch.setattr(benchmark.runtime, "load", lambda path: path)
    monkeypatch.setattr(benchmark, "translations", lambda file, texts: [RIGHT[0], "deux femmes mangent une pomme ici"])
    monkeypatch.setattr(benchmark, "in_int8", lambda folder, data: folder)
    monkeypatch.setattr(benchmark, "in_keras", lambda folder, texts: RIGHT)
    monkeypatch.setattr(benchmark, "in_node", refuse)


def test_a_runtime_that_is_missing_is_a_row(without_node, tmp_path, capsys):
    benchmark.measure(tmp_path, DATA, "test")
    keras, onnxruntime, node, _ = capsys.readouterr().out.splitlines()[4:]
    assert keras.startswith("| Keras | 100.00 | 100.00 | 2 of 2 |")
    assert "| 1 of 2 |" in onnxruntime
    assert node == "| Node | could not run: InputError: Node is not installed; expected 20 or later | | | |"


def test_without_keras_nothing_is_compared_with_it(without_node, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "in_keras", refuse)
    benchmark.measure(tmp_path, DATA, "test")
    assert capsys.readouterr().out.splitlines()[5].split("|")[4].strip() == ""


def test_if_no_runtime_works_the_command_fails(without_node, tmp_path, monkeypatch):
    for name in ("in_keras", "in_int8", "translations"):
        monkeypatch.setattr(benchmark, name, refuse)
    with pytest.raises(SystemExit, match="Nobody could run: Keras: InputError"):
        benchmark.measure(tmp_path, DATA, "test")
