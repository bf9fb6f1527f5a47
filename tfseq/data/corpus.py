"""Text corpora, split for training and validation: Python's help texts, a file, or tensorflow-datasets."""

import platform
from dataclasses import dataclass
from pathlib import Path

from tfseq.data.files import decode, read_bytes, sha256
from tfseq.data.tfds_sets import load_tfds
from tfseq.errors import DataError


@dataclass(frozen=True)
class Corpus:
    """A text cut in two, and where it came from.

    Attributes:
        name: a short name: "pydoc_topics", a file's name without its ending, or a TFDS name.
        train: the text to learn from.
        validation: the text to measure on.
        source: what was read, for people: never a path of this machine.
        sha256: of the bytes of the file, unpacked if it is .gz; for a text that came without a file, of train +
            validation in UTF-8.
    """

    name: str
    train: str
    validation: str
    source: str
    sha256: str

    def provenance(self) -> dict[str, str | int]:
        """What an exported model says of its data: JSON values only."""
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.sha256,
            "train_characters": len(self.train),
            "validation_characters": len(self.validation),
        }


def load_corpus(path: Path | str | None = None, tfds: str | None = None, validation_fraction: float = 0.1) -> Corpus:
    """The corpus at `path`, or the one that tensorflow-datasets calls `tfds`, or else Python's own help texts.

    Args:
        path: a UTF-8 text file. Its line ends stay as they are; a byte order mark is dropped.
        tfds: a data set whose examples have a "text" and which has the splits train and validation, such as
            "tiny_shakespeare". Those splits are used as they are; the examples of each are joined by blank lines.
        validation_fraction: the share of the characters, at the end of the text, that is kept for validation.

    Raises:
        DataError: the file is missing, a directory, empty, not UTF-8 or can't be read; the data set is unknown, can't
            be downloaded or holds no text; both a path and a data set were given; either part would be empty.
    """
    if path is not None and tfds is not None:
        raise DataError(f"Both a file ({path}) and a data set ({tfds}) were given as the corpus; give one of them.")
    if tfds is not None:
        return _from_tfds(tfds)
    if path is not None:
        return _from_file(Path(path), validation_fraction)
    return _from_python(validation_fraction)


def split(text: str, validation_fraction: float = 0.1) -> tuple[str, str]:
    """Cuts a text into its beginning, for training, and its end, for validation.

    Args:
        text: at least two characters.
        validation_fraction: the share of the characters that goes to validation, between 0 and 1.

    Raises:
        DataError: the fraction is out of range, or leaves either part empty.
    """
    if not 0 < validation_fraction < 1:
        raise DataError(f"validation_fraction is {validation_fraction}; expected a number between 0 and 1, like 0.1.")
    cut = int(len(text) * (1 - validation_fraction))
    if not 0 < cut < len(text):
        raise DataError(
            f"The text has {len(text)} characters; with validation_fraction {validation_fraction} that leaves {cut} to "
            f"train on and {len(text) - cut} to validate on. Give a longer text."
        )
    return text[:cut], text[cut:]


def _from_python(validation_fraction: float) -> Corpus:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError(
            "This Python came without pydoc_data, whose help texts are the default corpus. Give a text file instead."
        ) from error
    text = "\n\n".join(topics[name].strip("\n") for name in sorted(topics))
    train, validation = split(text, validation_fraction)
    source = f"pydoc_data.topics of Python {platform.python_version()}"
    return Corpus("pydoc_topics", train, validation, source, sha256([text.encode()]))


def _from_file(path: Path, validation_fraction: float) -> Corpus:
    content = read_bytes(path, "a UTF-8 text file")
    text = decode(content, path)
    if not text.strip():
        raise DataError(f"{path} holds no text ({len(content)} bytes). Give a UTF-8 text file with text to learn from.")
    train, validation = split(text, validation_fraction)
    return Corpus(path.stem, train, validation, f"file {path.name}", sha256([content]))


def _from_tfds(name: str) -> Corpus:
    alternative = "download the text by other means and give its path"
    splits, info = load_tfds(name, ("train", "validation"), ("text",), alternative)
    train, validation = (_joined(examples) for examples in splits)
    if not (train.strip() and validation.strip()):
        raise DataError(f"{name} holds no text in its split train or validation. Give another data set.")
    source = f"tensorflow-datasets {info.full_name}"
    return Corpus(name, train, validation, source, sha256([(train + validation).encode()]))


def _joined(examples) -> str:
    return "\n\n".join(example["text"].decode() for example in examples.as_numpy_iterator())
