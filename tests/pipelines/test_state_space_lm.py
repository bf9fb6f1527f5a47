import json
from dataclasses import replace

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from pipelines import state_space_lm
from tfseq import runtime
from tfseq.training import SupervisedSettings

TEXT = "the cat sat on the mat\n" * 100
TINY = state_space_lm.StateSpaceLM(
    block=16, steps=10, units=8, states=2, depth=1, training=SupervisedSettings(epochs=1, batch=8), length=30
)


def test_a_run_leaves_a_file_that_writes_texts_of_any_length_and_the_scores_of_its_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rhyme.txt").write_text(TEXT, encoding="utf-8")
    state_space_lm.main(replace(TINY, data=tmp_path / "rhyme.txt", prompt="the "))
    folder = tmp_path / "exported" / "state_space_lm_rhyme"
    file = runtime.load(folder / "model.onnx")
    assert file.manifest.parity["passed"]
    assert len(file.generate("the ", max_length=3 * TINY.block)) == 3 * TINY.block

    model = keras.saving.load_model(folder / "model.keras")
    tokenizer = runtime.load_tokenizer(json.loads((folder / "tokenizer.json").read_text()))
    tokens, losses, first = tokenizer.encode(TEXT[int(0.9 * len(TEXT)) :]), [], 0
    while len(losses) < len(tokens) - 1:
        block = tokens[first : first + TINY.block + 1]
        logits = np.asarray(model(block[None, :-1]))[0].astype("float64")
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        losses += (-log_p[np.arange(len(log_p)), block[1:]])[TINY.block // 2 if first else 0 :].tolist()
        first += TINY.block // 2
    assert file.manifest.provenance["data"]["validation_nats"] == pytest.approx(np.mean(losses), abs=2e-4)
