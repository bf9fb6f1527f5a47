"""The generation graph: the decoding loop with named inputs and outputs, and its settings in the manifest."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from tfseq.decoding import Strategy, decode
from tfseq.decoding.settings import find_class
from tfseq.errors import ArtefactError
from tfseq.exporting.generation.code_points import CodePoints
from tfseq.exporting.signatures.generator_inputs import (
    PROMPT,
    loop_inputs,
    source_specs,
    source_vocabulary_sizes,
    texts,
)
from tfseq.exporting.signatures.portable_layers import portable
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.exporting.signatures.signature import Run, Signature
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import TensorSpec
from tfseq.runtime.text_generation import no_prompts

MAX_LENGTH = TensorSpec("max_length", "int32", ())
# Of each step, (batch, new_time): the logits that a token was chosen from, and its id, which code points may not tell.
WITNESSES = ("logits", "token_ids")


def generation_signature(
    model: Generator,
    strategy: Strategy,
    attention: bool = False,
    code_points: CodePoints | None = None,
    witnesses: bool = False,
    prefix: bool = False,
) -> Signature:
    """The decoding loop, with the strategy's settings as run-time inputs.

    Args:
        model: built.
        strategy: the decoding strategy.
        attention: whether to output each step's attention over the source.
        code_points: has the graph read and write code points instead of token ids.
        witnesses: also output the WITNESSES, on which the loop's logits are compared with the model's.
        prefix: has an encoder-decoder read prompts beside its sources.
    """
    kept = [name for name, wanted in (("attention", attention), ("logits", witnesses)) if wanted]
    given = loop_inputs(model, prefix)
    settings = (TensorSpec(name, dtype, ()) for name, dtype in strategy.dtypes(model).items())

    def function(**inputs):
        if code_points is not None:
            inputs |= {name: _read(code_points, name, inputs[name]) for name in texts(given)}
        with portable(model):
            outputs = decode(model, strategy, inputs, kept)
        if witnesses:
            outputs |= {"token_ids": outputs["tokens"]}
        if code_points is not None:
            outputs |= {"tokens": code_points.write_rows(outputs["tokens"], outputs["lengths"])}
        return outputs

    sizes = {} if model.start is None else dict(source_vocabulary_sizes(model))
    if PROMPT in given:
        sizes[PROMPT.name] = model.vocabulary_size
    return Signature((*given, MAX_LENGTH, *settings), function, sizes)


def generated_specs(attention_width: int | str | None = None) -> tuple[TensorSpec, ...]:
    """The outputs of a loop; with attention over `attention_width` places of the memory, unless that is None."""
    specs = (
        TensorSpec("tokens", "int32", ("batch", "new_time")),
        TensorSpec("lengths", "int32", ("batch",)),
        TensorSpec("scores", "float32", ("batch",)),
    )
    if attention_width is None:
        return specs
    return (*specs, TensorSpec("attention", "float32", ("batch", "new_time", attention_width)))


def attention_width(run: Run, model: Generator, strategy: Strategy, prefix: bool = False) -> int | str:
    """How many places a file's attention covers: a number, or the name of the source's axis that it follows."""
    specs, lengths = source_specs(model), (3, 5)
    settings = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model).items()}
    settings["max_length"] = np.asarray(1, "int32")
    if prefix:
        settings |= no_prompts(2)
    sources = [draw(specs, source_vocabulary_sizes(model), 2, length) for length in lengths]
    widths = tuple(run({**source, **settings})["attention"].shape[2] for source in sources)
    if widths[0] == widths[1]:
        return int(widths[0])
    free = (axis for spec in specs for axis in spec.shape[1:] if isinstance(axis, str))
    return next(free) if widths == lengths else "attention_axis_2"


def _read(code_points, name, codes):
    """Code points to token ids.

    A prompt's length says where it ends; a source ends where the zeros begin, even if 0 is a known character.
    """
    tokens = code_points.read(codes)
    return tokens if name == PROMPT.name else ops.where(codes == 0, 0, tokens)


def decoding_json(model: Generator, strategy: Strategy) -> dict[str, Any]:
    """As the manifest's `decoding`: the strategy, what it has fixed in the graph, and its settings: their defaults by
    name, and under `settings` what else there is to know of each."""
    values, specs = strategy.to_json(), strategy.specs(model)
    fixed = {name: values[name] for name in strategy.fixed_fields}
    for name in ("forbidden", "rules"):
        if not fixed[name]:
            del fixed[name]
    defaults = {name: spec.default for name, spec in specs.items()}
    positions = {} if model.max_positions is None else {"max_positions": model.max_positions}
    end = model.ends[0] if len(model.ends) == 1 else list(model.ends) or None
    settings = {"settings": {name: spec.to_json() for name, spec in specs.items()}}
    return {"strategy": strategy.NAME, **fixed, **defaults, "start": model.start, "end": end, **positions, **settings}


def strategy_of(decoding: Mapping[str, Any]) -> Strategy:
    """The inverse of `decoding_json`.

    Raises:
        ArtefactError: there is no such strategy here, or it is damaged.
    """
    name = decoding.get("strategy")
    kind = find_class(Strategy, str(name))
    if kind is None:
        raise ArtefactError(
            f"There is no strategy {name!r} here: import the module that defines it, or use a newer tfseq, which may."
        )
    assert issubclass(kind, Strategy)
    return kind.from_json(decoding)
