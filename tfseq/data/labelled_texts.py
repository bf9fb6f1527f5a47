"""Text classification data: titles in three languages, files with a line per example, or tensorflow-datasets."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tfseq.data.dataset import DataSet, Part, rows_of, split_by_class, stratified_folds, stratified_split
from tfseq.data.files import existing_directory, read_bytes, read_lines, sha256
from tfseq.data.tfds_sets import load_tfds
from tfseq.data.tunes import music21_folder, split_tunes, title
from tfseq.errors import DataError

SEED = 0
LANGUAGES = ("Chinese", "English", "German")


def load_texts(path: Path | str | None = None, tfds: str | None = None) -> DataSet:
    """The lines at `path`, or the data set that tensorflow-datasets calls `tfds`, or else titles of tunes by language.

    Args:
        path: a directory with one text file per label, see `labelled_lines`; or with rt-polarity.pos and .neg.
        tfds: a data set with a "text" and a "label" and the splits train and test: "imdb_reviews".

    Returns:
        parts of texts (a list of str) and labels (examples,) int32.

    Raises:
        DataError: nothing to read there; files damaged; both were given.
    """
    if path is not None and tfds is not None:
        raise DataError(f"Both a directory ({path}) and a data set ({tfds}) were given; give one of them.")
    if tfds is not None:
        return _from_tfds(tfds)
    if path is not None:
        directory = existing_directory(path, "one text file per label, such as german.txt and english.txt")
        return rt_polarity(directory) if any(directory.glob("*.pos")) else labelled_lines(directory)
    return languages()


def languages() -> DataSet:
    """Which language is this title in: Chinese (in Latin letters), English or German. About 8,700 titles of tunes.

    The titles are those of the folk tunes that music21 carries in ABC notation; in the Essen collection, a title is
    mostly a song's first line. Each tune gives its first title, and equal titles count once (small letters or not), so
    no tune is in two parts. Capitals throughout become small letters. Umlauts are written ae, oe, ue, as in the files.
    The Essen collection may be distributed for non-commercial use; its licence is in music21's corpus.

    Raises:
        DataError: music21, or scikit-learn, which splits, is not installed.
    """
    found: dict[str, tuple[str, int]] = {}
    contents: list[bytes] = []
    for language, tune in _tunes_by_language(contents):
        line = _clean(title(tune))
        if len(line) > 3:
            found.setdefault(line.lower(), (line, LANGUAGES.index(language)))
    lines = [line for line, _ in found.values()]
    labels = np.array([label for _, label in found.values()], "int32")
    _, version = music21_folder("essenFolksong")
    parts = split_by_class(lines, labels, 0.1, 0.1, SEED)
    source = f"titles of tunes in {version}: Essen, Ryan's Mammoth, O'Neill's, Aird's"
    return DataSet("languages", *parts, source, sha256(contents), LANGUAGES)


def rt_polarity(directory: Path | str, fold: int = 0, folds: int = 10) -> DataSet:
    """Movie review sentences, negative or positive (Pang and Lee, 2005): 5,331 of each, in cp1252.

    Args:
        directory: with rt-polarity.neg and rt-polarity.pos.
        fold: which of the folds of `stratified_folds` is the test part. A tenth of the others validates.
        folds: how many there are; 10 is what the literature reports the mean accuracy of.

    Raises:
        DataError: the files are missing or not cp1252; there is no such fold.
    """
    directory = existing_directory(directory, "rt-polarity.neg and rt-polarity.pos")
    if not 0 <= fold < folds:
        raise DataError(f"fold is {fold}; expected 0 to {folds - 1}.")
    files = [directory / f"rt-polarity.{label}" for label in ("neg", "pos")]
    lines, labels, digest = _lines_of(files, "cp1252")
    rest, test = stratified_folds(labels, folds)[fold]
    train, validation = (rest[rows] for rows in stratified_split(labels[rest], 0.1, SEED))
    parts = rows_of(lines, labels, train), rows_of(lines, labels, validation), rows_of(lines, labels, test)
    source = f"rt-polarity, fold {fold} of {folds} for testing"
    return DataSet("rt_polarity", *parts, source, digest, ("negative", "positive"))


def labelled_lines(directory: Path | str) -> DataSet:
    """A directory with one UTF-8 file LABEL.txt per label and an example per line; a tenth tests, a tenth validates.

    Raises:
        DataError: there are fewer than two such files, or they hold no text.
    """
    directory = existing_directory(directory, "one text file per label, such as german.txt and english.txt")
    files = sorted(directory.glob("*.txt"))
    if len(files) < 2:
        raise DataError(
            f"{directory} has {len(files)} files that end in .txt; expected one per label, two or more, such as "
            "german.txt and english.txt, with an example per line."
        )
    lines, labels, digest = _lines_of(files, "utf-8")
    parts = split_by_class(lines, labels, 0.1, 0.1, SEED)
    names = tuple(file.stem for file in files)
    return DataSet(directory.name, *parts, f"files {', '.join(file.name for file in files)}", digest, names)


def _lines_of(files: list[Path], encoding: str) -> tuple[list[str], np.ndarray, str]:
    per_label = [[line for line in read_lines(file, encoding) if line] for file in files]
    lines = [line for part in per_label for line in part]
    labels = np.repeat(np.arange(len(files), dtype="int32"), [len(part) for part in per_label])
    return lines, labels, sha256(file.read_bytes() for file in files)


def _from_tfds(name: str) -> DataSet:
    alternative = "give a directory with a text file per label"
    splits, info = load_tfds(name, ("train", "test"), ("text", "label"), alternative)
    (texts, labels), test = (_examples(split) for split in splits)
    train, validation = (rows_of(texts, labels, rows) for rows in stratified_split(labels, 0.1, SEED))
    digest = sha256(text.encode() for text in [*texts, *test[0]])
    source = f"tensorflow-datasets {info.full_name}"
    return DataSet(name, train, validation, Part(*test), source, digest, tuple(info.features["label"].names))


def _examples(split) -> tuple[list[str], np.ndarray]:
    examples = list(split.as_numpy_iterator())
    return [e["text"].decode() for e in examples], np.array([e["label"] for e in examples], "int32")


def _tunes_by_language(contents: list[bytes]) -> Iterator[tuple[str, str]]:
    collections = (("ryansMammoth", "English"), ("oneills1850", "English"), ("airdsAirs", "English"))
    for collection, language in (*collections, ("essenFolksong", None)):
        folder, _ = music21_folder(collection)
        for file in sorted(folder.glob("*.abc")):
            if file.name == "folkHaydn.abc":
                continue  # Scottish songs, filed under Germany where they were set
            contents.append(read_bytes(file, "a text file in ABC notation"))
            for tune in split_tunes(contents[-1].decode("utf-8", "replace")):
                spoken = language or _language_of_origin(tune)
                if spoken:
                    yield spoken, tune


def _language_of_origin(tune: str) -> str | None:
    """What is spoken where a tune of the Essen collection comes from; None where several languages are."""
    origin = re.search(r"(?m)^O:(.*)$", tune)
    if origin is None:
        return None
    if "China" in origin.group(1):
        return "Chinese"
    german = "Deutschland" in origin.group(1) or "Oesterreich" in origin.group(1)
    return "German" if german and "/" not in origin.group(1) and ";" not in origin.group(1) else None


def _clean(line: str) -> str:
    """A title without rhythm, page and tone numbers; what old files hold of code page 437 becomes letters."""
    line = re.sub("[\x80-\x9f]", lambda c: bytes([ord(c.group())]).decode("cp437"), line)
    line = re.sub(r"\s+--?\s+\S+$|,? S\. ?\d+\S*$|[\"\d()*_]|\(.*?\)", "", line).strip(" ,.;-")
    line = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", line)
    return line.lower() if line.isupper() else line
