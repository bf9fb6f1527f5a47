"""The large float32 weights of a graph and the smaller forms that replace them: what int8 and float16 files share."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from tfseq.exporting.rewriting import all_graphs

SMALLEST = 1024  # values in a weight that is worth quantizing


@dataclasses.dataclass(frozen=True)
class Weights:
    """What became of a graph's weights, as counts of their values.

    Attributes:
        multiplied: quantized, and multiplied as int8.
        stored: quantized in the file only, and dequantized to float32 to compute.
        kept: in float32, as too small to be worth it.
    """

    multiplied: int
    stored: int
    kept: int


class WeightStore:
    """The large float32 constants of a graph and its subgraphs, moved to the outermost graph.

    Attributes:
        before: nodes to put in front of the graph's.
    """

    def __init__(self, graph: GraphProto):
        self.graph = graph
        self.before: list[NodeProto] = []
        self._stored: set[str] = set()
        self._multiplied: set[str] = set()
        found = {}
        for g in all_graphs(graph):
            outputs = {output.name for output in g.output}
            for tensor in list(g.initializer):
                if _worthwhile(tensor) and tensor.name not in outputs:
                    found[tensor.name] = tensor
                    if g is not graph:
                        graph.initializer.append(tensor)
                        g.initializer.remove(tensor)
        self._values = {name: numpy_helper.to_array(tensor) for name, tensor in found.items()}
        floats = [t for g in all_graphs(graph) for t in g.initializer if t.data_type == TensorProto.FLOAT]
        self._count = sum(int(np.prod(t.dims)) for t in floats)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> np.ndarray:
        return self._values[name]

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        return iter(self._values.items())

    def store(self, name: str, stored_as: str, values: np.ndarray, multiplied: bool = False) -> None:
        """Adds the quantized form of a weight."""
        self.constant(stored_as, values)
        (self._multiplied if multiplied else self._stored).add(name)

    def constant(self, name: str, values: np.ndarray) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def finish(self) -> Weights:
        """Puts the nodes in place and drops the float32 weights that have a quantized form."""
        quantized = self._stored | self._multiplied
        kept = [t for t in self.graph.initializer if t.name not in quantized]
        nodes = [*self.before, *self.graph.node]
        del self.graph.initializer[:], self.graph.node[:]
        self.graph.initializer.extend(kept)
        self.graph.node.extend(nodes)
        multiplied, stored = (sum(self._values[n].size for n in names) for names in (self._multiplied, self._stored))
        return Weights(multiplied, stored, self._count - multiplied - stored)


def _worthwhile(tensor: TensorProto) -> bool:
    return (
        tensor.data_type == TensorProto.FLOAT
        and int(np.prod(tensor.dims)) >= SMALLEST
        and sum(size > 1 for size in tensor.dims) > 1
        and bool(np.isfinite(numpy_helper.to_array(tensor)).all())  # -inf forbids a token
    )
