import os
from dataclasses import replace
from unittest import mock

import pytest

pytest.importorskip("tensorflow")

from pipelines import delayed_answer
from pipelines.delayed_answer import DelayedAnswers
from tests.pipelines.command_line import run_pipeline
from tfseq import runtime
from tfseq.data import DataSet, Part
from tfseq.errors import DataError
from tfseq.training import SupervisedSettings

TINY = DelayedAnswers(
    units=32,
    embedding_dim=16,
    training=SupervisedSettings(epochs=8, batch=4, learning_rate=2e-2),
    name="counting",
)
WORDS = ["one", "two", "three", "four"]
KNOWN = Part(20 * WORDS, 20 * ["1", "2", "3", "4"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Learned by heart, as nothing is held out."""
    folder = tmp_path_factory.mktemp("pipeline")
    asked = Part([*WORDS, "two"], ["1", "2", "3", "4", "22"])  # and one that it can't know
    before = os.getcwd()
    os.chdir(folder)
    try:
        data = DataSet("counting", KNOWN, KNOWN, asked, "counting", "0")
        with mock.patch.object(delayed_answer, "load", return_value=data):
            delayed_answer.main(TINY)
    finally:
        os.chdir(before)
    return folder / "exported" / "counting"


def test_the_file_takes_text_and_answers_in_text(exported):
    file = runtime.load(exported / "model.onnx")
    assert file.generate(WORDS) == ["1", "2", "3", "4"]
    assert file.generate("three") == "3"


def test_the_score_is_the_share_of_whole_answers(exported):
    data = runtime.load(exported / "model.onnx").manifest.provenance["data"]
    assert data["test_whole_answers"] == pytest.approx(4 / 5)
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "three -> 3" in card
    assert "two -> 2   (truly 22)" in card
    assert "4 of the first 5 test examples" in card


def test_number_words_are_the_other_task():
    data = delayed_answer.load(replace(TINY, task="number_words", largest=99, sizes=(30, 10, 10)))
    assert all(text.isdigit() for text in data.train.targets)
    assert not any(text.isdigit() for text in data.train.inputs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(TINY, task="addition", digits=9), "digits is 9; expected 1 to 8"),
        (replace(TINY, task="number_words", languages=("xx",)), "num2words does not know one of the languages xx"),
    ],
)
def test_data_that_can_not_be_are_refused(settings, message):
    with pytest.raises(DataError, match=message):
        delayed_answer.load(settings)


def test_bad_input_ends_in_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_pipeline("delayed_answer", "quick", "--largest", "50")
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "together at most 26" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "exported").exists()
