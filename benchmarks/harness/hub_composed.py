"""Small configurations of KerasHub's backbones that are made of parts, or want many arguments of their own."""

from collections.abc import Callable
from typing import Any

import keras_hub

_SIZES = {"num_layers": 2, "num_heads": 4, "intermediate_dim": 48}
_SMALL = {**_SIZES, "hidden_dim": 32}


def _vision(family: str, **sizes: Any) -> Any:
    cls = getattr(keras_hub.models, f"{family}VisionEncoder")
    return cls(**{**_SMALL, "patch_size": 8, "image_shape": (32, 32, 3), **sizes})


def _text(family: str, **sizes: Any) -> Any:
    cls = getattr(keras_hub.models, f"{family}TextEncoder")
    return cls(**{**_SMALL, "vocabulary_size": 60, "embedding_dim": 32, "max_sequence_length": 16, **sizes})


def _two_towers(family: str, **own: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda small: {"vision_encoder": _vision(family), "text_encoder": _text(family), **own}


def _basnet(small: Any) -> dict[str, Any]:
    image_encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
    )
    shape = (64, 64, 3)
    return {"image_encoder": image_encoder, "num_classes": 1, "image_shape": shape, "projection_filters": 64}


def _blip2(small: Any) -> dict[str, Any]:
    from keras_hub.src.models.blip2.blip2_custom_opt import BLIP2CustomOPT
    from keras_hub.src.models.blip2.blip2_qformer import BLIP2QFormer
    from keras_hub.src.models.blip2.blip2_vision_encoder import BLIP2VisionEncoder

    flags = {f"use_{name}": True for name in ("patch_bias", "class_token", "mha_bias", "mlp_bias")}
    rates = {"dropout_rate": 0.0, "layer_norm_epsilon": 1e-6, "initializer_range": 0.02}
    vision = {"vision_dim": 32, "cross_attention_frequency": 2, "dropout": 0.0, "layer_norm_epsilon": 1e-6}
    text = {"vocabulary_size": 60, "dropout": 0.0, "max_sequence_length": 64, "qformer_hidden_dim": 32}
    return {
        "vision_encoder": BLIP2VisionEncoder(image_size=32, patch_size=8, **_SMALL, **flags, **rates),
        "qformer": BLIP2QFormer(num_query_tokens=4, **_SMALL, **vision),
        "language_model": BLIP2CustomOPT(num_query_tokens=4, **_SMALL, **text),
    }


def blip2_of_t5() -> dict[str, Any]:
    """Arguments of a BLIP-2 whose language model is an encoder and a decoder."""
    from keras_hub.src.models.blip2.blip2_flan_t5_lm import BLIP2FlanT5

    text = {"vocabulary_size": 60, "num_query_tokens": 4, "qformer_hidden_dim": 32, "dropout": 0.0}
    return {**_blip2(None), "language_model": BLIP2FlanT5(**_SMALL, **text)}


def _d_fine(small: Any) -> dict[str, Any]:
    stages = [[16, 16, 32, 1, 1, 3], [32, 16, 64, 1, 1, 3], [64, 32, 64, 1, 1, 3], [64, 32, 64, 1, 1, 3]]
    image_encoder = keras_hub.models.HGNetV2Backbone(
        stem_channels=[3, 16, 16],
        stackwise_stage_filters=stages,
        apply_downsample=[False, True, True, True],
        use_lightweight_conv_block=[False] * 4,
        depths=[1, 1, 1, 1],
        hidden_sizes=[32, 64, 64, 64],
        embedding_size=16,
        use_learnable_affine_block=True,
        hidden_act="relu",
        image_shape=(None, None, 3),
        out_features=["stage3", "stage4"],
    )
    return {
        "backbone": image_encoder,
        "decoder_in_channels": [32, 32],
        "encoder_hidden_dim": 32,
        "num_denoising": 0,
        "num_labels": 5,
        "hidden_dim": 32,
        "learn_initial_query": False,
        "num_queries": 10,
        "anchor_image_size": (64, 64),
        "feat_strides": [16, 32],
        "num_feature_levels": 2,
        "encoder_in_channels": [64, 64],
        "encode_proj_layers": [1],
        "num_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "num_encoder_layers": 1,
        "hidden_expansion": 0.34,
        "depth_multiplier": 0.5,
        "eval_idx": -1,
        "num_decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 48,
        "decoder_n_points": [2, 2],
        "lqe_hidden_dim": 16,
        "num_lqe_layers": 2,
        "out_features": ["stage3", "stage4"],
        "image_shape": (64, 64, 3),
        "seed": 0,
    }


def _depth_anything(small: Any) -> dict[str, Any]:
    image_encoder = keras_hub.models.DINOV2Backbone(
        **{**_SMALL, "num_layers": 4}, patch_size=14, image_shape=(84, 84, 3), position_embedding_shape=(84, 84)
    )
    return {
        "image_encoder": image_encoder,
        "reassemble_factors": [4, 2, 1, 0.5],
        "neck_hidden_dims": [8, 8, 16, 16],
        "fusion_hidden_dim": 16,
        "head_hidden_dim": 8,
        "head_in_index": -1,
        "feature_keys": ["stage1", "stage2", "stage3", "stage4"],
    }


def _diffusion(small: Any) -> dict[str, Any]:
    clip = {"hidden_dim": 32, "embedding_dim": 32, "intermediate_output_index": 0, "max_sequence_length": 77}
    from keras_hub.src.models.vae.vae_backbone import VAEBackbone

    vae = VAEBackbone(
        encoder_num_filters=[32, 32],
        encoder_num_blocks=[1, 1],
        decoder_num_filters=[32, 32],
        decoder_num_blocks=[1, 1],
    )
    return {
        "mmdit_patch_size": 2,
        "mmdit_hidden_dim": 32,
        "mmdit_num_layers": 2,
        "mmdit_num_heads": 2,
        "mmdit_position_size": 16,
        "mmdit_qk_norm": None,
        "mmdit_dual_attention_indices": None,
        "vae": vae,
        "clip_l": _text("CLIP", **clip),
        "clip_g": _text("CLIP", **clip),
        "image_shape": (32, 32, 3),
    }


def _sam(small: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 32, "intermediate_dim": 48, "num_heads": 4, "num_layers": 2}
    return {
        "image_encoder": keras_hub.models.ViTDetBackbone(
            **sizes,
            global_attention_layer_indices=[1],
            patch_size=8,
            num_output_channels=8,
            window_size=2,
            image_shape=(32, 32, 3),
        ),
        "prompt_encoder": keras_hub.layers.SAMPromptEncoder(
            hidden_size=8, image_embedding_size=(4, 4), input_image_size=(32, 32), mask_in_channels=16
        ),
        "mask_decoder": keras_hub.layers.SAMMaskDecoder(
            num_layers=2,
            hidden_size=8,
            intermediate_dim=32,
            num_heads=2,
            embedding_dim=8,
            num_multimask_outputs=3,
            iou_head_depth=2,
            iou_head_hidden_dim=8,
        ),
    }


def _sam3(small: Any) -> dict[str, Any]:
    image = {"image_shape": (56, 56, 3), "patch_size": 14}
    layers = keras_hub.layers
    return {
        "vision_encoder": layers.SAM3VisionEncoder(
            **image,
            **_SMALL,
            fpn_hidden_dim=32,
            fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
            pretrain_image_shape=(28, 28, 3),
            window_size=2,
            global_attn_indexes=[1],
        ),
        "text_encoder": layers.SAM3TextEncoder(vocabulary_size=60, embedding_dim=32, **_SMALL),
        "geometry_encoder": layers.SAM3GeometryEncoder(roi_size=3, **_SMALL),
        "detr_encoder": layers.SAM3DetrEncoder(**_SMALL),
        "detr_decoder": layers.SAM3DetrDecoder(**image, num_queries=10, **_SMALL),
        "mask_decoder": layers.SAM3MaskDecoder(num_upsampling_stages=3, hidden_dim=32, num_heads=4),
    }


_FLUX = {
    "input_channels": 16,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [4, 6, 6],
    "theta": 10_000,
    "use_bias": True,
    "image_shape": (16, 16),
    "text_shape": (8, 32),
    "image_ids_shape": (16, 3),
    "text_ids_shape": (8, 3),
    "y_shape": (32,),
}
_GEMMA_3N = {
    "text_vocab_size": 60,
    "text_hidden_size": 32,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": [48, 48],
    "hidden_activation": "gelu_approximate",
    "layer_types": ["sliding_attention", "full_attention"],
    "sliding_window": 4,
    "rope_theta": 10000.0,
    "max_position_embeddings": 64,
    "vocab_size_per_layer_input": 60,
    "hidden_size_per_layer_input": 4,
    "altup_num_inputs": 2,
    "laurel_rank": 2,
}
_MOBILE_NET = {
    "stackwise_expansion": [[16], [24, 24]],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_filters": [[16], [24, 24]],
    "stackwise_kernel_size": [[3], [5, 5]],
    "stackwise_num_strides": [[2], [2, 1]],
    "stackwise_se_ratio": [[None], [0.25, 0.25]],
    "stackwise_activation": [["relu"], ["hard_swish", "hard_swish"]],
    "stackwise_padding": [[1], [2, 2]],
    "output_num_filters": 32,
    "depthwise_filters": 16,
    "depthwise_stride": 1,
    "depthwise_residual": False,
    "last_layer_filter": 32,
    "squeeze_and_excite": 0.5,
}
_NONE = [[0], [0, 0]]
_MOBILE_NET_V5 = {
    "stackwise_block_types": [["er"], ["uir", "uir"]],
    "stackwise_num_blocks": [1, 2],
    "stackwise_num_filters": [[16], [24, 24]],
    "stackwise_strides": [[2], [2, 1]],
    "stackwise_act_layers": [["relu"], ["relu", "relu"]],
    "stackwise_exp_ratios": [[4.0], [4.0, 4.0]],
    "stackwise_se_ratios": [[0.0], [0.0, 0.0]],
    "stackwise_dw_kernel_sizes": [[0], [5, 5]],
    "stackwise_dw_start_kernel_sizes": _NONE,
    "stackwise_dw_end_kernel_sizes": _NONE,
    "stackwise_exp_kernel_sizes": [[3], [0, 0]],
    "stackwise_pw_kernel_sizes": [[1], [0, 0]],
    "stackwise_num_heads": _NONE,
    "stackwise_key_dims": _NONE,
    "stackwise_value_dims": _NONE,
    "stackwise_kv_strides": _NONE,
    "stackwise_use_cpe": [[False], [False, False]],
    "use_msfa": False,
    "num_features": 32,
}
_MOONSHINE = {
    "filter_dim": 32,
    "encoder_num_layers": 2,
    "decoder_num_layers": 2,
    "encoder_num_heads": 4,
    "decoder_num_heads": 4,
}
_GATED_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}

# By family: arguments of its backbone, or a function that makes them, given one that builds a small backbone by name.
COMPOSED: dict[str, Any] = {
    "BASNet": _basnet,
    "BLIP2": _blip2,
    "CLIP": _two_towers("CLIP", projection_dim=16),
    "DFine": _d_fine,
    "DepthAnything": _depth_anything,
    "Flux": _FLUX,
    "Gemma3n": _GEMMA_3N,
    "Gemma4": {"image_size": 16, "vision_encoder": None, "sliding_window_size": 5, "sliding_window_pattern": 2},
    "MetaCLIP2": _two_towers("MetaCLIP2", projection_dim=16),
    "MobileNet": _MOBILE_NET,
    "MobileNetV5": _MOBILE_NET_V5,
    "Moonshine": _MOONSHINE,
    "PARSeq": lambda small: {
        "image_encoder": small("ViT"),
        "max_label_length": 8,
        "decoder_hidden_dim": 32,
        "num_decoder_heads": 4,
        "decoder_mlp_dim": 48,
    },
    "Qwen3_5": _GATED_DELTA,
    "Qwen3_5Moe": {
        **_GATED_DELTA,
        "moe_intermediate_dim": 16,
        "shared_expert_intermediate_size": 16,
        "num_experts": 4,
        "top_k": 2,
    },
    "RQVAE": {
        "input_dim": 16,
        "encoder_layer_dims": [16],
        "output_dim": 8,
        "decoder_layer_dims": [16],
        "num_embeddings": 8,
        "num_quantizers": 2,
    },
    "SAM": _sam,
    "SAM3PromptableConcept": _sam3,
    "SigLIP": _two_towers("SigLIP"),
    "StableDiffusion3": _diffusion,
    "VideoPrism": {
        "num_frames": 2,
        "patch_size": 8,
        "num_spatial_layers": 1,
        "num_temporal_layers": 1,
        "num_auxiliary_layers": 1,
    },
}
