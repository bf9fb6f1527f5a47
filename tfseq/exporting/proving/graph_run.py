"""`graph_run`: a graph run by ONNX Runtime before it is a file, on the model's own weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tfseq.errors import ExportError
from tfseq.exporting.rewriting.weights import Weights, hollow_tensors
from tfseq.exporting.signatures.signature import Run
from tfseq.runtime.session import thread_count


def graph_run(model: onnx.ModelProto, weights: Weights, sparing: bool = False) -> Run:
    """Runs the graph, which shares the memory of the weights that are in its layout.

    Args:
        sparing: of memory: ONNX Runtime does not copy the weights into the layout of its products.

    Raises:
        ExportError: ONNX Runtime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.intra_op_num_threads = thread_count(None)
    if sparing:
        options.add_session_config_entry("session.disable_prepacking", "1")
    held = {tensor.name: np.ascontiguousarray(weights.array(tensor)) for tensor in hollow_tensors(model.graph)}
    given = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in held.values()]
    if held:
        options.add_external_initializers(list(held), given)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(
            f"The model converts, but ONNX Runtime refuses the graph: {str(error).splitlines()[0]}"
        ) from error
    names = [node.name for node in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
        assert len(held) == len(given)  # held for as long as the session is
        return dict(zip(names, session.run(None, dict(feeds)), strict=True))

    return run
