"""Hidden units: recorded states, the search for a unit, its scores by hand, and the coloured text."""

from html.parser import HTMLParser

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tfseq.analysis.hidden_units import (
    TRACKED,
    Unit,
    activations,
    coloured_html,
    correlation,
    explain,
    find_unit,
    hidden_states,
    indentation,
    inside_brackets,
    inside_quotes,
    plot,
    position_in_line,
    roc_auc,
)
from tfseq.data import character_tokenizer
from tfseq.errors import InputError
from tfseq.models import RecurrentLanguageModel

UNITS = 3


def a_model(cell="lstm", depth=1, vocabulary=5, seed=0):
    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(vocabulary, units=UNITS, depth=depth, cell=cell, initial_state="random")
    model.build((None, None))
    return model


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_recorded_states_are_those_of_reading_the_text_at_once(cell):
    model = a_model(cell, depth=2)
    tokens = np.random.default_rng(0).integers(0, 5, 40)
    states = hidden_states(model, tokens, streams=1)
    assert list(states) == [f"layer {i} {part}" for i in (1, 2) for part in ("hc" if cell == "lstm" else "h")]
    x = keras.ops.one_hot(tokens[None], 5)
    for i, (layer, first) in enumerate(zip(model.recurrent, model.initial_state((), 1))):
        x, *last = layer(x, initial_state=first)
        np.testing.assert_allclose(states[f"layer {i + 1} h"], x[0], atol=1e-5)
    if cell == "lstm":
        np.testing.assert_allclose(states["layer 2 c"][-1], last[1][0], atol=1e-5)


def test_parts_that_are_read_side_by_side_make_the_same_states():
    """Each part begins 100 tokens early; a state this small has forgotten by then where it began."""
    model = a_model("gru")
    tokens = np.random.default_rng(1).integers(0, 5, 1203)
    together, apart = (hidden_states(model, tokens, streams)["layer 1 h"] for streams in (1, 4))
    assert apart.shape == (1203, UNITS)
    np.testing.assert_allclose(apart, together, atol=1e-4)


def test_what_is_no_recurrent_language_model_is_refused():
    with pytest.raises(InputError, match="no recurrent language model"):
        hidden_states(keras.Sequential([keras.layers.Dense(2)]), [1, 2])
    with pytest.raises(InputError, match="at least one token"):
        hidden_states(a_model(), [])


def test_labels_of_a_text_by_hand():
    text = 'a "b" (c)\n  d'
    assert "".join("x" if inside else "." for inside in inside_quotes(text)) == "..xx........."
    assert "".join("x" if inside else "." for inside in inside_brackets(text)) == "......xx....."
    assert list(position_in_line(text)) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3]
    assert list(indentation(text)) == [0] * 10 + [1, 2, 2]


def test_an_empty_line_ends_what_was_never_closed():
    assert "".join("x" if inside else "." for inside in inside_quotes('"a\nb\n\nc"d')) == "xxxx...x" + "x"
    assert not inside_brackets("(a\n\nb")[-1]


def test_roc_auc_and_correlation_are_those_of_scikit_learn_and_numpy():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    values = random.normal(size=(200, 4))
    values[:, 1] = np.round(values[:, 1])  # ties
    values[:, 2] = 0.5  # never moves
    labels = values[:, 0] + random.normal(size=200) > 0.3
    expected = [metrics.roc_auc_score(labels, column) for column in values.T]
    np.testing.assert_allclose(roc_auc(values, labels), expected)
    numbers = random.normal(size=200) + values[:, 3]
    expected = [0.0 if i == 2 else np.corrcoef(column, numbers)[0, 1] for i, column in enumerate(values.T)]
    np.testing.assert_allclose(correlation(values, numbers), expected, atol=1e-12)


def test_the_unit_is_chosen_on_one_part_of_the_text_and_scored_on_the_other():
    """Unit 1 is perfect at first and noise later; unit 2 is good all along, upside down."""
    random = np.random.default_rng(0)
    labels = random.random(2000) < 0.5
    states = random.normal(size=(2000, 4))
    states[:1000, 1] = labels[:1000]
    states[:, 2] -= 1.5 * labels
    unit = find_unit("x", {"layer 1 h": states}, labels)
    assert (unit.index, unit.sign, unit.found) == (1, 1, 1.0)
    assert unit.held_out == pytest.approx(0.5, abs=0.06)
    unit = find_unit("x", {"layer 1 h": states[:, [0, 3]], "layer 2 h": states[:, [2]]}, labels)
    assert (str(unit), unit.sign, unit.measure) == ("layer 2 h[0]", -1, "ROC AUC")
    assert unit.held_out == pytest.approx(1 - roc_auc(states[1000:, [2]], labels[1000:])[0])
    assert unit.held_out > 0.8
    numbers = find_unit("x", {"layer 1 h": states[:, [2]]}, labels.astype(int))
    assert numbers.measure == "correlation"
    assert numbers.held_out == pytest.approx(-np.corrcoef(states[1000:, 2], labels[1000:])[0, 1])


def test_a_text_without_what_is_tracked_is_refused():
    with pytest.raises(InputError, match="all the same"):
        find_unit("quotes", {"layer 1 h": np.zeros((10, 2))}, np.zeros(10, bool))


def test_colours_are_turned_so_that_orange_is_more_of_it():
    states = {"layer 1 h": np.array([[0.0], [0.0], [-1.0], [-1.0]])}
    up = activations(states, Unit("x", "layer 1 h", 0, 1, "ROC AUC", 1, 1))
    down = activations(states, Unit("x", "layer 1 h", 0, -1, "ROC AUC", 1, 1))
    np.testing.assert_allclose(up, [1, 1, -1, -1])
    np.testing.assert_allclose(down, -up)


class Page(HTMLParser):
    """Keeps each character of the coloured text with its colour."""

    def __init__(self):
        super().__init__()
        self.inside, self.colour, self.texts = False, None, []

    def handle_starttag(self, tag, attributes):
        if tag == "pre":
            self.inside = True
            self.texts.append([])
        self.colour = dict(attributes).get("style", "").removeprefix("background:") if tag == "span" else None

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "pre"

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += [(character, self.colour) for character in data]


@pytest.fixture(scope="module")
def explanation():
    text = 'if <a> & "b":\n    say("x & y")\n\n' * 40
    tokenizer = character_tokenizer(text)
    return explain(a_model(vocabulary=tokenizer.vocabulary_size), tokenizer, text, characters=120)


def test_the_page_shows_each_text_in_the_colours_of_its_unit(explanation):
    page = Page()
    page.feed(coloured_html(explanation))
    assert [t.unit.tracks for t in explanation.trackings] == list(TRACKED)
    for tracking, text in zip(explanation.trackings, page.texts):
        assert "".join(character for character, _ in text) == tracking.text
        for (_, colour), value in zip(text, tracking.activations):
            red, _, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
            if abs(value) > 0.05:
                assert (red > blue) == (value > 0)  # orange where it is high, blue where it is low


def test_the_explanation_says_the_scores_and_is_drawn(explanation, tmp_path):
    first = explanation.trackings[0]
    assert f"ROC AUC {first.unit.held_out:.2f}" in str(explanation).splitlines()[1]
    assert f"(best of untrained units: {first.untrained.held_out:.2f})" in str(explanation)
    plot(explanation, tmp_path / "units.png")
    assert (tmp_path / "units.png").read_bytes().startswith(b"\x89PNG")


def test_text_without_anything_to_track_and_other_tokenizers_are_refused():
    text = "x" * 100
    tokenizer = character_tokenizer(text)
    model = a_model(vocabulary=tokenizer.vocabulary_size)
    trackings = explain(model, tokenizer, text).trackings  # a position it has
    assert [t.unit.tracks for t in trackings] == ["position in the line"]
    with pytest.raises(InputError, match="nothing that is tracked"):
        explain(model, tokenizer, "\n" * 100)

    class Words:
        def encode(self, text):
            return text.split()

    with pytest.raises(InputError, match="one of each"):
        explain(model, Words(), "two words")
