"""`OnnxFile`: a graph and its weights written to one file, or to a file and one of weights beside it, without a copy.

A serialized message would hold all weights once more in memory, and a protobuf message ends at 2 GB. So the fields of
the file are written one by one, the weights from the memory in which the model has them. The manifest comes last: it is
written again when the file has been proven, and the weights are not.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

import tfseq
from tfseq.exporting.rewriting.graph import subgraphs
from tfseq.exporting.rewriting.weights import INT4, Weights, content, hollow_tensors, is_hollow, packed, size
from tfseq.exporting.writing.wire_format import opening
from tfseq.runtime.external_data import ExternalData

LARGEST_FILE = 2**31 - 1  # of protobuf
PAGE = 2**16  # weights beside the file begin at multiples of it, so that every system can map them into memory
_CHUNK = 2**24  # bytes that are copied at a time
_ROOM_FOR_MANIFEST = 2**24  # tokenizers are in it


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
            head.CopyFrom(model)
            head.ClearField("graph")
            head.ClearField("metadata_props")
            head.producer_name, head.producer_version = "tfseq", tfseq.__version__
            file.write(head.SerializeToString())
            graph = [self._placed(model.graph).SerializeToString()] if self.data else _graph_pieces(model.graph)
            for piece in _field(_GRAPH, graph):
                if isinstance(piece, bytes):
                    file.write(piece)
                else:
                    self._places.append((piece, self.path, file.tell()))
                    file.writelines(_chunks(self._weights.array(piece)))
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

    def _write_data(self, graph: GraphProto) -> ExternalData:
        """Tensors of the same values share their place."""
        assert self.data is not None
        digest = hashlib.sha256()
        places: dict[bytes | str, int] = {}
        with self.data.open("wb") as file:
            for tensor in hollow_tensors(graph):
                key = content(tensor)
                if key not in places:
                    padding = bytes(-file.tell() % PAGE)
                    file.write(padding)
                    digest.update(padding)
                    places[key] = file.tell()
                    for chunk in _chunks(self._weights.array(tensor)):
                        file.write(chunk)
                        digest.update(chunk)
                self._places.append((tensor, self.data, places[key]))
            return ExternalData(self.data.name, file.tell(), digest.hexdigest())

    def _placed(self, graph: GraphProto) -> GraphProto:
        """A copy whose tensors say where in the file beside it their values are."""
        copy = GraphProto()
        copy.CopyFrom(graph)
        for tensor, (_, path, place) in zip(list(hollow_tensors(copy)), self._places, strict=True):
            del tensor.external_data[:]
            for key, value in (("location", path.name), ("offset", place), ("length", size(tensor))):
                tensor.external_data.add(key=key, value=str(value))
        return copy


def weights_size(model: ModelProto) -> int:
    """Of a graph's hollow tensors, in bytes."""
    return sum(size(tensor) for tensor in hollow_tensors(model.graph))


def fits_in_one_file(model: ModelProto) -> bool:
    """Whether protobuf's 2 GB have room for the graph, its weights and a manifest."""
    return weights_size(model) + model.ByteSize() + _ROOM_FOR_MANIFEST <= LARGEST_FILE


_GRAPH = ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_NODE = GraphProto.DESCRIPTOR.fields_by_name["node"].number
_INITIALIZER = GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_ATTRIBUTE = NodeProto.DESCRIPTOR.fields_by_name["attribute"].number
_SUBGRAPH = AttributeProto.DESCRIPTOR.fields_by_name["g"].number
_RAW_DATA = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number

Pieces = list[bytes | TensorProto]  # of a message: a tensor stands for its values


def _graph_pieces(graph: GraphProto) -> Pieces:
    """The graph's message, its own weights behind all else that is in it."""
    rest = GraphProto()
    rest.CopyFrom(graph)
    del rest.node[:], rest.initializer[:]
    rest.initializer.extend(tensor for tensor in graph.initializer if not is_hollow(tensor))
    pieces: Pieces = [rest.SerializeToString()]
    for node in graph.node:
        pieces += _field(_NODE, _node_pieces(node))
    for tensor in filter(is_hollow, graph.initializer):
        pieces += _field(_INITIALIZER, [_head(tensor), tensor])
    return pieces


def _node_pieces(node: NodeProto) -> Pieces:
    if not any(True for graph in subgraphs(node) for _ in hollow_tensors(graph)):
        return [node.SerializeToString()]
    rest = NodeProto()
    rest.CopyFrom(node)
    del rest.attribute[:]
    rest.attribute.extend(a for a in node.attribute if a.type != AttributeProto.GRAPH)
    pieces: Pieces = [rest.SerializeToString()]
    for attribute in (a for a in node.attribute if a.type == AttributeProto.GRAPH):
        head = AttributeProto(name=attribute.name, type=attribute.type).SerializeToString()
        pieces += _field(_ATTRIBUTE, [head, *_field(_SUBGRAPH, _graph_pieces(attribute.g))])
    return pieces


def _field(number: int, content: Pieces) -> Pieces:
    length = sum(len(piece) if isinstance(piece, bytes) else size(piece) for piece in content)
    return [opening(number, length), *content]


def _head(tensor: TensorProto) -> bytes:
    """A tensor's message up to where its values begin."""
    head = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return head.SerializeToString() + opening(_RAW_DATA, size(tensor))


def _chunks(array: np.ndarray) -> Iterator[memoryview]:
    """The values in C order, little-endian, some at a time; of four bits, two to a byte."""
    if array.dtype == INT4:
        flat = array.reshape(-1)
        yield from (packed(flat[first : first + _CHUNK]).data for first in range(0, flat.size, _CHUNK))
        return
    rows = array.reshape(1) if not array.ndim else array
    step = max(1, _CHUNK * len(rows) // max(rows.nbytes, 1))
    for first in range(0, len(rows), step):
        chunk = np.ascontiguousarray(rows[first : first + step])
        yield chunk.astype(chunk.dtype.newbyteorder("<"), copy=False).reshape(-1).view("uint8").data
