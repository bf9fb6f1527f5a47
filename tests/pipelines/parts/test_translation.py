"""The pipelines that translate: from files of sentences to a file that translates, with its scores and its picture."""

import json
import os
import sys
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from benchmarks import translation as benchmark
from pipelines import attention_seq2seq, transformer
from pipelines.parts import translation
from tests.pipelines.command_line import run_pipeline
from tfseq import runtime
from tfseq.analysis.bleu import bleu
from tfseq.data import Part, character_tokenizer, subword_tokenizer
from tfseq.errors import TrainingError
from tfseq.models import Transformer
from tfseq.training import SupervisedSettings

PAIRS = [("one dog runs here .", "un chien court ici ."), ("two men eat here .", "deux hommes mangent ici .")]
TINY = attention_seq2seq.AttentionTranslation(
    subwords=340,
    units=32,
    embedding_dim=16,
    beam=2,
    training=SupervisedSettings(epochs=10, batch=8, learning_rate=5e-3),
    name="sentences",
)


def write_parts(folder):
    for part, times in (("train", 20), ("val", 1), ("test", 1)):
        for language, side in (("en", 0), ("fr", 1)):
            lines = [pair[side] + "\n" for pair in PAIRS] * times
            (folder / f"{part}.{language}").write_text("".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("sacrebleu")
    folder = tmp_path_factory.mktemp("pipeline")
    write_parts(folder)
    before = os.getcwd()
    os.chdir(folder)
    try:
        attention_seq2seq.main(replace(TINY, data=folder))
    finally:
        os.chdir(before)
    return folder / "exported" / "sentences"


def test_the_scores_are_those_of_what_the_file_writes(exported):
    file = runtime.load(exported / "model.onnx")
    written, right = file.generate([source for source, _ in PAIRS]), [target for _, target in PAIRS]
    scores = file.manifest.provenance["data"]
    assert scores["test_exactly_right"] == np.mean([w == r for w, r in zip(written, right)])
    assert scores["test_bleu"] == pytest.approx(bleu(written, right), abs=0.01)
    assert scores["validation_loss"] < 4  # of 5.8 nats at first


def test_the_artefact_shows_where_the_file_looked(exported):
    assert (exported / "attention.png").read_bytes()[:4] == b"\x89PNG"
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "![attention](attention.png)" in card
    assert "one dog runs here . -> " in card


def test_the_benchmark_prints_bleu_by_length_and_draws_it(exported, tmp_path, monkeypatch, capsys):
    plot = tmp_path / "bleu.png"
    arguments = [str(exported / "model.onnx"), "--data", str(exported.parents[1]), "--plot", str(plot)]
    monkeypatch.setattr(sys, "argv", ["translation", *arguments])
    benchmark.main()
    _, _, header, _, row = capsys.readouterr().out.strip().splitlines()
    score = runtime.load(exported / "model.onnx").manifest.provenance["data"]["test_bleu"]
    assert header.startswith("| file | BLEU | cased | 5-5 words (2) |")
    assert row.startswith(f"| sentences | {score:.1f} | {score:.1f} | {score:.1f} |")
    assert plot.read_bytes()[:4] == b"\x89PNG"


def test_dates_are_learned_with_r_drop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("babel")
    sizes = {"units": 8, "heads": 2, "hidden": 8, "depth": 1, "dates": (64, 8, 8)}
    training = SupervisedSettings(epochs=1, batch=16)
    with mock.patch.object(translation, "publish") as publish:
        transformer.main(replace(transformer.QUICK, r_drop=1.0, training=training, **sizes))
    (model, name), said = publish.call_args
    assert isinstance(model, Transformer)
    assert name == "transformer"
    assert model.dtype_policy.name == "float32"
    assert said["scores"].keys() == {"validation_loss", "test_exactly_right", "training_seconds", "parameters"}
    json.dumps(said["data"])


def test_a_run_is_not_resumed_with_another_loss(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path)
    settings = replace(TINY, data=tmp_path, training=SupervisedSettings(epochs=1, batch=8))
    with mock.patch.object(translation, "publish"), mock.patch.object(translation, "held_out_scores", return_value={}):
        attention_seq2seq.main(settings)
        attention_seq2seq.main(replace(settings, resume=True))
        for other in ({"smoothing": 0.1}, {"r_drop": 1.0}):
            with pytest.raises(TrainingError, match=next(iter(other))):
                attention_seq2seq.main(replace(settings, resume=True, **other))


def test_teacher_forcing_feeds_what_is_to_be_answered_one_step_later():
    tokenizer = character_tokenizer("abc", start_and_end=True)
    part = Part(["ab", "abc", "c"], ["c", "b", "ca"])
    inputs, targets = translation.encoded(part, tokenizer)
    assert [tokenizer.decode(source) for source in inputs["source"]] == ["ab", "abc", "c"]
    assert [row.tolist() for row in inputs["target"]] == [[2, 6], [2, 5], [2, 6, 4]]
    assert [row.tolist() for row in targets] == [[6, 3], [5, 3], [6, 4, 3]]
    inputs, targets = translation.to_learn_from(replace(TINY, subwords=0, longest=2), part, tokenizer)
    assert [tokenizer.decode(source) for source in inputs["source"]] == ["ab"]
    assert [row.tolist() for row in targets] == [[6, 3]]


def test_sources_of_subwords_end_with_the_end():
    tokenizer = subword_tokenizer(["ab"], 259, append_end=True)
    inputs, _ = translation.encoded(Part(["ab"], ["a"]), tokenizer)
    assert inputs["source"][0][-1] == tokenizer.end
    np.testing.assert_array_equal(inputs["source"][0][:-1], tokenizer.encode("ab"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "missing"], "Give the path of a directory with train.en.gz"),
        (["--data", "."], "has none of train.en"),
        (["--training.epochs", "0"], "expected at least 1"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_pipeline("seq2seq", "quick", *arguments)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in said
    assert said.count("\n") == 1
