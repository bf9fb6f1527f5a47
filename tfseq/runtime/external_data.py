"""`ExternalData`: a second file beside the .onnx file, with the weights that protobuf's 2 GB have no room for."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from tfseq.errors import ArtefactError
from tfseq.runtime.onnx_metadata import DAMAGED, DamagedError, fields


@dataclass(frozen=True)
class ExternalData:
    """What a manifest says of the weights beside its file.

    Attributes:
        file: their file's name; it lies in the folder of the .onnx file.
        bytes: its size.
        sha256: of its content, in hexadecimal.
    """

    file: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "ExternalData":
        """Describes a file of weights, which is read once, piece by piece."""
        path = Path(path)
        return cls(path.name, path.stat().st_size, _sha256(path))

    @classmethod
    def from_json(cls, value: Any) -> "ExternalData":
        """The inverse of `dataclasses.asdict`.

        Raises:
            ArtefactError: `value` does not describe a file, or one outside the model's folder.
        """
        try:
            name, size, digest = value["file"], value["bytes"], value["sha256"]
        except (TypeError, KeyError):
            raise ArtefactError(
                f"The manifest describes external data as {value!r}; expected file, bytes, sha256."
            ) from None
        if not isinstance(name, str) or not _is_name(name):
            raise ArtefactError(f"The manifest names external data {name!r}; expected a file's name, without a folder.")
        if type(size) is not int or size < 0:
            raise ArtefactError(f"The manifest gives {name} {size!r} bytes; expected a whole number.")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ArtefactError(f"The manifest gives {name} the SHA-256 {digest!r}; expected 64 hexadecimal digits.")
        return cls(name, size, digest)

    def check(self, model: Path) -> None:
        """Whether the file is there and has its size; its content is not read.

        Args:
            model: the .onnx file.

        Raises:
            ArtefactError: it is not there, can't be read, or has another size.
        """
        path = model.parent / self.file
        if not path.is_file():
            raise ArtefactError(
                f"{model} can't be used: its weights are in {self.file}, which is not beside it: expected "
                f"{path.absolute()}. Copy both files into one folder; {self.file} has to keep its name."
            )
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise ArtefactError(
                f"{model} can't be used: its weights are in {path}, which can't be read: {error.strerror or error}."
            ) from None
        if size != self.bytes:
            raise ArtefactError(
                f"{model} can't be used: its weights are in {self.file}, which has {size:,} bytes in place of "
                f"{self.bytes:,}. It is cut off, or another model's: copy both files again, from one export."
            )

    def check_content(self, model: Path) -> None:
        """`check`, and whether the content is what was exported: reads the whole file, piece by piece.

        Args:
            model: the .onnx file.

        Raises:
            ArtefactError: as `check` does, or the content is another one.
        """
        self.check(model)
        if _sha256(model.parent / self.file) != self.sha256:
            raise ArtefactError(
                f"{model} can't be used: its weights are in {self.file}, whose content is not what was exported. It is "
                "damaged, or another model's: copy both files again, from one export."
            )


def _is_name(name: str) -> bool:
    """Whether it is a file's name on every system: no folder, no drive, not the folder itself."""
    if name in ("", "..") or "\0" in name:
        return False
    return all(kind(name).name == name for kind in (PurePosixPath, PureWindowsPath))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_locations(model: Path) -> None:
    """Whether a file takes weights from its own folder alone, which ONNX Runtime itself checks from 1.24 on.

    Raises:
        ArtefactError: it takes them from elsewhere, by its path or by a link, or is damaged.
    """
    folders = model.parent.resolve(), model.resolve().parent  # they differ where the file is a link, as in a cache
    try:
        with model.open("rb") as file:
            for location in _locations(file, "model", 0, None):
                target = (model.parent / location).resolve()
                if not any(target.is_relative_to(folder) and target != folder for folder in folders):
                    raise ArtefactError(f"{model} can't be used: {_TAKES_FROM_OUTSIDE}")
    except (DamagedError, ValueError):  # a location with a null character
        raise ArtefactError(DAMAGED.format(model)) from None


# Of each message of ONNX, the fields on the way to where tensors lie.
_ON_THE_WAY: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external data"},
}


def _locations(file: BinaryIO, message: str, start: int, end: int | None) -> Iterator[str]:
    """Where the tensors of a message lie that are not in the file."""
    if message == "external data":
        entry = {}
        for number, length in fields(file, start, end):
            entry[number] = file.read(length)
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode("utf-8", "surrogateescape")
        return
    inner = _ON_THE_WAY[message]
    for number, length in fields(file, start, end):
        if number in inner:
            at = file.tell()
            yield from _locations(file, inner[number], at, at + length)


_TAKES_FROM_OUTSIDE = "it takes weights from outside its folder, as no file of tfseq does. Export the model again."
_OUTSIDE = (
    r"escapes (model |working )?dir|[Aa]bsolute paths? not allowed|a relative path, but|points outside the directory"
)
_MISSING = (
    r'path does not exist: "(.+?)"|should be stored in (.+?), but it (?:is not|does)|size: No such file.* \[(.+?)\]|'
    r"GetFileLength for (.+?) failed"
)
_SHORT = r"External initializer: .* are out of bounds"


def said_of_external_data(message: str) -> str | None:
    """What an error of ONNX Runtime's says of weights in a second file, where no manifest says it; else None."""
    if re.search(_OUTSIDE, message):
        return _TAKES_FROM_OUTSIDE
    if match := re.search(_MISSING, message):
        path = next(filter(None, match.groups()))
        return f"its weights are in a second file, which is not beside it: expected {path}. Copy both into one folder."
    if re.search(_SHORT, message):
        return "its weights are in a second file, which is cut off, or another model's. Copy both files again."
    return None
