"""Attention maps of an exported encoder-decoder: attention weights over the source, per word, and their heat map."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseq.errors import InputError
from tfseq.runtime import Model, SubwordTokenizer, Tokenizer, TokenizerPair
from tfseq.runtime.atomic_write import atomic_write
from tfseq.runtime.tokenizer_base import REPLACEMENT

_SPACE = "\N{OPEN BOX}"  # a space that can be seen
_END = "<end>"


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Attention weights of one generated text over its source.

    Attributes:
        read: the label of each column: a word, character or other token of the source.
        written: the label of each row, of the generated text.
        weights: (written, read); every row sums to 1.
    """

    read: tuple[str, ...]
    written: tuple[str, ...]
    weights: np.ndarray


def attention_map(file: Model, text: str, max_length: int | None = None) -> AttentionMap:
    """Generates from a text, and returns the attention weights between words.

    Subwords are merged into words: the columns of a source word's subwords are summed, the rows of a generated word's
    are averaged.

    Args:
        file: of an encoder-decoder of text, exported with attention=True.
        text: the source.
        max_length: maximum number of new tokens.

    Raises:
        InputError: the file has no attention output, or reads no text.
    """
    result = file.generate(text, max_length, details=True)
    if result.attention is None:
        raise InputError(f"{file.path.name} has no attention output; export the model with attention=True.")
    tokenizer = file.tokenizer
    assert tokenizer is not None  # it has read the text
    reader = writer = tokenizer
    if isinstance(tokenizer, TokenizerPair):
        reader, writer = tokenizer.source, tokenizer.target
    columns = _labels(reader, [*reader.encode(text), *tokenizer.append])
    columns += [(_END, [i]) for i in range(_count(columns), result.attention.shape[1])]  # tokens that the graph adds
    rows = _labels(writer, result.tokens)
    weights = np.stack([result.attention[:, places].sum(1) for _, places in columns], axis=1)
    weights = np.array([weights[places].mean(0) for _, places in rows]).reshape(len(rows), len(columns))
    return AttentionMap(tuple(word for word, _ in columns), tuple(word for word, _ in rows), weights)


def plot_attention(attention: AttentionMap, path: Path, title: str = "") -> None:
    """Writes a heat map as PNG: a row for each generated word, a column for each source word; dark is attention."""
    from matplotlib.figure import Figure

    rows, columns = attention.weights.shape
    figure = Figure(figsize=(1.5 + 0.27 * columns, 1.3 + 0.27 * rows), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(attention.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    upright = 0 if max(map(len, attention.read)) == 1 else 90
    axes.set_xticks(range(columns), attention.read, rotation=upright)
    axes.set_yticks(range(rows), attention.written)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(0.5, columns - 1), minor=True)
    axes.set_yticks(np.arange(0.5, rows - 1), minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set(xlabel="read", ylabel="written", title=title)
    axes.xaxis.set_label_position("top")
    figure.colorbar(picture, label="attention", shrink=0.8, aspect=15)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def words_of(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> list[tuple[str, list[int]]]:
    """The words and punctuation marks of a token sequence, each with the positions of its tokens."""
    context = [int(token) for token in tokenizer.encode("a")]  # at the start of a text a piece may lose its space
    said = len(tokenizer.decode(context))
    pieces = [tokenizer.decode([*context, id_])[said:] for id_ in ids]
    words: list[list[int]] = []
    for place, piece in enumerate(pieces):
        before = pieces[place - 1] if place else ""
        of_one_character = piece[:1] == REPLACEMENT or (before[-1:] == REPLACEMENT and piece[:1].isalnum())
        if before and piece and (of_one_character or before.isspace() or (before[-1:] + piece[:1]).isalnum()):
            words[-1].append(place)
        else:
            words.append([place])
    return [(_visible(tokenizer.decode([ids[place] for place in places]).strip()), places) for places in words]


def _labels(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> list[tuple[str, list[int]]]:
    """The label of each row or column, with the positions of its tokens: words of subwords, other tokens one by one."""
    if isinstance(tokenizer, SubwordTokenizer):
        return words_of(tokenizer, ids)
    return [(_visible(tokenizer.decode([id_])), [place]) for place, id_ in enumerate(ids)]


def _visible(text: str) -> str:
    return _SPACE if text == " " else text or _END


def _count(words: Sequence[tuple[str, list[int]]]) -> int:
    return sum(len(places) for _, places in words)
