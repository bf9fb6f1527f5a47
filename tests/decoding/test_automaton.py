"""Constrained decoding: automata against brute force over every text there is, with greedy, sampling and beams."""

import itertools
import random
import re

import numpy as np
import pytest

from tests.decoding import by_hand
from tests.decoding.toys import TableTranslator, assert_same, decoded, sources
from tfseq.decoding import Automaton, Beam, Greedy, NoRepeatNGram, Sample, automaton
from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import CharacterTokenizer

TEXTS = [None, None, None, "a", "b", "ab", "c"]  # of tokens 0 to 6: 1 starts and 2 ends
MOST = 5


def allowed_by(language, most):
    """What may follow on tokens so far, for a set of token sequences, END excluded: by trying them all."""
    whole = [word for word in language if len(word) < most]

    def allowed(new):
        n = len(new)
        ends = {2} if new in language else set()
        return ends | {word[n] for word in whole if len(word) > n and word[:n] == new}

    return allowed


def written_by(model, strategy, most, rows=6, seed=0):
    tokens, lengths, *_ = decoded(model, strategy, source=sources(rows, seed=seed), max_length=most)
    return [tuple(row[:n]) for row, n in zip(np.asarray(tokens).tolist(), np.asarray(lengths))]


def assert_decoded_as_by_hand(rule, language, most, seed, **others):
    model, source = TableTranslator(len(TEXTS), seed, scale=3.0), sources(4, seed=seed)
    rows = [(model.logits_of(row), [1]) for row in source]
    rules = by_hand.Rules(2, allowed=allowed_by(language, most), **others)
    given = {"rules": [rule], **others}
    greedy = [by_hand.greedy(*row, most, rules) for row in rows]
    assert {tuple(new) for new, _ in greedy} <= language
    assert_same(decoded(model, Greedy(**given), source=source, max_length=most), greedy)
    drawn = [by_hand.sample(*row, most, rules, i, seed=seed) for i, row in enumerate(rows)]
    assert_same(decoded(model, Sample(seed=seed, **given), source=source, max_length=most), drawn)
    searched = [by_hand.beam(*row, most, rules, 3, 0.8) for row in rows]
    assert_same(decoded(model, Beam(3, 0.8, **given), source=source, max_length=most), searched)


def random_pattern(draw, depth=3):
    kind = draw.choice("lllcbor*" if depth else "l")
    part = lambda: random_pattern(draw, depth - 1)  # noqa: E731
    match kind:
        case "l":
            return draw.choice(["a", "b", "c", ".", "[ab]", "[^b]", r"\w", "[a-b]"])
        case "c" | "r":
            return part() + part()
        case "b":
            return f"(?:{part()}|{part()})"
        case "o":
            return f"(?:{part()})?"
        case _:
            return f"(?:{part()}){draw.choice(['*', '+', '{1,2}', '{2}', '*?', '{0,3}'])}"


def language_of(pattern, most):
    """Every sequence of tokens shorter than `most` whose text matches."""
    tokens = [token for token, text in enumerate(TEXTS) if text]
    return {
        word
        for n in range(most)
        for word in itertools.product(tokens, repeat=n)
        if re.fullmatch(pattern, "".join(TEXTS[token] for token in word))
    }


@pytest.mark.parametrize("seed", range(4))
def test_a_random_pattern_is_kept_to_by_each_strategy(seed, monkeypatch):
    if seed % 2:
        monkeypatch.setattr(automaton, "DENSE", 0)  # one column for every kind of token
    draw = random.Random(seed)
    while not (language := language_of(pattern := random_pattern(draw), MOST)):
        pass
    assert_decoded_as_by_hand(Automaton.pattern(pattern, TEXTS), language, MOST, seed)


@pytest.mark.parametrize("seed", range(2))
def test_a_random_list_of_answers_is_kept_to_by_each_strategy(seed):
    draw = random.Random(seed)
    answers = {tuple(draw.choices(range(3, 7), k=draw.randint(1, 4))) for _ in range(6)}
    most = 1 + max(map(len, answers))
    assert_decoded_as_by_hand(Automaton.answers(answers, len(TEXTS)), answers, most, seed)
    some = min(answers, key=lambda answer: (len(answer), answer))
    without = {answer for answer in answers if set(answer) <= set(some)}
    forbidden = tuple({3, 4, 5, 6} - set(some))
    rule = Automaton.answers(answers, len(TEXTS))
    assert_decoded_as_by_hand(rule, without, most, seed, forbidden=forbidden, repetition_penalty=1.3)


@pytest.mark.parametrize("seed", range(30))
def test_a_pattern_is_what_python_takes_it_for(seed):
    """The automaton alone, walked by hand."""
    draw = random.Random(100 + seed)
    pattern = random_pattern(draw, 4)
    language = language_of(pattern, 6)
    try:
        rule = Automaton.pattern(pattern, TEXTS)
    except InputError as error:
        assert not language
        assert "accepts no text" in str(error)  # noqa: PT017
        return
    taken = set()
    for n in range(6):
        for word in itertools.product(range(3, 7), repeat=n):
            state = 0
            for token in word:
                column = rule.kinds[token]
                state = -1 if state < 0 or column < 0 else int(rule.next[state, column])
            taken |= {word} if state >= 0 and rule.accepting[state] else set()
    assert taken == language


def test_a_text_is_done_within_max_length_however_short():
    """a(bc)*c: 3 tokens and END at least, and then 2 more each."""
    model, rule = TableTranslator(len(TEXTS), 3), Automaton.pattern("a(?:bc)+c*", TEXTS)
    for most in (4, 5, 6, 9):
        for strategy in (Greedy(rules=rule), Sample(seed=most, rules=rule), Beam(3, rules=rule)):
            for word in written_by(model, strategy, most):
                assert len(word) < most
                assert re.fullmatch("a(?:bc)+c*", "".join(TEXTS[token] for token in word))
    for word in written_by(model, Sample(rules=rule), 2):  # ab, c and END are three: none fits but for its beginning
        assert word == (5, 6)


def test_it_stands_beside_rules_that_bar_all_that_it_allows():
    """A text of the automaton is written all the same."""
    model = TableTranslator(len(TEXTS), 5)
    pattern = Automaton.pattern("a{6}", TEXTS)
    for rules in ([NoRepeatNGram(1), pattern], [pattern, NoRepeatNGram(1)]):
        assert set(written_by(model, Greedy(rules=rules), 9)) == {(3,) * 6}
        assert set(written_by(model, Beam(2, rules=rules), 9)) == {(3,) * 6}


def test_answers_are_texts_of_a_tokenizer():
    tokenizer = CharacterTokenizer(["<unk>", "<start>", "<end>", *"yesno maybe"[:7]])
    rule = Automaton.answers(["yes", "no"], tokenizer)
    model = TableTranslator(tokenizer.vocabulary_size, 1)
    written = {tokenizer.decode(list(word)) for word in written_by(model, Sample(rules=rule), 9, rows=20)}
    assert written == {"yes", "no"}
    assert repr(rule) == "<Automaton of 6 states (one of yes, no)>"
    with pytest.raises(InputError, match="'quite' has what the tokenizer does not know: q"):
        Automaton.answers(["quite"], tokenizer)


def test_an_automaton_comes_back_from_json():
    rule = Automaton.pattern("a(?:b|ca)*", TEXTS)
    assert Automaton.from_json(rule.to_json()) == rule
    assert hash(Automaton.from_json(rule.to_json())) == hash(rule)
    for part in ("kinds", "next", "accepting"):
        for wrong in ("", "!", 7, rule.to_json()[part][:-4]):
            with pytest.raises(ArtefactError, match="automaton is damaged"):
                Automaton.from_json(rule.to_json() | {part: wrong})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Automaton.pattern("a(", TEXTS), "no regular expression"),
        (lambda: Automaton.pattern("(?i)a", TEXTS), "has flags"),
        (lambda: Automaton.pattern(r"(a)\1", TEXTS), "which no finite automaton can do"),
        (lambda: Automaton.pattern("a(?=b)b", TEXTS), "which no finite automaton can do"),
        (lambda: Automaton.pattern("d", TEXTS), "accepts no text"),
        (lambda: Automaton.answers([], 5), "accepts no text"),
        (lambda: Automaton.answers([[7]], 5), "token ids that are not from 0 to 4"),
        (lambda: Automaton.answers(["a"], 5), "give the tokenizer"),
        (lambda: Automaton.table([[1, 2]], [True]), "next goes from 1 to 2; expected -1 to 0"),
        (lambda: Automaton([0], [[0]], [True, False]), "expected"),
        (lambda: Greedy(min_length=2, rules=Automaton.pattern("a", TEXTS)), "beside a rule that says when"),
    ],
)
def test_automata_that_cannot_be_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("model", "strategy", "message"),
    [
        (lambda: TableTranslator(7, end=None), Greedy(), "no token ends TableTranslator's sequences: set"),
        (lambda: TableTranslator(6), Greedy(), "is of 7 tokens, and TableTranslator has 6"),
        (lambda: TableTranslator(7), Greedy(forbidden=(3,)), "no text without the forbidden tokens"),
    ],
)
def test_models_that_an_automaton_does_not_fit_are_refused(model, strategy, message):
    with pytest.raises(InputError, match=message):
        strategy.replaced(rules=(Automaton.pattern("a", TEXTS[:]),)).check(model())
