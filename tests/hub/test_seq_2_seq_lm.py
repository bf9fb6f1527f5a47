"""KerasHub's Seq2SeqLM as Generators: the logits of its `call`, and the tokens of its own `generate` in files."""

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras

import tfseq
from benchmarks.harness.hub_tasks import ENCODER_DECODER, VOCABULARY, own_answers, seq_2_seq_lm
from benchmarks.harness.hub_vocabularies import byte_pairs, sentence_pieces
from tfseq.errors import ExportError
from tfseq.hub import adapted
from tfseq.hub.seq_2_seq_lm import EncoderDecoder, is_real

END = 1
LENGTHS = (6, 3, 8, 1)
NEW = 16


def test_padding_begins_behind_the_last_token_that_is_not_0():
    sources = np.array([[0, 3, 0, 4, 0, 0], [5, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 2]])
    expected = [[True] * 4 + [False] * 2, [True] + [False] * 5, [True] * 6]
    assert np.asarray(is_real(keras.ops.convert_to_tensor(sources))).tolist() == expected


@pytest.mark.parametrize("family", ["Bart", *(pytest.param(name, marks=pytest.mark.slow) for name in ("EdRec", "T5"))])
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


def bart(m):
    tokenizer = m.BartTokenizer(*byte_pairs(special=("<s>", "<pad>", "</s>", "<mask>")))
    return m.BartSeq2SeqLMPreprocessor(tokenizer, encoder_sequence_length=32, decoder_sequence_length=32)


def t5(m):
    pieces = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "pad_piece": "<pad>"}
    tokenizer = m.T5Tokenizer(proto=sentence_pieces(model_type="unigram", **pieces))
    return m.T5Seq2SeqLMPreprocessor(tokenizer, encoder_sequence_length=32, decoder_sequence_length=32)


AROUND = [("Bart", bart, "</s> <s>", "<s>"), ("T5", t5, "<pad>", "")]


@pytest.mark.parametrize(("family", "make", "begin", "before"), AROUND)
def test_what_stands_around_texts_comes_from_the_preprocessor(family, make, begin, before):
    preprocessor = make(keras_hub.models)
    tokenizer = preprocessor.tokenizer
    found = adapted(seq_2_seq_lm(family, preprocessor, vocabulary_size=tokenizer.vocabulary_size()), generates=True)
    assert [tokenizer.id_to_token(id_) for id_ in found.model.begin] == begin.split()
    assert [tokenizer.id_to_token(id_) for id_ in found.tokenizer.prepend] == before.split()
    assert [tokenizer.id_to_token(id_) for id_ in found.tokenizer.append] == ["</s>"]
    assert found.model.ends == (tokenizer.token_to_id("</s>"),)


def test_without_a_preprocessor_nothing_says_what_outputs_begin_with():
    with pytest.raises(ExportError, match=r"BartSeq2SeqLM.*what its outputs begin with"):
        adapted(seq_2_seq_lm("Bart"), generates=True)


@pytest.mark.slow
def test_beams_keep_their_pasts(tmp_path):
    task, begin = seq_2_seq_lm("T5"), ENCODER_DECODER["T5"][1]
    manifest = tfseq.export(EncoderDecoder(task, begin, (END,)), tmp_path / "t5.onnx", decode=tfseq.Beam(3))
    assert manifest.parity["passed"]
