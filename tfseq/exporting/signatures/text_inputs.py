"""`text_input`: a model whose texts go into TextVectorization, as one of the token ids that a tokenizer makes."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import keras
import tensorflow as tf
from keras.src.layers.preprocessing.index_lookup import IndexLookup

from tfseq.errors import ExportError, InputError
from tfseq.exporting.signatures.signature import Signature
from tfseq.layers.text_vectorization import word_tokenizer_of
from tfseq.runtime.manifest import TensorSpec
from tfseq.runtime.word_tokenizer import WordTokenizer

_VECTORIZE = keras.layers.TextVectorization.call
_MOVES = ("Identity", "Reshape", "ExpandDims", "Squeeze")  # what may stand between the text and its layer


@dataclass(frozen=True)
class TextInput:
    """A model of texts as one of token ids.

    Attributes:
        signature: of the model, with token ids in the place of texts, (batch, time) int32.
        tokenizer: makes them.
    """

    signature: Signature
    tokenizer: WordTokenizer


def splitting_layers(model: keras.Model) -> list[Any]:
    """The layers that split text, those inside other layers among them."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.TextVectorization)]
    return [layer for layer in layers if layer._split is not None]


def text_input(model: keras.Model, signature: Signature) -> TextInput | None:
    """A model whose texts go straight into a TextVectorization, as one of token ids; None if it has no such layer.

    Args:
        signature: of the model, with strings as inputs.

    Raises:
        ExportError: the layer does what no tokenizer of ours does, or there are several.
    """
    layers = splitting_layers(model)
    texts = [name for name, vocabulary in signature.vocabularies.items() if vocabulary.of_texts]
    if not layers:
        return None
    first, *others = (_tokenizer(layer) for layer in layers)
    if not texts:
        return None  # the conversion will say where they come from
    if any(other.to_json() != first.to_json() for other in others):
        raise ExportError(_refused(layers[0], "is one of several that split text, each in its own way"))
    inputs = tuple(
        replace(spec, dtype="int32", shape=(spec.shape[0], first.length or _time(spec, signature)))
        if spec.name in texts
        else spec
        for spec in signature.inputs
    )

    def function(**tensors: Any) -> Any:
        stand_ins = {spec.name: _stand_in(spec, tensors[spec.name]) for spec in signature.inputs if spec.name in texts}
        with _given([(text, tensors[name]) for name, text in stand_ins.items()]):
            return signature.function(**(tensors | stand_ins))

    return TextInput(Signature(inputs, function, signature.vocabulary_sizes, signature.draws), first)


def _time(text: TensorSpec, signature: Signature) -> str:
    return "time" if len(signature.inputs) == 1 else f"{text.name}_time"


def _stand_in(text: TensorSpec, ids: Any) -> Any:
    """A tensor of the text's shape, for the model to hand to its layer."""
    empty = tf.fill(tf.concat([tf.shape(ids)[:1], text.shape[1:]], 0), "")
    return tf.ensure_shape(empty, [None if isinstance(size, str) else size for size in text.shape])


@contextlib.contextmanager
def _given(texts: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Within, layers that split texts have the token ids of these, (batch, time), from outside."""

    def call(layer: Any, inputs: Any) -> Any:
        if layer._split is None:
            return _VECTORIZE(layer, inputs)
        ids = next((tokens for text, tokens in texts if _is_moved(inputs, text)), None)
        if ids is None:
            raise ValueError("the text that it splits is computed in the model, and ONNX has no operators for that.")
        numbers = tf.cast(ids, tf.int64)
        if layer._output_mode == "int":
            return numbers
        dropped = tf.constant(tf.int64.max)  # as of masked tokens
        known = tf.where(numbers > 0, numbers - 1, dropped)  # the others count from the unknown word
        with mock.patch.object(IndexLookup, "_lookup_dense", return_value=known):
            return layer._lookup_layer.call(tf.ensure_shape(tf.fill(tf.shape(ids), ""), ids.shape))

    with mock.patch.object(keras.layers.TextVectorization, "call", call):
        yield


def _is_moved(tensor: Any, source: Any) -> bool:
    """Whether a tensor is another one, or what is left when axes of size 1 are added to that or removed."""
    while tensor is not source and tensor.op.type in _MOVES:
        tensor = tensor.op.inputs[0]
    return tensor is source


def _tokenizer(layer: Any) -> WordTokenizer:
    """
    Raises:
        ExportError: the layer does what no tokenizer of ours does.
    """
    if layer._ragged:
        raise ExportError(_refused(layer, "gives out ragged tensors"))
    try:
        return word_tokenizer_of(layer)
    except InputError as error:
        raise ExportError(_refused(layer, str(error))) from None


def _refused(layer: Any, what: str) -> str:
    return (
        f"The layer {layer.name} (TextVectorization) {what}, which has no translation: ONNX has no operators that take "
        "text apart, and the tokenizer in the file knows plain standardizing and splitting. Export the model behind "
        "the layer, which takes token ids: with tokenizer=tfseq.data.tokenizer_of(layer) if that can say what the "
        "layer does; otherwise call the layer before it."
    )
