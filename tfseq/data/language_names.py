"""Language identification data: lists of names from the Unicode CLDR in ten or more languages."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfseq.data.dataset import DataSet, Part, split_by_class
from tfseq.data.files import sha256
from tfseq.data.optional_packages import import_package, package_version
from tfseq.errors import DataError

SEED = 0
EUROPEAN = ("de", "en", "es", "fi", "fr", "it", "nl", "pl", "sv", "tr")
LONGEST = 4  # names in a line


def names_by_language(languages: Sequence[str] = EUROPEAN) -> DataSet:
    """Which language is this line in: "Elfenbeinküste, Litauisch und Tonga"? About 2,700 lines in ten languages.

    A line lists one to four names, as its language writes lists. The names are those of territories, languages, scripts
    and currencies in the Unicode CLDR, which Babel carries and whose licence allows any use. Each name is of one
    language alone: what two of them call the same, such as "Angola", is left out. No name is in two parts, nor in two
    lines.

    Args:
        languages: two or more, by Babel's names.

    Raises:
        DataError: Babel, or scikit-learn, which splits, is not installed; Babel does not know a language.
    """
    babel = import_package("babel", "Babel", "Names in many languages")
    library = import_package("babel.lists", "Babel", "Names in many languages")
    try:
        locales = [babel.Locale.parse(language) for language in languages]
    except (babel.UnknownLocaleError, ValueError) as error:
        raise DataError(f"Babel does not know one of the languages {', '.join(languages)}: {error}.") from error
    if len(set(map(str, locales))) < max(len(locales), 2):
        raise DataError(f"The languages are {', '.join(languages)}; expected two or more different ones.")
    parts = split_by_class(*_of_one_language(locales), 0.1, 0.1, SEED)
    draw = np.random.RandomState(SEED)
    train, validation, test = (_lines(part, locales, library.format_list, draw) for part in parts)
    digest = sha256(f"{y}\t{x}\n".encode() for part in (train, validation, test) for x, y in zip(*part))
    source = f"lists of names in the Unicode CLDR of Babel {package_version('Babel')}"
    called = tuple(str(locale.get_language_name("en")) for locale in locales)
    return DataSet("names_by_language", train, validation, test, source, digest, called)


def _of_one_language(locales: Sequence[Any]) -> tuple[list[str], np.ndarray]:
    """Names, sorted, and the language of each."""
    spelled: dict[str, str] = {}
    spoken: dict[str, set[int]] = {}
    for label, locale in enumerate(locales):
        for kind in (locale.territories, locale.languages, locale.scripts, locale.currencies):
            for name in kind.values():
                spelled.setdefault(name.casefold(), name)
                spoken.setdefault(name.casefold(), set()).add(label)
    own = sorted(name for name, labels in spoken.items() if len(labels) == 1 and len(name) > 3)
    return [spelled[name] for name in own], np.array([min(spoken[name]) for name in own], "int32")


def _lines(names: Part, locales: Sequence[Any], format_list: Any, draw: np.random.RandomState) -> Part:
    """The names of a part, each in one line."""
    lines, labels = [], []
    for label, locale in enumerate(locales):
        left = draw.permutation([name for name, spoken in zip(*names) if spoken == label]).tolist()
        while left:
            count = draw.randint(1, LONGEST + 1)
            lines.append(format_list(left[:count], locale=locale))
            labels.append(label)
            left = left[count:]
    return Part(lines, np.array(labels, "int32"))
