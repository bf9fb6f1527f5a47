"""`generate`, decoding from Python: checks prompts, sources and settings, and runs the compiled generation loop."""

import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from tfseq.decoding.greedy import Greedy
from tfseq.decoding.loop import decode as decode_in_graph
from tfseq.decoding.settings import require_integer
from tfseq.decoding.strategy import Strategy
from tfseq.errors import InputError
from tfseq.layers import loops
from tfseq.models.generator import Generator


class Generated(NamedTuple):
    """What `generate` returns.

    Attributes:
        tokens: ids of the new tokens, (batch, new_time) int32: without the end, 0 after it; as long as the longest row.
        lengths: new tokens of each row before its end, (batch,) int32.
        scores: log-probability of each row's new tokens and of its end, (batch,) float32, under the model after the
            strategy's rules and before temperature and cuts; for `Beam` divided by its length penalty.
        attention: weights of each step over the source, (batch, new_time, source_time) float32; None unless asked for.
    """

    tokens: Any
    lengths: Any
    scores: Any
    attention: Any = None


def generate(
    model: Generator,
    prompt: Any = None,
    prompt_length: Any = None,
    *,
    source: Any = None,
    decode: Strategy | None = None,
    max_length: int,
    return_attention: bool = False,
    **settings: Any,
) -> Generated:
    """Continues prompts with a language model, or turns sources into sequences with an encoder-decoder.

    What an encoder-decoder writes can begin with a prompt, too, such as the tokens that name a task or a language: it
    reads them behind its start token, and goes on from there.

    Args:
        model: a `tfseq.models.Generator`.
        prompt: token ids, (batch, time), each row padded on the right; or one prompt, (time,), for an encoder-decoder
            that of all rows. A language model needs one of at least one token; an encoder-decoder can do without.
        prompt_length: tokens of each row that are prompt, (batch,); all of them if None.
        source: of an encoder-decoder: what it encodes, (batch, ...); a dictionary by name where it reads several.
        decode: the decoding strategy: `Greedy`, `Sample`, `Beam` or one of your own; greedy if None.
        max_length: tokens to generate, the end among them, at most.
        return_attention: also return the attention weights of each step.
        settings: fields of the strategy, or settings of its rules, in place of those it has.

    Returns:
        tokens, lengths, scores and attention, those of the new tokens; see `Generated`. A row depends on the seed, its
        index and its own prompt and source, never on padding or on other rows; a prompt continued in two goes gives the
        same tokens as in one.

    Raises:
        InputError: prompts, sources, lengths or settings that can't be.

    Example:
        >>> generate(model, [[3, 1, 4]], decode=Sample(temperature=0.8), max_length=20, seed=7).tokens.shape
        TensorShape([1, 20])
    """
    strategy = _strategy(Greedy() if decode is None else decode, settings, model)
    require_integer("max_length", max_length, 0)
    if return_attention and not model.has_attention:
        raise InputError(f"{type(model).__name__} has no attention to return: it does not attend to a source.")
    if return_attention and strategy.sees_hidden:
        raise InputError(f"{type(strategy).__name__} looks at hidden states, beside which a step gives no attention.")
    if model.start is None:
        if source is not None:
            raise InputError(f"{type(model).__name__} is a language model and reads no source; give a prompt.")
        inputs = _checked_prompts(prompt, prompt_length, model.vocabulary_size)
    else:
        inputs = _checked_sources(source, model)
        if prompt is not None:
            check_prefix(model)
            rows = len(next(iter(inputs.values())))
            inputs |= _checked_prompts(prompt, prompt_length, model.vocabulary_size, rows)
        elif prompt_length is not None:
            raise InputError("There is a prompt_length and no prompt; give both, or neither.")
    _require_positions(model, inputs, max_length)
    if not model.built:
        _build(model, inputs)
    nothing = not max_length
    inputs["max_length"] = np.int32(max(max_length, 1))
    for name, dtype in strategy.dtypes(model).items():
        inputs[name] = np.asarray(strategy.settings[name], dtype)
    if keras.backend.backend() != "jax":  # which has to know a loop's greatest length when it is traced
        inputs = {name: keras.ops.convert_to_tensor(value) for name, value in inputs.items()}
    generated = Generated(**_compiled_loop(model, strategy, return_attention)(inputs))
    return _cut_to_nothing(generated) if nothing else generated


def _require_positions(model, inputs, max_length):
    if model.max_positions is None:
        return
    for name, array in inputs.items():
        if array.ndim == 2 and array.dtype.kind in "iu" and array.shape[1] > model.max_positions:
            raise InputError(f"{name} has {array.shape[1]} tokens; {_positions(model)}.")
    read = int(inputs["prompt_length"].max()) if "prompt_length" in inputs else 0
    read += model.start is not None
    if read + max_length - 1 > model.max_positions:  # the last token is written and not read
        raise InputError(
            f"max_length is {max_length} after {read} tokens; {_positions(model)}, so that there is room for "
            f"{model.max_positions - read + 1}."
        )


def _positions(model):
    return f"{type(model).__name__} reads {model.max_positions} at most (its max_positions)"


def _cut_to_nothing(generated):
    tokens, lengths, scores, attention = generated
    zeros = keras.ops.zeros_like
    return Generated(tokens[:, :0], zeros(lengths), zeros(scores), None if attention is None else attention[:, :0])


def _strategy(strategy, settings, model):
    if not isinstance(strategy, Strategy):
        raise InputError(f"decode is {strategy!r}; expected tfseq.Greedy(), tfseq.Sample(), tfseq.Beam() or the like.")
    strategy = strategy.replaced(**settings)
    strategy.check(model)
    return strategy


def check_prefix(model: Generator) -> None:
    """
    Raises:
        InputError: the encoder-decoder can't take a prompt beside its sources.
    """
    if clash := {spec.name for spec in model.sources} & {"prompt", "prompt_length"}:
        raise InputError(f"{type(model).__name__} has a source named {clash.pop()!r}; rename it to give a prompt, too.")


_COMPILED: "weakref.WeakKeyDictionary[Generator, dict]" = weakref.WeakKeyDictionary()


def _compiled_loop(model, strategy, return_attention):
    """The model's loop, traced once for what is fixed in its graph: variables are read when it runs, so it stays right
    as training goes on."""
    loops_of_model = _COMPILED.setdefault(model, {})
    fixed = (strategy.fixed, return_attention, model.start, model.ends)
    if fixed not in loops_of_model:
        model_reference = weakref.ref(model)  # a strong one would keep the model alive for ever

        def run(inputs):
            model = model_reference()
            assert model is not None  # whoever calls this holds it
            return decode_in_graph(model, strategy, inputs, ["attention"] if return_attention else [])

        known = {spec.name: [n if isinstance(n, int) else None for n in spec.shape] for spec in model.sources}
        loops_of_model[fixed] = loops.compiled_for_any_sizes(run, known)
    return loops_of_model[fixed]


def _build(model, inputs):
    """Calls the model once on as little as possible, which makes its weights."""
    if model.start is None:
        model(inputs["prompt"][:1, :1])
        return
    sources = {spec.name: inputs[spec.name][:1] for spec in model.sources}
    model({**sources, "target": np.full((1, 1), model.start, "int32")})


def _checked_prompts(prompt, prompt_length, vocabulary_size, sources=None):
    """Prompts of a language model; or beside so many sources, where they may be empty."""
    if prompt is None:
        raise InputError("There is no prompt; expected integers (batch, time), one token at least.")
    try:
        prompt = np.asarray(prompt)
    except ValueError:
        raise InputError("prompt is ragged; pad its rows on the right and give prompt_length.") from None
    if prompt.ndim < 2:
        prompt = np.repeat(np.atleast_2d(prompt), 1 if sources is None else sources, axis=0)
    fewest = 1 if sources is None else 0
    integers = np.issubdtype(prompt.dtype, np.integer) or (not fewest and not prompt.size)  # [] is float
    if prompt.ndim != 2 or not integers or prompt.shape[1] < fewest or not len(prompt):
        raise InputError(
            f"prompt is {prompt.dtype} of shape {prompt.shape}; expected integers (batch, time)"
            f"{', one token at least' if fewest else ''}."
        )
    rows, width = prompt.shape
    if sources not in (None, rows):
        raise InputError(f"prompt has {rows} rows beside {sources} sources; give one for each, or one alone, (time,).")
    if prompt_length is None:
        prompt_length = np.full(rows, width)
    prompt_length = np.atleast_1d(np.asarray(prompt_length))
    if prompt_length.shape != (rows,) or not np.issubdtype(prompt_length.dtype, np.integer):
        raise InputError(
            f"prompt_length is {prompt_length.dtype} of shape {prompt_length.shape}; expected {rows} integers."
        )
    if prompt_length.min() < fewest or prompt_length.max() > width:
        raise InputError(f"prompt_length is {prompt_length.tolist()}; expected values from {fewest} to {width}.")
    real = prompt[np.arange(width) < prompt_length[:, None]]
    if real.size and (real.min() < 0 or real.max() >= vocabulary_size):
        raise InputError(
            f"prompt holds token ids from {real.min()} to {real.max()}; expected 0 to {vocabulary_size - 1}."
        )
    return {"prompt": prompt.astype("int32"), "prompt_length": prompt_length.astype("int32")}


def _checked_sources(source: Any, model: Generator) -> dict[str, np.ndarray]:
    specs = {spec.name: spec for spec in model.sources}
    if not isinstance(source, Mapping):
        if len(specs) > 1 or source is None:
            raise InputError(
                f"{'There is no source' if source is None else 'source is one array'}; {_expected(specs)}."
            )
        source = {next(iter(specs)): source}
    if source.keys() != specs.keys():
        raise InputError(f"source holds {', '.join(map(str, source)) or 'nothing'}; {_expected(specs)}.")
    arrays = {name: _checked_source(name, source[name], spec) for name, spec in specs.items()}
    if len({len(array) for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"The sources differ in their number of rows: {shapes}.")
    return arrays


def _checked_source(name, value, spec):
    expected = f"expected {spec.dtype} {_shape(spec)}"
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{name} is ragged; pad its rows on the right with 0.") from None
    if array.ndim == len(spec.shape) - 1:
        array = array[None]
    kinds = "iu" if np.issubdtype(spec.dtype, np.integer) else "iuf"
    fits = array.ndim == len(spec.shape) and all(
        size == wanted for size, wanted in zip(array.shape, spec.shape) if wanted is not None
    )
    if not fits or array.dtype.kind not in kinds or not array.size:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}; {expected}, nothing of it empty.")
    return array.astype(spec.dtype)


def _expected(specs):
    return "expected " + ", ".join(f"{name}: {spec.dtype} {_shape(spec)}" for name, spec in specs.items())


def _shape(spec):
    return "(" + ", ".join(["batch", *("any" if size is None else str(size) for size in spec.shape[1:])]) + ")"
