"""BLEU against the formula of Papineni et al. (2002), and grouped by source length."""

import math

import pytest

from tfseq.analysis.bleu import bleu, bleu_by_length, plot_bleu_by_length
from tfseq.errors import InputError

pytest.importorskip("sacrebleu")


def test_bleu_is_the_geometric_mean_of_precisions_times_the_brevity_penalty():
    written, reference = "the cat sat on a mat", "The cat sat on the mat today"
    precisions = [5 / 6, 3 / 5, 2 / 4, 1 / 3]  # of 1 to 4 words, counted by hand
    expected = 100 * math.exp(1 - 7 / 6) * math.prod(precisions) ** (1 / 4)
    assert bleu([written], [reference]) == pytest.approx(expected)
    cased = 100 * math.exp(1 - 7 / 6) * (5 / 6 * 2 / 5 * 1 / 4 * 1 / 6) ** (1 / 4)  # no 4 words match: half of 1/3
    assert bleu([written], [reference], lowercase=False) == pytest.approx(cased)


def test_of_several_references_each_word_counts_in_that_which_has_it_most():
    """The seven words "the" of the paper's section 2.1, then the closest length of section 2.2."""
    written = ["the the the the the the the", "a b c d e"]
    references = [["The cat is on the mat", "There is a cat on the mat"], ["a b c d"]]
    precisions = [(2 + 4) / 12, (0 + 3) / 10, (0 + 2) / 8, (0 + 1) / 6]
    lengths = 7 + 4  # of the references that are closest to 7 and to 5 words
    assert lengths < 12  # of what was written: no penalty
    assert bleu(written, references) == pytest.approx(100 * math.prod(precisions) ** (1 / 4))


def test_texts_are_grouped_by_the_words_of_their_sources():
    sources = ["a b", "a b c", "a b c d e f", "a b c"]
    references = ["one two three four"] * 4
    written = ["one two three four", "five", "one two three four", "six"]
    groups = bleu_by_length(sources, written, references, edges=(2, 3, 4))
    assert [(g.shortest, g.longest, g.texts) for g in groups] == [(2, 2, 1), (3, 3, 2), (6, 6, 1)]
    assert [round(g.bleu) for g in groups] == [100, 0, 100]


def test_the_picture_is_written(tmp_path):
    pytest.importorskip("matplotlib")
    groups = bleu_by_length(["a", "b c"], ["x y z w"] * 2, ["x y z w"] * 2, edges=(1,))
    plot_bleu_by_length({"one": groups, "two": groups}, tmp_path / "bleu.png", "title")
    assert (tmp_path / "bleu.png").read_bytes()[:4] == b"\x89PNG"


def test_translations_without_their_references_are_refused():
    with pytest.raises(InputError, match="1 translations and 2 references"):
        bleu(["a"], ["a", "b"])
    with pytest.raises(InputError, match="0 translations"):
        bleu([], [])
    with pytest.raises(InputError, match="no reference; expected at least one"):
        bleu(["a", "b"], [["a"], []])
