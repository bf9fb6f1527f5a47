"""Random inputs: their range, padding and seed."""

import numpy as np
import pytest

from tfseq.exporting.signatures.random_inputs import draw, sweep
from tfseq.exporting.signatures.vocabularies import Vocabulary
from tfseq.runtime.manifest import TensorSpec

MASK = TensorSpec("mask", "bool", ("batch", "time"))
WORDS = TensorSpec("words", "int32", ("batch", "time"))
KIND = TensorSpec("kind", "int32", ("batch",))
SOUND = TensorSpec("sound", "float32", ("batch", "time", 3))


def is_right_padded(mask):
    return bool((np.diff(mask.astype(int), axis=1) <= 0).all() and mask[:, 0].all())


def test_masks_are_padded_on_the_right_or_whole_or_have_holes_at_every_length():
    masks = {}
    for case in sweep([MASK], None):
        mask = case["mask"]
        kind = "whole" if mask.all() else "right" if is_right_padded(mask) else "holes"
        masks.setdefault(mask.shape[1], set()).add(kind)
    assert masks[17] == masks[64] == {"whole", "right", "holes"}


def test_token_ids_stay_below_their_vocabulary_size_and_0_pads_them():
    cases = list(sweep([WORDS, KIND], {"words": 500, "kind": 3}))
    assert max(case["words"].max() for case in cases) in range(400, 500)
    assert {int(x) for case in cases for x in case["kind"]} == {0, 1, 2}
    padded = [case["words"] for case in cases if case["words"].shape[1] == 64 and is_right_padded(case["words"] > 0)]
    assert any((words == 0).any() for words in padded)


def test_integers_that_choose_nothing_are_small_and_often_0_or_1():
    highest = [case["kind"].max() for case in sweep([KIND], {})]
    assert max(highest) > 1
    assert sum(high <= 1 for high in highest) >= len(highest) / 2


def test_sequences_of_numbers_end_in_zeros_in_some_cases():
    padded = [not case["sound"].any(-1).all() for case in sweep([SOUND], None)]
    assert any(padded)
    assert not all(padded)


@pytest.mark.parametrize("spec", [MASK, WORDS, KIND, SOUND])
def test_a_seed_decides(spec):
    first, again, other = (draw([spec], {"words": 9}, 4, 20, seed)[spec.name] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert first.dtype == spec.dtype
    assert not np.array_equal(first, other)


COLOUR = TensorSpec("colour", "string", ("batch",))
KNOWN = {"colour": Vocabulary(np.array(["red", "blue"], object)), "kind": Vocabulary(np.array([10**9, -5]))}


def test_what_is_looked_up_is_known_and_with_even_seeds_not_always():
    for spec, keys in ((COLOUR, {"red", "blue"}), (KIND, {10**9, -5})):
        odd, even = (set(draw([spec], None, 50, 1, seed, KNOWN)[spec.name].tolist()) for seed in (1, 2))
        assert odd == keys
        assert even > keys
        closed = {spec.name: Vocabulary(KNOWN[spec.name].keys, closed=True)}
        assert set(draw([spec], None, 50, 1, 2, closed)[spec.name].tolist()) == keys


def test_strings_that_no_vocabulary_is_known_of_are_words_and_other_text():
    found = draw([COLOUR], None, 200, 1)["colour"].tolist()
    assert {"", "a", "two words", "東京"} < set(found)


def test_texts_have_known_words_among_others_and_only_the_first_has_to_have_one():
    vocabulary = Vocabulary(np.array(["red", "blue"], object), of_texts=True)
    texts = [draw([COLOUR], None, 30, 1, seed, {"colour": vocabulary})["colour"].tolist() for seed in range(20)]
    assert all(first.split() for first, *_ in texts)
    assert any(not text.split() for _, *others in texts for text in others)
    words = {word for row in texts for text in row for word in text.split()}
    assert {"red", "blue", "Red"} < words
    assert any(not word.isascii() for word in words)
