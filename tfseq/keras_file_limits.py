"""Limits for files saved by Keras that nobody vouches for: what they unpack to and build, told before it is done."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tfseq.errors import ExportError

ALWAYS_TAKEN = 256 << 20  # bytes: what any file may unpack to
PACKED = 100  # times smaller than its content a larger file may be; random weights don't pack at all
LONGEST_CONFIG = 64 << 20  # bytes; that of a model of a thousand layers takes about 1 MB
FEW_LAYERS, MOST_LAYERS = 1_000, 20_000  # which any file may ask for; and none, however large
LAYER = 50  # bytes that a layer takes in a file at least, if only in its configuration
LARGEST_OUTPUT = 1 << 30  # values that a layer gives per example
SPARE_VALUES = 1 << 24  # variables that files don't keep, such as tables that are computed, have fewer values in all


def check_unpacked(path: Path) -> None:
    """Refuses a file whose content is out of proportion to it.

    Args:
        path: .keras, or .h5 and .hdf5. One that can't be opened passes: who loads it says so.

    Raises:
        ExportError: the archive, its configuration or its weights are larger than a saved model's can be.
    """
    packed = path.stat().st_size
    if path.suffix != ".keras":
        _check_size(path, packed, stored(path).size, "its weights")
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_size(path, packed, sum(member.file_size for member in members), "its parts")
            for member in members:
                if member.filename.endswith(".json") and member.file_size > LONGEST_CONFIG:
                    raise ExportError(
                        f"{path} is not loaded: its {member.filename} would take {_size(member.file_size)}, and that "
                        f"of a model takes {_size(LONGEST_CONFIG)} at most."
                    )
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return  # the loader's to say
    _check_size(path, packed, stored(path).size, "its weights")


class Stored(NamedTuple):
    """The arrays in a file: how many, their values in all, and the bytes that these would take."""

    arrays: int
    values: int
    size: int


def stored(path: Path) -> Stored:
    """What the arrays of a file take by what it says of them; those of a damaged part are left out."""
    import h5py

    arrays = values = size = 0

    def count(name: str, found: Any) -> None:
        nonlocal arrays, values, size
        if isinstance(found, h5py.Dataset):
            arrays += 1
            values += math.prod(found.shape or ())
            size += math.prod(found.shape or ()) * found.dtype.itemsize

    try:
        if path.suffix != ".keras":
            with h5py.File(path) as file:
                file.visititems(count)
            return Stored(arrays, values, size)
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".h5"):
                    with archive.open(name) as member, h5py.File(member) as file:
                        file.visititems(count)
    except Exception:  # HDF5 raises what it likes of a damaged file, and its loader will say so
        pass
    return Stored(arrays, values, size)


@contextmanager
def limited_building(path: Path) -> Iterator[None]:
    """While the block builds a model, stops it at variables that the file can't hold, before they are made.

    Args:
        path: the file, which has the values of each of its model's variables.

    Raises:
        ExportError: more values or layers are to be made than the file can be about.
    """
    import keras

    arrays, held, _ = stored(path)
    most_layers = min(MOST_LAYERS, FEW_LAYERS + 10 * arrays + path.stat().st_size // LAYER)
    variable = next(kind for kind in keras.Variable.__mro__ if "__init__" in vars(kind))
    make_variable, make_layer = variable.__init__, keras.Operation.__init__
    made = layers = 0
    refused: list[ExportError] = []  # Keras makes other errors of those that are raised while it builds, or none

    def refuse(reason: str) -> None:
        refused.append(ExportError(f"{path} is not loaded: {reason}."))
        raise refused[0]

    def of_size(self: Any, initializer: Any, shape: Any = None, *arguments: Any, **more: Any) -> None:
        nonlocal made
        if callable(initializer) and shape is not None:
            sizes = [int(size) for size in ([shape] if isinstance(shape, int) else shape) if size is not None]
            made += math.prod(sizes)
            if made > 2 * held + SPARE_VALUES:
                refuse(f"it asks for weights of the shape {tuple(sizes)}, and holds {held:,} values in all")
        make_variable(self, initializer, shape, *arguments, **more)

    def counted(self: Any, *arguments: Any, **more: Any) -> None:
        nonlocal layers
        layers += 1
        if layers > most_layers:
            refuse(f"it asks for more than {most_layers:,} layers, and holds {arrays:,} arrays of weights")
        make_layer(self, *arguments, **more)

    try:
        with mock.patch.object(variable, "__init__", of_size), mock.patch.object(keras.Operation, "__init__", counted):
            yield
    finally:
        if refused:
            raise refused[0] from None


def check_outputs(path: Path, model: Any) -> None:
    """Refuses a model with a layer that gives more per example than any machine has room for.

    Raises:
        ExportError: naming the layer.
    """
    import keras

    layers = list(model._flatten_layers())
    for operation in [*layers, *(inner for layer in layers for inner in getattr(layer, "operations", ()))]:
        for output in keras.tree.flatten([node.output_tensors for node in operation._inbound_nodes]):
            values = math.prod(size for size in output.shape if size is not None)
            if values > LARGEST_OUTPUT:
                raise ExportError(
                    f"{path} is not loaded: its layer {operation.name} gives {values:,} values per example; expected "
                    f"{LARGEST_OUTPUT:,} at most."
                )


def _check_size(path: Path, packed: int, unpacked: int, what: str) -> None:
    if unpacked > ALWAYS_TAKEN and unpacked > PACKED * packed:
        raise ExportError(
            f"{path} is not loaded: {what} would take {_size(unpacked)}, and the file has {_size(packed)}; expected "
            f"{PACKED} times its size at most."
        )


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000  # type: ignore[assignment]
    raise AssertionError
