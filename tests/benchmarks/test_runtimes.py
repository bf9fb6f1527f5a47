"""benchmarks.runtimes: other results, failures and processes that end are told apart, file by file."""

import json
import sys

import numpy as np
import onnxruntime
import pytest

from benchmarks import runtimes
from benchmarks.harness.run_recordings import in_onnxruntime, packed, unpacked
from benchmarks.harness.runtime_files import recorded

RIGHT = {"numbers": np.float32([[1, 2000]]), "tokens": np.int32(7)}


def recording(kind="generates, greedy: attention, opset 23"):
    return {"file": "/folder/model.onnx", "kind": kind, "calls": [{"feeds": {}, "outputs": packed(RIGHT)}]}


def test_arrays_are_packed_with_their_shapes():
    arrays = {"a": np.float32([[1, -2, 3]]).T, "b": np.array(5), "c": np.zeros((0, 3), bool)}
    for name, array in unpacked(json.loads(json.dumps(packed(arrays)))).items():
        assert array.dtype == arrays[name].dtype
        assert array.shape == arrays[name].shape
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({}, ""),
        ({"numbers": np.float32([[1.0005, 2001]])}, ""),
        ({"numbers": np.float32([[1.01, 2000]])}, "other tokens"),
        ({"numbers": np.float32([[1, np.nan]])}, "other tokens"),
        ({"numbers": np.float32([1, 2000])}, "other tokens"),
        ({"tokens": np.int32(8)}, "other tokens"),
    ],
)
def test_tokens_are_equal_and_numbers_close(changed, verdict):
    assert runtimes.judged(recording(), {"outputs": [packed(RIGHT | changed)]}) == verdict
    of_arrays = runtimes.judged(recording("whole sequences: attention"), {"outputs": [packed(RIGHT | changed)]})
    assert of_arrays == verdict.replace("tokens", "numbers")


def test_a_message_is_cut_down_to_what_is_wrong():
    noise = "/src/model.cc:179 Model::Model(onnx::ModelProto&&) " * 9
    assert runtimes.reason(f"{noise} Unsupported model IR version: 11, max 9") == "Unsupported model IR version: 11"
    assert runtimes.reason(f"{noise}there is no such thing").endswith("there is no such thing")
    assert len(runtimes.reason(noise)) <= 120


def test_a_process_that_a_file_ends_goes_on_with_the_next():
    code = "import sys\nfor path in sys.argv[1:]: sys.exit('b is too much') if path == 'b' else print('{}', flush=True)"
    answers = list(runtimes.in_processes([sys.executable, "-c", code], ["a", "b", "c"]))
    assert answers == [{}, {"error": "b is too much"}, {}]


def test_a_row_says_how_many_files_of_a_kind_run_and_why_not():
    table = runtimes.table(["b", "a", "b"], {"onnxruntime==1.20.1": ["", "", "fails: x"], "Node": ["", "fails: x", ""]})
    assert table.split("\n") == [
        "| kind of file | files | ONNX Runtime 1.20.1 | Node |",
        "|---|---|---|---|",
        "| a | 1 | yes | no (1) |",
        "| b | 2 | 1 of 2 (1) | yes |",
        "",
        "1. fails: x",
    ]


@pytest.mark.filterwarnings("ignore::tfseq.runtime.UnknownCharacterWarning")
def test_a_recording_has_what_the_graph_was_given(counter):
    found = recorded(counter)
    assert found["kind"] == "generates, sample: recurrent layers, opset 18"
    session = onnxruntime.InferenceSession(counter)
    for call in found["calls"]:
        feeds, outputs = unpacked(call["feeds"]), unpacked(call["outputs"])
        for name, array in zip(outputs, session.run(list(outputs), feeds)):
            assert np.array_equal(outputs[name], array)
        again = in_onnxruntime(str(counter))(feeds)
        assert np.array_equal(again["tokens"], outputs["tokens"])
    assert len({call["outputs"]["tokens"]["bytes"] for call in found["calls"]}) == 3
