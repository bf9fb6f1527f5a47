"""`verify` and its report: what passes and what fails, and how errors are measured."""

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import tfseq
from tfseq.errors import ArtefactError, ExportError
from tfseq.exporting import export, verify
from tfseq.exporting.proving.report import NumberCheck, ParityReport, TokenCheck, WorstError
from tfseq.models import ConvolutionalClassifier, RecurrentLanguageModel


def language_model(vocabulary_size=9, seed=0):
    keras.utils.set_random_seed(seed)
    model = RecurrentLanguageModel(vocabulary_size, 6, cell="gru", embedding_dim=4)
    model.build()
    return model


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("artefacts"), language_model()
    export(model, folder / "generate.onnx", decode=tfseq.Sample(), verify=False)
    export(model, folder / "predict.onnx", verify=False)
    export(model, folder / "saved", decode=tfseq.Sample(), verify=False)
    return folder, model


def changed(path, folder, by):
    """The file with `by` added to every weight of its output layer."""
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        if list(tensor.dims) == [6, 9]:
            noise = np.random.default_rng(0).normal(size=(6, 9)).astype("float32")
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + by * noise, tensor.name))
    onnx.save(graph, folder / "changed.onnx")
    return folder / "changed.onnx"


@pytest.mark.parametrize("name", ["generate.onnx", "predict.onnx", "saved"])
def test_an_export_equals_its_model(artefacts, name):
    folder, model = artefacts
    report = verify(folder / name, model)
    assert report.passed
    assert str(report).startswith("parity      passed\n")


@pytest.mark.parametrize("name", ["generate.onnx", "predict.onnx", "saved"])
def test_an_export_does_not_equal_another_model(artefacts, name):
    folder, _ = artefacts
    report = verify(folder / name, language_model(seed=1))
    assert not report.passed
    assert "FAILED" in str(report)


def test_a_small_change_of_the_weights_shows_in_the_logits(artefacts, tmp_path):
    folder, model = artefacts
    (check,) = verify(changed(folder / "predict.onnx", tmp_path, 1e-2), model).checks
    assert not check.passed
    assert 1e-4 < check.worst_absolute < 0.1


def test_a_change_of_the_weights_shows_in_the_tokens(artefacts, tmp_path):
    folder, model = artefacts
    _, tokens, _ = verify(changed(folder / "generate.onnx", tmp_path, 0.1), model).checks
    assert not tokens.passed
    assert tokens.identical < 224
    assert "new token" in tokens.where


def test_rounding_is_not_a_difference(artefacts, tmp_path):
    folder, model = artefacts
    assert verify(changed(folder / "generate.onnx", tmp_path, 1e-7), model).passed


@pytest.mark.parametrize("size", [0, 1000])
def test_a_file_that_was_cut_off_is_refused(artefacts, tmp_path, size):
    folder, model = artefacts
    path = tmp_path / "cut.onnx"
    path.write_bytes((folder / "generate.onnx").read_bytes()[:size])
    with pytest.raises(ArtefactError, match=r"cut\.onnx"):
        verify(path, model)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(ArtefactError, match=str(path)):
            verify(path, language_model())


def test_a_model_of_another_kind_is_refused(artefacts):
    folder, _ = artefacts
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ArtefactError, match="Sequential is no"):
        verify(folder / "generate.onnx", model)
    with pytest.raises(ArtefactError, match="does not take"):
        verify(folder / "predict.onnx", model)


def test_errors_are_relative_where_values_are_large():
    worst = WorstError(1e-4)
    worst.add(np.array([1000.05, 0.5]), np.array([1000.0, 0.5]), "case", "y")
    check = worst.check("y", "onnx", "keras")
    assert check.passed
    assert check.worst_absolute == pytest.approx(0.05)
    assert check.worst_relative == pytest.approx(5e-5)
    assert check.where == "case: y[0]"


def test_an_element_near_zero_is_judged_by_the_size_of_the_others():
    spectrum = np.array([0.001, 400.0, 500.0, 600.0])
    worst = WorstError(1e-4)
    worst.add(spectrum + np.array([0.005, 0, 0, 0]), spectrum, "case", "y")
    assert worst.check("y", "onnx", "keras").passed
    scores = np.array([0.001, 2.0, 3.0, -1e9])  # one step is masked
    worst.add(scores + np.array([0.005, 0, 0, 0]), scores, "case", "y")
    assert not worst.check("y", "onnx", "keras").passed


@pytest.mark.parametrize(
    ("got", "expected"), [([np.nan], [1.0]), ([1.0], [np.nan]), ([np.inf], [1.0]), ([1.0, 2.0], [1.0]), ([1], [2])]
)
def test_nan_infinity_and_other_shapes_are_differences(got, expected):
    worst = WorstError(1e-4)
    worst.add(np.array(got), np.array(expected), "case", "y")
    assert not worst.check("y", "onnx", "keras").passed


def test_what_is_not_finite_in_keras_is_told():
    for expected, told in ((np.inf, True), (np.nan, True), (1.0, False)):
        worst = WorstError(1e-4)
        worst.add(np.array([1.0, -np.inf]), np.array([1.0, expected]), "case", "y")
        check = worst.check("y", "onnx", "keras")
        assert not check.passed
        assert ("Keras model itself is not finite" in check.where) is told


def test_the_same_nan_and_infinity_are_equal():
    worst = WorstError(1e-4)
    values = np.array([np.nan, np.inf, -np.inf, 1.0])
    worst.add(values, values, "case", "y")
    assert worst.check("y", "onnx", "keras").passed


def test_a_report_is_a_table_and_json():
    report = ParityReport(
        (
            NumberCheck("logits", "onnx", "keras", 9, 2e-6, 1e-6, 1e-4, "tokens (3, 17)"),
            TokenCheck("tokens", "onnx", "keras", 100, 99, 1, ""),
        )
    )
    assert report.passed
    assert report.to_json()["checks"][1]["ties"] == 1
    assert str(report).splitlines() == [
        "parity      passed",
        "            logits:  onnx = keras  worst error 2.0e-06, relative 1.0e-06 (at most 1e-04), 9 cases, "
        "at tokens (3, 17)",
        "            tokens:  onnx = keras  99 of 100 sequences identical, 1 part at a tie",
    ]


def test_the_worst_absolute_error_is_kept_where_another_case_is_relatively_worse():
    worst = WorstError(1e-4)
    worst.add(np.array([1.0002]), np.array([1.0]), "case 1", "y")
    worst.add(np.array([1000.01]), np.array([1000.0]), "case 2", "y")
    check = worst.check("y", "onnx", "keras")
    assert check.worst_absolute == pytest.approx(0.01)
    assert check.worst_relative == pytest.approx(2e-4, rel=1e-3)
    assert check.where.startswith("case 1")


@pytest.mark.parametrize("name", ["images.onnx", "images"])
def test_a_loaded_model_of_bytes_is_verified_on_bytes(tmp_path, name):
    """Keras remembers shapes of a subclassed model and no types; the file has them."""
    model = ConvolutionalClassifier(classes=2, filters=(2,), units=3)
    images = np.zeros((1, 4, 4, 1), "uint8")
    tfseq.export(model, tmp_path / name, samples=[images])
    model.save(tmp_path / "model.keras")
    report = verify(tmp_path / name, keras.models.load_model(tmp_path / "model.keras"))
    assert report.passed
    assert report.checks[0].cases == 3  # batches


def two_outputs():
    x, y = keras.Input((3,)), keras.Input((3,))
    total = keras.layers.Add()([x, y])
    return keras.Model([x, y], [keras.layers.Dense(2)(x), keras.layers.Dense(3)(total)])


@pytest.mark.parametrize("name", ["model.onnx", "saved"])
def test_a_model_that_was_built_again_is_compared_by_the_order_of_its_inputs_and_outputs(tmp_path, name):
    """Keras numbers the names that nobody gave."""
    model, again = two_outputs(), two_outputs()
    assert set(model.output_names).isdisjoint(again.output_names)
    export(model, tmp_path / name)
    assert not verify(tmp_path / name, again).passed
    again.set_weights(model.get_weights())
    assert verify(tmp_path / name, again).passed


def test_a_model_of_fewer_outputs_is_refused(tmp_path):
    model = two_outputs()
    export(model, tmp_path / "model.onnx")
    with pytest.raises(ArtefactError, match=r"has the outputs dense\w*, dense\w*, .* another model"):
        verify(tmp_path / "model.onnx", keras.Model(model.inputs, model.outputs[0]))
    x = keras.Input((3,))
    with pytest.raises(ArtefactError, match=r"has the inputs .* another model"):
        verify(tmp_path / "model.onnx", keras.Model(x, keras.layers.Dense(2)(x)))


def test_the_lengths_at_which_a_recurrent_state_overflows_are_left_out_and_named(tmp_path):
    model = keras.Sequential([keras.Input((None, 4)), keras.layers.LSTM(6, activation="relu")])
    kernel, recurrent, bias = model.get_weights()
    random = np.random.default_rng(0).normal(size=recurrent.shape)
    random *= 50 / np.abs(np.linalg.eigvals(random[:, 12:18])).max()
    model.set_weights([kernel, random.astype("float32"), bias])
    (check,) = export(model, tmp_path / "model.onnx").parity["checks"]
    assert "the Keras model's own output is not finite from time " in check["on"]
    assert "64" not in check["on"].split(";")[2]
    x = np.random.default_rng(0).normal(size=(1, 64, 4)).astype("float32")
    assert not np.isfinite(model(x)).all()


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_are_what_they_are_in_any_batch(tmp_path, rows):
    """In batches of some sizes Keras adds a column as if it were a row, called eagerly."""
    wide, narrow = ((4, 4), (4, 1)) if rows == 1 else ((3,), (1,))
    inputs = [keras.Input(wide), keras.Input(narrow)]
    model = keras.Model(inputs, keras.layers.Add()(inputs))
    x, y = (np.random.default_rng(0).normal(size=(rows, *shape)).astype("float32") for shape in (wide, narrow))
    assert not np.allclose(model([x, y]), x + y)
    assert export(model, tmp_path / "model.onnx").parity["passed"]
    np.testing.assert_allclose(tfseq.runtime.load(tmp_path / "model.onnx").predict(x, y), x + y, 1e-6)


def test_what_a_cpu_can_not_run_says_why(tmp_path):
    layer = keras.layers.Conv2DTranspose(2, 3, data_format="channels_first")
    model = keras.Sequential([keras.Input((3, 8, 8)), layer])
    with pytest.raises(ExportError, match=rf"on a CPU.*{layer.name} \(Conv2DTranspose\).*NHWC.*verify=False"):
        export(model, tmp_path / "model.onnx")
    assert export(model, tmp_path / "model.onnx", verify=False).operators == {"ConvTranspose": 1}


def test_constants_that_are_not_finite_name_their_layer(tmp_path):
    layer = keras.layers.STFTSpectrogram(frame_length=2, frame_step=1, fft_length=4)
    model = keras.Sequential([keras.Input((16, 1)), layer, keras.layers.Dense(2)])
    with pytest.raises(ExportError, match=rf"NaN.*{layer.name} \(STFTSpectrogram\) makes it so of its arguments"):
        export(model, tmp_path / "model.onnx")
