"""CIDEr-D by hand, and against an independent implementation of the public evaluation code's steps."""

import itertools
import math

import numpy as np
import pytest

from tfseq.analysis.cider import cider, cider_of_each
from tfseq.errors import InputError


def test_by_hand():
    """Three pictures: what is in one of them weighs log 3, in two log 3/2; "the" is in all and weighs nothing."""
    references = [["the red cat"], ["the red dog"], ["the sun"]]
    red, cat = math.log(3 / 2), math.log(3)
    of_words = red * red / (math.hypot(red, cat) * math.hypot(red, math.log(3)))  # "sea" is in no reference: log 3
    both = math.log(3 / 2), math.log(3)  # "the red", and "red cat" or "red sea"
    of_pairs = both[0] ** 2 / (both[0] ** 2 + both[1] ** 2)
    expected = 10 * (of_words + of_pairs + 0 + 0) / 4
    scores = cider_of_each(["the red sea", "the red dog", "moon"], references)
    assert scores[0] == pytest.approx(expected)
    assert scores[1] == pytest.approx(7.5)  # three words hold n-grams of three lengths of four
    assert scores[2] == 0
    assert cider(["the red sea", "the red dog", "moon"], references) == pytest.approx(np.mean(scores))


def test_words_written_too_often_count_once_and_a_wrong_length_costs():
    references = [["a b c d"], ["e f g h"]]
    once, thrice = (cider_of_each([text, "e"], references)[0] for text in ("a b c d", "a a a b c d"))
    assert once == pytest.approx(10)
    weight = math.log(2)
    words = 4 * weight**2 / (math.sqrt(9 + 3) * weight * 2 * weight)
    pairs = 3 * weight**2 / (math.sqrt(4 + 1 + 1 + 1) * weight * math.sqrt(3) * weight)  # aa twice, ab, bc, cd
    triples = 2 / (math.sqrt(4) * math.sqrt(2))  # aaa, aab, abc, bcd
    fours = 1 / (math.sqrt(3) * math.sqrt(1))  # aaab, aabc, abcd
    assert thrice == pytest.approx(10 * np.mean([words, pairs, triples, fours]) * math.exp(-(2**2) / (2 * 6**2)))


def brute_force(written, references):
    """The score by dense vectors over every n-gram that is anywhere."""

    return sum(of_length(n, written, references) for n in (1, 2, 3, 4)) / 4 * 10


def of_length(n, written, references):
    def ngrams(text):
        words = text.split()
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    vocabulary = sorted({gram for text in [*written, *itertools.chain(*references)] for gram in ngrams(text)})
    having = np.array([sum(any(g in ngrams(t) for t in row) for row in references) for g in vocabulary])
    idf = np.log(len(references)) - np.log(np.maximum(1.0, having))

    def vector(text):
        return np.array([ngrams(text).count(gram) for gram in vocabulary], float) * idf

    total = np.zeros(len(written))
    for row, (text, right) in enumerate(zip(written, references)):
        for reference in right:
            ours, theirs = vector(text), vector(reference)
            norm = np.linalg.norm(ours) * np.linalg.norm(theirs)
            gap = len(text.split()) - len(reference.split())
            if norm:
                total[row] += np.minimum(ours, theirs) @ theirs / norm * np.exp(-(gap**2) / 72) / len(right)
    return total


def test_it_is_what_dense_vectors_give():
    draw = np.random.default_rng(0)

    def text():
        return " ".join(draw.choice(list("abcde"), draw.integers(1, 9)))

    written = [text() for _ in range(12)]
    references = [[text() for _ in range(draw.integers(1, 4))] for _ in range(12)]
    np.testing.assert_allclose(cider_of_each(written, references), brute_force(written, references), rtol=1e-10)


def test_case_and_punctuation_do_not_count():
    references = [["A dog, again."], ["two men"]]
    assert cider_of_each(["a dog again", "Two men!"], references) == pytest.approx([7.5, 5.0])


@pytest.mark.parametrize(
    ("written", "references", "message"),
    [
        (["a"], [["a"], ["b"]], "1 captions and 2 lists of references"),
        ([], [], "0 captions"),
        (["a"], [[]], "no list of references"),
        (["a"], ["a"], "no list of references"),
    ],
)
def test_captions_without_their_references_are_refused(written, references, message):
    with pytest.raises(InputError, match=message):
        cider(written, references)
