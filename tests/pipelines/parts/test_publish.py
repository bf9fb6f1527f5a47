import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from pipelines.parts.publish import publish
from tfseq.errors import ExportError
from tfseq.runtime import load


@dataclass(frozen=True)
class Settings:
    units: int = 3
    data: Path = Path("/somewhere/else/digits")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def published(layers, **changes):
    model = keras.Sequential([keras.Input((None, 2)), *layers])
    described = {"what": "A tagger", "data": {"name": "digits", "sha256": "ab"}, "scores": {"test accuracy": 0.5}}
    named = {"labels": ["ant", "bee", "cow"], "sample": lambda file: str(file.classify(np.ones((1, 4, 2)))[0][0])}
    return publish(model, "tagger", settings=Settings(), run=Path("runs"), **(described | named | changes))


def softmax():
    return keras.layers.Dense(3, "softmax")


def test_it_leaves_every_form_of_the_model_with_its_card():
    picture = Path("map.png")
    picture.write_bytes(b"a picture")
    file = published([keras.layers.GRU(4, return_sequences=True), softmax()], streaming=True, pictures=[picture])
    folder = Path("exported", "tagger")
    assert {path.name for path in folder.iterdir()} == {
        *("model.keras", "model.onnx", "model.step.onnx", "saved_model", "map.png", "card.md")
    }
    assert file.manifest.labels == ("ant", "bee", "cow")
    assert file.manifest.provenance["data"] == {"name": "digits", "sha256": "ab", "test accuracy": 0.5}
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "| test accuracy | 0.5 |" in card
    assert "![map](map.png)" in card
    assert str(file.classify(np.ones((1, 4, 2)))[0][0]) in card  # the sample
    assert '"data": "digits"' in card  # and nothing of the machine it was made on
    assert "/somewhere" not in card


def test_the_step_file_answers_as_the_whole_one():
    file = published([keras.layers.GRU(4, return_sequences=True), softmax()], streaming=True)
    x = np.random.default_rng(0).normal(size=(2, 6, 2)).astype("float32")
    stream = load("exported/tagger/model.step.onnx").stream()
    in_steps = np.concatenate([np.asarray(stream.predict(x[:, t : t + 1])) for t in range(6)], axis=1)
    np.testing.assert_allclose(in_steps, file.predict(x), atol=1e-5)


def test_a_model_that_cannot_be_exported_leaves_no_file_that_runs():
    with pytest.raises(ExportError, match="End the model in a softmax"):
        published([keras.layers.Dense(3, bias_initializer="ones")])
    assert not (Path("exported", "tagger") / "model.onnx").exists()


def test_the_command_on_a_card_says_where_a_path_was_but_not_on_whose_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tagger.py", "full", "--data", "/somewhere/multi30k", "--name", "mine"])
    published([softmax()])
    card = Path("exported", "tagger", "card.md").read_text(encoding="utf-8")
    assert "full --data PATH/TO/multi30k --name mine" in card
    assert "somewhere" not in card
