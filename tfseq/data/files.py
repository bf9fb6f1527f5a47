"""Reading text and binary files: .gz decompression, decoding, lines, SHA-256, and errors in one sentence."""

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from tfseq.errors import DataError


def read_bytes(path: Path, expected: str) -> bytes:
    """The bytes of a file, unpacked if its name ends in .gz.

    Args:
        path: the file.
        expected: what the file should be, for messages, such as "a UTF-8 text file".

    Raises:
        DataError: the file is missing, a directory, damaged or can't be read.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}. Give the path of {expected}.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a directory. Give the path of {expected} in it.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a gzip file that can be unpacked ({error}). Download it again.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}. Give {expected} that you may read.") from error


def decode(content: bytes, path: Path, encoding: str = "utf-8") -> str:
    """Text as it was written, line ends included, without a byte order mark.

    Raises:
        DataError: the bytes are not of that encoding.
    """
    try:
        # No universal newlines here: what a model reads and writes has to be the file's own characters.
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        found = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "cp1252"
        line = content.count(b"\n", 0, error.start) + 1
        remedy = f"from the encoding it is in, for example with iconv -f {found} -t utf-8"
        raise DataError(
            f"{path} is not {encoding.upper()}: byte 0x{content[error.start]:02x} at position {error.start} (counted "
            f"from 0; line {line}). Convert the file {remedy if encoding == 'utf-8' else f'to {encoding}'}."
        ) from error


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """The lines of a text file (or of one packed as .gz), cut at line feeds only, without spaces around them.

    Raises:
        DataError: the file can't be read or decoded, or has no line.
    """
    text = decode(read_bytes(path, f"a text file, {encoding.upper()}"), path, encoding)
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if not any(lines):
        raise DataError(f"{path} holds no text. Give a file with one example per line.")
    return lines


def existing_directory(path: Path | str, expected: str) -> Path:
    """The path, if a directory is there.

    Raises:
        DataError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        arrived = f"{path} is a file" if path.exists() else f"There is no directory {path}"
        raise DataError(f"{arrived}. Give the path of a directory with {expected}.")
    return path


def sha256(parts: Iterable[bytes]) -> str:
    """The hash of these bytes, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
