"""The artefacts kept in git run as their cards say, with ONNX Runtime alone."""

import re
from pathlib import Path

import pytest

from tfseq import runtime

EXPORTED = Path(__file__).parents[1] / "exported"
CHAR_LMS = [EXPORTED / f"char_lm_{cell}" for cell in ("rnn", "irnn", "lstm", "gru")]


def sample_in_card(folder):
    card = (folder / "card.md").read_text(encoding="utf-8")
    block = card.split("from `model.onnx`:\n\n")[1].split("\n## ")[0]
    return "\n".join(line.removeprefix("    ") for line in block.strip("\n").split("\n"))


def without_trailing_space(text):
    return re.sub(r"[ \n]+\n", "\n", text).strip()


@pytest.mark.parametrize("folder", CHAR_LMS, ids=lambda folder: folder.name)
def test_it_still_writes_the_sample_on_its_card(folder):
    text = "The " + runtime.load(folder / "model.onnx").generate("The ", max_length=400)
    assert without_trailing_space(text) == without_trailing_space(sample_in_card(folder))


@pytest.mark.parametrize("folder", CHAR_LMS, ids=lambda folder: folder.name)
def test_it_carries_a_parity_report_that_passed(folder):
    parity = runtime.load(folder / "model.onnx").manifest.parity
    logits, tokens, scores = parity["checks"]
    assert parity["passed"]
    assert logits["worst_absolute"] <= 1e-4
    assert scores["worst_absolute"] <= 1e-4
    assert tokens["identical"] == tokens["sequences"] == 224
