"""`read_hollow`: the graph of an ONNX file with hollow tensors for its weights, whose values stay in the file.

A file is read field by field, as `OnnxFile` writes it, and large values are stepped over, so that neither their size
nor protobuf's 2 GB matter. They are mapped into memory when they are needed.
"""

import functools
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from tfseq.errors import ArtefactError
from tfseq.exporting.rewriting.weights import Weights
from tfseq.exporting.writing.wire_format import opening
from tfseq.runtime.external_data import ExternalData
from tfseq.runtime.onnx_metadata import DAMAGED, DamagedError, fields

LARGE = 2**12  # bytes; smaller values are read into the graph, for passes that look at them

# The messages that hold weights, from the outermost inwards, by the field that they are in.
_NAMES: dict[type, dict[str, type]] = {
    ModelProto: {"graph": GraphProto},
    GraphProto: {"node": NodeProto, "initializer": TensorProto},
    NodeProto: {"attribute": AttributeProto},
    AttributeProto: {"g": GraphProto},
}
_INSIDE = {
    outer: {outer.DESCRIPTOR.fields_by_name[name].number: inner for name, inner in inside.items()}  # type: ignore
    for outer, inside in _NAMES.items()
}
_RAW_DATA = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number


def read_hollow(path: Path, external: ExternalData | None) -> tuple[ModelProto, Weights]:
    """Reads a graph whose large initializers are hollow.

    Args:
        path: of the ONNX file.
        external: what its manifest says of the weights beside it.

    Returns:
        The graph, and the values of its hollow tensors; each time that one is read it is mapped from the file, which
        has to stay as it is.

    Raises:
        ArtefactError: it is damaged, or looks for weights where its manifest knows of none.
    """
    try:
        with path.open("rb") as file:
            reading = _Reading(path, file, external)
            return ModelProto.FromString(reading.message(ModelProto, 0, path.stat().st_size)), reading.weights
    except (DamagedError, DecodeError):
        raise ArtefactError(DAMAGED.format(path)) from None


class _Reading:
    def __init__(self, path: Path, file: BinaryIO, external: ExternalData | None):
        self.path, self.file, self.external = path, file, external
        self.weights = Weights()

    def message(self, kind: type, start: int, end: int) -> bytes:
        """The message of that kind from `start` to `end`, with hollow tensors in place of large initializers."""
        kept, begin = bytearray(), start
        for number, length in fields(self.file, start, end):
            place = self.file.tell()
            inner = _INSIDE[kind].get(number)
            if inner is None:
                kept += self._bytes(begin, place + length)
            else:
                of_kind = self._tensor if inner is TensorProto else functools.partial(self.message, inner)
                content = of_kind(place, place + length)
                kept += opening(number, len(content)) + content
            begin = place + length
        return bytes(kept)

    def _tensor(self, start: int, end: int) -> bytes:
        kept, begin, raw = bytearray(), start, (0, 0)
        for number, length in fields(self.file, start, end):
            place = self.file.tell()
            if number == _RAW_DATA and length >= LARGE:
                raw = (place, length)
            else:
                kept += self._bytes(begin, place + length)
            begin = place + length
        tensor = TensorProto.FromString(bytes(kept))
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor = self._mapped(tensor, *self._place_beside(tensor))
        elif raw[1]:
            tensor = self._mapped(tensor, self.path, *raw)
        return tensor.SerializeToString()

    def _bytes(self, start: int, end: int) -> bytes:
        self.file.seek(start)
        return self.file.read(end - start)

    def _place_beside(self, tensor: TensorProto) -> tuple[Path, int, int]:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        place, length = (
            int(text) if (text := entries.get(key, "")).isdecimal() else -1 for key in ("offset", "length")
        )
        known = self.external is not None and entries.get("location") == self.external.file
        if self.external is None or not known or min(place, length) < 0 or place + length > self.external.bytes:
            raise ArtefactError(
                f"{self.path} looks for the weights {tensor.name} in {entries}, where its manifest knows of none. "
                "Export the model again."
            )
        return self.path.with_name(self.external.file), place, length

    def _mapped(self, tensor: TensorProto, path: Path, place: int, length: int) -> TensorProto:
        try:
            dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        except KeyError:
            raise DamagedError from None
        shape = tuple(tensor.dims)
        if math.prod(shape) * dtype.itemsize != length:
            raise DamagedError

        def read() -> np.ndarray:
            stored = dtype.newbyteorder("<")
            return np.asarray(np.memmap(path, stored, "r", place, shape)) if length else np.zeros(shape, dtype)

        return self.weights.hollow(tensor.name, dtype, shape, read)
