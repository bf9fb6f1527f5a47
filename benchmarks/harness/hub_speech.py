"""Small speech models of KerasHub with random weights, and what they write; Whisper by a plain loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

import tfseq
from benchmarks.harness.hub_tasks import VOCABULARY, spread
from tfseq.hub import Whisper
from tfseq.hub.moonshine import Moonshine

SECONDS = 1  # that Whisper hears
BEGIN, END = (1, 2, 3), 4

_WHISPER = {"num_layers": 2, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 48, "num_mels": 20}
_MOONSHINE = {
    "filter_dim": 32,
    "encoder_num_layers": 2,
    "decoder_num_layers": 2,
    "hidden_dim": 32,
    "intermediate_dim": 48,
    "encoder_num_heads": 4,
    "decoder_num_heads": 4,
}


def whisper_parts(vocabulary_size=VOCABULARY, positions=40):
    """A backbone and its converter."""
    converter = keras_hub.layers.WhisperAudioConverter(num_mels=20, max_audio_length=SECONDS)
    heard = {"max_encoder_sequence_length": 100 * SECONDS, "max_decoder_sequence_length": positions}
    backbone = keras_hub.models.WhisperBackbone(vocabulary_size=vocabulary_size, **_WHISPER, **heard)
    return spread(backbone, positions=1.0), converter


def moonshine(preprocessor=None, vocabulary_size=VOCABULARY):
    """A MoonshineAudioToText."""
    backbone = keras_hub.models.MoonshineBackbone(vocabulary_size=vocabulary_size, **_MOONSHINE)
    task = keras_hub.models.MoonshineAudioToText(backbone=backbone, preprocessor=preprocessor)
    return spread(task, dense=1.0)


def sounds(lengths, seed=0):
    """Random sounds of these lengths, padded with 0: tones and noise, (sounds, longest) float32."""
    random = np.random.default_rng(seed)
    made = np.zeros((len(lengths), max(lengths)), "float32")
    for row, length in zip(made, lengths):
        tones = np.sin(np.outer(np.arange(length), random.uniform(0.01, 2, 3))).sum(1)
        row[:length] = tones * random.uniform(0.05, 0.5) + random.normal(size=length) * random.uniform(0.01, 0.3)
    return made


def whisper_answers(backbone: Any, converter: Any, samples: Any, begin: Any, new: int) -> np.ndarray:
    """The most likely tokens, one by one, each from a pass over all before it: (sounds, new)."""
    features = np.asarray(converter(samples))
    tokens = np.tile(np.array(begin, "int32"), (len(samples), 1))
    for _ in range(new):
        given = {"encoder_features": features, "decoder_token_ids": tokens}
        given["decoder_padding_mask"] = np.ones_like(tokens)
        states = backbone(given)["decoder_sequence_output"][:, -1]
        logits = keras.ops.matmul(states, keras.ops.transpose(backbone.token_embedding.embeddings))
        tokens = np.append(tokens, np.asarray(logits).argmax(1).astype("int32")[:, None], axis=1)
    return tokens[:, len(begin) :]


def moonshine_answers(task: Any, samples: Any, begin: Any, new: int, end: int | None = None) -> np.ndarray:
    """What KerasHub's `generate_step` writes greedily, (sounds, new)."""
    written = np.zeros((len(samples), len(begin) + new), "int32")
    written[:, : len(begin)] = begin
    inputs = {
        "encoder_input_values": samples[:, :, None],
        "encoder_padding_mask": samples != 0,
        "decoder_token_ids": written,
        "decoder_padding_mask": np.broadcast_to(np.arange(written.shape[1]) < len(begin), written.shape),
    }
    task.compile(sampler="greedy")
    given = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    stop = None if end is None else (end,)
    return np.asarray(task.generate_step(given, stop_token_ids=stop)["decoder_token_ids"])[:, len(begin) :]


LENGTHS = (16000, 9000, 3000, 20000)  # samples of each sound; Whisper cuts the last


def heard(family: str, path: Path, new: int) -> tuple[Any, list[bool], tfseq.runtime.Manifest]:
    """Exports a family of SPEECH.

    Returns:
        the model, whether its file writes of each sound what KerasHub's own decoding writes, and the manifest.
    """
    model, own = SPEECH[family]()
    manifest = tfseq.export(model, path, decode=tfseq.Greedy())
    given = sounds(LENGTHS)
    found = tfseq.runtime.load(path).run({"samples": given, "max_length": np.int32(new), "min_length": np.int32(0)})
    rows = zip(found["tokens"], found["lengths"], own(given, new))
    equal = [bool((row[:n] == theirs[:n]).all() and (n == new or theirs[n] == END)) for row, n, theirs in rows]
    return getattr(model, "task", None) or model.backbone, equal, manifest


def _whisper():
    backbone, converter = whisper_parts()
    model = Whisper(backbone, converter, BEGIN, (END,))
    return model, lambda given, new: whisper_answers(backbone, converter, given, BEGIN, new)


def _moonshine():
    task, begin = moonshine(), (1, 1)
    return Moonshine(task, begin, (END,)), lambda given, new: moonshine_answers(task, given, begin, new, END)


SPEECH: dict[str, Callable[[], tuple[Any, Callable[[Any, int], np.ndarray]]]] = {
    "Whisper": _whisper,
    "Moonshine": _moonshine,
}
