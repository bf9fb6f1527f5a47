"""A short soak: calls from several threads are answered as alone, and memory stays flat; what fails is seen."""

import itertools
import warnings

import numpy as np
import pytest

from benchmarks.soak import Call, calls, loads_and_drops, soak, table

PREDICTORS = ("frame_classification/model.step.onnx", "text_classification/model.onnx", "forecasting/model.onnx")
GENERATORS = ("seq2seq/model.onnx", "delayed_answer/model.onnx", "image_naming/model.onnx")


@pytest.mark.parametrize(("files", "count"), [(PREDICTORS, 3000), (GENERATORS, 400)])
def test_calls_from_several_threads_are_answered_as_alone(files, count):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # characters that the models never saw
        found = soak("calls", calls(files), count)
    assert (found.wrong, found.errors) == (0, [])
    assert found.rise < 30  # megabytes; pools of threads are still growing


def test_files_that_are_dropped_leave_nothing():
    found = loads_and_drops([*PREDICTORS[:2], *GENERATORS[:1]], 15)
    assert found.rise < 30


def test_wrong_answers_errors_and_a_leak_are_found():
    kept, numbers = [], itertools.count()

    def leak():
        kept.append(np.ones(10_000))
        return 1

    def fail():
        raise KeyError("lost")

    assert soak("right", [Call(lambda: 1, 1)], 1000).held_out
    assert not soak("leak", [Call(leak, 1)], 1000).held_out
    wrong = soak("wrong", [Call(lambda: next(numbers) < 990, True)], 1000, threads=3)
    assert wrong.wrong == 10
    assert not wrong.held_out
    assert soak("errors", [Call(fail, 1)], 5).errors == ["KeyError: 'lost'"] * 5
    assert "FAILED" in table([wrong])
