"""Encoder-decoders with prompts beside their sources, against reference decoding that begins with start and prompt."""

import keras
import numpy as np
import pytest

from tests.decoding import by_hand
from tests.decoding.toys import TableTranslator, assert_same, decoded, logits_by_source, sources
from tfseq.decoding import Beam, Greedy, Sample, generate
from tfseq.errors import InputError
from tfseq.models import AttentionSeq2Seq, Transformer

VOCABULARY = 9
RULES = by_hand.Rules(end=2, min_length=2, repetition_penalty=1.3, forbidden=(7,))
SHARED = {"min_length": 2, "repetition_penalty": 1.3, "forbidden": (7,)}
STRATEGIES = [Greedy(**SHARED), Sample(temperature=0.9, top_p=0.9, seed=5, **SHARED), Beam(3, 0.7, **SHARED)]


def forced(rows, seed=0, longest=5):
    """Random prompts of ragged lengths, none among them: (rows, longest) int32, and lengths."""
    random = np.random.default_rng(seed)
    lengths = random.integers(0, longest + 1, rows).astype("int32")
    lengths[0] = 0
    return random.integers(0, VOCABULARY, (rows, longest)).astype("int32"), lengths


def by_plain_lists(strategy, rows, max_length):
    """`rows`: of each row its logits as a function of what was read, and what it begins with."""
    match strategy:
        case Greedy():
            return [by_hand.greedy(*row, max_length, RULES) for row in rows]
        case Sample():
            return [by_hand.sample(*row, max_length, RULES, i, 0.9, top_p=0.9, seed=5) for i, row in enumerate(rows)]
        case Beam():
            return [by_hand.beam(*row, max_length, RULES, 3, 0.7) for row in rows]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_prompt_is_read_behind_the_start(strategy, seed):
    model, source = TableTranslator(VOCABULARY, seed), sources(6, seed=seed)
    prompt, lengths = forced(6, seed)
    rows = [(model.logits_of(row), [1, *prompt[i, : lengths[i]].tolist()]) for i, row in enumerate(source)]
    for max_length in (1, 7):
        expected = by_plain_lists(strategy, rows, max_length)
        inputs = {"source": source, "prompt": prompt, "prompt_length": lengths}
        assert_same(decoded(model, strategy, max_length=max_length, **inputs), expected)
    got = generate(model, prompt, lengths, source=source, decode=strategy, max_length=7)
    assert_same(got, expected)


class ReadsAtOnce(TableTranslator):
    """Reads a prompt in one call, which counts as one step."""

    def read(self, tokens, state, memory=()):
        steps = self.steps
        for i in range(tokens.shape[1]):
            logits, state = self.step(tokens[:, i], state, memory)
        self.steps = steps + 1
        return logits, state


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("shares_memory", [False, True])
def test_start_and_prompt_are_read_at_once_by_a_model_that_can(strategy, shares_memory):
    source, (prompt, _) = sources(4), forced(4)
    one, other = (kind(VOCABULARY, shares_memory=shares_memory) for kind in (ReadsAtOnce, TableTranslator))
    inputs = {"source": source, "prompt": prompt, "prompt_length": np.array([3, 5, 4, 3], "int32")}
    got, expected = (decoded(model, strategy, max_length=6, **inputs) for model in (one, other))
    for name in ("tokens", "lengths"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    np.testing.assert_allclose(got.scores, expected.scores, atol=1e-5)
    assert other.steps - one.steps == 3  # start and three tokens of each prompt


@pytest.mark.parametrize(
    "make",
    [
        lambda: Transformer(VOCABULARY, units=8, heads=2, hidden=16, depth=1, decoder_depth=2),
        lambda: AttentionSeq2Seq(VOCABULARY, units=6, cell="lstm", depth=2),
    ],
)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_models_go_on_from_a_prompt_as_teacher_forcing_does(make, strategy):
    keras.utils.set_random_seed(4)
    model = make()
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:  # so that logits differ
        weight.assign(np.asarray(weight) + random.normal(size=weight.shape, scale=0.4))
    source, (prompt, lengths) = sources(4), forced(4)
    logits_of = logits_by_source(model)
    rows = [(logits_of(row), [1, *prompt[i, : lengths[i]].tolist()]) for i, row in enumerate(source)]
    got = decoded(model, strategy, max_length=5, source=source, prompt=prompt, prompt_length=lengths)
    assert_same(got, by_plain_lists(strategy, rows, 5))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_empty_prompt_is_none(strategy):
    model, source = TableTranslator(VOCABULARY, 1), sources(5)
    expected = generate(model, source=source, decode=strategy, max_length=8)
    for prompt, lengths in (([], None), (np.zeros((5, 0), "int32"), None), ([[3, 4]] * 5, [0] * 5)):
        got = generate(model, prompt, lengths, source=source, decode=strategy, max_length=8)
        for wanted, found in zip(expected[:3], got[:3]):
            np.testing.assert_array_equal(found, wanted)


def test_one_prompt_is_that_of_every_source():
    model, source = TableTranslator(VOCABULARY), sources(4)
    got = generate(model, [3, 5], source=source, max_length=8)
    expected = generate(model, [[3, 5]] * 4, source=source, max_length=8)
    np.testing.assert_array_equal(got.tokens, expected.tokens)


def test_samples_go_on_behind_a_prompt_as_if_the_model_had_drawn_it():
    model, source = TableTranslator(VOCABULARY, 3, end=None), sources(4)
    at_once = np.asarray(generate(model, source=source, decode=Sample(seed=8), max_length=9).tokens)
    later = generate(model, at_once[:, :4], source=source, decode=Sample(seed=8), max_length=5)
    np.testing.assert_array_equal(later.tokens, at_once[:, 4:])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_attention_is_that_of_the_new_tokens(strategy):
    model, source = TableTranslator(VOCABULARY, 1), sources(5, time=4)
    prompt, lengths = forced(5)
    given = {"source": source, "decode": strategy, "max_length": 6, "return_attention": True}
    tokens, new, _, attention = map(np.asarray, generate(model, prompt, lengths, **given))
    assert attention.shape == (*tokens.shape, 4)
    for row, begun in enumerate(lengths):
        for i in range(new[row]):
            read = [1, *prompt[row, :begun], *tokens[row, :i]]
            state = model.state_by_hand(source[row], read)
            np.testing.assert_allclose(attention[row, i], source[row] + 0.001 * state, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_stands_behind_a_prompt_does_not_matter(strategy):
    model, source, (prompt, lengths) = TableTranslator(VOCABULARY, 2), sources(5), forced(5, 2)
    expected = generate(model, prompt, lengths, source=source, decode=strategy, max_length=6)
    padded = np.pad(np.where(np.arange(5) < lengths[:, None], prompt, 8), ((0, 0), (0, 2)))
    got = generate(model, padded, lengths, source=source, decode=strategy, max_length=6)
    np.testing.assert_array_equal(got.tokens, expected.tokens)


def test_a_prompt_takes_positions():
    model = Transformer(VOCABULARY, units=4, heads=2, hidden=8, depth=1, positions="learned", max_positions=5)
    model.build()
    assert generate(model, [3, 4], source=[[3, 4, 0]], max_length=3).tokens.shape[1] <= 3
    with pytest.raises(InputError, match=r"max_length is 4 after 3 tokens; .*room for 3"):
        generate(model, [3, 4], source=[[3]], max_length=4)
    assert generate(model, [[3, 4]], [0], source=[[3]], max_length=5).tokens.shape[1] <= 5


class SourcePrompt(TableTranslator):
    sources = (keras.InputSpec(shape=(None, None), dtype="int32", name="prompt"),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": [[3], [4]]}, "prompt has 2 rows beside 1 sources; give one for each, or one alone"),
        ({"prompt": [[3]], "prompt_length": [2]}, "expected values from 0 to 1"),
        ({"prompt": [[3]], "prompt_length": [-1]}, "expected values from 0 to 1"),
        ({"prompt": [[VOCABULARY]]}, "token ids from 9 to 9; expected 0 to 8"),
        ({"prompt": [[0.5]]}, r"prompt is float64 of shape \(1, 1\); expected integers \(batch, time\)\."),
        ({"prompt": [[[3]]]}, r"shape \(1, 1, 1\)"),
        ({"prompt_length": [1]}, "a prompt_length and no prompt"),
    ],
)
def test_prompts_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        generate(TableTranslator(VOCABULARY), source=[[3, 4]], max_length=2, **arguments)


def test_a_source_that_is_called_prompt_leaves_no_name_for_one():
    model = SourcePrompt(VOCABULARY)
    assert generate(model, source={"prompt": [[3, 4]]}, max_length=2).tokens.shape[0] == 1
    with pytest.raises(InputError, match="has a source named 'prompt'; rename it"):
        generate(model, [3], source={"prompt": [[3, 4]]}, max_length=2)
