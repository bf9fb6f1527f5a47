"""Large weights outside of their graph: hollow tensors, which have a type and a shape, and where their values are.

A conversion and its rewrites copy the graph many times, and what is in it. So the graph holds hollow tensors, and the
values, which are the model's own memory, are read when the file is written.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from tfseq.exporting.rewriting.graph import all_graphs

INT4 = helper.tensor_dtype_to_np_dtype(TensorProto.INT4)  # a byte each in NumPy, half a byte in a file


class Weights:
    """The values of the hollow tensors of one graph."""

    def __init__(self) -> None:
        self._readers: dict[str, Callable[[], np.ndarray]] = {}

    def hollow(self, name: str, dtype: np.dtype, shape: tuple[int, ...], read: Callable[[], np.ndarray]) -> TensorProto:
        """A tensor without values.

        Args:
            read: gives the values, of that type and shape; each time that they are needed, so that none are kept.
        """
        key = str(len(self._readers))
        self._readers[key] = read
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=key)
        return tensor

    def array(self, tensor: TensorProto) -> np.ndarray:
        """The values of a tensor, hollow or not."""
        return self._readers[_key(tensor)]() if is_hollow(tensor) else numpy_helper.to_array(tensor)

    def changed(self, tensor: TensorProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> TensorProto:
        """Another layout of a tensor's values; hollow if the tensor is."""
        if not is_hollow(tensor):
            return numpy_helper.from_array(np.ascontiguousarray(change(numpy_helper.to_array(tensor))), name)
        read = self._readers[_key(tensor)]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        shape = change(np.broadcast_to(np.zeros((), dtype), tuple(tensor.dims))).shape
        return self.hollow(name, dtype, shape, lambda: change(read()))

    def fill(self, model: ModelProto) -> ModelProto:
        """Puts the values into the graph; returns it."""
        for tensor in hollow_tensors(model.graph):
            values = np.ascontiguousarray(self.array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model


def is_hollow(tensor: TensorProto) -> bool:
    return tensor.data_location == TensorProto.EXTERNAL


def content(tensor: TensorProto) -> bytes | str:
    """Equal for tensors of one type and shape only if their values are."""
    return _key(tensor) if is_hollow(tensor) else tensor.raw_data or numpy_helper.to_array(tensor).tobytes()


def hollow_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    return (tensor for g in all_graphs(graph) for tensor in g.initializer if is_hollow(tensor))


def size(tensor: TensorProto) -> int:
    """Of the values, in bytes."""
    count, dtype = math.prod(tensor.dims), helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return (count + 1) // 2 if dtype == INT4 else count * dtype.itemsize


def packed(values: np.ndarray) -> np.ndarray:
    """Integers of four bits two to a byte, the first in the lower half, as ONNX stores them."""
    bits = values.reshape(-1).astype(np.int8).view(np.uint8) & 0x0F
    if bits.size % 2:
        bits = np.append(bits, np.uint8(0))
    return bits[0::2] | bits[1::2] << 4


def weights_as_inputs(model: ModelProto) -> ModelProto:
    """A copy of the graph whose hollow tensors are inputs, as which ONNX's checker takes them without values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    hollow = list(hollow_tensors(copy.graph))
    given = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in hollow]
    names = {tensor.name for tensor in hollow}
    for graph in all_graphs(copy.graph):
        kept = [tensor for tensor in graph.initializer if tensor.name not in names]
        del graph.initializer[:]
        graph.initializer.extend(kept)
    copy.graph.input.extend(given)
    return copy


def _key(tensor: TensorProto) -> str:
    return next(entry.value for entry in tensor.external_data if entry.key == "location")
