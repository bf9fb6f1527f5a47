"""The generation loop: one copy of the model's `step`, for every row and every symbol, read or written."""

import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.decoding.sample import Sample
from tfseq.errors import InputError
from tfseq.layers import loops
from tfseq.models.generator import Generator


def generate(
    model: Generator,
    prompt,
    prompt_length=None,
    *,
    new_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    seed: int = 0,
    memory=(),
):
    """Continues each prompt with symbols that the model draws.

    Args:
        model: a `tfseq.models.Generator`.
        prompt: (batch, time) integers, each row padded on the right; or one prompt, (time,).
        prompt_length: symbols of each row that are prompt, (batch,); all of them if None.
        new_tokens: symbols to generate.
        temperature, top_k, seed: see `Sample`.
        memory: what `model.encode` returned.

    Returns:
        the new symbols, (batch, new_tokens) int32. A row depends on the seed, its index and its own prompt, never on
        padding or on other rows; a prompt continued in two goes gives the same symbols as in one.

    Raises:
        InputError: prompts, lengths or settings that can't be.
    """
    strategy = Sample(temperature, top_k, seed)
    prompt, prompt_length = _checked_prompts(prompt, prompt_length, model.vocabulary_size)
    if isinstance(new_tokens, bool) or not isinstance(new_tokens, int | np.integer) or new_tokens < 0:
        raise InputError(f"new_tokens is {new_tokens!r}; expected an integer of at least 0.")
    if not new_tokens:
        return ops.zeros((len(prompt), 0), "int32")
    settings = {name: np.asarray(value, strategy.DTYPES[name]) for name, value in strategy.settings.items()}
    if not model.built:
        model(prompt[:1, :1])
    if keras.backend.backend() == "tensorflow":
        prompt, prompt_length, new_tokens, settings = keras.tree.map_structure(
            ops.convert_to_tensor, (prompt, prompt_length, np.int32(new_tokens), settings)
        )
    return _compiled_loop(model)(prompt, prompt_length, new_tokens, settings, memory)


def decode(
    model: Generator,
    strategy: Sample | type[Sample],
    prompt,
    prompt_length,
    new_tokens,
    settings: Mapping[str, Any],
    memory=(),
    return_logits: bool = False,
):
    """The loop that `generate` runs, and that SavedModel and ONNX graphs hold: tensors in, tensor out, nothing checked.

    A row reads its prompt while there is some and its own last choice after that, so the rows of a batch need neither
    equal lengths nor a second copy of `step`.

    Args:
        model: a `tfseq.models.Generator`, built.
        strategy: what chooses: `Sample` (the class or an instance).
        prompt: (batch, time) int32, padded on the right.
        prompt_length: (batch,) int32, at least 1.
        new_tokens: () int32, at least 1.
        settings: name -> scalar tensor, as the strategy's `DTYPES`.
        memory: what `model.encode` returned.
        return_logits: also return what the model said before each choice.

    Returns:
        tokens (batch, new_tokens) int32, and with `return_logits` also logits (batch, new_tokens, vocabulary) float32.
    """
    batch_size, width = ops.shape(prompt)[0], ops.shape(prompt)[1]
    times = ops.arange(_last(prompt_length) + new_tokens - 1, dtype="int32")  # of the symbol read
    column = ops.expand_dims(times, 1)  # (time, 1)
    given = ops.take(ops.transpose(prompt), ops.minimum(times, width - 1), axis=0)
    given = ops.where(column < prompt_length, given, -1)  # (time, batch); -1 where the row reads its own choice
    prepared = strategy.prepare(settings, batch_size, times + 1)

    def step(carry, x):
        chosen, state = carry
        given, prepared = x
        tokens = ops.where(given < 0, chosen, given)
        logits, state = model.step(tokens, state, memory)
        chosen = strategy.choose(logits, prepared, settings)
        return (chosen, state), (chosen, logits) if return_logits else chosen

    start = (ops.zeros_like(prompt_length), model.initial_state(memory, batch_size))
    dtypes = ("int32", "float32") if return_logits else "int32"
    _, outputs = loops.scan(step, start, (given, prepared), dtypes)  # (time, batch, ...)
    first = ops.expand_dims(prompt_length - 1, 1)  # the step that read the prompt's last symbol chose the first new one
    steps = first + ops.arange(new_tokens, dtype="int32")  # (batch, new_tokens)
    rows = ops.expand_dims(ops.arange(batch_size, dtype="int32"), 1)
    where = steps * batch_size + rows  # in time and batch made one axis
    if return_logits:
        choices, logits = outputs
        logits = ops.reshape(logits, (-1, model.vocabulary_size))
        return ops.take(ops.reshape(choices, (-1,)), where, axis=0), ops.take(logits, where, axis=0)
    return ops.take(ops.reshape(outputs, (-1,)), where, axis=0)


def _last(prompt_length):
    if keras.backend.backend() == "tensorflow":
        return ops.max(prompt_length)
    return int(ops.max(prompt_length))  # elsewhere a loop's length has to be known when it is built


_COMPILED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _compiled_loop(model):
    """The model's loop, traced once: variables are read when it runs, so it stays right as training goes on."""
    if model not in _COMPILED:
        model_reference = weakref.ref(model)  # a strong one would keep the model alive for ever

        def run(prompt, prompt_length, new_tokens, settings, memory):
            model = model_reference()
            assert model is not None  # whoever calls this holds it
            return decode(model, Sample, prompt, prompt_length, new_tokens, settings, memory)

        _COMPILED[model] = loops.compiled(run)
    return _COMPILED[model]


def _checked_prompts(prompt, prompt_length, vocabulary_size):
    try:
        prompt = np.atleast_2d(np.asarray(prompt))
    except ValueError:
        raise InputError("prompt is ragged; pad its rows on the right and give prompt_length.") from None
    if prompt.ndim != 2 or not np.issubdtype(prompt.dtype, np.integer) or not prompt.size:
        raise InputError(
            f"prompt is {prompt.dtype} of shape {prompt.shape}; expected integers (batch, time), one symbol at least."
        )
    rows, width = prompt.shape
    if prompt_length is None:
        prompt_length = np.full(rows, width)
    prompt_length = np.atleast_1d(np.asarray(prompt_length))
    if prompt_length.shape != (rows,) or not np.issubdtype(prompt_length.dtype, np.integer):
        raise InputError(
            f"prompt_length is {prompt_length.dtype} of shape {prompt_length.shape}; expected {rows} integers."
        )
    if prompt_length.min() < 1 or prompt_length.max() > width:
        raise InputError(f"prompt_length is {prompt_length.tolist()}; expected values from 1 to {width}.")
    real = prompt[np.arange(width) < prompt_length[:, None]]
    if real.min() < 0 or real.max() >= vocabulary_size:
        raise InputError(
            f"prompt holds symbols from {real.min()} to {real.max()}; expected 0 to {vocabulary_size - 1}."
        )
    return prompt.astype("int32"), prompt_length.astype("int32")
