"""Building tokenizers from texts: characters, words, or byte-level BPE subwords."""

from collections.abc import Iterable, Sequence
from typing import Any

from tfseq.errors import DataError
from tfseq.runtime.character_tokenizer import END, PADDING, START, UNKNOWN
from tfseq.runtime.tokenizer_kinds import CharacterTokenizer, SubwordTokenizer


def character_tokenizer(text: str, start_and_end: bool = False) -> CharacterTokenizer:
    """A tokenizer of the characters in `text`, in code point order, after the unknown token.

    Token ids: 0 is the unknown token, any other character; with `start_and_end`, for encoder-decoders, 0 is padding, 1
    the unknown token, 2 `start`, 3 `end`.

    Args:
        text: the text to learn from. Characters that only the validation text has are to stay unknown.
        start_and_end: also have padding, start and end tokens, which encoder-decoders need.

    Raises:
        DataError: `text` is empty.
    """
    if not text:
        raise DataError("The text is empty; a vocabulary needs at least one character.")
    special = [PADDING, UNKNOWN, START, END] if start_and_end else [UNKNOWN]
    return CharacterTokenizer([*special, *sorted(set(text))])


def word_tokenizer(texts: Iterable[str], size: int, append_end: bool = False) -> SubwordTokenizer:
    """A tokenizer of the most frequent words, numbers and punctuation marks, each with the space before it.

    Token ids: 0 is padding, 1 the unknown token, any other word (decoded as U+FFFD), 2 `start`, 3 `end`. Text whose
    words are all known is decoded as it was, spaces included.

    Args:
        texts: to count in.
        size: vocabulary size at most.
        append_end: end every source of an encoder-decoder with `end`.

    Raises:
        DataError: there is no text, or `size` leaves no room for a word.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    special = [PADDING, UNKNOWN, START, END]
    library = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    library.pre_tokenizer = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    library.decoder = decoders.Sequence([decoders.Replace(UNKNOWN, " \N{REPLACEMENT CHARACTER}"), decoders.Fuse()])
    trainer = trainers.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    return _trained(library, trainer, texts, size, special, append_end)


# a word, a number or a mark, with one space before it; what spaces are left belong to no word
_WORDS = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]|\s"


def reading_tokenizer(texts: Iterable[str], size: int, *, characters: bool = False) -> SubwordTokenizer:
    """A tokenizer for models that read and don't write, such as classifiers: words and marks in lower case.

    "It isn't GREAT." reads as it, is, n't, great and a full stop; spaces are left out. What is found once in the texts
    becomes the unknown token, so that a model learns its embedding.

    Token ids: 0 is padding, 1 the unknown token, any other word.

    Args:
        texts: to count in.
        size: vocabulary size at most.
        characters: one token per character, spaces included, in place of words.

    Raises:
        DataError: there is no text, or `size` leaves no room for a word.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    library = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    straight = normalizers.Replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    library.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), straight])
    pattern = r"[\s\S]" if characters else _READ_WORDS
    library.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    special = [PADDING, UNKNOWN]
    trainer = trainers.WordLevelTrainer(vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False)
    return _trained(library, trainer, texts, size, special, append_end=False)


# a negated verb without its "n't", that, what an apostrophe shortened, a word, a number or a mark
_READ_WORDS = r"[\p{L}\p{M}]+(?=n't\b)|n't\b|'\p{L}{1,2}\b|[\p{L}\p{M}]+|\p{N}+|[^\s\p{L}\p{M}\p{N}]"


def subword_tokenizer(texts: Iterable[str], size: int, append_end: bool = False) -> SubwordTokenizer:
    """A tokenizer of subwords: byte-level BPE (Sennrich et al., 2016; Radford et al., 2019).

    A word has one form, with the space before it, wherever it stands: at the beginning of a text, and behind an
    apostrophe, which belongs to what it shortens. "L'homme et l'eau" reads as " L'", " homme", " et", " l'", " eau". A
    text that goes on another one so goes on with a space.

    Token ids: 0 is padding, 1 `start`, 2 `end`, then 256 bytes and their merges; any text is decoded as it was.

    Args:
        texts: to learn the merges from.
        size: vocabulary size at most; 259 or more.
        append_end: end every source of an encoder-decoder with `end`.

    Raises:
        DataError: there is no text, or `size` is less than 259.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    special = [PADDING, START, END]
    library = Tokenizer(models.BPE())
    # One more space behind each apostrophe that a letter or a space follows, one less when it is read back.
    spaced = [normalizers.Replace(Regex(rf"{mark}(?=[\p{{L}} ])"), f"{mark} ") for mark in _APOSTROPHES]
    library.normalizer = normalizers.Sequence([*spaced, normalizers.Prepend(" ")])
    words, pieces = Regex(_WORDS_WITH_APOSTROPHES), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), pieces])
    joined = [decoders.Replace(f"{mark} ", mark) for mark in _APOSTROPHES]
    library.decoder = decoders.Sequence([decoders.ByteLevel(), *joined, decoders.Strip(" ", 1, 0)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    return _trained(library, trainer, texts, size, [*special, *alphabet], append_end)


_APOSTROPHES = ("'", "\N{RIGHT SINGLE QUOTATION MARK}")
# a word and the apostrophe that shortens it, a number, marks, each with one space before it; what spaces are left
_WORDS_WITH_APOSTROPHES = r" ?[\p{L}\p{M}]+['’]?| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s"


def _trained(
    library: Any, trainer: Any, texts: Iterable[str], size: int, fixed: Sequence[str], append_end: bool
) -> SubwordTokenizer:
    if size < len(fixed):
        raise DataError(f"size is {size}; {len(fixed)} tokens are needed before the first word.")
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not any(texts):
        raise DataError("There is no text; a vocabulary needs some.")
    library.train_from_iterator(texts, trainer)
    start, end = library.token_to_id(START), library.token_to_id(END)
    return SubwordTokenizer(library.to_str(), start, end, (end,) if append_end else ())
