"""KerasHub's text classifiers, every family, one fine-tuned on texts: the labels that `predict` gives, also in Node."""

import inspect

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import tfseq
from benchmarks.harness.hub_tasks import spread
from benchmarks.harness.hub_vocabularies import ROBERTA, byte_pairs, sentence_pieces, word_pieces
from benchmarks.harness.hub_vocabularies import texts as random_texts
from tests.hub.javascript import in_node
from tfseq.errors import InputError

LABELS = ["bad", "so so", "good"]
LENGTH = 64
TEXTS = ["two men are outside", "a café x y", "It's 3.14 or <mask>, aren't they? 你好😀", "Train any … ﬁle!"]
_SIZES = {"num_layers": 1, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 48, "max_sequence_length": LENGTH}
_OF_FAMILY = {
    "Albert": {"embedding_dim": 16},
    "DebertaV3": {"bucket_size": 32, "max_sequence_length": 512},  # of its farthest pairs of tokens, rounding decides
    "RoformerV2": {"head_size": 8},
}
_PIECES = {
    "model_type": "unigram",
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": 2,
    "eos_id": 3,
    "pad_piece": "<pad>",
    "bos_piece": "[CLS]",
    "eos_piece": "[SEP]",
    "user_defined_symbols": "[MASK]",
}
TOKENIZERS = {
    "Bert": lambda m: m.BertTokenizer(word_pieces(), lowercase=True),
    "Roberta": lambda m: m.RobertaTokenizer(*byte_pairs(special=ROBERTA)),
    "DistilBert": lambda m: m.DistilBertTokenizer(word_pieces(), lowercase=True),
    "Albert": lambda m: m.AlbertTokenizer(proto=sentence_pieces(**_PIECES)),
    "XLMRoberta": lambda m: m.XLMRobertaTokenizer(proto=sentence_pieces(model_type="unigram")),
    "DebertaV3": lambda m: m.DebertaV3Tokenizer(proto=sentence_pieces(**{**_PIECES, "pad_piece": "[PAD]"})),
    "FNet": lambda m: m.FNetTokenizer(proto=sentence_pieces(**_PIECES)),
    "RoformerV2": lambda m: m.RoformerV2Tokenizer(word_pieces(), lowercase=True),
}


def classifier(family, classes=3, **options):
    models = keras_hub.models
    tokenizer = TOKENIZERS[family](models)
    preprocessor = getattr(models, f"{family}TextClassifierPreprocessor")(tokenizer, sequence_length=LENGTH)
    backbone = getattr(models, f"{family}Backbone")
    wanted = inspect.signature(backbone.__init__).parameters
    sizes = {name: size for name, size in {**_SIZES, **_OF_FAMILY.get(family, {})}.items() if name in wanted}
    backbone = backbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes)
    task = getattr(models, f"{family}TextClassifier")
    return spread(task(backbone=backbone, preprocessor=preprocessor, num_classes=classes, **options))


def fine_tuned(task):
    """A few steps on raw texts, which change its weights."""
    before = np.array(task.weights[-2])
    task.compile("adam", "sparse_categorical_crossentropy")
    task.fit(np.array(TEXTS * 3), np.array([0, 1, 2] * 4), batch_size=6, epochs=2, verbose=0)
    assert np.abs(np.array(task.weights[-2]) - before).max() > 0
    return task


@pytest.mark.parametrize("family", TOKENIZERS)
def test_a_text_gets_the_class_that_predict_gives_it(family, tmp_path):
    task = classifier(family, activation="softmax")
    task = fine_tuned(task) if family == "Bert" else task
    path = tmp_path / "sentiment.onnx"
    tfseq.export(task, path, labels=LABELS)
    texts = [*TEXTS, *(text for text in random_texts(40) if fits(task, text))]
    if family == "Roberta":  # in predict, its tokenizer parts spaces otherwise than when it is called
        scores = np.asarray(task(task.preprocessor(texts), training=False), "float64")
    else:
        scores = np.asarray(task.predict(texts, batch_size=64, verbose=0), "float64")
    assert family != "Bert" or len(set(scores.argmax(axis=1))) > 1
    found = tfseq.runtime.load(path).classify(texts)
    same_classes([(label.name, label.probability) for label in found], scores)
    script = "return (await (await load(path)).classify(texts)).map((label) => [label.name, label.probability]);"
    same_classes(in_node(script, tmp_path, path=str(path), texts=texts), scores)


def fits(task, text):
    return len(np.asarray(task.preprocessor.tokenizer.tokenize(text))) < LENGTH - 4


def same_classes(found, scores, labels=LABELS):
    assert np.ptp(scores.max(axis=1)) > 0.01  # they depend on what was read
    for (name, probability), row in zip(found, scores, strict=True):
        assert name == labels[row.argmax()]
        assert abs(probability - row.max()) < 1e-4


def test_logits_become_probabilities_where_labels_are_given(tmp_path):
    task = classifier("Bert")
    tfseq.export(task, tmp_path / "sentiment.onnx", labels=LABELS)
    logits = np.asarray(task.predict(TEXTS, verbose=0), "float64")
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    found = tfseq.runtime.load(tmp_path / "sentiment.onnx").classify(TEXTS)
    np.testing.assert_allclose([label.probability for label in found], scores.max(axis=1), atol=1e-4)
    assert tfseq.verify(tmp_path / "sentiment.onnx", task).passed


def test_a_text_that_is_too_long_is_an_error(tmp_path):
    tfseq.export(classifier("FNet"), tmp_path / "sentiment.onnx", labels=LABELS, verify=False)
    with pytest.raises(InputError):
        tfseq.runtime.load(tmp_path / "sentiment.onnx").classify(["x y " * LENGTH])
