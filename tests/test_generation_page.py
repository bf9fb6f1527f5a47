"""docs/generation.md: the strategy of one's own is exported as it stands there, and its rules can be made."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tfseq
from tests.decoding.by_hand import log_softmax
from tests.pages import block
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime import CharacterTokenizer, load

TOKENIZER = CharacterTokenizer(["<unk>", "<start>", "<end>", *"abcdefghijklmnopqrstuvwxyz ,:{}[]\"'-I0123456789"])


def typical_by_hand(logits, temperature, typical_p):
    """Meister et al., 2023, in plain lists: the tokens kept."""
    log_p = log_softmax(np.asarray(logits, "float64") / temperature)
    entropy = -sum(np.exp(x) * x for x in log_p if x > -np.inf)
    kept, total = [], 0.0
    for token in sorted(range(len(log_p)), key=lambda token: abs(-log_p[token] - entropy)):
        if total < typical_p:
            kept.append(token)
        total += np.exp(log_p[token])
    return set(kept)


def test_the_strategy_of_ones_own_runs_as_it_stands_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(TOKENIZER.vocabulary_size, 8, end=TOKENIZER.end)
    model.build()
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    names = {"model": model, "tokenizer": TOKENIZER, "__name__": "typical"}
    block("generation.md", "class Typical").run(names)
    file = load("typical.onnx")
    assert file.manifest.parity["passed"]
    assert file.settings["typical_p"].default == 0.8
    assert file.settings["typical_p"].description == "probability of the typical tokens kept"
    assert isinstance(file.generate("abc", 9, typical_p=0.3), str)
    strategy, random = names["Typical"](), np.random.default_rng(0)
    for temperature, typical_p in ((1.0, 0.9), (0.5, 0.3), (2.0, 0.6), (1.0, 1.0)):
        logits = random.normal(size=12, scale=2).astype("float32")
        logits[3] = -np.inf  # as rules make it
        settings = {"temperature": np.float32(temperature), "typical_p": np.float32(typical_p)}
        left = np.asarray(strategy.keep(keras.ops.convert_to_tensor(logits[None]), settings))[0]
        assert set(np.flatnonzero(np.isfinite(left))) == typical_by_hand(logits, temperature, typical_p) - {3}


def test_the_rules_can_be_made():
    names = {"tfseq": tfseq, "tokenizer": TOKENIZER}
    block("generation.md", "Automaton.answers").run(names)
