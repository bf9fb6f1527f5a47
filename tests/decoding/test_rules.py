"""Rules on logits: minimum length, repetition penalty, forbidden tokens."""

import keras
import numpy as np
import pytest

from tests.decoding import by_hand
from tests.decoding.toys import TableTranslator, assert_same, decoded, sources
from tfseq.decoding import Beam, Context, Greedy, Sample
from tfseq.errors import InputError

EACH = [Greedy, lambda **rules: Sample(seed=3, **rules), lambda **rules: Beam(3, **rules)]


def ruled(strategy, logits, tokens=(0,), index=0, rules_state=None, end=2):
    """One row's logits, and the rules' state."""
    model = TableTranslator(len(logits), end=end)
    settings = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model).items()}
    state = strategy.first_rules_state(model, 1) if rules_state is None else rules_state
    logits = keras.ops.convert_to_tensor(np.array([logits], "float32"))
    tokens = keras.ops.convert_to_tensor(np.array(tokens, "int32"))
    context, state = strategy.apply_rules(Context(model, strategy, settings, logits, tokens, np.int32(index)), state)
    return np.asarray(context.logits)[0].tolist(), state


def test_no_rules_leave_logits_alone():
    assert ruled(Greedy(), [1.0, -2.0, 3.0])[0] == [1.0, -2.0, 3.0]


def test_repetition_divides_positive_and_multiplies_negative_logits_of_what_came():
    """Keskar et al., 2019: 3 / 1.5 = 2 and -2 * 1.5 = -3, of the tokens read so far, and once however often."""
    strategy = Greedy(repetition_penalty=1.5)
    logits, state = ruled(strategy, [3.0, -2.0, 3.0, -2.0], tokens=[0], end=None)
    assert logits == [2.0, -2.0, 3.0, -2.0]
    logits, state = ruled(strategy, [3.0, -2.0, 3.0, -2.0], tokens=[3], rules_state=state, end=None)
    assert logits == [2.0, -2.0, 3.0, -3.0]
    logits, state = ruled(strategy, [3.0, -2.0, 3.0, -2.0], tokens=[3], rules_state=state, end=None)
    assert logits == [2.0, -2.0, 3.0, -3.0]
    assert ruled(Greedy(repetition_penalty=0.5), [3.0, -2.0], tokens=[1], end=None)[0] == [3.0, -1.0]


def test_no_token_ends_a_sequence_before_its_least_length():
    strategy = Greedy(min_length=2)
    assert [ruled(strategy, [1.0, 2.0, 3.0], index=i)[0][2] for i in (-1, 0, 1, 2, 3)] == [-np.inf] * 3 + [3.0] * 2


def test_forbidden_tokens_have_no_chance():
    assert ruled(Greedy(forbidden=(0, 3)), [1.0, 2.0, 3.0, 4.0])[0] == [-np.inf, 2.0, 3.0, -np.inf]
    assert ruled(Greedy(forbidden=(0,)), [1.0, 2.0], end=None)[0] == [-np.inf, 2.0]


@pytest.mark.parametrize("strategy", EACH)
@pytest.mark.parametrize("least", [0, 1, 4, 9])
def test_sequences_are_as_long_as_min_length(strategy, least):
    lengths = np.asarray(decoded(TableTranslator(4), strategy(min_length=least), source=sources(9), max_length=9)[1])
    assert least <= lengths.min() <= lengths.max() <= 9
    assert lengths.min() < 9 or least == 9


@pytest.mark.parametrize("strategy", EACH)
def test_forbidden_tokens_do_not_come(strategy):
    rules = strategy(forbidden=(0, 3, 4), min_length=3)
    tokens, lengths, scores, _ = decoded(TableTranslator(7), rules, source=sources(9), max_length=12)
    new = np.asarray(tokens)[np.arange(tokens.shape[1]) < np.asarray(lengths)[:, None]]
    assert len(new) >= 27
    assert set(new.tolist()) <= {1, 5, 6}
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("seed", range(3))
def test_all_rules_together_are_those_of_plain_lists(seed):
    model, source = TableTranslator(8, seed), sources(5, seed=seed)
    values = {"min_length": 3, "repetition_penalty": 1.6, "forbidden": (4,)}
    rules = by_hand.Rules(2, **values)
    greedy = [by_hand.greedy(model.logits_of(row), [1], 10, rules) for row in source]
    assert_same(decoded(model, Greedy(**values), source=source, max_length=10), greedy)
    sampled = [
        by_hand.sample(model.logits_of(row), [1], 10, rules, i, 0.8, 5, 0.9, seed) for i, row in enumerate(source)
    ]
    assert_same(decoded(model, Sample(0.8, 5, 0.9, seed, **values), source=source, max_length=10), sampled)
    searched = [by_hand.beam(model.logits_of(row), [1], 10, rules, 4, 0.8) for row in source]
    assert_same(decoded(model, Beam(4, 0.8, **values), source=source, max_length=10), searched)


@pytest.mark.parametrize(
    ("strategy", "end", "names"),
    [
        (Greedy(), None, []),
        (Greedy(repetition_penalty=1.2), 2, ["min_length", "repetition_penalty"]),
        (Sample(), 2, ["min_length", "temperature", "top_k", "top_p", "seed"]),
        (Beam(2, repetition_penalty=2.0), None, ["length_penalty", "repetition_penalty"]),
    ],
)
def test_run_time_settings_are_those_that_can_matter(strategy, end, names):
    model = TableTranslator(5, end=end)
    assert list(strategy.dtypes(model)) == names
    assert set(names) <= strategy.settings.keys()


@pytest.mark.parametrize("strategy", EACH)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_length": -1}, "min_length is -1; expected an integer of at least 0"),
        ({"min_length": True}, "min_length is True"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0; expected a number above 0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"forbidden": (1, -1)}, "a forbidden token is -1; expected an integer of at least 0"),
        ({"forbidden": "ab"}, "a forbidden token is 'a'"),
        ({"forbidden": 1.5}, "a forbidden token is 1.5"),
    ],
)
def test_rules_that_cannot_be_are_refused(strategy, wrong, message):
    with pytest.raises(InputError, match=message):
        strategy(**wrong)


def test_forbidden_tokens_are_a_set():
    assert Greedy(forbidden=[3, 1, np.int64(3)]) == Greedy(forbidden=(1, 3))
    assert Greedy(forbidden=3).forbidden == (3,)
