"""`graph_run`: a graph run by ONNX Runtime before its file is done, on the model's own weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tfseq.errors import ExportError
from tfseq.exporting.rewriting.weights import Weights, hollow_tensors
from tfseq.exporting.signatures.signature import Run
from tfseq.exporting.writing.onnx_file import OnnxFile
from tfseq.runtime.session import thread_count


def graph_run(model: onnx.ModelProto, weights: Weights, proof: OnnxFile | None = None) -> Run:
    """Runs the graph.

    Args:
        proof: of large weights, a file with these beside it, to open. ONNX Runtime then computes with the memory that
            the model has them in, and reads in the file only what it wants to know of them when it optimizes the graph;
            it does not copy them into the layout of its products. None has it copy them.

    Raises:
        ExportError: ONNX Runtime refuses the graph.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.intra_op_num_threads = thread_count(None)
    held = {tensor.name: np.ascontiguousarray(weights.array(tensor)) for tensor in hollow_tensors(model.graph)}
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in held.values()]
    source: Any
    if proof is not None:
        proof.write(model)
        source = proof.path
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
        for name, value in zip(held, values):
            options.add_initializer(name, value)
    else:
        source = model.SerializeToString()
        options.add_external_initializers(list(held), values)
    try:
        session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ExportError(f"The model converts, but ONNX Runtime refuses the graph: {reason}") from error
    names = [node.name for node in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
        assert len(held) == len(values)  # held for as long as the session is
        return dict(zip(names, session.run(None, dict(feeds)), strict=True))

    return run
