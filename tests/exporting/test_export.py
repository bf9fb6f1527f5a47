"""`export`: what it writes, what it refuses, and what stays on disk when it fails."""

import importlib
import json
import os
import resource
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose

import tfseq
from tfseq.decoding import generate
from tfseq.errors import ArtefactError, ExportError, InputError, ParityError
from tfseq.exporting import export, verify
from tfseq.exporting.proving import parity
from tfseq.exporting.proving.report import ParityReport, TokenCheck
from tfseq.exporting.rewriting import count_operators
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime import CharacterTokenizer, load

module = sys.modules["tfseq.exporting.verified_file"]

TOKENIZER = CharacterTokenizer(["<unk>", *"abcdefghij"])


def language_model(cell="lstm", embedding_dim=None, **kwargs):
    keras.utils.set_random_seed(0)
    kwargs = {"initial_state": "learned"} | kwargs
    model = RecurrentLanguageModel(TOKENIZER.vocabulary_size, 8, cell=cell, embedding_dim=embedding_dim, **kwargs)
    model.build()
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape, scale=0.4))
    return model


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    model = language_model("gru", depth=2)
    path = tmp_path_factory.mktemp("generator") / "model.onnx"
    manifest = export(
        model,
        path,
        decode=tfseq.Sample(temperature=0.5, top_k=3, seed=42),
        tokenizer=TOKENIZER,
        name="chars",
        data={"file": "a.txt"},
    )
    return model, path, manifest


@pytest.mark.parametrize(
    ("cell", "embedding_dim"), [("rnn", 5), ("irnn", None), ("lstm", None), ("lstm", 5), ("gru", 5)]
)
def test_every_cell_generates_the_same_from_the_file(cell, embedding_dim, tmp_path):
    model = language_model(cell, embedding_dim)
    manifest = export(model, tmp_path / "model.onnx", decode=tfseq.Sample(), tokenizer=TOKENIZER)
    logits, tokens, scores = manifest.parity["checks"]
    assert manifest.parity["passed"]
    assert logits["worst_absolute"] < 1e-4
    assert scores["worst_absolute"] < 1e-4
    assert (tokens["sequences"], tokens["identical"]) == (224, 224)
    runtime = load(tmp_path / "model.onnx")
    settings = {"temperature": 0.9, "top_k": 4, "top_p": 0.9, "seed": 5}
    text = runtime.generate(["abc", "j"], max_length=20, **settings)
    prompt = np.array([TOKENIZER.encode("abc"), [*TOKENIZER.encode("j"), 0, 0]])
    expected = generate(model, prompt, [3, 1], decode=tfseq.Sample(), max_length=20, **settings).tokens
    assert text == [TOKENIZER.decode(np.asarray(row)) for row in expected]


@pytest.mark.parametrize("cell", ["rnn", "irnn", "lstm", "gru"])
@pytest.mark.parametrize("embedding_dim", [None, 5])
def test_every_cell_predicts_the_same_from_the_file(cell, embedding_dim, tmp_path):
    model = language_model(cell, embedding_dim)
    manifest = export(model, tmp_path / "model.onnx")
    assert manifest.task == "predict"
    assert [str(spec) for spec in manifest.inputs] == ["tokens int32 (batch, time)"]
    assert [str(spec) for spec in manifest.outputs] == ["logits float32 (batch, time, 11)"]
    (check,) = manifest.parity["checks"]
    assert check["cases"] == 9
    tokens = np.random.default_rng(1).integers(0, 11, (2, 5))
    assert np.allclose(load(tmp_path / "model.onnx").predict(tokens), model(tokens), atol=1e-5)


def test_the_manifest_in_the_file_is_the_one_returned(generator):
    _, path, manifest = generator
    assert load(path).manifest.to_json() == manifest.to_json()


def test_the_manifest_says_what_the_file_is(generator):
    model, _, manifest = generator
    assert manifest.name == "chars"
    assert manifest.task == "generate"
    told = dict(manifest.decoding)
    assert told.pop("settings").keys() == {"temperature", "top_k", "top_p", "seed"}
    assert told == {
        **{"strategy": "sample", "temperature": 0.5, "top_k": 3, "top_p": 1.0, "seed": 42},
        **{"start": None, "end": None},
    }
    assert [str(spec) for spec in manifest.inputs] == [
        *("prompt int32 (batch, time)", "prompt_length int32 (batch)", "max_length int32 ()"),
        *("temperature float32 ()", "top_k int32 ()", "top_p float32 ()", "seed int32 ()"),
    ]
    assert [str(spec) for spec in manifest.outputs] == [
        *("tokens int32 (batch, new_time)", "lengths int32 (batch)", "scores float32 (batch)")
    ]
    assert manifest.tokenizer == {"kind": "code_points", "symbols": TOKENIZER.symbols}
    assert manifest.provenance["data"] == {"file": "a.txt"}
    assert manifest.provenance["parameters"] == sum(np.size(w) for w in model.get_weights())
    assert manifest.provenance["trained_in"] == "float32"
    assert manifest.operators["Loop"] == 1


def test_only_standard_operators_are_used(generator):
    _, path, _ = generator
    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_weights_are_stored_once_and_not_carried_through_the_loop(cell, tmp_path):
    model, path = RecurrentLanguageModel(60, 40, cell=cell, depth=2), tmp_path / "model.onnx"
    model.build()
    export(model, path, decode=tfseq.Sample(), verify=False)
    graph = onnx.load(path).graph
    (loop,) = [node for node in graph.node if node.op_type == "Loop"]
    weights = {tensor.name for tensor in graph.initializer if tensor.dims}  # the number of the first step is a scalar
    stored = sum(np.prod(tensor.dims) for tensor in graph.initializer if sum(size > 2 for size in tensor.dims) > 1)
    matrices = sum(np.size(w) for w in model.get_weights() if np.ndim(w) == 2 and np.shape(w)[0] > 2)
    assert not weights.intersection(loop.input)
    assert stored == matrices
    assert path.stat().st_size < 4 * model.count_params() + 60_000


def test_the_defaults_in_the_file_are_those_of_decode(generator):
    _, path, _ = generator
    runtime = load(path)
    given = runtime.generate("abc", max_length=30, temperature=0.5, top_k=3, top_p=1.0, seed=42)
    assert runtime.generate("abc", max_length=30) == given


def test_mixed_precision_is_exported_in_float32(tmp_path):
    model = language_model("lstm", 5, dtype="mixed_bfloat16")
    manifest = export(model, tmp_path / "model.onnx", decode=tfseq.Sample())
    twin = language_model("lstm", 5)
    assert manifest.provenance["trained_in"] == "mixed_bfloat16"
    assert verify(tmp_path / "model.onnx", twin).passed
    assert model.compute_dtype == "bfloat16"  # the model itself is left as it was


def test_saved_models_have_named_signatures_and_need_none_of_our_code(tmp_path):
    """One that generates and one that does not, in one process of their own."""
    model = language_model("gru", 4)
    strategies = {"generates": tfseq.Sample(), "serves": None}
    manifests = {
        name: export(model, tmp_path / name, decode=decode, tokenizer=TOKENIZER) for name, decode in strategies.items()
    }
    code = """
import sys
sys.modules["tfseq"] = None
import numpy as np, tensorflow as tf
for folder in sys.argv[1:]:
    loaded = tf.saved_model.load(folder)
    tokens = tf.constant([[1, 2, 3], [4, 5, 6]])
    result = {"logits": loaded.signatures["serve"](tokens=tokens)["logits"], "names": sorted(loaded.signatures)}
    if "generate" in loaded.signatures:
        settings = dict(temperature=0.7, top_k=4, top_p=1.0, seed=3, max_length=9)
        settings = {name: tf.constant(value) for name, value in settings.items()}
        codes = 96 + tokens  # of a, b, c, ...
        result |= loaded.signatures["generate"](prompt=codes, prompt_length=tf.constant([3, 2]), **settings)
    np.savez(folder + "/result.npz", **result)
"""
    folders = [str(tmp_path / name) for name in strategies]
    subprocess.run([sys.executable, "-c", code, *folders], check=True, timeout=120, cwd=tmp_path)
    tokens = np.array([[1, 2, 3], [4, 5, 6]])
    results = {name: np.load(tmp_path / name / "result.npz") for name in strategies}
    for name, manifest in manifests.items():
        assert manifest.parity["passed"]
        assert np.allclose(results[name]["logits"], model(tokens), atol=1e-5)
        notes = json.loads((tmp_path / name / "assets.extra" / "tfseq.json").read_text())
        assert notes == json.loads(json.dumps(manifest.to_json()))
    assert results["serves"]["names"].tolist() == ["serve", "serving_default"]
    assert results["generates"]["names"].tolist() == ["generate", "serve", "serving_default"]
    expected = generate(model, tokens, [3, 2], decode=tfseq.Sample(0.7, top_k=4, seed=3), max_length=9)
    assert np.array_equal(results["generates"]["tokens"], np.where(expected.tokens == 0, 0xFFFD, 96 + expected.tokens))
    assert np.allclose(results["generates"]["scores"], expected.scores, atol=1e-4)


def test_a_saved_model_replaces_the_one_before(tmp_path):
    export(language_model("rnn"), tmp_path / "saved", verify=False)
    model = language_model("gru")
    export(model, tmp_path / "saved", verify=False)
    assert verify(tmp_path / "saved", model).passed
    assert os.listdir(tmp_path) == ["saved"]


@pytest.mark.parametrize("decode", [tfseq.Sample(), tfseq.Beam(2)])
def test_a_loop_has_the_same_graph_whether_it_was_verified_or_not(decode, tmp_path):
    graphs = []
    for verified in (True, False):
        export(language_model(), tmp_path / "model.onnx", decode=decode, verify=verified, name="same")
        graphs.append(onnx.load(tmp_path / "model.onnx").graph)
    outputs = [[value.name for value in graph.output] for graph in graphs]
    assert outputs == [["tokens", "lengths", "scores"]] * 2
    assert count_operators(graphs[0]) == count_operators(graphs[1])


def outputs_of(path):
    return load(path).run({"prompt": PROMPT, "prompt_length": np.array([3, 2], "int32"), **SETTINGS})


PROMPT = np.array([[4, 3, 5], [6, 4, 0]], "int32")
SETTINGS = {"max_length": np.array(9, "int32"), "seed": np.array(3, "int32"), "temperature": np.array(1.0, "float32")}
SETTINGS |= {"top_k": np.array(0, "int32"), "top_p": np.array(1.0, "float32")}


@pytest.fixture
def large():
    """A model some of whose weights are large enough to stay out of the graph."""
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(TOKENIZER.vocabulary_size, 40, cell="lstm", depth=2)
    model.build()
    return model


def test_weights_lie_in_one_file_or_in_two(large, tmp_path):
    one, two = tmp_path / "one.onnx", tmp_path / "two.onnx"
    assert export(large, one, decode=tfseq.Sample()).external_data is None
    manifest = export(large, two, decode=tfseq.Sample(), external_data=True)
    assert sorted(os.listdir(tmp_path)) == ["one.onnx", "two.onnx", "two.onnx.data"]
    assert manifest.external_data.bytes == (tmp_path / "two.onnx.data").stat().st_size > two.stat().st_size / 2
    for name, array in outputs_of(one).items():
        np.testing.assert_array_equal(outputs_of(two)[name], array)
    assert verify(two, large).passed
    export(large, two, decode=tfseq.Sample(), verify=False)
    assert sorted(os.listdir(tmp_path)) == ["one.onnx", "two.onnx"]


def test_weights_of_another_training_are_found_out(large, tmp_path):
    export(large, tmp_path / "model.onnx", external_data=True, verify=False)
    data = tmp_path / "model.onnx.data"
    data.write_bytes(bytes(reversed(data.read_bytes())))
    with pytest.raises(ArtefactError, match=r"model\.onnx\.data, whose content is not what was exported"):
        verify(tmp_path / "model.onnx", large)


def test_what_one_file_can_not_hold_goes_into_two(large, tmp_path, monkeypatch):
    monkeypatch.setattr("tfseq.exporting.writing.onnx_file.LARGEST_FILE", 2**24 + 50_000)
    assert export(large, tmp_path / "model.onnx", verify=False).external_data.file == "model.onnx.data"
    with pytest.raises(ExportError, match=r"one ONNX file holds at most 2 GB\. Leave external_data at None"):
        export(large, tmp_path / "model.onnx", verify=False, external_data=False)
    assert sorted(os.listdir(tmp_path)) == ["model.onnx", "model.onnx.data"]
    with pytest.raises(ExportError, match="external_data is for ONNX files"):
        export(large, tmp_path / "saved", external_data=True)


@pytest.mark.parametrize("external", [False, True])
def test_a_model_that_is_proven_in_its_own_memory_has_the_same_file(large, external, tmp_path, monkeypatch):
    export(large, tmp_path / "small.onnx", decode=tfseq.Sample(), external_data=external, name="same", verify=False)
    monkeypatch.setattr(module, "SHARED", 0)
    manifest = export(large, tmp_path / "large.onnx", decode=tfseq.Sample(), external_data=external, name="same")
    assert manifest.parity["passed"]
    assert len(os.listdir(tmp_path)) == 2 + 2 * external
    for name, array in outputs_of(tmp_path / "small.onnx").items():
        np.testing.assert_array_equal(outputs_of(tmp_path / "large.onnx")[name], array)


def test_a_large_model_whose_file_loses_its_weights_is_refused(large, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARED", 0)
    monkeypatch.setattr(module.OnnxFile, "holds_its_weights", lambda _: False)
    with pytest.raises(ExportError, match="does not hold the weights"):
        export(large, tmp_path / "model.onnx")
    assert not os.listdir(tmp_path)


def test_a_file_that_fails_parity_is_not_kept_and_the_old_one_stays(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what stood here before")
    failed = ParityReport((TokenCheck("tokens", "onnx", "keras", 100, 99, 0, "row 3"),))
    monkeypatch.setattr(parity, "compare", lambda *_: failed)
    with pytest.raises(ParityError, match="99 of 100 sequences identical, first at row 3"):
        export(language_model(), path, decode=tfseq.Sample())
    assert path.read_bytes() == b"what stood here before"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(parity, "compare", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(language_model(), tmp_path / "saved")
    assert os.listdir(tmp_path) == []


def test_a_write_that_breaks_off_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what stood here before")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, unlimited[1]))  # bytes; as a full disk does
    try:
        with pytest.raises(ExportError, match=r"Can't write .*model\.onnx: File too large"):
            export(language_model(), path, verify=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert path.read_bytes() == b"what stood here before"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_tracing_beside_a_gpu_leaves_cudnn_out(tmp_path, monkeypatch):
    keras_rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    monkeypatch.setattr(keras_rnn, "_is_gpu_available", lambda: True)
    model = language_model("gru")
    export(model, tmp_path / "saved", verify=False)
    assert b"CudnnRNN" not in (tmp_path / "saved" / "saved_model.pb").read_bytes()
    assert model.recurrent[0].use_cudnn == "auto"


def test_a_file_can_be_left_unverified_and_says_so(tmp_path):
    assert export(language_model(), tmp_path / "model.onnx", verify=False).parity is None
    assert load(tmp_path / "model.onnx").manifest.parity is None


def functional():
    words = keras.Input((None,), dtype="int32", name="words")
    numbers = keras.Input((3,), name="numbers")
    x = keras.layers.Embedding(7, 4)(words)
    x = keras.layers.LSTM(5)(x)
    x = keras.layers.Concatenate()([x, numbers])
    return keras.Model(
        {"words": words, "numbers": numbers},
        {"label": keras.layers.Dense(2, name="label")(x), "score": keras.layers.Dense(1, name="score")(x)},
    )


def test_a_functional_model_keeps_its_names(tmp_path):
    manifest = export(functional(), tmp_path / "model.onnx")
    assert {str(spec) for spec in manifest.inputs} == {"words int32 (batch, time)", "numbers float32 (batch, 3)"}
    assert {str(spec) for spec in manifest.outputs} == {"label float32 (batch, 2)", "score float32 (batch, 1)"}
    assert manifest.parity["passed"]


def test_a_sequential_model_exports(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3)), keras.layers.Conv1D(4, 3), keras.layers.GRU(2, return_sequences=True)]
    )
    manifest = export(model, tmp_path / "model.onnx")
    (output,) = manifest.outputs
    assert output.shape[0] == "batch"
    assert output.shape[1] not in ("time", "batch")  # two shorter than the input
    assert manifest.parity["checks"][0]["cases"] == 6  # the model takes no sequence of length 1


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, features):
        return self.dense(features), keras.ops.sum(features, axis=-1)


def test_a_subclassed_model_exports_once_called(tmp_path):
    model = Subclassed()
    model(np.zeros((1, 6, 3)))
    manifest = export(model, tmp_path / "model.onnx")
    assert [spec.name for spec in manifest.outputs] == ["output_1", "output_2"]


def test_samples_join_the_comparison(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    (name,) = [tensor.name for tensor in model.inputs]
    manifest = export(model, tmp_path / "model.onnx", samples=[{name: np.ones((5, 3), "float32")}])
    assert manifest.parity["checks"][0]["cases"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "model.keras"}, r"load_model\('model.keras'\)"),
        ({"model": keras.Sequential}, "the class Sequential"),
        ({"model": keras.layers.Dense(2, name="d")}, r"d \(Dense\) is a layer"),
        ({"model": type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()}, "a model of Keras 2"),
        ({"model": Subclassed()}, "no weights yet"),
        ({"path": "missing/model.onnx"}, "no folder"),
        ({"path": "folder.onnx"}, "is a folder"),
        ({"path": "file"}, "is a file"),
        ({"path": "/proc/model.onnx"}, "Can't write /proc/model.onnx"),
        ({"opset": 12}, "opset"),
        ({"opset": 17, "decode": tfseq.Sample()}, "opset"),
        ({"decode": "sample"}, "tfseq.Sample"),
        (
            {"decode": tfseq.Sample(), "model": keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])},
            "Generator",
        ),
        ({"tokenizer": CharacterTokenizer(["<unk>", "a"])}, "2 tokens and the model 11"),
    ],
)
def test_what_cannot_be_exported_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=message):
        export(**({"model": language_model(), "path": "model.onnx"} | arguments))
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.onnx"]


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = language_model()
    model.head.kernel.assign(np.full(model.head.kernel.shape, np.nan))
    with pytest.raises(ExportError, match="kernel holds NaN"):
        export(model, tmp_path / "model.onnx")


def test_a_model_that_was_built_but_never_called_is_refused(tmp_path):
    model = Subclassed()
    model.built = True
    with pytest.raises(ExportError, match="never been called"):
        export(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("sample", [None, -1])
def test_tokens_outside_an_embedding_are_refused_unless_a_sample_has_them(tmp_path, sample):
    tokens = keras.Input((4,), dtype="int32", name="tokens")
    model = keras.Model(tokens, keras.layers.Flatten()(keras.layers.Embedding(10, 3)(tokens)))
    samples = () if sample is None else [np.full((2, 4), sample, "int32")]
    manifest = export(model, tmp_path / "model.onnx", samples=samples)
    file = load(tmp_path / "model.onnx")
    assert dict(manifest.vocabulary_sizes) == ({"tokens": 10} if sample is None else {})
    assert_allclose(file.predict([[0, 9, 3, 1]]), model(np.array([[0, 9, 3, 1]])), atol=1e-6)
    if sample is None:
        for token in (-1, 10):
            with pytest.raises(InputError, match=f"the token {token}; expected 0 to 9"):
                file.predict([[0, 9, 3, token]])
    else:
        assert_allclose(file.predict([[0, 9, 3, -1]]), model(np.array([[0, 9, 3, -1]])), atol=1e-6)
