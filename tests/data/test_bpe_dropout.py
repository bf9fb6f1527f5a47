"""Random segmentations: the tokenizer's own without dropout, and always the same text."""

import numpy as np
import pytest

from tfseq.data import subword_tokenizer, word_tokenizer
from tfseq.data.bpe_dropout import BPEDropout
from tfseq.errors import DataError

TEXTS = ["the lower lands, the lowest land", "newer and wider: the newest of l'été", "slowly, slower, slowest 42"] * 3


@pytest.fixture(scope="module")
def tokenizer():
    return subword_tokenizer(TEXTS, 300)


def test_without_dropout_it_cuts_as_the_tokenizer_does(tokenizer):
    cut = BPEDropout(tokenizer, rate=0)
    for text in [*TEXTS, "unseen Wörter 🎻"]:
        assert cut.encode(text).tolist() == tokenizer.encode(text).tolist()


def test_any_segmentation_spells_the_text(tokenizer):
    for seed in range(5):
        cut = BPEDropout(tokenizer, rate=0.4, seed=seed)
        for text in TEXTS:
            assert tokenizer.decode(cut.encode(text)) == text


def test_words_are_cut_once_for_a_seed_and_anew_for_another(tokenizer):
    texts = " ".join(TEXTS)
    by_seed = [BPEDropout(tokenizer, 0.3, seed).encode(texts).tolist() for seed in (0, 0, 1)]
    assert by_seed[0] == by_seed[1] != by_seed[2]
    cut = BPEDropout(tokenizer, 0.3)
    assert cut.encode(" lowest").tolist() == cut.encode(" lowest").tolist()


def test_merges_are_left_out_as_often_as_the_rate_says():
    tokenizer = subword_tokenizer(["aa aa aa"] * 9, 260)  # the one merge: a a
    whole = tokenizer.encode("aa").tolist()
    assert len(whole) == 1
    kept = [len(BPEDropout(tokenizer, 0.3, seed).encode("aa")) == 1 for seed in range(400)]
    assert abs(np.mean(kept) - 0.7) < 0.09  # four standard deviations


def test_what_can_not_be_is_refused(tokenizer):
    with pytest.raises(DataError, match="rate is 1; expected a probability from 0 to below 1"):
        BPEDropout(tokenizer, rate=1)
    with pytest.raises(DataError, match="WordLevel; expected BPE"):
        BPEDropout(word_tokenizer(TEXTS, 40))
