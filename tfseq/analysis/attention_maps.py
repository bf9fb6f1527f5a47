"""Where a model looked in a source while it wrote: the attention that an exported file gives out, and its picture."""

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
    """Attention of one text to one source.

    Attributes:
        read: what stands for each column: words, characters or other tokens of the source.
        written: what stands for each row.
        weights: (written, read); every row sums to 1.
    """

    read: tuple[str, ...]
    written: tuple[str, ...]
    weights: np.ndarray


def attention_map(file: Model, text: str, max_length: int | None = None) -> AttentionMap:
    """What a file writes of a text, and where it looked for each word.

    Tokens that are pieces of words count as words: a word of the source has what all its pieces have, and a word that
    was written the mean of its pieces.

    Args:
        file: of an encoder-decoder of text, exported with attention=True.
        text: the source.
        max_length: tokens to write, at most.

    Raises:
        InputError: the file says nothing of attention, or reads no text.
    """
    result = file.generate(text, max_length, details=True)
    if result.attention is None:
        raise InputError(f"{file.path.name} does not say where it looked; export the model with attention=True.")
    tokenizer = file.tokenizer
    assert tokenizer is not None  # it has read the text
    reader = writer = tokenizer
    if isinstance(tokenizer, TokenizerPair):
        reader, writer = tokenizer.source, tokenizer.target
    columns = _symbols(reader, [*reader.encode(text), *tokenizer.append])
    columns += [(_END, [i]) for i in range(_count(columns), result.attention.shape[1])]  # what the graph reads besides
    rows = _symbols(writer, result.tokens)
    weights = np.stack([result.attention[:, places].sum(1) for _, places in columns], axis=1)
    weights = np.array([weights[places].mean(0) for _, places in rows]).reshape(len(rows), len(columns))
    return AttentionMap(tuple(word for word, _ in columns), tuple(word for word, _ in rows), weights)


def plot_attention(attention: AttentionMap, path: Path, title: str = "") -> None:
    """Writes a PNG: a row for each word that was written, a column for each that was read; dark where it looked."""
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
    """The words and marks that tokens spell, and the places of the tokens that each is made of."""
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


def _symbols(tokenizer: Tokenizer, ids: Sequence[int] | np.ndarray) -> list[tuple[str, list[int]]]:
    """What to write beside each row or column: characters where they are tokens, and else words."""
    if isinstance(tokenizer, SubwordTokenizer):
        return words_of(tokenizer, ids)
    return [(_visible(tokenizer.decode([id_])), [place]) for place, id_ in enumerate(ids)]


def _visible(text: str) -> str:
    return _SPACE if text == " " else text or _END


def _count(words: Sequence[tuple[str, list[int]]]) -> int:
    return sum(len(places) for _, places in words)
