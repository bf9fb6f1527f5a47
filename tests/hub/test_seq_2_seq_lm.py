"""KerasHub's Seq2SeqLM as Generators: the logits of its `call`, and the tokens of its own `generate` in files."""

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras

import tfseq
from benchmarks.harness.hub_tasks import ENCODER_DECODER, VOCABULARY, own_answers, seq_2_seq_lm
from tfseq.hub.seq_2_seq_lm import EncoderDecoder, is_real

END = 1
LENGTHS = (6, 3, 8, 1)
NEW = 16


def test_padding_begins_behind_the_last_token_that_is_not_0():
    sources = np.array([[0, 3, 0, 4, 0, 0], [5, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2]])
    expected = [[True] * 4 + [False] * 2, [True] + [False] * 5, [True] * 6]
    assert np.asarray(is_real(keras.ops.convert_to_tensor(sources))).tolist() == expected


@pytest.mark.parametrize("family", ["Bart", pytest.param("T5", marks=pytest.mark.slow)])
def test_a_file_writes_what_keras_hub_writes(family, tmp_path):
    task, begin = seq_2_seq_lm(family), ENCODER_DECODER[family][1]
    tfseq.export(EncoderDecoder(task, begin, (END,)), tmp_path / "translator.onnx", decode=tfseq.Greedy())
    random = np.random.default_rng(1)
    sources = random.integers(2, VOCABULARY, (len(LENGTHS), max(LENGTHS))).astype("int32")
    sources *= np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    given = {"source": sources, "max_length": np.int32(NEW), "min_length": np.int32(0)}
    found = tfseq.runtime.load(tmp_path / "translator.onnx").run(given)
    expected = own_answers(task, sources, begin, NEW, END)
    assert len(np.unique(expected)) > len(LENGTHS)
    for row, length, theirs in zip(found["tokens"], found["lengths"], expected):
        ends = np.flatnonzero(theirs == END)
        assert length == (ends[0] if len(ends) else NEW)
        assert row[:length].tolist() == theirs[:length].tolist()


@pytest.mark.slow
def test_beams_keep_their_pasts(tmp_path):
    task, begin = seq_2_seq_lm("T5"), ENCODER_DECODER["T5"][1]
    manifest = tfseq.export(EncoderDecoder(task, begin, (END,)), tmp_path / "t5.onnx", decode=tfseq.Beam(3))
    assert manifest.parity["passed"]
