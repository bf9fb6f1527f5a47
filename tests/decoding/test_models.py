"""Every family of models with every decoding strategy, against reference decoding by `call` on the whole sequence."""

import keras
import numpy as np
import pytest

from tests.decoding import by_hand
from tests.decoding.toys import assert_same, decoded, logits_by_source, logits_of_language_model, prompts, sources
from tfseq.decoding import Beam, Greedy, Sample, generate
from tfseq.errors import InputError
from tfseq.models import AttentionSeq2Seq, StateSpaceLanguageModel, Transformer, TransformerLanguageModel

VOCABULARY = 9
RULES = by_hand.Rules(end=2, min_length=2, repetition_penalty=1.3)
SHARED = {"min_length": 2, "repetition_penalty": 1.3}


@pytest.fixture(autouse=True)
def same_weights():
    keras.utils.set_random_seed(4)  # before a model is made: its initializers draw their seeds then


def with_random_weights(model):
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:  # so that logits differ
        weight.assign(np.asarray(weight) + random.normal(size=weight.shape, scale=0.4))
    return model


def assert_decoded_as_by_hand(model, inputs, rows, max_length):
    """`rows`: of each row its logits as a function of what was read, and what it begins with."""
    greedy = [by_hand.greedy(*row, max_length, RULES) for row in rows]
    assert_same(decoded(model, Greedy(**SHARED), max_length=max_length, **inputs), greedy)
    sampled = [by_hand.sample(*row, max_length, RULES, i, top_p=0.9, seed=5) for i, row in enumerate(rows)]
    assert_same(decoded(model, Sample(top_p=0.9, seed=5, **SHARED), max_length=max_length, **inputs), sampled)
    searched = [by_hand.beam(*row, max_length, RULES, 3, 0.7) for row in rows]
    assert_same(decoded(model, Beam(3, 0.7, **SHARED), max_length=max_length, **inputs), searched)
    assert len({len(new) for new, *_ in greedy + sampled + searched}) > 1


@pytest.mark.parametrize(
    "model",
    [
        lambda: TransformerLanguageModel(VOCABULARY, 8, heads=2, depth=2, end=2),
        lambda: StateSpaceLanguageModel(VOCABULARY, 8, depth=2, states=3, end=2),
    ],
)
def test_a_language_model(model):
    model = with_random_weights(model())
    prompt, lengths = prompts(VOCABULARY)
    logits_of = logits_of_language_model(model)
    rows = [(logits_of, row[:length].tolist()) for row, length in zip(prompt, lengths)]
    assert_decoded_as_by_hand(model, {"prompt": prompt, "prompt_length": lengths}, rows, 12)


@pytest.mark.parametrize(
    "model",
    [
        lambda: Transformer(VOCABULARY, units=8, heads=2, hidden=16, depth=1, decoder_depth=2),
        lambda: AttentionSeq2Seq(VOCABULARY, units=6, cell="lstm", depth=2),
        lambda: AttentionSeq2Seq(VOCABULARY, units=6, cell="gru", alignment="dot"),
    ],
)
def test_an_encoder_decoder(model):
    model = with_random_weights(model())
    source = sources(4)
    logits_of = logits_by_source(model)
    assert_decoded_as_by_hand(model, {"source": source}, [(logits_of(row), [1]) for row in source], 6)


def test_sequences_have_as_many_tokens_as_there_are_learned_positions():
    """The last token is written and not read."""
    model = with_random_weights(
        TransformerLanguageModel(VOCABULARY, units=4, heads=2, depth=1, positions="learned", max_positions=6)
    )
    assert generate(model, [[1, 2, 3]], max_length=4).tokens.shape == (1, 4)
    with pytest.raises(InputError, match=r"max_length is 5 after 3 tokens; .* at most .*room for 4"):
        generate(model, [[1, 2, 3]], max_length=5)
    with pytest.raises(InputError, match=r"prompt has 7 tokens; .* reads 6 at most"):
        generate(model, [[1] * 7], max_length=1)
    assert TransformerLanguageModel(VOCABULARY, units=4, heads=2, positions="sinusoidal").max_positions is None


def test_a_translator_reads_as_many_tokens_as_there_are_learned_positions():
    translator = Transformer(VOCABULARY, units=4, heads=2, hidden=8, depth=1, positions="learned", max_positions=3)
    model = with_random_weights(translator)
    assert generate(model, source=[[3, 4, 0]], max_length=3).tokens.shape[1] <= 3
    with pytest.raises(InputError, match=r"source has 4 tokens; .* reads 3 at most"):
        generate(model, source=[[3, 4, 5, 6]], max_length=1)
    with pytest.raises(InputError, match=r"max_length is 4 after 1 tokens; .*room for 3"):
        generate(model, source=[[3]], max_length=4)
