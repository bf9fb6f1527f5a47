"""`Stream`: states are kept from chunk to chunk, and files that have states say so where they are missing."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import Manifest, TensorSpec, load
from tfseq.runtime.chunk_stream import Stream
from tfseq.runtime.manifest import StateSpec

MANIFEST = Manifest(
    name="sums",
    task="predict",
    inputs=(TensorSpec("x", "float32", ("batch", "time")), TensorSpec("sum", "float32", ("batch", 1))),
    outputs=(TensorSpec("sums", "float32", ("batch", "time")), TensorSpec("sum_next", "float32", ("batch", 1))),
    operators={"CumSum": 1},
    opset=18,
    states=(StateSpec("sum", "sum_next", [100.0]),),
)


def running_sums(feeds):
    sums = feeds["sum"] + np.cumsum(feeds["x"], axis=1)
    return {"sums": sums, "sum_next": sums[:, -1:]}


@pytest.fixture
def stream():
    return Stream(MANIFEST, running_sums)


def test_states_are_kept_from_chunk_to_chunk(stream):
    assert stream.predict([[1, 2]]).tolist() == [[101, 103]]
    assert stream.predict(x=[[3]]).tolist() == [[106]]


def test_reset_begins_a_sequence(stream):
    stream.predict([[1], [2]])
    stream.reset()
    assert stream.predict([[1]]).tolist() == [[101]]


def test_states_can_be_taken_and_put_back(stream):
    stream.predict([[1]])
    before = dict(stream.states)
    stream.predict([[5]])
    stream.states = before
    assert stream.predict([[2]]).tolist() == [[103]]


def test_a_chunk_that_fails_leaves_the_states(stream):
    stream.predict([[1]])
    with pytest.raises(InputError, match="2 rows, and the stream 1"):
        stream.predict([[1], [2]])
    with pytest.raises(InputError, match="There is no input 'sum'"):
        stream.predict([[1]], sum=[[0]])
    assert stream.predict([[1]]).tolist() == [[102]]


def test_a_file_that_keeps_states_says_that_it_is_read_by_a_stream(accumulator):
    model = load(accumulator)
    advice = r"accumulator\.onnx reads a sequence chunk by chunk, .*\(missing: sum\); call stream\(\)"
    for call in (model.predict, model.classify):
        with pytest.raises(InputError, match=advice):
            call([[1.0, 2.0]])
    with pytest.raises(InputError, match=advice):
        model.run({"x": [[1.0, 2.0]]})
    stream = model.stream()
    assert [stream.predict(chunk).tolist() for chunk in ([[1.0, 2.0]], [[3.0]])] == [[[1, 3]], [[6]]]


def test_who_keeps_the_states_gives_them_to_predict(accumulator):
    outputs = load(accumulator).predict([[1.0, 2.0]], sum=[[5.0]])
    assert {name: array.tolist() for name, array in outputs.items()} == {"sums": [[6, 8]], "sum_next": [[8]]}


def test_a_file_of_one_decode_step_says_that_it_streams_text(summer):
    with pytest.raises(InputError, match=r"summer\.onnx generates step by step, .*missing: history.*call stream_text"):
        load(summer).predict([1], 0, 0, 0)


def test_states_survive_json():
    assert Manifest.from_json(MANIFEST.to_json()).states == MANIFEST.states
    assert MANIFEST.to_json()["states"] == [{"input": "sum", "output": "sum_next", "initial": [100.0]}]
    with pytest.raises(ArtefactError, match=r"states\[0\] is .*expected an object with output, initial"):
        Manifest.from_json(MANIFEST.to_json() | {"states": [{"input": "sum"}]})


def test_chunks_of_several_threads_are_read_one_behind_the_other(stream):
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda _: float(stream.predict([[1, 2]])[0, -1]), range(400)))
    assert sorted(ends) == [100.0 + 3 * (i + 1) for i in range(400)]
