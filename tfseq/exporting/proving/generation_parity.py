"""Parity of generation: tokens and scores against `tfseq.generate`, and the logits inside the loop against `call`."""

import contextlib
import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from keras import ops, tree

from tfseq.decoding import Context, Greedy, Sample, Strategy, generate
from tfseq.decoding.random import draw_bits, draw_keys, gumbel
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.generation.generation_cases import GenerationCase, affordable, generation_cases, sample_cases
from tfseq.exporting.generation.loop_graph import generation_signature
from tfseq.exporting.generation.token_interface import TokenIdInterface
from tfseq.exporting.proving.elsewhere import elsewhere
from tfseq.exporting.proving.report import NumberCheck, TokenCheck, WorstError
from tfseq.exporting.signatures.signature import Run
from tfseq.models.generator import Generator
from tfseq.runtime.session import Session

LOGIT_CASES = 3
ASKED = 3  # random cases that a model elsewhere generates; the others its copy, as JAX compiles each for seconds
SHORTEST = 8  # tokens of a sequence whose logits are compared, if it can be had


def check_generation(
    run: Run,
    model: Generator,
    strategy: Strategy,
    of: str,
    tolerance: float,
    interface: TokenIdInterface,
    attention: bool = False,
    ragged: bool = True,
    samples: Any = (),
    prefix: bool = False,
) -> list[TokenCheck | NumberCheck]:
    """`run`, a function of token ids, against `tfseq.generate`: the same sequences, and scores within the tolerance.

    Args:
        strategy: of the file.
        interface: of the file: which token ids it reads and tells apart.
        attention: whether the file outputs its attention; then that is compared, too.
        ragged: whether prompts of one batch may differ in length.
        samples: the user's sample inputs: further prompts or sources, see `sample_cases`.
        prefix: whether the file reads prompts beside sources.
    """
    scores, weights, call = WorstError(tolerance), WorstError(tolerance), traced_call(model)
    sequences = identical = ties = 0
    where = ""
    random = generation_cases(
        model, strategy, interface.readable, effort=affordable(model), ragged=ragged, prefix=prefix
    )
    given = sample_cases(model, strategy, samples, ragged, prefix)
    for number, case in enumerate(itertools.chain(given, random)):
        expected = _in_keras(model, case, attention, None if number >= len(given) + ASKED else elsewhere())
        got = {name: np.asarray(array) for name, array in run(case.feeds(model)).items()}
        theirs, ours = (_sequences(model, case, outputs) for outputs in (expected, got))
        same = []
        for row, (wanted, found) in enumerate(itertools.zip_longest(theirs, ours)):
            sequences += 1
            if wanted is None or found is None:
                where = where or f"{case}: {len(ours)} rows, not {len(theirs)}"
            elif np.array_equal(_round_trip(model, interface, wanted), found):
                same.append(row)
            elif _is_tie(model, call, case, row, wanted, found, expected["scores"], tolerance):
                ties += 1
            else:
                where = where or f"{case}: row {row}{_parting(wanted, found)}"
        identical += len(same)
        if same:
            scores.add(got["scores"][same], expected["scores"][same], str(case), "scores")
            if attention:
                width = min(got["tokens"].shape[1], expected["tokens"].shape[1])
                found, wanted = (outputs["attention"][same, :width] for outputs in (got, expected))
                weights.add(found, wanted, str(case), "attention")
    checks: list[TokenCheck | NumberCheck] = [TokenCheck("tokens", of, "keras", sequences, identical, ties, where)]
    checks.append(scores.check("scores", of, "keras"))
    return [*checks, weights.check("attention", of, "keras")] if attention else checks


def _in_keras(model, case, attention, original):
    given: dict[str, Any] = dict(case.inputs)
    if model.start is not None:
        given["source"] = {spec.name: given.pop(spec.name) for spec in model.sources}
    given |= {"decode": case.strategy, "max_length": case.max_length, "return_attention": attention}
    result = generate(model, **given)._asdict() if original is None else original.generate(**given)
    return {name: ops.convert_to_numpy(value) for name, value in result.items() if value is not None}


def _sequences(model, case, outputs) -> list[np.ndarray]:
    """Each row's tokens, the end token (of several the first) included if one came; a row with anything but zeros
    behind it is kept whole."""
    rows = []
    for tokens, length in zip(outputs["tokens"], outputs["lengths"]):
        if tokens[length:].any():
            rows.append(tokens)
        elif model.ends and length < case.max_length:
            rows.append(np.append(tokens[:length], np.int32(model.ends[0])))
        else:
            rows.append(tokens[:length])
    return rows


def _round_trip(model, interface, sequence):
    """A sequence as the file gives it back; its end token is known by its length."""
    tokens = interface.round_trip(sequence)
    return np.append(tokens[:-1], sequence[-1:]) if np.isin(sequence[-1:], model.ends).any() else tokens


def _parting(wanted, found) -> str:
    place = _first_difference(wanted, found)
    ours, theirs = (sequence[place] if place < len(sequence) else "nothing" for sequence in (found, wanted))
    return f", new token {place}: {ours}, not {theirs}"


def _first_difference(a, b) -> int:
    size = min(len(a), len(b))
    different = np.flatnonzero(a[:size] != b[:size])
    return int(different[0]) if different.size else size


def _is_tie(model, call, case, row, wanted, found, scores, tolerance) -> bool:
    """Whether errors within the tolerance could make the strategy choose `found` where Keras has `wanted`."""
    if not (found.min(initial=0) >= 0 and found.max(initial=0) < model.vocabulary_size):
        return False
    if not case.strategy.token_by_token:  # as good as the one found, by Keras' own account
        score = _log_probability(model, call, case, row, found)
        return bool(abs(score - scores[row]) <= tolerance * max(1.0, abs(score)))
    place = _first_difference(wanted, found)
    if place == min(len(wanted), len(found)):
        return False
    (logits,) = _logits(model, call, case, row, wanted[:place], [place])
    decides = _rounding_decides if type(case.strategy) in (Greedy, Sample) else _chosen_within
    return all(
        any(decides(model, case, row, logits, place, token, tolerance) for token in _tokens(model, chosen))
        for chosen in (wanted[place], found[place])
    )


def _tokens(model, chosen) -> tuple[int, ...]:
    """What a token of the outputs can have been: which of several ends it was, they don't say."""
    return model.ends if chosen in model.ends else (int(chosen),)


def _rounding_decides(model, case, row, logits, place, token, tolerance) -> bool:
    settings = case.strategy.settings
    allowed = np.isfinite(logits)
    slack = tolerance * max(1.0, float(np.abs(logits[allowed]).max()))
    temperature = settings.get("temperature", 0.0)
    position = len(case.begun_of(model, row)) + place
    keys = draw_keys(np.int32(settings.get("seed", 0)), np.array([row], "int32"), np.array([position], "int32"))[0]
    noise = ops.convert_to_numpy(gumbel(draw_bits(keys, model.vocabulary_size)))[0]
    scores = logits + temperature * noise
    surely, possibly = _kept(
        logits, temperature, settings.get("top_k", 0), settings.get("top_p", 1.0), settings.get("min_p", 0.0), slack
    )
    rivals = scores[surely & allowed]
    return bool(possibly[token] and allowed[token] and scores[token] >= rivals.max(initial=-np.inf) - 2 * slack)


def _chosen_within(model, case, row, logits, place, token, tolerance) -> bool:
    """Whether any strategy chooses the token where errors of the tolerance favour it most.

    One that sees more than logits, or keeps a state of its own, is not asked: its choice is taken for exact.
    """
    strategy, rows = case.strategy, row + 1
    if strategy.sees_hidden or strategy.sees_history or strategy.first(model, 1) != ():
        return False
    slack = tolerance * max(1.0, float(np.abs(logits[np.isfinite(logits)]).max()))
    favoured = np.where(np.arange(len(logits)) == token, logits + slack, logits - slack).astype("float32")
    settings = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in _dtypes(model, case)}
    positions = np.array([len(case.begun_of(model, row)) + place], "int32")
    prepared = strategy.prepare(settings, rows, model.vocabulary_size, positions)
    of_rows, tokens = np.tile(favoured, (rows, 1)), np.zeros(rows, "int32")  # what it draws depends on the row
    context = Context(model, strategy, settings, ops.convert_to_tensor(of_rows), tokens, np.int32(place))
    return bool(ops.convert_to_numpy(strategy.choose(replace(context, prepared=prepared)).tokens)[row] == token)


def _kept(logits, temperature, top_k, top_p, min_p, slack):
    """The tokens that `Sample` keeps whatever errors of `slack` the logits have, and those that it keeps for some."""
    order = np.sort(logits)[::-1]
    surely = possibly = np.ones(len(logits), bool)
    if 0 < top_k < len(logits):
        surely, possibly = logits > order[top_k - 1] + 2 * slack, logits >= order[top_k - 1] - 2 * slack
    if top_p < 1:
        scale = max(temperature, 1e-30)
        weights = np.where(possibly, np.exp((logits - order[0]) / scale), 0.0)
        doubt = min(1.0, float(np.expm1(min(4 * slack / scale, 1.0)))) + weights[possibly & ~surely].sum()
        before = np.array([weights[logits > value - 2 * slack].sum() for value in logits]) - weights
        least = np.array([weights[logits > value + 2 * slack].sum() for value in logits])
        enough = top_p * weights.sum()
        surely = surely & (before < enough - doubt)
        possibly = possibly & ((least < enough + doubt) | (logits >= order[0] - 2 * slack))
    if min_p > 0:
        least_kept = order[0] + temperature * math.log(min_p)
        surely, possibly = surely & (logits > least_kept + 2 * slack), possibly & (logits >= least_kept - 2 * slack)
    return surely, possibly


def _log_probability(model, call, case, row, tokens) -> float:
    """Of a row's tokens, the end token among them, under the model after the rules; as `Beam` scores it."""
    logits = _logits(model, call, case, row, tokens[:-1], range(len(tokens)))
    total = 0.0
    for values, token in zip(logits.astype("float64"), tokens):
        chosen = values[list(model.ends)].max() if token in model.ends else values[token]
        total += chosen - np.logaddexp.reduce(values)
    penalty = case.strategy.settings.get("length_penalty", 0.0)
    return total / ((5 + len(tokens)) / 6) ** penalty


def _logits(model, call, case, row, tokens, places) -> np.ndarray:
    """By teacher forcing, after the strategy's rules: the logits of these places, (places, vocabulary).

    Args:
        tokens: new ones of the row, up to the last place.
        places: among the new tokens.
    """
    begun = case.begun_of(model, row)
    read = np.concatenate([begun, tokens]).astype("int32")  # (time,)
    inputs = {name: array[row : row + 1] for name, array in case.inputs.items()}
    logits = teacher_forced(model, call, inputs, read[None])[0]
    settings = {name: np.asarray(case.strategy.settings[name], dtype) for name, dtype in _dtypes(model, case)}
    strategy, results = case.strategy, []
    rules_state = strategy.first_rules_state(model, 1)
    wanted = {len(begun) + place: place for place in places}  # by tokens read before one is chosen
    most = ops.convert_to_tensor(np.int32(case.max_length))
    for until in range(1, max(wanted) + 1):  # the rules go along, as they keep states
        index = ops.convert_to_tensor(np.int32(until - len(begun)))
        of_model = ops.convert_to_tensor(logits[until - 1 : until])
        token = ops.convert_to_tensor(read[until - 1 : until])
        context = Context(model, strategy, settings, of_model, token, index, max_length=most)
        after, rules_state = strategy.apply_rules(context, rules_state)
        if until in wanted:
            results.append(ops.convert_to_numpy(after.logits)[0])
    return np.stack(results)


def _dtypes(model, case):
    return case.strategy.dtypes(model).items()


def teacher_forced(
    model: Generator, call: Callable[[Any], Any], inputs: Mapping[str, np.ndarray], read: np.ndarray
) -> np.ndarray:
    """The logits of a `traced_call` after each token read: (batch, time, vocabulary) for (batch, time).

    Args:
        inputs: by name, the model's sources among them.
    """
    sources = {spec.name: inputs[spec.name] for spec in model.sources}
    return ops.convert_to_numpy(call(read if model.start is None else {**sources, "target": read}))


def traced_call(model: Generator) -> Callable[[Any], Any]:
    """The model's `call`, traced once for all sizes: eagerly, a loop over time takes as long for a few tokens.

    A model that runs only eagerly, or only with sizes that are known, is called as it is; so is one on another backend.
    """
    original = elsewhere()
    if original is not None:
        return original.call
    eager: Callable[[Any], Any] = partial(model.__call__, training=False)
    traced = tf.function(eager, autograph=False)
    traceable = True

    def call(inputs: Any) -> Any:
        nonlocal traceable
        if traceable:
            free = tree.map_structure(lambda x: tf.TensorSpec([None] * np.ndim(x), np.asarray(x).dtype), inputs)
            try:
                return traced.get_concrete_function(free)(tree.map_structure(tf.convert_to_tensor, inputs))
            except Exception:
                traceable = False
        return eager(inputs)

    return call


def check_loop_logits(
    run: Run,
    model: Generator,
    strategy: Strategy,
    tolerance: float,
    interface: TokenIdInterface,
    prefix: bool = False,
) -> NumberCheck:
    """The logits inside the loop against `call` on the sequences that it generated.

    Args:
        run: a loop with WITNESSES, a function of token ids.
        interface: of the loop: which token ids it reads.
        prefix: whether it reads prompts beside sources.
    """
    if "min_length" in strategy.dtypes(model):
        strategy = strategy.replaced(min_length=SHORTEST)
    worst, call = WorstError(tolerance), traced_call(model)
    for case in generation_cases(model, strategy, interface.readable, LOGIT_CASES, affordable(model), prefix=prefix):
        got = run(case.feeds(model))
        tokens = got["token_ids"]
        read, first = _read_in_loop(model, case, tokens)
        logits = teacher_forced(model, call, case.inputs, read)
        steps = first[:, None] + np.arange(tokens.shape[1])
        expected = np.take_along_axis(logits, steps[:, :, None], axis=1)  # (batch, new_time, vocabulary)
        for row, length in enumerate(got["lengths"]):  # one by one: a vocabulary is wide
            worst.add(got["logits"][row, :length], expected[row, :length], str(case), "logits")
    return worst.check("logits", "onnx loop", "keras")


@contextlib.contextmanager
def witnessed_loop(model: Generator, strategy: Strategy, prefix: bool = False) -> Iterator[Run]:
    """A conversion of the loop with WITNESSES, over token ids, for a file whose own were removed when it was made."""
    signature = generation_signature(model, strategy, witnesses=True, prefix=prefix)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "loop.onnx"
        onnx.save(to_onnx(signature.function, signature.inputs, None), path)
        yield Session(path).run


def _read_in_loop(model: Generator, case: GenerationCase, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the loop read, (batch, time), and the step at which it chose a row's first new token, (batch,)."""
    rows, new = tokens.shape
    begun, lengths = case.begun(model)
    lengths = lengths.astype("int64")
    read = np.zeros((rows, begun.shape[1] + new), "int32")
    read[:, : begun.shape[1]] = begun
    np.put_along_axis(read, lengths[:, None] + np.arange(new), tokens, axis=1)
    return read, lengths - 1
