"""Attention maps of exported files: subwords merged into words, labels of rows and columns, and the plot."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfseq.analysis.attention_maps import AttentionMap, attention_map, plot_attention
from tfseq.data import character_tokenizer, subword_tokenizer
from tfseq.errors import InputError
from tfseq.runtime import Generation

TEXTS = ["Two dogs running, outdoors.", "Deux chiens courent, là."]


class File(SimpleNamespace):
    """Answers as a file does, with given tokens and weights."""

    path = Path("model.onnx")

    def generate(self, text, max_length, details):
        return Generation(self.tokenizer.decode(self.tokens), self.tokens, None, self.attention)


def test_subwords_are_merged_into_words():
    tokenizer = subword_tokenizer(TEXTS, 262, append_end=True)  # three merges: words are mostly single bytes
    read = [*tokenizer.encode(TEXTS[0]), tokenizer.end]
    written = tokenizer.encode(TEXTS[1])
    weights = np.random.default_rng(0).dirichlet(np.ones(len(read)), len(written))
    found = attention_map(File(tokenizer=tokenizer, tokens=written, attention=weights), TEXTS[0])
    assert found.read == ("Two", "dogs", "running", ",", "outdoors", ".", "<end>")
    assert found.written == ("Deux", "chiens", "courent", ",", "là", ".")
    np.testing.assert_allclose(found.weights.sum(1), 1)
    two, deux = (len(tokenizer.encode(word)) for word in ("Two", "Deux"))
    np.testing.assert_allclose(found.weights[0, 0], weights[:deux, :two].sum(1).mean())


def test_an_apostrophe_belongs_to_the_word_it_shortens():
    text = "L'homme et l'eau."
    tokenizer = subword_tokenizer([text] * 3, 300, append_end=True)
    weights = np.ones((len(tokenizer.encode(text)), len(tokenizer.encode(text)) + 1))
    found = attention_map(File(tokenizer=tokenizer, tokens=tokenizer.encode(text), attention=weights), text)
    assert found.read == ("L'", "homme", "et", "l'", "eau", ".", "<end>")
    assert found.written == found.read[:-1]


def test_characters_stand_for_themselves_and_what_a_graph_adds_is_the_end():
    tokenizer = character_tokenizer("ab ", start_and_end=True)
    weights = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    found = attention_map(File(tokenizer=tokenizer, tokens=tokenizer.encode("ba"), attention=weights), "a b")
    assert (found.read, found.written) == (("a", "␣", "b", "<end>"), ("b", "a"))
    np.testing.assert_array_equal(found.weights, weights)


def test_a_file_without_attention_is_refused():
    tokenizer = character_tokenizer("ab", start_and_end=True)
    with pytest.raises(InputError, match="has no attention output; export the model with attention=True"):
        attention_map(File(tokenizer=tokenizer, tokens=tokenizer.encode("a"), attention=None), "ab")


def test_the_picture_has_a_row_per_word_written_and_a_column_per_word_read(tmp_path):
    pytest.importorskip("matplotlib")
    plot_attention(AttentionMap(("two", "dogs"), ("deux", "chiens"), np.eye(2)), tmp_path / "small.png")
    many = AttentionMap(tuple("abcdefgh"), tuple("stuvwx"), np.full((6, 8), 1 / 8))
    plot_attention(many, tmp_path / "large.png", "title")
    small, large = (int.from_bytes((tmp_path / name).read_bytes()[16:20]) for name in ("small.png", "large.png"))
    assert large - small == 6 * 27  # pixels of width: 0.27 inches per column
