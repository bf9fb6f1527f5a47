"""Class labels: those that travel in a file, and those that are refused."""

import keras
import numpy as np
import pytest

import tfseq
from tfseq.errors import ExportError
from tfseq.models import RecurrentLanguageModel


def dense(units, activation, bias=0.0):
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(units, activation, bias_initializer=keras.initializers.Constant(bias))
    return keras.Sequential([keras.Input((2,)), layer])


@pytest.mark.parametrize(("units", "activation"), [(3, "softmax"), (1, "sigmoid")])
def test_labels_travel_in_the_file(tmp_path, units, activation):
    labels = ["ant", "bee", "cow"] if units == 3 else ["no", "yes"]
    model = dense(units, activation)
    for name in ("model.onnx", "saved_model"):
        assert tfseq.export(model, tmp_path / name, labels=labels).labels == tuple(labels)
    x = np.array([[4.0, -1.0], [-3.0, 2.0]], np.float32)
    expected = model.predict(x, verbose=0)
    found = tfseq.runtime.load(tmp_path / "model.onnx").classify(x)
    for label, row in zip(found, expected, strict=True):
        row = row if units == 3 else np.array([1 - row[0], row[0]])
        assert label.name == labels[row.argmax()]
        assert label.probability == pytest.approx(row.max(), abs=1e-5)


@pytest.mark.parametrize(
    ("model", "labels", "message"),
    [
        (dense(3, "softmax"), ["a", "b"], "There are 2 labels, and the output .* has 3 classes"),
        (dense(3, None, 5.0), ["a", "b", "c"], "End the model in a softmax"),
        (dense(3, "sigmoid"), ["a", "b", "c"], "is to be the probabilities of a, b, c"),
        (dense(1, None, 5.0), ["a", "b"], "End the model in a softmax, or a sigmoid"),
        (dense(3, "softmax"), ["a", "b", "a"], "Two classes are called 'a'"),
        (dense(3, "softmax"), "abc", "expected the name of each class"),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "saved_model"])
def test_labels_that_do_not_fit_are_refused(tmp_path, model, labels, message, name):
    with pytest.raises(ExportError, match=message):
        tfseq.export(model, tmp_path / name, labels=labels)
    assert not list(tmp_path.iterdir())


def test_a_file_that_writes_has_no_labels(tmp_path):
    model = RecurrentLanguageModel(5, units=4)
    model(np.ones((1, 2), "int32"))
    with pytest.raises(ExportError, match="a file that writes"):
        tfseq.export(model, tmp_path / "model.onnx", labels=list("abcde"), decode=tfseq.Greedy())
