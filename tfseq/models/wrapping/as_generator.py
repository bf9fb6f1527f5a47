"""`as_generator`: encoder and decoder of a tutorial, or a language model without a cache, become a `Generator`."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.errors import InputError
from tfseq.models.generator import Generator
from tfseq.models.wrapping.wrapped_models import (
    FromDecoder,
    FromLanguageModel,
    FromModel,
    FromStates,
    fed,
    inputs_of,
    shapes_of,
)


def as_generator(
    *,
    encoder: keras.Model | None = None,
    decoder: keras.Model | None = None,
    model: keras.Model | None = None,
    language_model: keras.Model | None = None,
    start: int | None = None,
    end: int | Sequence[int] | None = None,
    max_positions: int | None = None,
) -> Generator:
    """Makes a `Generator` of Keras models as they are, whose weights it shares.

    Three kinds of models are taken:

    - `encoder` and `decoder`, as for inference after training. The encoder returns what the decoder reads beside the
      tokens, in that order. The decoder takes the tokens first, (batch, time), (batch, 1) or (batch,), or as one-hot
      vectors (batch, time, vocabulary); then what stays fixed, such as the encoder's sequence for attention; then
      its states. It returns the logits or the probabilities of the next token first, then its new states, in the order
      in which it takes them. One that has no states reads, at each step, all tokens so far.
    - `model` alone, which takes sources and target, in this order, and returns logits or probabilities at each
      position. Each step runs all of it.
    - `language_model`, causal: tokens (batch, time) to logits or probabilities at each position; its first output if
      it has several. Each step runs it over all tokens so far.

    Where a model has no states, a sequence of n tokens costs n passes over it. Its `notes`, and those of the file it is
    exported to, say so: a `Generator` of your own with a `step` that carries states is quicker by far.

    Args:
        encoder: a Functional or Sequential model of the sources.
        decoder: a Functional or Sequential model of one step, or of whole targets.
        model: the model that was trained. Beside an encoder and a decoder it is compared with them.
        language_model: a Keras model; one that was not built from `keras.Input` has to have been called.
        start: id of the token that targets begin with; None for a language model.
        end: id of the token that ends a sequence, or of several that do; None where only the maximum length ends it.
        max_positions: tokens that it reads at most; a language model of a fixed length has that.

    Returns:
        a `Generator` to train, decode and export. It can be saved unless encoder and decoder share layers.

    Raises:
        InputError: models that do not fit together, with what was expected.

    Example:
        >>> generator = as_generator(encoder=encoder, decoder=decoder, model=trained, start=1, end=2)
        >>> tfseq.export(generator, "translator.onnx", decode=tfseq.Beam(4))
    """
    given = {"encoder": encoder, "decoder": decoder, "model": model, "language_model": language_model}
    for name, value in given.items():
        if value is not None and (not isinstance(value, keras.Model) or isinstance(value, Generator)):
            what = "a Generator already" if isinstance(value, Generator) else f"{type(value).__name__}"
            raise InputError(f"{name} is {what}; expected a keras.Model.")
    kinds = frozenset(name for name, value in given.items() if value is not None)
    if kinds == {"language_model"}:
        if start is not None:
            raise InputError(f"start is {start}; a language model continues a prompt: leave start out.")
        return FromLanguageModel(language_model, end=end, max_positions=max_positions)
    if kinds not in ({"encoder", "decoder"}, {"encoder", "decoder", "model"}, {"model"}):
        raise InputError(
            f"Got {', '.join(sorted(kinds)) or 'no model'}; expected an encoder and a decoder, a model of sources and "
            "target, or a language_model."
        )
    if start is None:
        raise InputError("start is None; expected the id of the token that targets begin with.")
    options: dict[str, Any] = {"start": start, "end": end, "max_positions": max_positions}
    if decoder is None:
        return FromModel(model, **options)
    wrapped = (FromStates if len(inputs_of(decoder, "decoder")) > 1 and len(decoder.outputs) > 1 else FromDecoder)(
        encoder, decoder, **options
    )
    if model is not None:
        _compare(wrapped, model)
    return wrapped


def _compare(wrapped, model):
    """Whether the model that was trained gives what encoder and decoder give."""
    random, time = np.random.default_rng(0), 3
    tensors = inputs_of(model, "model")
    if len(tensors) != len(wrapped.sources) + 1:
        wanted = ", ".join(spec.name for spec in wrapped.sources)
        raise InputError(f"The model takes {shapes_of(tensors)}; expected {wanted} and target.")
    given = wrapped.ones()
    target = random.integers(0, wrapped.vocabulary_size, (1, tensors[-1].shape[1] or time)).astype("int32")
    target[:, 0] = wrapped.start
    taken = ops.one_hot(target, tensors[-1].shape[-1]) if len(tensors[-1].shape) == 3 else target
    expected = wrapped.logits_from(model(fed(model, [*given, taken])))
    memory = wrapped.read_sources(given)
    state, steps = wrapped.initial_state(memory, 1), []
    for column in target.T:
        logits, state = wrapped.step(ops.convert_to_tensor(column), state, memory)
        steps.append(ops.convert_to_numpy(logits))
    got, expected = np.stack(steps, axis=1), np.asarray(ops.convert_to_numpy(expected))
    differs = np.abs(got - expected).max(axis=(0, 2)) > 1e-4 * max(1, float(np.abs(expected).max()))
    if differs.any():
        position = int(np.argmax(differs))
        raise InputError(
            f"Encoder and decoder give other logits than the model, first at position {position} of a target. Look for "
            "a layer that is not the trained one, or states in another order."
        )
