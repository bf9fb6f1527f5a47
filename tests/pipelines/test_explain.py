"""The commands, with what takes long made small."""

import re

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from pipelines import explain
from tfseq.analysis import gradient_flow, gradient_remedies, teacher_forcing
from tfseq.data import character_tokenizer
from tfseq.models import RecurrentLanguageModel
from tfseq.training import TrainingSettings

TEXT = 'if it says "a (b)":\n    say "c"\n\n' * 60


@pytest.fixture
def model(tmp_path):
    """A character model that was saved with its tokenizer beside it."""
    tokenizer = character_tokenizer(TEXT)
    keras.utils.set_random_seed(0)
    network = RecurrentLanguageModel(tokenizer.vocabulary_size, units=4)
    network.build((None, None))
    network.save(tmp_path / "model.keras")
    tokenizer.save(tmp_path / "tokenizer.json")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "model.keras"


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_hidden_units_of_a_saved_model_on_a_text(model, tmp_path, capsys):
    folder = tmp_path / "new" / "pictures"
    explain.run(["hidden-units", "--model", str(model), "--text", str(tmp_path / "text.txt"), "--folder", str(folder)])
    assert is_png(folder / "hidden_units.png")
    page = (folder / "hidden_units.html").read_text(encoding="utf-8")
    assert "if it says" in re.sub("<[^>]*>", "", page)
    assert "inside quotes         layer 1" in capsys.readouterr().out


def test_gradient_flow_of_a_saved_model_beside_the_cells(model, tmp_path, capsys, monkeypatch):
    small_flow, small_remedies = gradient_flow.explain, gradient_remedies.explain
    monkeypatch.setattr(gradient_flow, "explain", lambda seed: small_flow(units=4, steps=5, sequences=1, seed=seed))
    monkeypatch.setattr(
        gradient_remedies, "explain", lambda *made, **settings: small_remedies(*made, **settings | {"steps": 2})
    )
    text = ["--text", str(tmp_path / "text.txt")]
    explain.run(["gradient-flow", "--model", str(model), *text, "--folder", str(tmp_path / "out")])
    for name in ("gradient_flow", "gradient_remedies", "gradient_flow_of_model"):
        assert is_png(tmp_path / "out" / f"{name}.png")
    said = capsys.readouterr().out
    assert "the norm of dh_T/dh_t, 5 steps back" in said
    assert "lstm_1, untrained" in said


def test_forcing_trains_a_model_in_each_way(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(explain, "BATCH", 4)
    monkeypatch.setattr(explain, "TIME", 20)
    explain.run(["forcing", "--steps", "21", "--folder", str(tmp_path)])
    assert is_png(tmp_path / "forcing.png")
    said = capsys.readouterr().out
    assert all(f"  {way} " in said for way in ("teacher forcing", "scheduled sampling", "free running"))


def test_models_trained_freely_read_their_own_tokens(monkeypatch):
    """What free running feeds while training is the prompt and then what the model would say."""
    seen = []
    original = teacher_forcing.free_running_inputs
    monkeypatch.setattr(
        teacher_forcing,
        "free_running_inputs",
        lambda model, tokens, prompt: seen.append(prompt) or original(model, tokens, prompt),
    )
    monkeypatch.setattr(explain, "BATCH", 4)
    monkeypatch.setattr(explain, "TIME", 20)
    waves = teacher_forcing.noisy_waves(8, 21)
    model = explain._train_on_waves("free running", waves, 21, seed=0)
    assert set(seen) == {explain.PROMPT}
    assert np.isfinite(keras.ops.convert_to_numpy(model(waves.tokens))).all()


def test_convolution_is_drawn(tmp_path, capsys):
    explain.run(["convolution", "--folder", str(tmp_path)])
    assert is_png(tmp_path / "convolution.png")


def test_without_a_model_a_small_one_is_trained_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(explain, "SMALL_LSTM", TrainingSettings(batch=8, chunk=16, steps=2, evaluate_every=2, warmup=1))
    monkeypatch.setattr(explain, "CHARACTERS", 3000)
    explain.run(["hidden-units", "--folder", str(tmp_path)])
    assert is_png(tmp_path / "hidden_units.png")
    kept, tokenizer = explain._load(tmp_path / "model.keras")
    assert kept.vocabulary_size == tokenizer.vocabulary_size > 60  # of English


def test_without_a_subcommand_it_draws_all(tmp_path, monkeypatch):
    parts = ["_train_character_model", "_gradient_flow", "_flow_in", "_hidden_units", "_forcing", "_convolution"]
    done = []
    for name in parts:
        monkeypatch.setattr(explain, name, lambda *_, name=name, **__: done.append(name) or (None, None, ""))
    explain.run(["--folder", str(tmp_path / "new")])
    assert done == parts
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hidden-units", "--model", "no.keras"], "There is no file no.keras"),
        (["hidden-units", "--text", "no.txt"], "no.txt"),
        (["hidden-units", "--model", "{lonely}"], "needs the tokenizer"),
    ],
)
def test_what_is_missing_is_said_in_one_line(arguments, message, model, tmp_path, capsys):
    lonely = tmp_path / "alone" / "model.keras"
    lonely.parent.mkdir()
    model.rename(lonely)
    arguments = [argument.format(lonely=lonely) for argument in arguments]
    with pytest.raises(SystemExit) as exit_:
        explain.run([*arguments, "--folder", str(tmp_path / "out")])
    assert exit_.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert message in said[0]


def test_help_names_the_subcommands(capsys):
    with pytest.raises(SystemExit) as exit_:
        explain.run(["--help"])
    assert exit_.value.code == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("all", "gradient-flow", "hidden-units", "forcing", "convolution"))
