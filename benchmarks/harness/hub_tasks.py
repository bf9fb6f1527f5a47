"""Small tasks of KerasHub with random weights, of enough spread that what they write varies, and what they write."""

from typing import Any

import keras
import keras_hub
import numpy as np

VOCABULARY = 60

_SIZES = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 32, "intermediate_dim": 48}
_HEADS = {**_SIZES, "num_heads": 4, "max_sequence_length": 64}
_GROUPED = {**_SIZES, "num_query_heads": 4, "num_key_value_heads": 2}
_EXPERTS = {"num_experts": 4, "top_k": 2}
_NORMS = {"use_post_ffw_norm": True, "use_post_attention_norm": True, "head_dim": 8}
_WINDOW = {"use_sliding_window_attention": True, "sliding_window_size": 5}
_SMOL_LAYERS = {"layer_types": ["full_attention"] * 2, "rope_layer_enabled_list": [True, False]}
_SMOL = {
    **_SIZES,
    **_SMOL_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "mlp_bias": False,
    "layer_norm_epsilon": 1e-5,
    "max_position_embeddings": 64,
    "rope_theta": 10000.0,
    "partial_rotary_factor": 1.0,
}
_RECOMMENDER = {
    "vocab_size": VOCABULARY,
    "num_layers_enc": 1,
    "num_layers_dec": 2,
    "hidden_dim": 32,
    "intermediate_dim": 48,
    "num_heads": 4,
}

# By family of CausalLM, the arguments of its backbone.
CAUSAL: dict[str, dict[str, Any]] = {
    "Bloom": _HEADS,
    "Falcon": {**_SIZES, "num_attention_heads": 4},
    "Gemma": {**_GROUPED, **_NORMS, **_WINDOW, "final_logit_soft_cap": 30.0, "attention_logit_soft_cap": 50.0},
    "Gemma3": {**_GROUPED, **_NORMS, **_WINDOW, "num_layers": 6, "image_size": 16, "vision_encoder": None},
    "GPT2": _HEADS,
    "GPTNeoX": {**_HEADS, "rotary_percentage": 0.5},
    "GptOss": {**_GROUPED, **_EXPERTS, "sliding_window": 5},
    "Llama": _GROUPED,
    "Llama3": _GROUPED,
    "Mistral": {**_GROUPED, "sliding_window": 5},
    "Mixtral": {**_GROUPED, **_EXPERTS, "sliding_window": 5},
    "OPT": _HEADS,
    "Phi3": {**_GROUPED, "max_sequence_length": 64, "pretraining_sequence_length": 64},
    "Qwen": _GROUPED,
    "Qwen3": {**_GROUPED, "head_dim": 8},
    "Qwen3Moe": {**_GROUPED, **_EXPERTS, "head_dim": 8, "moe_intermediate_dim": 16, "norm_top_k_prob": True},
    "QwenMoe": {**_GROUPED, **_EXPERTS, "moe_intermediate_dim": 16, "shared_expert_intermediate_dim": 16},
    "SmolLM3": _SMOL,
}
# Of Seq2SeqLM: those arguments, and the tokens that outputs begin with.
ENCODER_DECODER: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "Bart": (_HEADS, (2, 0)),
    "EdRec": (_RECOMMENDER, (2,)),
    "T5": ({**_SIZES, "num_heads": 4, "key_value_dim": 8, "use_gated_activation": True, "activation": "gelu"}, (0,)),
}


def causal_lm(family, preprocessor=None, **sizes):
    backbone = getattr(keras_hub.models, f"{family}Backbone")(**CAUSAL[family] | sizes)
    task = getattr(keras_hub.models, f"{family}CausalLM")(backbone=backbone, preprocessor=preprocessor)
    task = task
    return spread(task, dense=2.0) if family == "QwenMoe" else spread(task)


def seq_2_seq_lm(family, preprocessor=None, **sizes):
    backbone = getattr(keras_hub.models, f"{family}Backbone")(**ENCODER_DECODER[family][0] | sizes)
    task = getattr(keras_hub.models, f"{family}Seq2SeqLM")(backbone=backbone, preprocessor=preprocessor)
    return spread(task) if family == "T5" else spread(task, dense=0.5, positions=3.0)


def spread(task, dense=3.0, positions=0.3):
    """The task, with weights that make its greedy texts vary.

    Args:
        dense: the size of products; BART's norms behind each layer make one token of large ones, and large ones make
            rounding errors of 1.3e-4 in QwenMoe, and logits of 25,000 in EdRec.
        positions: the size of learned positions.
    """
    random = np.random.default_rng(0)
    for weight in task.weights:
        if len(weight.shape) < 2:
            continue
        scale = 0.3 if "embedding" in weight.path else dense / np.sqrt(weight.shape[0])
        scale = positions if "position_embedding" in weight.path else scale
        weight.assign(random.normal(size=weight.shape) * scale)
    return task


def own_texts(task, prompts, lengths, steps, stop=None):
    """What KerasHub's `generate_step` writes greedily behind prompts (batch, time), up to `steps` tokens in all."""
    padded = np.zeros((len(prompts), steps), "int32")
    padded[:, : prompts.shape[1]] = prompts
    real = np.arange(steps) < np.asarray(lengths)[:, None]
    inputs = {"token_ids": padded * real, "padding_mask": real}
    task.compile(sampler="greedy")
    written = task.generate_step(keras.tree.map_structure(keras.ops.convert_to_tensor, inputs), stop_token_ids=stop)
    return np.asarray(written["token_ids"])


def own_answers(task, sources, begin, new, end):
    """What a Seq2SeqLM's `generate_step` writes greedily for sources (batch, time), (batch, new)."""
    written = np.zeros((len(sources), len(begin) + new), "int32")
    written[:, : len(begin)] = begin
    real = np.broadcast_to(np.arange(written.shape[1]) < len(begin), written.shape)
    inputs = {
        "encoder_token_ids": sources,
        "encoder_padding_mask": sources > 0,
        "decoder_token_ids": written,
        "decoder_padding_mask": real,
    }
    task.compile(sampler="greedy")
    given = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    return np.asarray(task.generate_step(given, stop_token_ids=(end,))["decoder_token_ids"])[:, len(begin) :]
