"""KerasHub's CausalLM as Generators: the logits of its `call`, the tokens and texts of its own `generate`."""

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import tfseq
from benchmarks.harness.hub_tasks import CAUSAL, VOCABULARY, causal_lm, own_texts
from benchmarks.harness.hub_vocabularies import byte_pairs
from tfseq.errors import ExportError
from tfseq.hub import adapted
from tfseq.hub.causal_lm import CausalLanguageModel

QUICK = ("Gemma", "Llama")
FAMILIES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CAUSAL]
LENGTHS = (4, 3, 7, 1)
STEPS = 24  # tokens of a prompt and its continuation


def prompts():
    random = np.random.default_rng(1)
    return random.integers(1, VOCABULARY, (len(LENGTHS), max(LENGTHS))).astype("int32")


@pytest.mark.parametrize("family", FAMILIES)
def test_it_keeps_to_the_protocol(family):
    assert tfseq.models.check_generator(CausalLanguageModel(causal_lm(family))) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_writes_what_keras_hub_writes(family, tmp_path):
    task = causal_lm(family)
    tfseq.export(task, tmp_path / "lm.onnx", decode=tfseq.Greedy())
    given = {"prompt": prompts(), "prompt_length": np.array(LENGTHS, "int32"), "max_length": np.int32(STEPS)}
    tokens = tfseq.runtime.load(tmp_path / "lm.onnx").run(given)["tokens"]
    if family == "GPTNeoX":  # whose cached decoding turns queries as if each stood at the beginning
        expected = by_call(task)
    else:
        expected = own_texts(task, prompts(), LENGTHS, STEPS)
    assert len(np.unique(expected)) > len(LENGTHS) + 4  # it does not write one token for ever
    for length, row, theirs in zip(LENGTHS, tokens, expected):
        assert row[: STEPS - length].tolist() == theirs[length:].tolist()


@pytest.mark.parametrize("mode", ["lora", pytest.param("int8", marks=pytest.mark.slow)])
def test_low_rank_updates_and_small_weights_write_what_keras_hub_writes(mode, tmp_path):
    task, random = causal_lm("GPT2", hidden_dim=64, intermediate_dim=128), np.random.default_rng(0)
    if mode == "lora":
        task.backbone.enable_lora(5)
        for weight in task.weights:
            if "lora" in weight.path:
                weight.assign(random.normal(size=weight.shape) * 0.3)
    else:
        task.quantize(mode)
    tfseq.export(task, tmp_path / "lm.onnx", decode=tfseq.Greedy())
    given = {"prompt": prompts(), "prompt_length": np.array(LENGTHS, "int32"), "max_length": np.int32(STEPS)}
    tokens = tfseq.runtime.load(tmp_path / "lm.onnx").run(given)["tokens"]
    for length, row, theirs in zip(LENGTHS, tokens, own_texts(task, prompts(), LENGTHS, STEPS)):
        assert row[: STEPS - length].tolist() == theirs[length:].tolist()


def by_call(task):
    """Greedy continuations by the whole forward pass at each token."""
    rows = []
    for prompt, length in zip(prompts(), LENGTHS):
        row = prompt[:length].tolist()
        while len(row) < STEPS:
            padded = np.array([row + [0] * (STEPS - len(row))])
            logits = task({"token_ids": padded, "padding_mask": np.ones_like(padded)})
            row.append(int(np.argmax(np.asarray(logits)[0, len(row) - 1])))
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def with_text():
    tokenizer = keras_hub.models.GPT2Tokenizer(*byte_pairs())
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=64)
    return causal_lm("GPT2", preprocessor, vocabulary_size=tokenizer.vocabulary_size() + 3)


def test_a_file_takes_text_and_writes_what_generate_does(with_text, tmp_path):
    tfseq.export(with_text, tmp_path / "lm.onnx", decode=tfseq.Greedy())
    file = tfseq.runtime.load(tmp_path / "lm.onnx")
    with_text.compile(sampler="greedy")
    for prompt in ("Train any", "naïve 你好", "one <|endoftext|> two"):
        read = np.asarray(
            with_text.preprocessor.generate_preprocess([prompt], sequence_length=40)["padding_mask"]
        ).sum()
        theirs = with_text.generate(prompt, max_length=40)
        spelled = with_text.preprocessor.tokenizer.detokenize(with_text.preprocessor.tokenizer(prompt))
        assert file.generate(prompt, max_length=int(40 - read)) == theirs[len(spelled.replace("<|endoftext|>", "")) :]


def test_a_preset_in_a_folder_makes_the_same_tokenizer_and_logits(with_text, tmp_path):
    with_text.save_to_preset(str(tmp_path / "preset"))
    loaded = keras_hub.models.CausalLM.from_preset(str(tmp_path / "preset"))
    ours, theirs = (adapted(task, generates=True) for task in (with_text, loaded))
    assert ours.tokenizer.to_json() == theirs.tokenizer.to_json()
    assert ours.model.ends == theirs.model.ends == (with_text.preprocessor.tokenizer.end_token_id,)
    np.testing.assert_array_equal(ours.model(prompts()), theirs.model(prompts()))


def test_models_that_keep_other_states_are_refused():
    sizes = {"vocabulary_size": 20, "hidden_size": 16, "head_size": 8, "num_layers": 1, "intermediate_dim": 16}
    task = keras_hub.models.RWKV7CausalLM(backbone=keras_hub.models.RWKV7Backbone(**sizes))
    with pytest.raises(ExportError, match=r"RWKV7CausalLM.*its own way"):
        adapted(task, generates=True)


def test_layers_that_values_steer_are_refused():
    sizes = {"vocabulary_size": 20, "hidden_dim": 16, "head_dim": 8, "num_layers": 2, "intermediate_dim": 16}
    heads = {"num_query_heads": 2, "num_key_value_heads": 1}
    task = keras_hub.models.Qwen3_5CausalLM(backbone=keras_hub.models.Qwen3_5Backbone(**sizes, **heads))
    with pytest.raises(ExportError, match=r"Qwen3_5CausalLM.*steers its layer linear_attn"):
        adapted(task, generates=True)


def test_pictures_that_pali_gemma_reads_are_refused():
    vision = {"image_size": 16, "vit_patch_size": 8, "vit_num_heads": 2, "vit_hidden_dim": 16, "vit_num_layers": 1}
    sizes = {"vocabulary_size": 20, "hidden_dim": 16, "head_dim": 8, "num_layers": 1, "intermediate_dim": 16}
    heads = {"num_query_heads": 2, "num_key_value_heads": 1}
    backbone = keras_hub.models.PaliGemmaBackbone(**sizes, **heads, **vision)
    task = keras_hub.models.PaliGemmaCausalLM(backbone=backbone, preprocessor=None)
    with pytest.raises(ExportError, match=r"PaliGemmaCausalLM.*reads images"):
        adapted(task, generates=True)


def test_models_that_read_pictures_are_refused_by_what_they_read():
    vision = keras_hub.models.Gemma3VisionEncoder(
        image_size=16,
        patch_size=4,
        pool_size=2,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        output_dim=32,
    )
    task = causal_lm("Gemma3", vision_encoder=vision)
    with pytest.raises(ExportError, match=r"Gemma3CausalLM.*reads images"):
        adapted(task, generates=True)
