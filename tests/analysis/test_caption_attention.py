"""Attention of captions over images: words of several tokens, the grid over the image, and its plot."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfseq.analysis.caption_attention import WordAttention, plot_word_attention, upsampled, word_attention
from tfseq.data import character_tokenizer, subword_tokenizer, word_tokenizer
from tfseq.errors import InputError
from tfseq.runtime import Generation

TEXT = "a red circle"


class File(SimpleNamespace):
    """Answers as a file does, with given tokens and weights, of each picture the same."""

    path = Path("model.onnx")

    def generate(self, pictures, max_length, details):
        tokens = self.tokenizer.encode(TEXT)
        return [Generation(TEXT, tokens, None, self.attention) for _ in pictures]


def random_weights(tokens, places=4):
    return np.random.default_rng(0).dirichlet(np.ones(places), tokens)


@pytest.mark.parametrize(
    "tokenizer",
    [
        word_tokenizer([TEXT], 20),
        subword_tokenizer([TEXT], 261),  # two merges
        character_tokenizer(TEXT, start_and_end=True),
    ],
    ids=["words", "subwords", "characters"],
)
def test_a_word_has_the_mean_of_its_tokens(tokenizer):
    ids = tokenizer.encode(TEXT)
    weights = random_weights(len(ids))
    first, second = word_attention(File(tokenizer=tokenizer, attention=weights), np.zeros((2, 4, 4, 3), "uint8"))
    assert first.words == second.words == ("a", "red", "circle")
    of_circle = len(ids) - len(tokenizer.encode("a red"))
    assert first.weights.shape == (3, 2, 2)
    np.testing.assert_allclose(first.weights[2].ravel(), weights[-of_circle:].mean(0))
    np.testing.assert_allclose(first.weights.sum((1, 2)), 1)


def test_files_without_attention_and_positions_that_are_no_square_grid_are_refused():
    tokenizer, picture = word_tokenizer([TEXT], 20), np.zeros((1, 4, 4, 3), "uint8")
    with pytest.raises(InputError, match="has no attention output"):
        word_attention(File(tokenizer=tokenizer, attention=None), picture)
    with pytest.raises(InputError, match="attends to 5 image positions; expected a square grid"):
        word_attention(File(tokenizer=tokenizer, attention=random_weights(3, 5)), picture)


def test_between_the_centers_of_the_grids_cells_weights_are_interpolated():
    rows = upsampled(np.array([[0.0], [1.0]]), 8, 3)
    expected = [0, 0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1, 1]  # the middles are the edges of pixels 2 and 6
    np.testing.assert_allclose(rows, np.repeat(np.array(expected)[:, None], 3, axis=1))
    weights = np.random.default_rng(0).random((4, 4))
    np.testing.assert_allclose(upsampled(weights, 4, 4), weights)
    np.testing.assert_allclose(upsampled(weights, 5, 7), upsampled(weights.T, 7, 5).T)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_has_a_column_per_word_and_one_for_the_image(tmp_path, channels):
    pytest.importorskip("matplotlib")
    pictures, widths = np.full((2, 6, 6, channels), 200, "uint8"), []
    for words in (2, 4):
        attention = [WordAttention(tuple("abcd"[:words]), np.full((words, 3, 3), 1 / 9))] * 2
        plot_word_attention(pictures, attention, tmp_path / "new" / "attention.png", "title")
        content = (tmp_path / "new" / "attention.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        widths.append(int.from_bytes(content[16:20]))
    assert widths[1] - widths[0] == 2 * 105  # pixels: 1.05 inches per column
