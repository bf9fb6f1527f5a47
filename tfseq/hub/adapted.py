"""`adapted`: a task of KerasHub as the model and the tokenizer that an export takes."""

from dataclasses import dataclass
from typing import Any

import keras

from tfseq.errors import ExportError
from tfseq.hub.speech_to_text import SpeechToText
from tfseq.runtime.tokenizer_base import Tokenizer


@dataclass(frozen=True)
class Adapted:
    """What `tfseq.export` takes in place of a task.

    Attributes:
        model: a Generator or a classifier, with the task's weights.
        tokenizer: of its preprocessor; None if it has none, or the model reads no text.
    """

    model: keras.Model
    tokenizer: Tokenizer | None = None


def is_task(model: Any) -> bool:
    """Whether `adapted` takes it: a task of KerasHub's, such as a `CausalLM`, or a `SpeechToText`. It does not import
    KerasHub."""
    return "Task" in _classes(model) or isinstance(model, SpeechToText)


def adapted(task: Any, generates: bool, with_tokenizer: bool = True, labelled: bool = False) -> Adapted:
    """A task as an export takes it.

    Args:
        task: a `keras_hub.models.Task`, or a `SpeechToText` made of parts of KerasHub's.
        generates: whether the file is to generate, rather than compute one forward pass.
        labelled: whether the file is to name classes, which takes probabilities.
        with_tokenizer: whether the file is to read and write text; False has it take token ids.

    Raises:
        ExportError: the task, or its tokenizer, does something that no file can hold.
    """
    if isinstance(task, SpeechToText):
        return Adapted(task, task.tokenizer if with_tokenizer else None)
    kinds = _classes(task)
    if generates and "AudioToText" in kinds:  # which is a Seq2SeqLM, too
        return adapted(_speech(task, with_tokenizer), generates, with_tokenizer)
    if generates and "Seq2SeqLM" in kinds:  # which is a CausalLM, too
        from tfseq.hub.seq_2_seq_lm import EncoderDecoder
        from tfseq.hub.task_settings import begin_of, ends_of

        model: keras.Model = EncoderDecoder(task, begin_of(task), ends_of(task))
    elif generates and "CausalLM" in kinds:
        from tfseq.hub.causal_lm import CausalLanguageModel
        from tfseq.hub.task_settings import ends_of

        model = CausalLanguageModel(task, ends_of(task))
    elif generates:
        raise ExportError(
            f"{task.name} ({type(task).__name__} of KerasHub) is neither a CausalLM nor a Seq2SeqLM; leave decode out, "
            "and the file holds its forward pass."
        )
    elif kinds & {"TextClassifier", "TextEmbedder"}:
        from tfseq.hub.text_tasks import text_model

        model = text_model(task, labelled)
    elif kinds & {"ImageClassifier", "ImageSegmenter"} and not isinstance(task.input, dict | list):
        from tfseq.hub.image_tasks import image_model

        return Adapted(image_model(task, labelled))
    else:
        return Adapted(task)
    if task.preprocessor is None or not with_tokenizer:
        return Adapted(model)
    from tfseq.hub.text_preprocessing import tokenizer_of

    return Adapted(model, tokenizer_of(task, model))


def _speech(task: Any, with_tokenizer: bool) -> SpeechToText:
    from tfseq.hub.moonshine import Moonshine
    from tfseq.hub.task_settings import begin_of, ends_of, refused
    from tfseq.hub.tokenizers import converted

    if not hasattr(task.backbone, "decoder_blocks"):
        raise refused(task, "keeps the caches of its decoder in its own way")
    begin = begin_of(task)
    converter = task.preprocessor.audio_converter
    heard = {name: getattr(converter, name) for name in ("sampling_rate", "padding_value", "do_normalize")}
    model = Moonshine(task, begin, ends_of(task), **heard)
    if with_tokenizer:
        end = model.ends[0] if model.ends else None
        model.tokenizer = converted(task.preprocessor.tokenizer, model.vocabulary_size, start=model.start, end=end)
    return model


def _classes(model: Any) -> set[str]:
    return {base.__name__ for base in type(model).__mro__ if base.__module__.split(".")[0] == "keras_hub"}
