import json
import math
import os
from dataclasses import replace

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tfseq
from pipelines import transformer_lm
from tfseq import runtime
from tfseq.errors import DataError, TrainingError
from tfseq.training import SupervisedSettings

TEXT = "the cat sat on the mat\n" * 100
TINY = transformer_lm.TransformerLM(
    block=16, steps=10, units=16, heads=2, depth=1, training=SupervisedSettings(epochs=2, batch=8), length=30
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "rhyme.txt").write_text(TEXT, encoding="utf-8")
    before = os.getcwd()
    os.chdir(folder)
    try:
        transformer_lm.main(replace(TINY, data=folder / "rhyme.txt", prompt="the "))
    finally:
        os.chdir(before)
    return folder / "exported" / "transformer_lm_rhyme"


def test_a_run_leaves_every_form_of_the_model_and_its_card(exported):
    names = {path.name for path in exported.iterdir()}
    assert names == {"model.onnx", "saved_model", "model.keras", "tokenizer.json", "learning_curve.png", "card.md"}
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "validation nats" in card
    assert "sequences identical" in card
    assert str(exported.parent) not in card


def test_rotary_positions_write_on_beyond_the_block_that_was_learned(exported):
    file = runtime.load(exported / "model.onnx")
    assert "max_positions" not in file.manifest.decoding
    assert len(file.generate("the ", max_length=3 * TINY.block)) == 3 * TINY.block


def test_the_scores_are_the_losses_of_the_exported_file_on_the_validation_text(exported, tmp_path):
    """Recomputed from the forward graph in NumPy, one block at a time."""
    tfseq.export(keras.saving.load_model(exported / "model.keras"), tmp_path / "forward.onnx")
    file = runtime.load(tmp_path / "forward.onnx")
    tokenizer = runtime.load_tokenizer(json.loads((exported / "tokenizer.json").read_text()))
    tokens = tokenizer.encode(TEXT[int(0.9 * len(TEXT)) :])

    def nats(context):
        losses, first = [], 0
        while len(losses) < len(tokens) - 1:
            block = tokens[first : first + TINY.block + 1]
            logits = file.predict(tokens=block[None, :-1])[0].astype("float64")
            log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            losses += (-log_p[np.arange(len(log_p)), block[1:]])[context if first else 0 :].tolist()
            first += TINY.block - context
        return np.mean(losses)

    data = runtime.load(exported / "model.onnx").manifest.provenance["data"]
    assert data["validation_nats"] == pytest.approx(nats(TINY.block // 2), abs=2e-4)
    assert data["validation_nats_of_blocks_alone"] == pytest.approx(nats(0), abs=2e-4)
    assert data["validation_bits"] == pytest.approx(data["validation_nats"] / math.log(2), abs=1e-3)


def test_learned_positions_end_with_the_block():
    model = transformer_lm.build(replace(TINY, positions="learned"), vocabulary_size=9)
    assert model.max_positions == TINY.block


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"resume": True}, TrainingError, "no checkpoint"),
        ({"block": 10**6}, DataError, "blocks of 1000000 need at least 1000001"),
        ({"steps": 0}, TrainingError, "expected at least 1"),
        ({"heads": 3}, TrainingError, "units that are a multiple of heads"),
    ],
)
def test_what_can_not_be_trained_is_refused(changes, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        transformer_lm.main(replace(TINY, **changes))
    assert not (tmp_path / "exported").exists()


def test_a_sample_that_has_no_room_in_the_model_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match="prompt has 4 tokens and length is 30; expected 17 together at most"):
        transformer_lm.main(replace(TINY, positions="learned", prompt="the "))
    assert not (tmp_path / "runs").exists()
