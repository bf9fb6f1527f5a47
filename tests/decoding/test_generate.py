"""`generate` and `decode_step` against reference decoding; batches, lengths, arguments, and JAX."""

import os

import keras
import numpy as np
import pytest

from tests.decoding import by_hand
from tests.decoding.toys import (
    TableTranslator,
    assert_same,
    decoded,
    language_model,
    logits_of_language_model,
    prompts,
    sources,
)
from tfseq.decoding import Beam, Generated, Greedy, Sample, decode_step, generate
from tfseq.errors import InputError

STRATEGIES = [Greedy(), Sample(seed=4), Sample(temperature=0.7, top_k=6, top_p=0.9, seed=4), Beam(3)]


@pytest.mark.parametrize(
    ("cell", "settings"),
    [
        ("rnn", {"temperature": 0.0}),
        ("irnn", {}),
        ("lstm", {"temperature": 0.7, "top_k": 3}),
        ("gru", {"temperature": 1.3, "top_p": 0.8}),
        ("gru", {"temperature": 0.9, "top_k": 6, "top_p": 0.7}),
    ],
)
@pytest.mark.parametrize("end", [None, 3])
def test_samples_are_those_of_feeding_the_whole_sequence_again(cell, settings, end):
    model = language_model(cell, end=end, embedding_dim=5, initial_state="learned", depth=2)
    prompt, lengths = prompts()
    generated = decoded(model, Sample(**settings, seed=9), prompt=prompt, prompt_length=lengths, max_length=6)
    logits_of, rules = logits_of_language_model(model), by_hand.Rules(end)
    expected = [
        by_hand.sample(logits_of, row[:length].tolist(), 6, rules, index, seed=9, **settings)
        for index, (row, length) in enumerate(zip(prompt, lengths))
    ]
    assert_same(generated, expected)


@pytest.mark.parametrize("end", [None, 3])
def test_greedy_takes_the_most_likely_of_feeding_the_whole_sequence_again(end):
    model = language_model("lstm", end=end)
    prompt, lengths = prompts()
    logits_of, rules = logits_of_language_model(model), by_hand.Rules(end)
    expected = [by_hand.greedy(logits_of, row[:length].tolist(), 8, rules) for row, length in zip(prompt, lengths)]
    assert_same(generate(model, prompt, lengths, max_length=8), expected)


@pytest.mark.parametrize("max_length", [1, 3, 15])
@pytest.mark.parametrize("seed", range(4))
def test_an_encoder_decoder_begins_with_start_and_stops_at_end(seed, max_length):
    model, source, rules = TableTranslator(7, seed), sources(6, seed=seed), by_hand.Rules(2)
    expected = [by_hand.greedy(model.logits_of(row), [1], max_length, rules) for row in source]
    assert_same(decoded(model, Greedy(), source=source, max_length=max_length), expected)
    settings = {"temperature": 0.8, "top_p": 0.9, "seed": seed}
    expected = [
        by_hand.sample(model.logits_of(row), [1], max_length, rules, i, **settings) for i, row in enumerate(source)
    ]
    assert_same(decoded(model, Sample(**settings), source=source, max_length=max_length), expected)


@pytest.mark.parametrize("seed", range(3))
def test_several_tokens_may_end_a_sequence(seed):
    model, source, rules = TableTranslator(8, seed, end=(2, 5)), sources(6, seed=seed), by_hand.Rules((2, 5), 1)
    rows = [(model.logits_of(row), [1]) for row in source]
    greedy = [by_hand.greedy(*row, 9, rules) for row in rows]
    assert_same(decoded(model, Greedy(min_length=1), source=source, max_length=9), greedy)
    sampled = [by_hand.sample(*row, 9, rules, i, top_p=0.9, seed=seed) for i, row in enumerate(rows)]
    assert_same(decoded(model, Sample(min_length=1, top_p=0.9, seed=seed), source=source, max_length=9), sampled)
    searched = [by_hand.beam(*row, 9, rules, 3, 0.7) for row in rows]
    assert_same(decoded(model, Beam(3, 0.7, min_length=1), source=source, max_length=9), searched)
    assert len({len(new) for new, *_ in greedy + sampled + searched}) > 2


@pytest.mark.parametrize("strategy", [Greedy(), Sample(seed=1)])
def test_the_loop_runs_until_the_last_row_ends_and_no_longer(strategy):
    """Steps counted where nothing is compiled."""
    ran = set()
    for seed in range(5):
        model = TableTranslator(5, seed)
        _, lengths, *_ = decoded(model, strategy, source=sources(3), max_length=40)
        assert model.steps == min(int(np.max(lengths)) + 1, 40)
        ran.add(model.steps)
    assert min(ran) < 20


def test_attention_is_that_of_each_step():
    model, source = TableTranslator(6, 1), sources(5, time=4)
    tokens, lengths, _, attention = map(np.asarray, generate(model, source=source, max_length=9, return_attention=True))
    assert attention.shape == (*tokens.shape, 4)
    for row, length in enumerate(lengths):
        for i in range(tokens.shape[1]):
            state = model.state_by_hand(source[row], [1, *tokens[row, :i]])
            expected = source[row] + 0.001 * state if i < length else np.zeros(4)
            np.testing.assert_allclose(attention[row, i], expected, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_compiled_and_not_compiled_are_the_same(strategy):
    model, source = TableTranslator(7, 5), sources(4)
    compiled = generate(model, source=source, decode=strategy, max_length=11)
    plain = decoded(model, strategy, source=source, max_length=11)
    np.testing.assert_array_equal(compiled.tokens, plain.tokens)
    np.testing.assert_array_equal(compiled.lengths, plain.lengths)
    np.testing.assert_allclose(compiled.scores, plain.scores, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_row_depends_neither_on_padding_nor_on_other_rows(strategy):
    model = language_model(end=3)
    prompt, lengths = prompts()
    tokens = np.asarray(decoded(model, strategy, prompt=prompt, prompt_length=lengths, max_length=9).tokens)
    noise = np.where(np.arange(6) < lengths[:, None], prompt, 10)
    padded = np.pad(noise, ((0, 0), (0, 3)))
    otherwise = decoded(model, strategy, prompt=padded, prompt_length=lengths, max_length=9)
    np.testing.assert_array_equal(otherwise.tokens, tokens)
    alone = decoded(model, strategy, prompt=prompt[:1], prompt_length=lengths[:1], max_length=9)
    assert np.asarray(alone.tokens)[0].tolist() == tokens[0, : int(alone.lengths[0])].tolist()


@pytest.mark.parametrize("strategy", STRATEGIES[:3])
def test_fewer_new_tokens_are_a_prefix(strategy):
    model = language_model()
    prompt, lengths = prompts()
    tokens = np.asarray(generate(model, prompt, lengths, decode=strategy, max_length=9).tokens)
    for n in (0, 1, 5):
        fewer = generate(model, prompt, lengths, decode=strategy, max_length=n)
        np.testing.assert_array_equal(fewer.tokens, tokens[:, :n])
        assert np.asarray(fewer.lengths).tolist() == [n] * 4


def test_no_tokens_at_all_have_probability_one():
    generated = generate(TableTranslator(5), source=[[1]], max_length=0, return_attention=True)
    assert [np.asarray(x).shape for x in generated] == [(1, 0), (1,), (1,), (1, 0, 1)]
    assert float(generated.scores[0]) == 0.0


def test_generating_in_two_goes_is_generating_in_one():
    model = language_model("gru")
    prompt, _ = prompts()
    for strategy in STRATEGIES[:3]:
        at_once = generate(model, prompt, decode=strategy, max_length=8)
        first = generate(model, prompt, decode=strategy, max_length=3)
        longer = np.concatenate([prompt, first.tokens], 1)
        then = generate(model, longer, decode=strategy, max_length=5)
        np.testing.assert_array_equal(np.concatenate([first.tokens, then.tokens], 1), at_once.tokens)
        np.testing.assert_allclose(first.scores + then.scores, at_once.scores, atol=1e-5)


@pytest.mark.parametrize(
    "strategy",
    [
        Greedy(min_length=3, repetition_penalty=1.3),
        Sample(top_p=0.9, seed=2, min_length=5, repetition_penalty=1.3, forbidden=(4,)),
    ],
)
def test_single_steps_do_what_the_loop_does(strategy):
    model = language_model("gru", end=3)
    prompt, _ = prompts()
    whole = generate(model, prompt, decode=strategy, max_length=7)
    settings = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model).items()}
    state, rules_state = model.initial_state((), 4), strategy.first_rules_state(model, 4)
    chosen, log_probs, read = [], [], prompt
    for position in range(6 + 7 - 1):
        tokens = keras.ops.convert_to_tensor(read[:, position])
        tokens, log_prob, rules_state, state = decode_step(
            model, strategy, tokens, np.int32(position), np.int32(position - 5), rules_state, state, (), settings
        )
        if position >= 5:
            chosen.append(np.asarray(tokens))
            log_probs.append(np.asarray(log_prob))
            read = np.concatenate([read, chosen[-1][:, None]], axis=1)
    for row, length in enumerate(np.asarray(whole.lengths)):
        tokens = [int(step[row]) for step in chosen]
        assert [*tokens, 3].index(3) == length
        assert tokens[:length] == np.asarray(whole.tokens)[row, :length].tolist()
        score = sum(step[row] for step in log_probs[: length + 1])
        assert score == pytest.approx(float(whole.scores[row]), abs=1e-5)


def test_seeds_rows_and_positions_draw_differently():
    model = language_model()
    prompt = np.zeros((2, 3), "int32")
    one, other = (np.asarray(generate(model, prompt, decode=Sample(), max_length=40, seed=s).tokens) for s in (1, 2))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_training_on_changes_what_is_generated():
    model = language_model()
    prompt, _ = prompts()
    before = np.asarray(generate(model, prompt, max_length=20).tokens)
    for weight in model.weights:
        weight.assign(-np.asarray(weight))
    assert not np.array_equal(generate(model, prompt, max_length=20).tokens, before)


def test_a_model_that_was_never_called_is_built():
    model = type(language_model())(5, units=4)
    assert generate(model, [1, 2, 3], max_length=4).tokens.shape == (1, 4)  # one prompt needs no batch axis


def test_settings_given_by_name_replace_the_strategys():
    model = language_model()
    given = generate(
        model, [[1]], decode=Sample(temperature=2.0), max_length=9, temperature=0.5, repetition_penalty=1.5
    )
    expected = generate(model, [[1]], decode=Sample(temperature=0.5, repetition_penalty=1.5), max_length=9)
    assert isinstance(given, Generated)
    np.testing.assert_array_equal(given.tokens, expected.tokens)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": None}, "no prompt"),
        ({"prompt": [[1.5]]}, "integers"),
        ({"prompt": [[]]}, "one token at least"),
        ({"prompt": [[1, 2], [3]]}, "ragged"),
        ({"prompt": [[11]]}, "expected 0 to 10"),
        ({"prompt": [[-1]]}, "expected 0 to 10"),
        ({"prompt": [[1, 2]], "prompt_length": [0]}, "from 1 to 2"),
        ({"prompt": [[1, 2]], "prompt_length": [3]}, "from 1 to 2"),
        ({"prompt": [[1, 2]], "prompt_length": [1, 1]}, "expected 1 integers"),
        ({"max_length": -1}, "max_length is -1"),
        ({"max_length": 1.5}, "max_length is 1.5"),
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"decode": "beam"}, "decode is 'beam'; expected tfseq.Greedy"),
        ({"decode": Greedy(), "temperature": 0.5}, "Greedy has no setting 'temperature'; it has min_length"),
        ({"min_length": 2}, "no token ends"),
        ({"forbidden": [11]}, "forbidden holds 11; expected token ids from 0 to 10"),
        ({"forbidden": range(11)}, "leaves none of 11"),
        ({"source": [[1]]}, "is a language model and reads no source"),
        ({"return_attention": True}, "has no attention to return"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        generate(language_model(), **({"prompt": [[1]], "max_length": 2, "decode": Sample()} | arguments))


class TwoSources(TableTranslator):
    sources = (
        keras.InputSpec(shape=(None, None), dtype="int32", name="words"),
        keras.InputSpec(shape=(None, 3), dtype="float32", name="image"),
    )


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (TableTranslator, {}, r"no source; expected source: int32 \(batch, any\)"),
        (TableTranslator, {"prompt": [[1]]}, r"no source; expected source: int32 \(batch, any\)"),
        (TableTranslator, {"source": [[1, 2], [1]]}, "source is ragged; pad its rows"),
        (TableTranslator, {"source": [[1.5]]}, r"source is float64 of shape \(1, 1\); expected int32 \(batch, any\)"),
        (TableTranslator, {"source": [[[1]]]}, r"source is int64 of shape \(1, 1, 1\)"),
        (TableTranslator, {"source": {"text": [[1]]}}, "source holds text; expected source: int32"),
        (TableTranslator, {"source": [[1]], "forbidden": [0, 1, 3, 4]}, "leaves none of 5"),
        (
            TwoSources,
            {"source": [[1]]},
            r"one array; expected words: int32 \(batch, any\), image: ",
        ),
        (TwoSources, {"source": {"words": [[1]], "image": [[0.5, 1.0]]}}, r"image is float64 of shape \(1, 2\)"),
        (TwoSources, {"source": {"words": [[1]], "image": np.zeros((2, 3))}}, "differ in their number of rows"),
    ],
)
def test_sources_that_cannot_be_are_refused(model, arguments, message):
    with pytest.raises(InputError, match=message):
        generate(model(5), max_length=2, **arguments)


def test_padding_may_hold_anything():
    model = language_model()
    expected = generate(model, [[1, 0]], [1], max_length=5).tokens
    np.testing.assert_array_equal(generate(model, [[1, -1]], [1], max_length=5).tokens, expected)


ON_JAX = """
import sys
import keras, numpy as np
sys.path.insert(0, sys.argv[2])
from tests.decoding.test_generate import jax_cases
from tfseq.decoding.random import draw_bits
assert keras.backend.backend() == "jax"
model = keras.saving.load_model(f"{sys.argv[1]}/model.keras")
results = {name: array for result in jax_cases(model) for name, array in result.items()}
np.savez(f"{sys.argv[1]}/jax.npz", bits=draw_bits(np.arange(9, dtype="uint32")[:, None], 9), **results)
"""


def jax_cases(model):
    """What a language model and a toy encoder-decoder generate, as arrays by name."""
    prompt, lengths = prompts()
    model.end = 3
    for strategy in STRATEGIES[2:]:
        generated = generate(model, prompt, lengths, decode=strategy, max_length=12, min_length=2)
        yield {f"{strategy.NAME}_{name}": np.asarray(generated._asdict()[name]) for name in ("tokens", "scores")}
    toy = TableTranslator(7)
    generated = generate(toy, source=sources(5), decode=Beam(2), max_length=9, return_attention=True)
    yield {f"toy_{name}": np.asarray(array) for name, array in generated._asdict().items()}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares JAX with TensorFlow")
def test_jax_generates_the_same_tokens(tmp_path, on_jax):
    model = language_model("gru", embedding_dim=4)
    model.save(tmp_path / "model.keras")
    on_jax(ON_JAX, tmp_path, os.getcwd())
    result = np.load(tmp_path / "jax.npz")
    for expected in jax_cases(model):
        for name, array in expected.items():
            np.testing.assert_allclose(result[name], array, atol=1e-4, err_msg=name)
    bits = [[by_hand.lowbias32(key ^ by_hand.lowbias32(token)) for token in range(9)] for key in range(9)]
    np.testing.assert_array_equal(result["bits"], bits)
