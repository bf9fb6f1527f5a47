"""Music data: tunes in ABC notation, one text per tune, from music21's collections or an .abc file."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tfseq.data.dataset import DataSet, Part
from tfseq.data.files import decode, read_bytes, sha256
from tfseq.data.optional_packages import package_folder
from tfseq.errors import DataError

RYANS_MAMMOTH = "ryansMammoth"
FIELDS = "XTRCMLQK"  # number, title, rhythm, composer, metre, note length, tempo, key: what a tune is played from


def load_tunes(path: Path | str | None = None, seed: int = 0) -> DataSet:
    """The tunes of the .abc file at `path`, or else Ryan's Mammoth Collection (1,059 files), which music21 carries.

    Of the header, what concerns the music is kept (`FIELDS`); who typed it in, and from which page, is not. Tunes that
    are equal from the key on are one tune. 8 of 10 train, one validates, one tests, drawn by the seed.

    Returns:
        parts whose inputs are texts, one per tune, that end in a line feed; their targets are () for there are none.

    Raises:
        DataError: the file can't be read or holds no tune; music21 is not installed.
    """
    if path is not None:
        files = [Path(path)]
        name, source = Path(path).stem, f"file {Path(path).name}"
    else:
        folder, version = music21_folder(RYANS_MAMMOTH)
        files = sorted(folder.glob("*.abc"))
        name, source = "ryans_mammoth", f"Ryan's Mammoth Collection in {version}"
    contents = [read_bytes(file, "a text file in ABC notation") for file in files]
    texts = [decode(content, file) for content, file in zip(contents, files)]
    tunes = unique_tunes(kept for text in texts for tune in split_tunes(text) if (kept := with_fields(tune)))
    if len(tunes) < 10:
        raise DataError(
            f"{source} holds {len(tunes)} tunes; expected 10 or more, each with a line that begins with X: and one "
            "that begins with K:."
        )
    order = np.random.RandomState(seed).permutation(len(tunes))
    tenth = len(tunes) // 10
    parts = (order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth])
    train, validation, test = (Part([tunes[row] for row in rows], ()) for rows in parts)
    return DataSet(name, train, validation, test, source, sha256(contents))


def music21_folder(collection: str) -> tuple[Path, str]:
    """Where music21 keeps a collection, and music21's version. Imports nothing: its files are plain text.

    Raises:
        DataError: music21 is not installed, or was packed without its corpus.
    """
    package, version = package_folder("music21", f"The collection {collection}")
    folder = package / "corpus" / collection
    if not folder.is_dir():
        raise DataError(f"This {version} came without its corpus: no {collection}. Install music21 from PyPI.")
    return folder, version


def split_tunes(text: str) -> list[str]:
    """The tunes of a text in ABC notation: each begins with a line X: and ends before the next, or at an empty line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    pieces = re.split(r"(?m)^(?=X:)", text)[1:]
    return [re.split(r"\n[ \t]*\n", piece, maxsplit=1)[0].rstrip() + "\n" for piece in pieces]


def with_fields(tune: str, fields: str = FIELDS) -> str:
    """A tune with these fields of its header alone, without comments; "" if it has no key or no notes."""
    header, key, body = [*re.split(r"(?m)^(K:.*\n)", tune, maxsplit=1), "", ""][:3]
    music = [line.rstrip() for line in body.split("\n") if line.strip() and not line.startswith("%")]
    if not music:
        return ""
    kept = [line.strip() for line in header.split("\n") if line[:1] in fields and line[1:2] == ":" and line[2:].strip()]
    return "\n".join([*kept, key.strip(), *music]) + "\n"


def unique_tunes(tunes: Iterable[str]) -> list[str]:
    """The first of all tunes that have the same key and notes."""
    first: dict[str, str] = {}
    for tune in tunes:
        first.setdefault(tune.partition("\nK:")[2], tune)
    return list(first.values())


def title(tune: str) -> str:
    """The first title of a tune, or ""."""
    found = re.search(r"(?m)^T:[ \t]*(.*?)[ \t]*$", tune)
    return found.group(1) if found else ""
