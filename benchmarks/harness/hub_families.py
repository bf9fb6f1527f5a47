"""Every backbone and task of the installed KerasHub in a small configuration, found in `keras_hub.models`."""

import inspect
from collections.abc import Iterator
from typing import Any

import keras_hub

from benchmarks.harness.hub_composed import COMPOSED, blip2_of_t5
from benchmarks.harness.hub_tasks import CAUSAL

TASKS = (
    "CausalLM",
    "Seq2SeqLM",
    "TextClassifier",
    "TextEmbedder",
    "MaskedLM",
    "ImageClassifier",
    "ImageSegmenter",
    "ObjectDetector",
    "DepthEstimator",
    "TextToImage",
    "ImageToImage",
    "Inpaint",
)
_OF_CLASSES = ("TextClassifier", "ImageClassifier", "ImageSegmenter", "ObjectDetector")
_BASES = ("Backbone", "FeaturePyramidBackbone")
# Values of constructors' arguments, by name; a backbone takes those that it asks for.
_VALUES: dict[str, Any] = {
    "vocabulary_size": 60,
    "num_layers": 2,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "num_attention_heads": 4,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_dim": 32,
    "embedding_dim": 32,
    "intermediate_dim": 48,
    "mlp_dim": 48,
    "max_sequence_length": 64,
    "patch_size": 4,
    "image_shape": (32, 32, 3),
}


def backbones() -> Iterator[str]:
    """Names of families, such as "Bert", each of a class of its own."""
    known, seen = keras_hub.models, set()
    for name in sorted(dir(known)):
        cls = getattr(known, name)
        if name.endswith("Backbone") and name not in _BASES and cls not in seen:
            seen.add(cls)
            yield name.removesuffix("Backbone")


def tasks() -> Iterator[tuple[str, str, type]]:
    """(kind, family, class) of each task that is of a class of its own."""
    known = keras_hub.models
    for kind in TASKS:
        base: Any = getattr(known, kind, None)
        seen: set[type] = set()
        if base is None:
            continue
        for name in sorted(dir(known)):
            cls: Any = getattr(known, name)
            own = (
                isinstance(cls, type)
                and issubclass(cls, base)
                and cls is not base
                and getattr(cls, "backbone_cls", None)
            )
            if own and cls not in seen and not (kind == "CausalLM" and issubclass(cls, known.Seq2SeqLM)):
                seen.add(cls)
                yield kind, name, cls


def small_task(name: str, kind: str) -> Any:
    """A task of a small backbone with its first weights, without a preprocessor where it needs none."""
    cls: Any = getattr(keras_hub.models, name)
    wanted = inspect.signature(cls.__init__).parameters
    given: dict[str, Any] = {"num_classes": 3} if kind in _OF_CLASSES else {}
    given |= {"preprocessor": None} if "preprocessor" in wanted else {}
    own = TASK_VALUES.get(name, {})
    return cls(**{"backbone": _small(cls.backbone_cls)} | given | (own() if callable(own) else own))


def small_backbone(family: str) -> Any:
    """A small model of a backbone, by its constructor's arguments and what is known of the family."""
    return _small(getattr(keras_hub.models, f"{family}Backbone"))


def _small(cls: Any) -> Any:
    own = SMALL.get(cls.__name__.removesuffix("Backbone"), {})
    wanted = inspect.signature(cls.__init__).parameters
    given = {name: value for name, value in _VALUES.items() if name in wanted} | (
        own(small_backbone) if callable(own) else own
    )
    return cls(**given)


_RESIDUAL = {
    "input_conv_filters": [64],
    "input_conv_kernel_sizes": [7],
    "stackwise_num_filters": [64, 16, 16],
    "stackwise_num_blocks": [1, 1, 1],
    "stackwise_num_strides": [1, 2, 2],
    "block_type": "basic_block",
}
_LAYERS = ["full_attention"] * 2
_T5_GEMMA = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 32,
        "intermediate_dim": 48,
        "num_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "layer_types": _LAYERS,
    }.items()
}
_T5_GEMMA_VALUES = {**_T5_GEMMA, "query_pre_attn_scalar": 1.0, "attention_bias": False}
# By family: arguments of its backbone, or a function that makes them, given one that builds a small backbone by name.
SMALL: dict[str, Any] = {
    **COMPOSED,
    **{name: arguments for name, arguments in CAUSAL.items() if name != "Gemma3"},
    "Gemma3": {**CAUSAL["Gemma3"], "vision_encoder": None},
    "CSPNet": {
        "stem_filters": 8,
        "stem_kernel_size": 3,
        "stem_strides": 1,
        "stackwise_depth": [1, 1],
        "stackwise_strides": [1, 2],
        "stackwise_num_filters": [8, 16],
        "down_ratio": 1,
        "block_type": "dark_block",
        "stage_type": "dark",
    },
    "DeepLabV3": lambda small: {
        "image_encoder": small("ResNet"),
        "low_level_feature_key": "P2",
        "spatial_pyramid_pooling_key": "P4",
        "dilation_rates": [2, 4],
        "upsampling_size": 4,
    },
    "DenseNet": {"stackwise_num_repeats": [2, 2], "growth_rate": 8},
    "EdRec": {"vocab_size": 60, "num_layers_enc": 1, "num_layers_dec": 1},
    "EfficientNet": {
        "stackwise_kernel_sizes": [3, 3],
        "stackwise_num_repeats": [1, 1],
        "stackwise_input_filters": [32, 16],
        "stackwise_output_filters": [16, 24],
        "stackwise_expansion_ratios": [1, 6],
        "stackwise_squeeze_and_excite_ratios": [0.25, 0.25],
        "stackwise_strides": [1, 2],
        "stackwise_block_types": ["v1", "v1"],
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
    },
    "Electra": {"vocab_size": 60},
    "HGNetV2": {
        "depths": [1, 1],
        "embedding_size": 16,
        "hidden_sizes": [32, 64],
        "stem_channels": [3, 8, 16],
        "hidden_act": "relu",
        "use_learnable_affine_block": False,
        "stackwise_stage_filters": [[16, 8, 32, 1, 1, 3], [32, 16, 64, 1, 1, 3]],
        "apply_downsample": [False, True],
        "use_lightweight_conv_block": [False, False],
    },
    "MiT": {
        "layerwise_depths": [1, 1],
        "hidden_dims": [8, 16],
        "layerwise_num_heads": [1, 2],
        "layerwise_sr_ratios": [2, 1],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3],
        "layerwise_strides": [4, 2],
    },
    "PaliGemma": {
        "image_size": 16,
        "vit_patch_size": 8,
        "vit_num_heads": 2,
        "vit_hidden_dim": 16,
        "vit_num_layers": 1,
    },
    "RWKV7": {"hidden_size": 16, "head_size": 8},
    "ResNet": _RESIDUAL,
    "RetinaNet": lambda small: {"image_encoder": small("ResNet"), "min_level": 3, "max_level": 4, "use_p5": False},
    "RoformerV2": {"head_size": 8},
    "SegFormer": lambda small: {"image_encoder": small("MiT"), "projection_filters": 16},
    "SwinTransformer": {"embed_dim": 16, "depths": (1, 1), "num_heads": (2, 4), "window_size": 4},
    "T5Gemma": {**_T5_GEMMA_VALUES, "hidden_activation": "gelu"},
    "T5Gemma2": {**_T5_GEMMA_VALUES, "hidden_activation": "gelu_approximate"},
    "VGG": {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 16]},
    "ViTDet": {"hidden_size": 32, "global_attention_layer_indices": [1]},
    "Xception": {"stackwise_conv_filters": [[8, 16], [16, 16]], "stackwise_pooling": [True, False]},
}
# By task: arguments of its constructor, or a function that makes them.
TASK_VALUES: dict[str, Any] = {
    "BLIP2Seq2SeqLM": lambda: {"backbone": keras_hub.models.BLIP2Backbone(**blip2_of_t5())},
    "DepthAnythingDepthEstimator": {"depth_estimation_type": "relative"},
    "Gemma4AssistantCausalLM": {
        "backbone_hidden_size": 32,
        "num_centroids": 4,
        "centroid_intermediate_top_k": 2,
        "use_ordered_embeddings": False,
    },
    "PARSeqCausalLM": lambda: {
        "preprocessor": keras_hub.models.PARSeqCausalLMPreprocessor(tokenizer=keras_hub.models.PARSeqTokenizer())
    },
    "VGGImageClassifier": {"pooling_hidden_dim": 16},
}
