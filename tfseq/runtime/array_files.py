"""Files that the command line reads and writes: NumPy arrays, sample inputs, lists of label names."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.atomic_write import atomic_write
from tfseq.runtime.manifest import TensorSpec


def read_arrays(path: str | os.PathLike[str], inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """The arrays of a file, by input name.

    Args:
        path: a .npy file for a model of one input, or a .npz file of arrays by name.
        inputs: of the model.

    Raises:
        ArtefactError: the file is missing, or holds no arrays.
        InputError: it is a single array, and the model takes several.
    """
    path = Path(path)
    loaded = load_numpy(path)
    if isinstance(loaded, dict):
        return loaded
    if len(inputs) != 1:
        wanted = ", ".join(map(str, inputs))
        raise InputError(f"{path} holds one array; expected a .npz file with {wanted}.")
    return {inputs[0].name: loaded}


def read_samples(
    path: str | os.PathLike[str], inputs: Sequence[TensorSpec]
) -> Mapping[str, np.ndarray] | list[tuple[str, str]] | str:
    """Sample inputs in a file: arrays as `read_arrays` takes them, pairs of texts, or a UTF-8 text.

    Args:
        path: ends in .npy or .npz for arrays; in .tsv for pairs, one on each line, parted by a tab.
        inputs: of the model.

    Raises:
        ArtefactError: the file can't be read.
        InputError: it is a single array, and the model takes several; or a line of it is no pair.
    """
    path = Path(path)
    try:
        if path.suffix in (".npy", ".npz"):
            return read_arrays(path, inputs)
        text = path.read_text(encoding="utf-8")
        return _pairs(path, text) if path.suffix == ".tsv" else text
    except OSError as error:
        raise ArtefactError(f"Can't read {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ArtefactError(f"{path} is not UTF-8 text; expected a text, or arrays in a .npz file.") from None


def _pairs(path: Path, text: str) -> list[tuple[str, str]]:
    pairs = [tuple(line.split("\t")) for line in text.split("\n") if line.strip()]
    for i, pair in enumerate(pairs):
        if len(pair) != 2 or not all(pair):
            raise InputError(f"Pair {i + 1} of {path} has {len(pair)} parts; expected a source, a tab and a reference.")
    return pairs  # type: ignore[return-value]


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a UTF-8 text that are not empty, such as the names of classes.

    Raises:
        ArtefactError: the file can't be read.
    """
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ArtefactError(f"Can't read {path}: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise ArtefactError(f"{path} is not UTF-8 text; expected a name on each line.") from None


def load_numpy(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """What NumPy saved, without running the Python objects that such a file can hold.

    Raises:
        ArtefactError: the file is missing, or holds no arrays.
    """
    try:
        _require_small(path)
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as archive:
            return dict(archive)
    except OSError as error:
        raise ArtefactError(f"Can't read {path}: {error.strerror or error}.") from None
    except ArtefactError:
        raise
    except Exception:  # a zip that is none, a header that can't be parsed, an array of Python objects
        raise ArtefactError(f"{path} is not a file of arrays that NumPy saved (.npy or .npz).") from None


_MOST = 2**30  # bytes that a file of arrays may become, where that is more than
_UNPACKED = 100  # times its size


def _require_small(path: Path) -> None:
    """
    Raises:
        ArtefactError: the file is packed so well that its arrays would fill the memory.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(_MOST, _UNPACKED * path.stat().st_size):
        raise ArtefactError(f"{path} would unpack to {unpacked:,} bytes, far more than arrays do; save it unpacked.")


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a .npz file of arrays by name, or a .npy file of a single one; whole or not at all.

    Raises:
        InputError: the name ends in neither, or in .npy for several arrays; or the file can't be written.
    """
    path = Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"The output {path} ends in neither .npz nor .npy.")
    if path.suffix == ".npy" and len(arrays) != 1:
        raise InputError(f"There are {len(arrays)} outputs, {', '.join(arrays)}; write them to a .npz file.")
    try:
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            if path.suffix == ".npz":
                np.savez(file, allow_pickle=False, **arrays)
            else:
                np.save(file, next(iter(arrays.values())), allow_pickle=False)
    except OSError as error:
        raise InputError(f"Can't write {path}: {error.strerror or error}.") from None
