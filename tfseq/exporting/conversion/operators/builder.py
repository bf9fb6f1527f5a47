"""Builder: writes the ONNX nodes that replace one TensorFlow node."""

from typing import Any

import numpy as np
from tf2onnx import utils


class Builder:
    """Writes nodes into a graph of tf2onnx's.

    Args:
        graph: a `tf2onnx.graph.Graph`.
        node: the node to replace.
        domain: of the nodes that are written.
    """

    def __init__(self, graph: Any, node: Any, domain: str = ""):
        self.graph, self.node, self.domain = graph, node, domain

    def __call__(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Adds a node and gives its output's name. Inputs are names or NumPy arrays."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        name = utils.make_name(self.node.name)
        made = self.graph.make_node(operator, names, attr=attributes, name=name, domain=self.domain)
        made.skip_conversion = True
        return made.output[0]

    def reduce(self, operator: str, x: str, *axes: int, keep: bool = False) -> str:
        """ReduceMax, ReduceProd and the like, which take their axes as an input from opset 18 on."""
        if self.graph.opset < 18:
            return self(operator, x, axes=list(axes), keepdims=int(keep))
        return self(operator, x, np.array(axes), keepdims=int(keep))

    def constant(self, value: Any) -> str:
        return self.graph.make_const(utils.make_name(f"{self.node.name}/constant"), np.asarray(value)).output[0]

    def like(self, value: float, name: str) -> str:
        """A scalar of the dtype of the tensor `name`."""
        return self.constant(np.asarray(value, utils.map_onnx_to_numpy_type(self.graph.get_dtype(name))))

    def shape(self, name: str) -> list[int | None] | None:
        """The sizes of a tensor, None for one that is not known; or None for a tensor of unknown rank."""
        shape = self.graph.get_shape(name)
        return None if shape is None else [None if size is None or size < 0 else int(size) for size in shape]

    def value(self, name: str) -> np.ndarray | None:
        """Of a constant; None for other tensors."""
        made = self.graph.get_node_by_output(name)
        return made.get_tensor_value(as_list=False) if made is not None and made.is_const() else None

    def finish(self, result: str, output: int = 0) -> None:
        """Puts `result` in the place of the node, whose other outputs nobody may read."""
        graph, node = self.graph, self.node
        replaced = node.output[output]
        shape, dtype = graph.get_shape(replaced), graph.get_dtype(replaced)
        graph.remove_node(node.name)
        graph.make_node("Identity", [result], name=node.name, outputs=[replaced], shapes=[shape], dtypes=[dtype])
