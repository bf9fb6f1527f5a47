"""KerasHub's text classifiers and embedders: text in, KerasHub's own predictions out."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import tfseq
from benchmarks.harness.hub_tasks import spread
from tests.hub.test_tokenizers import _ROBERTA, word_pieces
from tests.hub.vocabularies import byte_pairs

CLIENT = Path(__file__).parents[2] / "clients/js"
TEXTS = ["two men are outside", "a café x y", "It's 3.14 or <mask>, aren't they? 你好😀"]
_SIZES = {"num_layers": 2, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 48, "max_sequence_length": 64}


def bert(m):
    tokenizer = m.BertTokenizer(word_pieces(), lowercase=True)
    preprocessor = m.BertTextClassifierPreprocessor(tokenizer, sequence_length=64)
    backbone = m.BertBackbone(vocabulary_size=tokenizer.vocabulary_size(), **_SIZES)
    return m.BertTextClassifier(backbone=backbone, preprocessor=preprocessor, num_classes=3)


def roberta(m):
    tokenizer = m.RobertaTokenizer(*byte_pairs(special=_ROBERTA))
    preprocessor = m.RobertaTextClassifierPreprocessor(tokenizer, sequence_length=64)
    backbone = m.RobertaBackbone(vocabulary_size=tokenizer.vocabulary_size(), **_SIZES)
    return m.RobertaTextClassifier(backbone=backbone, preprocessor=preprocessor, num_classes=3, activation="softmax")


def fine_tuned(task):
    """A few steps on raw texts, which change its weights."""
    before = np.array(task.weights[-2])
    task.compile("adam", "sparse_categorical_crossentropy")
    task.fit(np.array(TEXTS * 2), np.array([0, 1, 2] * 2), batch_size=3, epochs=1, verbose=0)
    assert np.abs(np.array(task.weights[-2]) - before).max() > 0
    return task


@pytest.mark.parametrize("make", [bert, roberta])
def test_a_text_gets_the_class_that_predict_gives_it(make, tmp_path):
    task = spread(make(keras_hub.models))
    task = fine_tuned(task) if make is roberta else task
    labels = ["bad", "so so", "good"]
    tfseq.export(task, tmp_path / "sentiment.onnx", labels=labels)
    file = tfseq.runtime.load(tmp_path / "sentiment.onnx")
    scores = np.asarray(task.predict(TEXTS, verbose=0), "float64")
    if make is bert:  # which gives logits
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    found = file.classify(TEXTS)
    same_classes(found, scores, labels)
    assert tfseq.verify(tmp_path / "sentiment.onnx", task).passed
    if make is roberta and shutil.which("node") and (CLIENT / "node_modules").is_dir():
        assert in_node(tmp_path / "sentiment.onnx") == [label.name for label in found]


def same_classes(found, scores, labels):
    for label, row in zip(found, scores, strict=True):
        assert label.name == labels[row.argmax()]
        assert abs(label.probability - row.max()) < 1e-4


def in_node(path):
    """The classes that the JavaScript client gives the texts."""
    script = f"""
        import {{ load }} from {json.dumps(str(CLIENT / "src/index.js"))};
        const model = await load({json.dumps(str(path))});
        const labels = await model.classify({json.dumps(TEXTS)});
        console.log(JSON.stringify(labels.map((label) => label.name)));
    """
    command = ["node", "--input-type=module", "--eval", script]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
