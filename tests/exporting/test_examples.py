"""Models as users write them go through `tfseq.export` with its defaults, and come out equal, named and lean."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tf2onnx")

import tfseq
from tests.exporting.examples import EXAMPLES, Example
from tests.exporting.examples.recurrent import stateful_meter

SIZES = ((1, 1), (1, 9), (3, 13))  # batch and time


@pytest.fixture(params=EXAMPLES.values(), ids=EXAMPLES, scope="module")
def exported(request, tmp_path_factory):
    """The example, its Keras model with weights as after training, and its file."""
    return export(request.param, tmp_path_factory.mktemp(request.param.name) / "model.onnx")


def export(example: Example, path):
    keras.utils.set_random_seed(1)
    model = example.build()
    train(model)
    samples = [example.draw(2, 6)] if example.given == "arguments" else []
    return example, model, tfseq.export(model, path, samples=samples), path


def train(model):
    """Takes the zeros and ones of a fresh model away, which would hide what is forgotten."""
    random = np.random.default_rng(2)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype) and not np.std(weight):
            change = random.normal(scale=0.05, size=weight.shape)
            weight.assign(weight + (np.abs(change) if "variance" in weight.path else change))


def test_passes_its_parity(exported):
    _, _, manifest, _ = exported
    assert manifest.parity["passed"]


def test_gives_what_keras_gives_on_inputs_as_they_come(exported):
    example, model, _, path = exported
    loaded = tfseq.runtime.load(path)
    for batch, time in SIZES:
        feeds = example.draw(batch, max(time, example.shortest))
        got, expected = loaded.predict(**feeds), example.call(model, feeds)
        got = list(got.values()) if isinstance(got, dict) else [got]
        for ours, theirs in zip(got, expected.values(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=1e-4)


def test_keeps_names_and_names_axes(exported):
    example, model, manifest, _ = exported
    assert [spec.name for spec in manifest.inputs] == list(example.inputs)
    assert [spec.name for spec in manifest.outputs] == list(example.outputs or _output_names(model))
    small, large = example.draw(2, 19), example.draw(3, 23)
    for spec in manifest.inputs:
        sizes = zip(small[spec.name].shape, large[spec.name].shape, strict=True)
        free = [axis for axis, (a, b) in enumerate(sizes) if a != b]
        assert [axis for axis, size in enumerate(spec.shape) if isinstance(size, str)] == free
        assert spec.shape[0] == "batch"
        assert all(spec.shape[axis].endswith("time") for axis in free[1:])
    assert all(spec.shape[:1] == ("batch",) for spec in manifest.outputs)


def test_has_no_loop_it_does_not_need(exported):
    example, _, manifest, _ = exported
    assert ("Loop" in manifest.operators) == bool(example.loop)


def test_a_stateful_model_reads_on_where_it_stopped(tmp_path):
    model = stateful_meter()
    train(model)
    manifest = tfseq.export(model, tmp_path / "model.onnx")
    assert len(manifest.states) == 3
    stream = tfseq.runtime.load(tmp_path / "model.onnx").stream()
    readings = np.random.default_rng(0).normal(size=(2, 12, 3)).astype("float32")
    for chunk in np.split(readings, [1, 6, 8], axis=1):
        np.testing.assert_allclose(stream.predict(chunk), model(chunk), atol=1e-5)


def _output_names(model):
    return [model.layers[-1].name] if isinstance(model, keras.Sequential) else model.output_names
