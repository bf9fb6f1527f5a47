"""A Generator of somebody's own is tried before it is traced: each mistake is told, and nothing is written."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")
from keras import ops

import tfseq
from tests.models.checking.test_check import CONFIGS, MISTAKES, Translator, translator
from tfseq.errors import ExportError
from tfseq.exporting import export
from tfseq.models import Generator, RecurrentLanguageModel

REFUSED = sorted(MISTAKES.keys() - CONFIGS.keys())


@pytest.mark.parametrize("mistake", REFUSED)
def test_each_mistake_is_told_before_anything_is_written(mistake, tmp_path):
    random = np.random.default_rng(REFUSED.index(mistake))
    decode = (tfseq.Greedy(), tfseq.Sample(), tfseq.Beam(2))[random.integers(3)]
    with pytest.raises(ExportError, match="; expected ") as raised:
        export(translator(mistake), tmp_path / "model.onnx", decode=decode)
    assert "docs/your_own_model.md" in str(raised.value)
    assert str(raised.value).startswith("Translator")
    assert not list(tmp_path.iterdir())


def test_several_mistakes_are_a_list(tmp_path):
    model = translator("no start", "a softmax in the head", "an encode that reads padding")
    with pytest.raises(ExportError) as raised:
        export(model, tmp_path / "model.onnx", decode=tfseq.Greedy())
    first, *findings, page = str(raised.value).splitlines()
    assert first == "Translator can't generate yet; 3 things are to be changed:"
    assert len(findings) == 3
    assert all(finding.startswith("- Translator") for finding in findings)
    assert "docs/your_own_model.md" in page


def test_a_file_needs_no_configuration_and_a_model_without_weights_is_built(tmp_path):
    model = translator("a get_config that fails")
    assert not model.built
    assert export(model, tmp_path / "model.onnx", decode=tfseq.Greedy()).parity["passed"]
    assert export(RecurrentLanguageModel(5, 4), tmp_path / "forward.onnx").parity["passed"]


def test_what_a_model_computes_is_a_note_where_nothing_is_verified(tmp_path):
    model = translator("a softmax in the head", "an encode that reads padding")
    manifest = export(model, tmp_path / "model.onnx", decode=tfseq.Greedy(), verify=False)
    assert sum("; expected " in note for note in manifest.notes) == 2
    with pytest.raises(ExportError, match="vocabulary_size"):
        export(translator("no vocabulary_size"), tmp_path / "other.onnx", decode=tfseq.Greedy(), verify=False)


class Particular(Translator):
    """Reads sources that begin with 7 only."""

    def encode(self, inputs=None):
        if not bool(ops.all(inputs[:, 0] == 7)):
            raise ValueError("no 7")
        return super().encode(inputs)


def test_the_samples_are_tried_where_random_sources_cannot_be_read(tmp_path):
    with pytest.raises(ExportError, match="no 7"):
        export(Particular(), tmp_path / "model.onnx", decode=tfseq.Greedy())
    samples = [np.array([[7, 3, 4, 5, 0], [7, 1, 0, 0, 0]])]
    with pytest.raises(ExportError, match=r"Particular\.encode fails, so the model"):  # a bool of a tensor
        export(Particular(), tmp_path / "model.onnx", decode=tfseq.Greedy(), samples=samples)


class Counts(Generator):
    """Runs in Keras, and not in a graph: a number in Python follows from a tensor."""

    vocabulary_size = 5

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(5, 5)

    def initial_state(self, memory, batch_size):
        return ops.zeros((batch_size, 5))

    def step(self, tokens, state, memory=()):
        state = state + self.embedding(tokens)
        return state / float(ops.sum(ops.ones((2,)))), state


def test_a_step_that_cannot_be_traced_is_named(tmp_path):
    model = Counts()
    with pytest.raises(ExportError, match=r"Counts\.step"):
        export(model, tmp_path / "model.onnx", decode=tfseq.Greedy())
