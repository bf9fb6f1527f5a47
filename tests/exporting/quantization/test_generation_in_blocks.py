"""Files that generate, in blocks: language models as `export` writes them, with a prompt's pass and a loop."""

from pathlib import Path

import numpy as np
import onnx
import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

import tfseq
from tests.exporting.quantization.test_block_quantization import run_by_onnx_runtime
from tfseq.exporting.rewriting import all_graphs, count_operators
from tfseq.models import RecurrentLanguageModel, TransformerLanguageModel
from tfseq.runtime import load

EXPORTED = Path(__file__).parents[3] / "exported"
ROWS, PROMPT, NEW = 16, 5, 6


@pytest.fixture(scope="module", params=["lstm", "transformer"])
def generator(request, tmp_path_factory) -> Path:
    keras.utils.set_random_seed(0)
    if request.param == "lstm":
        model = RecurrentLanguageModel(40, units=48, depth=1, embedding_dim=32)
    else:
        model = TransformerLanguageModel(40, units=48, depth=1, heads=2, hidden=64, max_positions=48)
    model(np.ones((1, 2), "int32"))
    path = tmp_path_factory.mktemp("generator") / "model.onnx"
    tfseq.export(model, path, decode=tfseq.Greedy(), verify=False)
    return path


def generated(path):
    prompts = np.random.default_rng(0).integers(1, 40, (ROWS, PROMPT)).astype("int32")
    lengths = {"prompt_length": np.full(ROWS, PROMPT, "int32"), "max_length": NEW}
    return load(path).predict(prompt=prompts, **lengths)["tokens"]


@pytest.mark.parametrize("contrib", [False, True])
def test_a_language_model_generates_from_blocks(generator, contrib, tmp_path):
    path = tmp_path / "small.onnx"
    manifest = tfseq.quantize(generator, path, "int8", block_size=16, contrib=contrib, tolerance=1)
    assert manifest.quantization["weights"]["multiplied"] > 0
    assert np.mean(generated(path) == generated(generator)) > 0.8  # random weights make close calls


def test_its_loop_multiplies_blocks_as_they_are(generator, tmp_path):
    tfseq.quantize(generator, tmp_path / "small.onnx", "int4", block_size=16, tolerance=1)
    model = onnx.load(tmp_path / "small.onnx")
    (body,) = [a.g for node in model.graph.node if node.op_type == "Loop" for a in node.attribute if a.name == "body"]
    within = [node.op_type for g in all_graphs(body) for node in g.node]
    assert within.count("DequantizeLinear") >= 2
    fused = run_by_onnx_runtime(model, tmp_path / "fused.onnx")
    assert fused["MatMulNBits"] == count_operators(model.graph)["DequantizeLinear"]
    assert "DequantizeLinear" not in fused


@pytest.mark.parametrize("name", ["char_lm_lstm", "transformer_lm"])
def test_a_trained_model_keeps_its_accuracy_with_four_bits(name, tmp_path):
    """On the last tenth of the text that it was trained on the rest of."""
    topics = pytest.importorskip("pydoc_data.topics").topics
    text = "\n".join(topics.values())[-46_505:]
    manifest = tfseq.quantize(EXPORTED / name / "model.onnx", tmp_path / "small.onnx", "int4", samples=text)
    record = manifest.quantization
    assert record["gate"] == {"metric": "accuracy", "tolerance": 0.02}
    assert record["block_size"] == 32
    assert record["bytes"]["before"] > 4.5 * record["bytes"]["after"]
    assert load(tmp_path / "small.onnx").generate("The ", max_length=5)
