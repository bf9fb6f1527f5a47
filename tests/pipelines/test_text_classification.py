"""Text in, labels out: the tokenizer travels in the file, and folds are what they say."""

import os
import re
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("sklearn")
pytest.importorskip("tokenizers")

from pipelines import text_classification
from tfseq import runtime
from tfseq.errors import DataError
from tfseq.training import SupervisedSettings

PRAISE, BLAME = ("superb", "moving", "wise"), ("dull", "stale", "silly")
TINY = replace(
    text_classification.FULL,
    folds=2,
    embedding_dim=8,
    units=6,
    lost_tokens=0.0,
    lost_features=0.0,
    training=SupervisedSettings(epochs=4, batch=8, learning_rate=0.03),
)


def reviews(words):
    draw = np.random.default_rng(0)
    for _ in range(60):
        word, length = draw.choice(words), draw.integers(1, 7)
        rest = draw.choice(["the", "film", "is", "a", "story", ","], length).tolist()
        rest.insert(draw.integers(0, length + 1), word)
        yield " ".join(rest)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder, and what was printed, of a run over two folds."""
    folder = tmp_path_factory.mktemp("reviews")
    for name, words in (("neg", BLAME), ("pos", PRAISE)):
        (folder / f"rt-polarity.{name}").write_text("\n".join(reviews(words)) + "\n", encoding="cp1252")
    before, printed = os.getcwd(), []
    os.chdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *values, **_: printed.append(" ".join(map(str, values))))
        try:
            text_classification.main(replace(TINY, data=folder))
        finally:
            os.chdir(before)
    return folder, "\n".join(printed)


def test_every_fold_is_tested_and_the_mean_reported(run):
    folder, printed = run
    accuracies = [float(line.split()[-1]) for line in printed.splitlines() if line.startswith("test accuracy")]
    assert len(accuracies) == 2
    reported = re.search(r"2 folds: mean ([\d.]+), deviation ([\d.]+)", printed)
    np.testing.assert_allclose(
        [float(x) for x in reported.groups()], [np.mean(accuracies), np.std(accuracies)], atol=1e-4
    )
    card = (folder / "exported" / "text_classification_rt_polarity" / "card.md").read_text(encoding="utf-8")
    assert "mean of folds" in card
    assert str(folder) not in card


def test_the_file_reads_raw_text(run):
    file = runtime.load(run[0] / "exported" / "text_classification_rt_polarity" / "model.onnx")
    texts = ["A superb, moving film", "SILLY and stale"]
    with pytest.warns(match="and"):  # the one word that it never saw
        said = file.classify(texts)
    assert [label.name for label in said] == ["positive", "negative"]
    alone = file.classify("A superb, moving film")  # without the padding that comes with a longer neighbour
    assert alone.probability == pytest.approx(said[0].probability, abs=1e-5)


def test_a_transformer_encoder_takes_the_recurrent_networks_place(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training = SupervisedSettings(epochs=8, batch=8, learning_rate=0.02)
    changes = {"encoder": "transformer", "units": 8, "heads": 2, "dropout": 0.0, "training": training}
    text_classification.main(replace(TINY, data=run[0], folds=1, **changes))
    file = runtime.load(tmp_path / "exported" / "text_classification_transformer_rt_polarity" / "model.onnx")
    assert file.manifest.operators["Attention"] == 1
    assert not {"LSTM", "GRU"} & set(file.manifest.operators)
    said = file.classify(["a superb , moving film", "silly and stale", "the story is dull"])
    assert [label.name for label in said] == ["positive", "negative", "negative"]
    alone = file.classify("the story is dull")
    assert alone.probability == pytest.approx(said[2].probability, abs=1e-5)


@pytest.mark.parametrize("encoder", ["recurrent", "transformer"])
def test_the_encoder_is_the_one_that_was_asked_for(encoder):
    settings = replace(TINY, encoder=encoder, units=8, heads=2, depth=3, lost_tokens=0.25, dropout=0.125)
    model = text_classification.build(settings, tokens=9, classes=4)
    answer = np.asarray(model(np.array([[1, 2, 0]])))
    assert answer.shape == (1, 4)
    layers = model.blocks if encoder == "transformer" else model.recurrent
    assert len(layers) == 3
    lost = model.loss_of_tokens if encoder == "transformer" else model.front.layers[1]
    assert lost.rate == 0.25
    again = text_classification.build(settings, tokens=9, classes=4)  # the seed draws the same weights
    np.testing.assert_array_equal(np.asarray(again(np.array([[1, 2, 0]]))), answer)


def test_log_count_ratios_are_those_counted_by_hand():
    """Token 1 is in two texts of three of class 1, and in none of two of class 0."""
    texts = [np.array(ids) for ids in ([1, 1, 2], [1, 3], [2], [2, 3], [3])]
    (ratios,) = text_classification.log_count_ratios(texts, np.array([1, 1, 1, 0, 0]), tokens=4, classes=2).T
    p, q = np.array([3, 3, 2]), np.array([1, 2, 3])  # plus 1 each; token 0 counts 1 in both
    np.testing.assert_allclose(ratios[1:], np.log(p / (p.sum() + 1) / (q / (q.sum() + 1))))
    assert ratios[0] == 0


def test_log_count_ratios_of_two_classes_mirror_each_other():
    draw = np.random.default_rng(0)
    texts, labels = [draw.integers(1, 9, draw.integers(1, 6)) for _ in range(30)], draw.integers(0, 2, 30)
    one = text_classification.log_count_ratios(texts, labels, 9, classes=2)
    other = text_classification.log_count_ratios(texts, 1 - labels, 9, classes=2)
    np.testing.assert_allclose(one, -other)
    three = text_classification.log_count_ratios(texts, labels, 9, classes=3)  # one of which has no text
    np.testing.assert_allclose(three[:, 1:2], one)


@pytest.mark.parametrize("encoder", ["recurrent", "transformer"])
def test_the_embedding_begins_with_the_prior_in_its_first_column(encoder):
    texts = [np.array([2, 3]), np.array([4, 3])]
    settings = replace(TINY, prior=0.5, encoder=encoder, units=8, heads=2)
    model = text_classification.build(settings, tokens=5, classes=2)
    ratios = text_classification.log_count_ratios(texts, np.array([0, 1]), 5, 2)
    text_classification.begin_with_prior(model, 0.5 * ratios)
    table = next(weight for weight in model.get_weights() if weight.shape == (5, 8))
    np.testing.assert_allclose(table[:, :1], 0.5 * ratios, rtol=1e-6)
    assert np.abs(table[:, 1:]).min() > 0


def test_a_text_of_nothing_known_still_has_an_answer(run):
    from tfseq.data import Part
    from tfseq.data.tokenizers import reading_tokenizer

    tokenizer = reading_tokenizer(["a b"] * 2, 10)
    part = text_classification.encoded(Part(["  ", "a " * 9], np.array([0, 1])), tokenizer, longest=4)
    assert [text.tolist() for text in part.inputs] == [[1], [2, 2, 2, 2]]


def test_a_directory_without_texts_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.txt"):
        text_classification.main(replace(TINY, data=tmp_path))
