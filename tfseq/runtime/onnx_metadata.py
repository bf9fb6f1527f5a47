"""Reads the metadata of an ONNX file without opening its graph, however large it is.

An ONNX file is a protocol buffer: a row of fields, each a key (number and wire type) and a value. Of a ModelProto, this
reads the entries of field 14, `metadata_props`, and steps over all else.
"""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tfseq.errors import ArtefactError

GRAPH = 7  # ModelProto.graph
METADATA = 14  # ModelProto.metadata_props: StringStringEntryProto, whose field 1 is the key and 2 the value
_PIECE = 2**24  # bytes that are read at once
MOST_METADATA = 2**27  # bytes of an entry; as JSON it takes about twenty times as many
DAMAGED = "{} is not an ONNX file, or it is damaged or truncated. Export or copy it again."


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The entries of `metadata_props`.

    Raises:
        ArtefactError: the file is missing, is no ONNX file, or is damaged; the graph is not looked at.
    """
    path = Path(path)
    require_file(path)
    with path.open("rb") as file:
        try:
            return _metadata(file)
        except DamagedError:
            raise ArtefactError(DAMAGED.format(path)) from None


def graph_sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's graph, weights in this file included, in hexadecimal; the file is read piece by piece.

    Raises:
        ArtefactError: the file is missing, is no ONNX file, or is damaged.
    """
    path, digest = Path(path), hashlib.sha256()
    require_file(path)
    with path.open("rb") as file:
        try:
            for number, length in fields(file):
                while number == GRAPH and length:
                    piece = file.read(min(length, _PIECE))
                    digest.update(piece)
                    length -= len(piece)
        except DamagedError:
            raise ArtefactError(DAMAGED.format(path)) from None
    return digest.hexdigest()


def require_file(path: Path) -> None:
    """Whether it can be opened.

    Raises:
        ArtefactError: it can't.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ArtefactError(f"{path} is a folder; expected an .onnx file.")
        if not stat.S_ISREG(mode):  # a pipe waits for a writer, without end
            raise ArtefactError(f"{path} is a device or a pipe; expected an .onnx file.")
        with path.open("rb"):
            pass
    except OSError as error:
        raise ArtefactError(f"Can't read {path}: {error.strerror or error}.") from None
    except ValueError:  # a null character
        raise ArtefactError(f"There is no file {str(path)!r}.") from None


class DamagedError(Exception):
    """The bytes are no protocol buffer, or end too early."""


def _metadata(file: BinaryIO) -> dict[str, str]:
    metadata, has_graph = {}, False
    for number, length in fields(file):
        has_graph = has_graph or number == GRAPH
        if number == METADATA:
            if length > MOST_METADATA:
                raise ArtefactError(f"Its metadata has {length:,} bytes; at most {MOST_METADATA:,} are read.")
            entry = io.BytesIO(file.read(length))
            values = {number: entry.read(size) for number, size in fields(entry)}
            metadata[_text(values.get(1, b""))] = _text(values.get(2, b""))
    if not has_graph:
        raise DamagedError
    return metadata


def fields(stream: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Number and length of each field of a message, at whose first byte the stream then is; of numbers the length is 0.

    Args:
        start, end: where the message begins and ends; at first, it is all of the stream.

    Raises:
        DamagedError: the bytes are no message.
    """
    end = stream.seek(0, os.SEEK_END) if end is None else end
    at = stream.seek(start)
    while at < end:
        number, wire_type = divmod(_varint(stream), 8)
        length = 0
        if wire_type == 0:
            _varint(stream)
        elif wire_type == 1:
            stream.seek(8, os.SEEK_CUR)
        elif wire_type == 5:
            stream.seek(4, os.SEEK_CUR)
        elif wire_type == 2:
            length = _varint(stream)
        else:
            raise DamagedError  # 3 and 4, groups, are in no ONNX file
        start = stream.tell()
        at = start + length
        if at > end or number == 0:
            raise DamagedError
        yield number, length
        stream.seek(at)


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise DamagedError


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise DamagedError from None
