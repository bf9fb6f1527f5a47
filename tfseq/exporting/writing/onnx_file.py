"""`OnnxFile`: a graph and its weights written to one file, or to a file and one of weights beside it, without a copy.

A serialized message would hold all weights once more in memory, and a protobuf message ends at 2 GB. So the fields of
the file are written one by one, the weights from the memory in which the model has them. The manifest comes last: it is
written again when the file has been proven, and the weights are not.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto

import tfseq
from tfseq.exporting.rewriting.weights import Weights, hollow_tensors, is_hollow, size
from tfseq.runtime.external_data import ExternalData

LARGEST_FILE = 2**31 - 1  # of protobuf
PAGE = 2**16  # weights beside the file begin at multiples of it, so that every system can map them into memory
_CHUNK = 2**24  # bytes that are copied at a time


class OnnxFile:
    """An ONNX file that is being made.

    Args:
        path: to write to.
        weights: the values of the graph's hollow tensors.
        external: whether these go into a file beside it.

    Attributes:
        data: that file, NAME.onnx.data; None if there is none.
    """

    def __init__(self, path: Path, weights: Weights, external: bool):
        self.path, self._weights = path, weights
        self.data = path.with_name(f"{path.name}.data") if external else None
        self._described_at = 0
        self._external_data: ExternalData | None = None
        self._places: list[tuple[TensorProto, Path, int]] = []

    def write(self, model: ModelProto) -> ExternalData | None:
        """Writes all but the manifest; returns what that says of a file beside it, if there is one.

        A graph with the same weights can be written again: a file beside it stays as it is.
        """
        if self.data and self._external_data is None:
            self._external_data = self._write_data(model.graph)
        if not self.data:
            self._places = []
        with self.path.open("wb") as file:
            head = ModelProto()
            head.CopyFrom(_without_weights(model))
            graph = GraphProto()
            graph.CopyFrom(head.graph)
            head.ClearField("graph")
            head.producer_name, head.producer_version = "tfseq", tfseq.__version__
            file.write(head.SerializeToString())
            if self.data:
                graph.initializer.extend(self._placed())
                _write_field(file, _GRAPH, graph.SerializeToString())
            else:
                self._write_graph(file, graph, list(hollow_tensors(model.graph)))
            self._described_at = file.tell()
        return self._external_data

    def describe(self, metadata: Mapping[str, str]) -> None:
        """Writes the metadata, in place of what stands there."""
        model = ModelProto()
        onnx.helper.set_model_props(model, dict(metadata))
        with self.path.open("r+b") as file:
            file.truncate(self._described_at)
            file.seek(self._described_at)
            file.write(model.SerializeToString())

    def remove(self) -> None:
        for path in (self.path, self.data):
            if path is not None:
                path.unlink(missing_ok=True)

    def holds_its_weights(self) -> bool:
        """Reads the weights back, and says whether they are those of the model."""
        for tensor, path, place in self._places:
            with path.open("rb") as file:
                file.seek(place)
                if any(file.read(len(chunk)) != chunk for chunk in _chunks(self._weights.array(tensor))):
                    return False
        return True

    def _write_graph(self, file: BinaryIO, graph: GraphProto, weights: list[TensorProto]) -> None:
        """The graph's message, its weights behind all else that is in it."""
        rest = graph.SerializeToString()
        heads = [_head(tensor) for tensor in weights]
        lengths = [len(head) + size(tensor) for head, tensor in zip(heads, weights)]
        file.write(_tag(_GRAPH) + _varint(len(rest) + sum(len(_tag(_INITIALIZER) + _varint(n)) + n for n in lengths)))
        file.write(rest)
        for tensor, head, length in zip(weights, heads, lengths):
            file.write(_tag(_INITIALIZER) + _varint(length) + head)
            self._places.append((tensor, self.path, file.tell()))
            for chunk in _chunks(self._weights.array(tensor)):
                file.write(chunk)

    def _write_data(self, graph: GraphProto) -> ExternalData:
        assert self.data is not None
        digest = hashlib.sha256()
        with self.data.open("wb") as file:
            for tensor in hollow_tensors(graph):
                padding = bytes(-file.tell() % PAGE)
                file.write(padding)
                digest.update(padding)
                self._places.append((tensor, self.data, file.tell()))
                for chunk in _chunks(self._weights.array(tensor)):
                    file.write(chunk)
                    digest.update(chunk)
            return ExternalData(self.data.name, file.tell(), digest.hexdigest())

    def _placed(self) -> Iterator[TensorProto]:
        """The tensors, which say where in the file beside it their values are."""
        for tensor, path, place in self._places:
            placed = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            placed.data_location = TensorProto.EXTERNAL
            for key, value in (("location", path.name), ("offset", place), ("length", size(tensor))):
                placed.external_data.add(key=key, value=str(value))
            yield placed


def weights_size(model: ModelProto) -> int:
    """Of a graph's hollow tensors, in bytes."""
    return sum(size(tensor) for tensor in hollow_tensors(model.graph))


def _without_weights(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    kept = [tensor for tensor in copy.graph.initializer if not is_hollow(tensor)]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    del copy.metadata_props[:]
    return copy


# Protobuf's wire format: a field is a tag, which is its number and kind, the length of its content, and the content.
_GRAPH = ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER = GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_LENGTH_DELIMITED = 2


def _head(tensor: TensorProto) -> bytes:
    """A tensor's message up to where its values begin."""
    head = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return head.SerializeToString() + _tag(_RAW_DATA) + _varint(size(tensor))


def _write_field(file: BinaryIO, number: int, content: bytes) -> None:
    file.write(_tag(number) + _varint(len(content)) + content)


def _tag(number: int) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED)


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _chunks(array: np.ndarray) -> Iterator[memoryview]:
    """The values in C order, little-endian, some at a time."""
    rows = array.reshape(1) if not array.ndim else array
    step = max(1, _CHUNK * len(rows) // max(rows.nbytes, 1))
    for first in range(0, len(rows), step):
        chunk = np.ascontiguousarray(rows[first : first + step])
        yield chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).reshape(-1).view("uint8").data
