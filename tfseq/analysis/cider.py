"""CIDEr-D of captions: cosine similarity of TF-IDF weighted n-grams to the references."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tfseq.errors import InputError

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # words of difference in length that cost 1 - exp(-1/2) of the score
_WORD = re.compile(r"\w+(?:['’]\w+)*")

_Vector = list[dict[tuple[str, ...], float]]  # per length of n-gram


def cider(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr-D of a set of pictures (Vedantam et al., 2015), from 0 to 10: the mean of `cider_of_each`.

    Papers often show it times 100.

    Raises:
        InputError: as `cider_of_each` does.
    """
    return float(np.mean(cider_of_each(written, references)))


def cider_of_each(written: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each caption, from 0 to 10, as the public evaluation code of COCO computes it.

    A text is its n-grams of 1 to 4 words. Each counts for as often as it is there, times the logarithm of the pictures
    over those that have it in a reference (TF-IDF). Two texts compare by the cosine of their vectors, one cosine per
    length of n-gram, after what was written is cut to what the reference has; a difference of d words takes the factor
    exp(-d^2 / (2 * 6^2)); and 10 times the mean over the lengths and the references is the score. That is the variant
    D, which is what is reported as CIDEr; the first one neither cuts nor minds the length.

    Words are compared in small letters and without punctuation, and are not stemmed. A reference of fewer than four
    words has no n-gram of some lengths, so that even itself scores less than 10.

    Args:
        written: a caption of each picture.
        references: one or more captions of each.

    Raises:
        InputError: there is no text, not as many of both, or a picture without a reference.
    """
    if not written or len(written) != len(references):
        raise InputError(f"{len(written)} captions and {len(references)} lists of references; expected one for each.")
    if any(isinstance(texts, str) or not texts for texts in references):
        raise InputError("A picture has no list of references; expected a list of at least one text for each.")
    right = [[_counts(text) for text in texts] for texts in references]
    pictures_with = Counter(ngram for texts in right for ngram in set().union(*texts))
    rarity = {ngram: math.log(len(right) / pictures) for ngram, pictures in pictures_with.items()}
    unseen = math.log(len(right))

    def score(text: str, texts: Sequence[Counter]) -> float:
        ours = _counts(text)
        return 10 * float(np.mean([_similarity(ours, theirs, rarity, unseen) for theirs in texts]))

    return [score(text, texts) for text, texts in zip(written, right)]


def _similarity(ours: Counter, theirs: Counter, rarity: Mapping, unseen: float) -> float:
    a, b = _vector(ours, rarity, unseen), _vector(theirs, rarity, unseen)
    cosines = [_clipped_cosine(a[i], b[i]) for i in range(LONGEST)]
    difference = _words(ours) - _words(theirs)
    return sum(cosines) / LONGEST * math.exp(-(difference**2) / (2 * SIGMA**2))


def _clipped_cosine(ours: Mapping, theirs: Mapping) -> float:
    norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    product = sum(min(weight, theirs.get(ngram, 0.0)) * theirs.get(ngram, 0.0) for ngram, weight in ours.items())
    return product / norms if norms else 0.0


def _vector(counts: Counter, rarity: Mapping, unseen: float) -> _Vector:
    vector: _Vector = [{} for _ in range(LONGEST)]
    for ngram, count in counts.items():
        vector[len(ngram) - 1][ngram] = count * rarity.get(ngram, unseen)
    return vector


def _counts(text: str) -> Counter:
    """Counts of all n-grams of a text."""
    words = _WORD.findall(text.lower())
    return Counter(tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))


def _words(counts: Counter) -> int:
    return sum(count for ngram, count in counts.items() if len(ngram) == 1)
