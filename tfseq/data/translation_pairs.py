"""Sequence-to-sequence data: dates to ISO 8601, number words to digits, sums, or files with a sentence per line."""

import datetime
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from tfseq.data.dataset import DataSet, Part
from tfseq.data.files import existing_directory, read_lines, sha256
from tfseq.data.optional_packages import import_package, package_version
from tfseq.data.tfds_sets import load_tfds
from tfseq.errors import DataError

SIZES = (10_000, 1_000, 1_000)  # examples to train, to validate and to test on
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "pt_BR", "nl_NL")
_FIRST_DAY, _LAST_DAY = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
_FORMS = ("full", "long", "medium", "digits")
_IN_DIGITS = ("d/M/y", "dd.MM.y", "d-M-y")


def dates(sizes: Sequence[int] = SIZES, locales: Sequence[str] = LOCALES, seed: int = 0) -> DataSet:
    """Dates from 1900 to 2099 as people write them -> ISO 8601: "lundi 3 mars 2025" -> "2025-03-03".

    The forms are those of the Unicode CLDR (Babel's "full", "long", "medium") and the day, month and year in digits,
    which American English lacks here: 3/4/2025 would be two dates. Every form has one meaning. No date, in any form, is
    in two parts.

    Args:
        sizes: examples to train, to validate and to test on.
        locales: which ways of writing there are, by Babel's names.
        seed: of the draws.

    Raises:
        DataError: Babel is not installed or does not know a locale; there are not so many dates.
    """
    babel = import_package("babel", "Babel", "Writing dates in many languages")
    library = import_package("babel.dates", "Babel", "Writing dates in many languages")
    try:
        known = [babel.Locale.parse(name) for name in locales]
    except (babel.UnknownLocaleError, ValueError) as error:
        raise DataError(f"Babel does not know one of the locales {', '.join(locales)}: {error}.") from error
    forms = [(locale, form) for locale in known for form in _FORMS if locale.territory != "US" or form != "digits"]

    def pair(ordinal: int, draw: np.random.RandomState) -> tuple[str, str]:
        locale, form = forms[draw.randint(len(forms))]
        form = _IN_DIGITS[draw.randint(len(_IN_DIGITS))] if form == "digits" else form
        date = _FIRST_DAY + datetime.timedelta(days=ordinal)
        return str(library.format_date(date, form, locale)), date.isoformat()

    days = (_LAST_DAY - _FIRST_DAY).days + 1
    _check_room("dates", sizes, days)
    source = f"dates in {', '.join(locales)}, written by Babel {package_version('Babel')}, seed {seed}"
    return _generated("dates", source, np.arange(days), pair, sizes, seed)


def number_words(
    sizes: Sequence[int] = SIZES, languages: Sequence[str] = ("en",), largest: int = 999_999, seed: int = 0
) -> DataSet:
    """Numbers in words -> digits: "forty-two thousand and seven" -> "42007".

    Short and long numbers are equally frequent. Those below 100 are always in the training part, which so has every
    word; no number is in two parts.

    Args:
        sizes: examples to train, to validate and to test on.
        languages: by num2words' names: "en", "de", "fr"...
        largest: number there is.
        seed: of the draws.

    Raises:
        DataError: num2words is not installed or does not know a language; there are not so many numbers.
    """
    library = import_package("num2words", "num2words", "Writing numbers in words")
    try:
        for language in languages:
            library.num2words(1, lang=language)
    except NotImplementedError as error:
        raise DataError(f"num2words does not know one of the languages {', '.join(languages)}.") from error
    _check_room("numbers", sizes, largest + 1)
    draw = np.random.RandomState(seed)
    numbers = np.arange(min(100, largest + 1))
    digits = len(str(largest))
    while len(numbers) < sum(sizes):
        length = draw.randint(1, digits + 1, size=sum(sizes))
        drawn = draw.randint(0, 10**length)
        numbers = _first_of_each(np.concatenate([numbers, drawn[drawn <= largest]]))

    def pair(number: int, draw: np.random.RandomState) -> tuple[str, str]:
        language = languages[draw.randint(len(languages))]
        return str(library.num2words(number, lang=language)), str(number)

    source = f"numbers to {largest} in {', '.join(languages)}, by num2words {package_version('num2words')}, seed {seed}"
    return _generated("number_words", source, numbers, pair, sizes, seed, first=min(100, largest + 1))


def addition(sizes: Sequence[int] = SIZES, digits: int = 3, seed: int = 0) -> DataSet:
    """Sums -> their value: "12+345" -> "357".

    Each summand has 1 to `digits` digits, equally frequent. a+b and b+a are always in the same part.

    Args:
        sizes: examples to train, to validate and to test on.
        digits: of a summand at most; 8 or fewer.
        seed: of the draws.

    Raises:
        DataError: `digits` is out of range, or there are not so many sums.
    """
    if not 1 <= digits <= 8:
        raise DataError(f"digits is {digits}; expected 1 to 8.")
    limit = 10**digits
    _check_room("sums", sizes, limit * (limit + 1) // 2)
    draw = np.random.RandomState(seed)
    sums = np.zeros(0, "int64")
    while len(sums) < sum(sizes):
        summands = draw.randint(0, 10 ** draw.randint(1, digits + 1, size=(2, sum(sizes))))  # (2, sums)
        sums = _first_of_each(np.concatenate([sums, summands.min(0) * limit + summands.max(0)]))

    def pair(sum_: int, draw: np.random.RandomState) -> tuple[str, str]:
        a, b = divmod(sum_, limit)
        a, b = (a, b) if draw.randint(2) else (b, a)
        return f"{a}+{b}", str(a + b)

    return _generated("addition", f"sums of up to {digits} digits, seed {seed}", sums, pair, sizes, seed)


def parallel_texts(directory: Path | str, source: str = "en", target: str = "fr") -> DataSet:
    """Sentences and their translations, one per line, as multi30k has them: train.en.gz, train.fr.gz, val.en.gz...

    Args:
        directory: with {train, val, test_2016_flickr}.{source, target}, plain or .gz; valid, dev and validation are
            taken for val, and test for test_2016_flickr.
        source: how the names of files to translate from end.
        target: how those of the translations end.

    Raises:
        DataError: a file is missing or not UTF-8, or both of a pair differ in their number of lines.
    """
    directory = existing_directory(directory, f"train.{source}.gz, train.{target}.gz and so on")
    names = (("train",), ("val", "valid", "validation", "dev"), ("test_2016_flickr", "test"))
    files = [[_file_of(directory, stems, language) for language in (source, target)] for stems in names]
    train, validation, test = (_read_pair(*pair) for pair in files)
    digest = sha256(file.read_bytes() for pair in files for file in pair)
    what = f"files {', '.join(file.name for pair in files for file in pair)}"
    return DataSet(f"{directory.name}_{source}_{target}", train, validation, test, what, digest)


def translations_of_tfds(name: str, source: str = "en", target: str = "fr") -> DataSet:
    """Sentences and their translations of tensorflow-datasets, such as "ted_hrlr_translate/pt_to_en".

    Args:
        name: of a data set with the splits train, validation and test, whose examples have a text per language.
        source: language to translate from, as the data set calls it.
        target: language to translate into.

    Raises:
        DataError: the data set is unknown, can't be downloaded, or has no such languages.
    """
    parts, _ = load_tfds(name, ("train", "validation", "test"), (source, target), "give a directory of text files")
    pairs = [[(e[source].decode(), e[target].decode()) for e in part.as_numpy_iterator()] for part in parts]
    train, validation, test = (Part([s for s, _ in part], [t for _, t in part]) for part in pairs)
    digest = sha256(f"{s}\t{t}\n".encode() for part in pairs for s, t in part)
    return DataSet(f"{name.replace('/', '_')}_{source}_{target}", train, validation, test, name, digest)


def text_pairs(source: Path | str, target: Path | str, held_out: float = 0.1, seed: int = 0) -> DataSet:
    """Two text files, plain or .gz, whose lines translate each other; equal sources are never in two parts.

    Args:
        source: the file to translate from.
        target: the file of translations.
        held_out: share of the sources in the validation part, and in the test part.
        seed: of the draw.

    Raises:
        DataError: a file is missing or not UTF-8; the files differ in their number of lines; there are too few lines.
    """
    source, target = Path(source), Path(target)
    sources, targets = _read_pair(source, target)
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(sources):
        rows.setdefault(text, []).append(row)
    groups = list(rows.values())
    count = int(len(groups) * held_out)
    if not 0 < 2 * count < len(groups):
        raise DataError(f"{source} has {len(groups)} different lines, too few to hold out {held_out} of them twice.")
    order = np.random.RandomState(seed).permutation(len(groups))
    parts = (order[2 * count :], order[count : 2 * count], order[:count])
    train, validation, test = (
        Part([sources[row] for g in part for row in groups[g]], [targets[row] for g in part for row in groups[g]])
        for part in parts
    )
    digest = sha256([source.read_bytes(), target.read_bytes()])
    return DataSet(source.name.partition(".")[0], train, validation, test, f"{source.name}, {target.name}", digest)


def _file_of(directory: Path, stems: Sequence[str], language: str) -> Path:
    names = [f"{stem}.{language}{packed}" for stem in stems for packed in ("", ".gz")]
    for name in names:
        if (directory / name).exists():
            return directory / name
    raise DataError(f"{directory} has none of {', '.join(names)}. Give a directory with a file of each part.")


def _read_pair(source: Path, target: Path) -> Part:
    sources, targets = read_lines(source), read_lines(target)
    if len(sources) != len(targets):
        raise DataError(
            f"{source.name} has {len(sources)} lines and {target.name} {len(targets)}; expected a translation per line."
        )
    both = [(s, t) for s, t in zip(sources, targets) if s and t]
    return Part([s for s, _ in both], [t for _, t in both])


def _generated(
    name: str,
    source: str,
    keys: np.ndarray,
    pair: Callable[[int, np.random.RandomState], tuple[str, str]],
    sizes: Sequence[int],
    seed: int,
    first: int = 0,
) -> DataSet:
    """Draws keys without replacement, the first `first` of them for training, and writes the pair of each."""
    draw = np.random.RandomState(seed + 1)
    first = min(first, sizes[0])
    keys = np.concatenate([keys[:first], draw.permutation(keys[first:])])
    keys[: sizes[0]] = draw.permutation(keys[: sizes[0]])
    edges = np.cumsum([0, *sizes])
    parts = []
    for begin, end in pairwise(edges):
        written = [pair(int(key), draw) for key in keys[begin:end]]
        parts.append(Part([s for s, _ in written], [t for _, t in written]))
    digest = sha256(f"{s}\t{t}\n".encode() for part in parts for s, t in zip(part.inputs, part.targets))
    return DataSet(name, parts[0], parts[1], parts[2], source, digest)


def _check_room(what: str, sizes: Sequence[int], available: int) -> None:
    if len(sizes) != 3 or min(sizes) < 1 or sum(sizes) > available // 2 + 1:
        raise DataError(
            f"sizes are {tuple(sizes)}; expected three numbers of {what}, each 1 or more, together at most "
            f"{available // 2 + 1}: half of those there are."
        )


def _first_of_each(values: np.ndarray) -> np.ndarray:
    _, index = np.unique(values, return_index=True)
    return values[np.sort(index)]
