"""The vocabulary of a text, made into a tokenizer."""

from tfseq.errors import DataError
from tfseq.runtime.tokenizers import UNKNOWN, CharacterTokenizer


def character_tokenizer(text: str) -> CharacterTokenizer:
    """A tokenizer of the characters in `text`, in code point order, behind the unknown symbol.

    Args:
        text: the text to learn from. Characters that only the validation text has are to stay unknown.

    Raises:
        DataError: `text` is empty.
    """
    if not text:
        raise DataError("The text is empty; a vocabulary needs at least one character.")
    return CharacterTokenizer([UNKNOWN, *sorted(set(text))])
