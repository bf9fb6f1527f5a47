import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

tf = pytest.importorskip("tensorflow")

import tfseq
from pipelines import char_lm
from tests.pipelines.command_line import run_pipeline
from tfseq import runtime
from tfseq.errors import TrainingError
from tfseq.training import TrainingSettings

REPOSITORY = Path(__file__).parents[2]
TINY = char_lm.CharLM(
    units=16, training=TrainingSettings(batch=8, chunk=20, steps=20, evaluate_every=10, warmup=2), length=30
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline")
    text = folder / "rhyme.txt"
    text.write_text("the cat sat on the mat\n" * 300, encoding="utf-8")
    before = os.getcwd()
    os.chdir(folder)
    try:
        char_lm.main(replace(TINY, data=text, prompt="the "))
    finally:
        os.chdir(before)
    return folder / "exported" / "char_lm_rhyme_lstm"


def test_a_run_leaves_every_form_of_the_model_and_its_card(exported):
    names = {path.name for path in exported.iterdir()}
    assert names == {
        "model.onnx",
        "saved_model",
        "model.keras",
        "tokenizer.json",
        "learning_curve.png",
        "card.md",
    }
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "validation nats" in card
    assert "224 of 224 sequences identical" in card
    assert str(exported.parent) not in card


def test_the_artefact_carries_its_parity_report(exported):
    logits, tokens, scores = runtime.load(exported / "model.onnx").manifest.parity["checks"]
    assert max(logits["worst_relative"], scores["worst_relative"]) <= 1e-4
    assert tokens["identical"] == tokens["sequences"] >= 200


@pytest.fixture(scope="module")
def forward(exported, tmp_path_factory):
    """The graph from tokens to logits, exported from what the run saved."""
    path = tmp_path_factory.mktemp("forward") / "forward.onnx"
    tfseq.export(keras.saving.load_model(exported / "model.keras"), path)
    return path


def test_the_forward_graph_names_its_axes(forward):
    graph = onnx.load(forward).graph
    axes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.output)
    }
    vocabulary = len(set("the cat sat on the mat\n")) + 1
    assert axes == {"tokens": ["batch", "time"], "logits": ["batch", "time", vocabulary]}


def test_the_saved_model_serves_what_the_onnx_files_do(exported, forward):
    signatures = tf.saved_model.load(str(exported / "saved_model")).signatures
    tokens = np.array([[1, 2, 3, 4]], "int32")
    text = np.array([[ord(character) for character in "the "]], "int32")  # what both generate from
    served = signatures["serve"](tokens=tf.constant(tokens))["logits"]
    np.testing.assert_allclose(runtime.load(forward).predict(tokens=tokens), served, atol=1e-4)
    settings = {"max_length": 20, "temperature": 0.9, "top_k": 3, "top_p": 0.9, "seed": 5}
    generated = signatures["generate"](
        prompt=tf.constant(text),
        prompt_length=tf.constant([4]),
        **{name: tf.constant(value) for name, value in settings.items()},
    )
    file = runtime.load(exported / "model.onnx")
    written = file.predict(prompt=text, prompt_length=np.array([4]), **settings)
    assert written.keys() == generated.keys() == {"tokens", "lengths", "scores"}
    for name, array in written.items():
        np.testing.assert_allclose(array, generated[name], rtol=1e-5, err_msg=name)


def test_the_score_is_the_loss_of_the_exported_file_on_the_validation_text(exported, forward):
    """Recomputed from the forward graph in NumPy, read from end to end."""
    file = runtime.load(forward)
    text = ("the cat sat on the mat\n" * 300)[int(0.9 * 6900) :]
    tokens = runtime.load_tokenizer(json.loads((exported / "tokenizer.json").read_text())).encode(text)
    logits = file.predict(tokens=tokens[None, :-1])[0].astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -log_p[np.arange(len(log_p)), tokens[1:]].mean()
    scores = runtime.load(exported / "model.onnx").manifest.provenance["data"]
    assert scores["validation_nats"] == pytest.approx(nats, abs=0.1)  # 16 streams of 43 characters start afresh there
    assert scores["validation_bits"] == pytest.approx(scores["validation_nats"] / math.log(2), abs=1e-3)


def test_resuming_a_run_that_never_began_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrainingError, match="no checkpoint"):
        char_lm.main(replace(TINY, resume=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "empty.txt"], "holds no text"),
        (["--data", "latin.txt"], "is not UTF-8"),
        (["--data", "short.txt"], "need at least"),
        (["--training.steps", "0"], "expected at least 1"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    (tmp_path / "short.txt").write_text("hello world " * 20)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_pipeline("char_lm", "quick", *arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "exported").exists()
    assert not (tmp_path / "runs").exists()


def test_in_a_process_of_its_own_the_line_stays_alone(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "pipelines.char_lm", "quick", "--data", "missing.txt"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert "There is no file missing.txt" in process.stderr
    assert process.stderr.count("\n") == 1
    assert not (tmp_path / "exported").exists()
    assert not (tmp_path / "runs").exists()
