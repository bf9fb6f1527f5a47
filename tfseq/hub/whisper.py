"""`Whisper`, KerasHub's WhisperBackbone as a `Generator`, and `whisper`, which makes one that writes text."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseq.errors import ExportError
from tfseq.hub.log_mel import LogMel
from tfseq.hub.speech_to_text import SpeechToText
from tfseq.hub.tokenizers import converted

TASKS = ("transcribe", "translate")


def whisper(
    backbone: Any,
    audio_converter: Any,
    tokenizer: Any = None,
    language: str | None = None,
    task: str | None = None,
    timestamps: bool = False,
) -> "Whisper":
    """Whisper for `tfseq.export`, whose files take samples of sound and write text.

    KerasHub has no task for it: `keras_hub.models.WhisperBackbone`, `keras_hub.layers.WhisperAudioConverter` and
    `keras_hub.tokenizers.WhisperTokenizer` each have a `from_preset`.

    Args:
        tokenizer: a `keras_hub.tokenizers.WhisperTokenizer`.
        language: of what is said, such as "en", for a multilingual model; None has the model write language and task
            first, or whoever runs a file that was exported with `prefix=True` prompt them: "<|de|><|translate|>".
        task: "transcribe", or "translate" into English; of a multilingual model with a language, None for "transcribe".
        timestamps: whether texts have tokens such as <|2.40|> in them.

    Raises:
        ExportError: the parts don't go together, or the tokenizer has no such language or task.

    Example:
        >>> speech = tfseq.hub.whisper(backbone, audio_converter, tokenizer, language="en")
        >>> tfseq.export(speech, "speech.onnx", decode=tfseq.Greedy())
    """
    begin = _begin(tokenizer, language, task, timestamps)
    model = Whisper(backbone, audio_converter, begin, (tokenizer.eos_token_id,))
    names = _names(tokenizer, model.vocabulary_size)
    model.tokenizer = converted(tokenizer, model.vocabulary_size, names, start=model.start, end=tokenizer.eos_token_id)
    return model


@keras.saving.register_keras_serializable(package="tfseq")
class Whisper(SpeechToText):
    """KerasHub's WhisperBackbone; see `whisper`.

    Args:
        backbone: a `keras_hub.models.WhisperBackbone`, whose weights it shares.
        audio_converter: a `keras_hub.layers.WhisperAudioConverter`; its features are computed in the graph.
        begin: ids of the tokens that every output begins with, one at least; decoding begins with the last of them.
        end: ids of the tokens that end a text.

    Call arguments:
        inputs: {"samples": (batch, samples) float32, "target": (batch, time) int32}; sounds are cut to what the
            converter hears and padded to it with 0, targets go from the last of `begin` on.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ExportError: the converter makes other features than the backbone reads.
    """

    def __init__(self, backbone: Any, audio_converter: Any, begin: Sequence[int], end: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.backbone, self._features = backbone, LogMel(audio_converter)
        heard = backbone.encoder_position_embedding.sequence_length
        if audio_converter.num_mels != backbone.num_mels or (self._features.frames + 1) // 2 > heard:
            raise ExportError(
                f"The WhisperAudioConverter makes {self._features.frames} frames of {audio_converter.num_mels} mels "
                f"and {backbone.name} (WhisperBackbone of KerasHub) reads up to {2 * heard} of {backbone.num_mels}: "
                "give both of one preset."
            )
        self.begin_with(begin, end, backbone.max_decoder_sequence_length)
        self.vocabulary_size, self.sampling_rate = backbone.vocabulary_size, int(audio_converter.sampling_rate)
        width = backbone.hidden_dim // backbone.num_heads
        self.cached_in(backbone.num_layers, backbone.num_heads, width, backbone.compute_dtype)
        features, encoded = backbone.input["encoder_features"], backbone.output["encoder_sequence_output"]
        self._encode = keras.Model(features, encoded).call  # not a layer beside those of the backbone
        self.built = True

    def call(self, inputs, training=False):
        target = inputs["target"]
        target = ops.concatenate([self.tokens_before(ops.shape(target)[0]), target], axis=1)
        given = {"decoder_token_ids": target, "decoder_padding_mask": ops.ones_like(target)}
        given["encoder_features"] = self._features(inputs["samples"])
        states = self.backbone(given, training=training)["decoder_sequence_output"]
        return ops.cast(self._logits(states[:, len(self._before) :]), "float32")

    def encode(self, inputs=None):
        """What the encoder makes of the sounds, and its keys and values for each layer."""
        encoded = self._encode(self._features(inputs), training=False)
        attentions = [layer._cross_attention_layer for layer in self.backbone.decoder_transformer_layers]
        return {"encoded": encoded, "entries": self.entries(attentions, encoded)}

    def decoded(self, memory, tokens, own, position, cross):
        x = self.backbone.decoder_embeddings(tokens, start_index=position)
        caches = []
        for i, layer in enumerate(self.backbone.decoder_transformer_layers):
            x, cache, _ = layer(
                decoder_sequence=x,
                encoder_sequence=memory["encoded"],
                self_attention_cache=own[:, i, ...],
                self_attention_cache_update_index=position,
                cross_attention_cache=cross[:, i, ...],
                training=False,
            )
            caches.append(cache)
        return self._logits(self.backbone.decoder_layer_norm(x[:, -1])), ops.stack(caches, axis=1)

    def _logits(self, states):
        return self.backbone.token_embedding(states, reverse=True)

    def get_config(self):
        parts = {"backbone": self.backbone, "audio_converter": self._features.converter}
        own = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return super().get_config() | own | {"begin": self.begin, "end": self.end}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("backbone", "audio_converter")
        made = [keras.saving.deserialize_keras_object(config.pop(name), custom_objects) for name in parts]
        return cls(*made, **config)


def _begin(tokenizer: Any, language: str | None, task: str | None, timestamps: bool) -> tuple[int, ...]:
    """Ids of the tokens that outputs begin with.

    Raises:
        ExportError: the tokenizer has no such language or task.
    """
    start, languages = tokenizer.bos_token_id, tokenizer.language_tokens or {}
    silent = () if timestamps else (tokenizer.no_timestamps_token_id,)
    if task is not None and task not in TASKS:
        raise ExportError(f'task is {task!r}; expected "transcribe" or "translate".')
    if language is None:
        if task is not None:
            raise ExportError(f"task is {task!r} without a language, which stands before it; give language, too.")
        return (start, *(() if languages else silent))
    if f"<|{language}|>" not in languages:
        known = ", ".join(name.strip("<|>") for name in languages)
        raise ExportError(
            f"The WhisperTokenizer has no language {language!r}; expected {known or 'None: it has none'}."
        )
    tasks = {"transcribe": tokenizer.transcribe_token_id, "translate": tokenizer.translate_token_id}
    return (start, languages[f"<|{language}|>"], tasks[task or "transcribe"], *silent)


def _names(tokenizer: Any, vocabulary_size: int) -> dict[int, str]:
    """Tokens that stand for no text: special ones, languages, and times, every 20 ms, behind the last of them."""
    first = tokenizer.no_timestamps_token_id + 1
    times = {first + i: f"<|{i / 50:.2f}|>" for i in range(vocabulary_size - first)}
    special = {**tokenizer._special_token_dict, **(tokenizer.language_tokens or {})}
    return {**times, **{id_: token for token, id_ in special.items()}}
