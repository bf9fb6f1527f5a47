"""Runs recordings in the runtime of this environment: `python run_recordings.py onnxruntime|openvino PATHS`.

A recording is a JSON file of `benchmarks/harness/runtime_files.py`. This module imports nothing of ours, as it runs in
environments of old runtimes, too. It prints a line of JSON for each recording: its outputs, or why there are none.
"""

import base64
import json
import sys
from collections.abc import Callable

import numpy as np

Arrays = dict[str, np.ndarray]


def unpacked(arrays: dict) -> Arrays:
    return {
        name: np.frombuffer(bytearray(base64.b64decode(a["bytes"])), a["dtype"]).reshape(a["shape"])
        for name, a in arrays.items()
    }


def packed(arrays: Arrays) -> dict:
    return {name: _packed(np.asarray(array)) for name, array in arrays.items()}


def _packed(array: np.ndarray) -> dict:
    content = base64.b64encode(array.tobytes()).decode()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "bytes": content}


def in_onnxruntime(path: str) -> Callable[[Arrays], Arrays]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds)))


def in_openvino(path: str) -> Callable[[Arrays], Arrays]:
    import openvino  # type: ignore[import-not-found]

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [sorted(output.get_names()) for output in model.outputs]

    def run(feeds: Arrays) -> Arrays:
        results = model(feeds)
        return {name: results[i] for i, names_of_one in enumerate(names) for name in names_of_one}

    return run


def main() -> None:
    opener = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}[sys.argv[1]]
    for path in sys.argv[2:]:
        with open(path) as file:
            recording = json.load(file)
        try:
            run = opener(recording["file"])
            answer: dict = {"outputs": [packed(run(unpacked(call["feeds"]))) for call in recording["calls"]]}
        except Exception as error:
            answer = {"error": " ".join(str(error).split())}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
