"""The code of docs/hub.md.

The adapter keeps to the protocol, and its file writes what the decoder makes of whole texts. The classifier's file
gives the same class in Node as in Python.
"""

import keras
import numpy as np
import pytest
from keras import ops

import tfseq
from tests.hub.javascript import in_node
from tests.pages import block

VOCABULARY, WIDTH = 20, 8


class Decoder(keras.layers.Layer):
    """One attention without positions: (tokens, keys, values) -> logits and both with the new steps behind them."""

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(VOCABULARY, WIDTH, embeddings_initializer="random_normal")
        self.parts = [keras.layers.Dense(WIDTH, kernel_initializer="random_normal") for _ in range(3)]
        self.out = keras.layers.Dense(VOCABULARY)

    def call(self, tokens, keys, values):
        x = self.embedding(tokens) * 20
        query, *new = (part(x) for part in self.parts)
        keys, values = (ops.concatenate(pair, axis=1) for pair in zip((keys, values), new))
        scores = ops.einsum("bqd,bkd->bqk", query, keys)
        steps, time = ops.shape(keys)[1], ops.shape(tokens)[1]
        seen = ops.arange(steps)[None] <= ops.arange(time)[:, None] + steps - time
        weights = ops.softmax(ops.where(seen, scores, -1e9))
        return self.out(x + ops.einsum("bqk,bkd->bqd", weights, values)), keys, values


def test_the_adapter_of_the_page_generates(tmp_path):
    names = {"__name__": "page"}
    block("hub.md", "class Adapter").run(names)
    model = names["Adapter"](Decoder(), VOCABULARY, WIDTH)
    model(np.array([[1, 2, 3]]))
    findings = tfseq.models.check_generator(model)
    assert [finding for finding in findings if "get_config" not in str(finding)] == []
    tfseq.export(model, tmp_path / "adapter.onnx", decode=tfseq.Greedy())
    given = {"prompt": np.array([[3, 4], [5, 0]], "int32"), "prompt_length": np.array([2, 1], "int32")}
    tokens = tfseq.runtime.load(tmp_path / "adapter.onnx").run({**given, "max_length": np.int32(6)})["tokens"]
    for row, prompt in zip(tokens, ([3, 4], [5])):
        text = list(prompt)
        for token in row:
            assert token == np.asarray(model(np.array([text])))[0, -1].argmax()
            text.append(int(token))


def test_the_classifier_of_the_page_gives_its_class_in_node(tmp_path, monkeypatch, capsys):
    keras_hub = pytest.importorskip("keras_hub")
    from tests.hub.test_text_tasks import classifier

    task = keras_hub.models.BertTextClassifier
    presets = set(task.presets)

    def from_preset(name, num_classes):
        assert name in presets
        return classifier("Bert", classes=num_classes)

    monkeypatch.setattr(task, "from_preset", from_preset)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    block("hub.md", "BertTextClassifier.from_preset").run(names)
    text = "a joy to watch"
    label = tfseq.runtime.load("sentiment.onnx").classify(text)
    assert str(label) in capsys.readouterr().out
    script = "return (await (await load(path)).classify([text]))[0];"
    found = in_node(script, tmp_path, path=str(tmp_path / "sentiment.onnx"), text=text)
    assert found["name"] == label.name
    assert abs(found["probability"] - label.probability) < 1e-4
