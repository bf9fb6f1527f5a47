"""Text in and out of generation graphs: tokenized and padded prompts and sources, decoded outputs."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.input_binding import bind
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.sounds import padded_sounds
from tfseq.runtime.tokenizer_base import Tokenizer, checked_ids


class UnknownCharacterWarning(UserWarning):
    """A text has characters or words that the model never saw; it reads them as its unknown token."""


@dataclass(frozen=True, eq=False)
class Generation:
    """One generated text, with its tokens, score and attention weights.

    Attributes:
        text: the continuation of a prompt, or the output for a source.
        tokens: its token ids (code points where the file reads those), (length,) int32; the end is not among them.
        score: the sum of the log-probabilities of the tokens and the end, with beam search divided by its length
            penalty; None if the file does not return it.
        attention: weights of each token over the source, (length, source_time) float32; None if the file does not
            return them.
    """

    text: str
    tokens: np.ndarray
    score: float | None = None
    attention: np.ndarray | None = None

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.tokens)


@dataclass(frozen=True)
class Reading:
    """A batch of prompts or sources, as the graph takes it.

    Attributes:
        feeds: by input name.
        rows: how many.
        before: the token ids that each continuation follows on, of its prompt; none for sources without one.
        widths: tokens of each text; None for other sources.
        ahead: tokens that the model reads before it writes: those of the longest prompt, and the start token of an
            encoder-decoder.
    """

    feeds: Mapping[str, np.ndarray]
    rows: int
    before: Sequence[np.ndarray]
    widths: Sequence[int] | None
    ahead: int = 1


def text_source(manifest: Manifest) -> str | None:
    """The name of the input that takes text as token ids; None if the file reads something else."""
    if manifest.continues_prompts:
        return "prompt"
    sources = manifest.sources
    is_text = len(sources) == 1 and sources[0].dtype == "int32" and len(sources[0].shape) == 2
    return sources[0].name if is_text else None


def read(manifest: Manifest, tokenizer: Tokenizer, given: Any, prompt: Any = None) -> Reading:
    """Tokenizes and pads what a file that generates reads, for its graph.

    Args:
        given: a text or a list of them; for a file that reads no text an array, or a dictionary of arrays by name.
        prompt: beside sources, see `prompt_tokens`; None for none.

    Raises:
        InputError: it is not what the file reads.

    Warns:
        UnknownCharacterWarning: a text has characters or words that the model never saw.
    """
    positions = (manifest.decoding or {}).get("max_positions")
    if manifest.continues_prompts:
        if prompt is not None:
            raise InputError("This file continues prompts; give the prompt as the text, and no other beside it.")
        encoded, padded = padded_tokens(tokenizer, given, "prompt", positions)
        lengths = [len(ids) for ids in encoded]
        feeds = {"prompt": padded, "prompt_length": np.array(lengths, np.int32)}
        return Reading(feeds, len(encoded), encoded, lengths, padded.shape[1])
    if prompt is not None and manifest.task == "generate" and not manifest.takes_prefix:
        raise InputError("This file takes no prompt beside its source; export the model with prefix=True.")
    if manifest.sampling_rate is not None:
        given = padded_sounds(given)
    name = text_source(manifest)
    reading = _read_arrays(manifest.sources, given) if name is None else _read_source(manifest, tokenizer, name, given)
    return _with_prompts(manifest, tokenizer, reading, prompt)


def _read_source(manifest, tokenizer, name, given):
    positions = (manifest.decoding or {}).get("max_positions")
    encoded, padded = padded_tokens(tokenizer, given, "source", positions)
    lengths = [len(ids) for ids in encoded]
    if positions is not None and padded.shape[1] > positions:
        raise InputError(f"The source has {padded.shape[1]} tokens; this model reads {positions} at most.")
    return Reading({name: padded}, len(encoded), [encoded[0][:0]] * len(encoded), lengths)


def _with_prompts(manifest, tokenizer, reading, prompt):
    """With what the decoder reads behind its start token; a file of one decode step is fed that by its caller."""
    before = reading.before if prompt is None else prompt_tokens(tokenizer.writer, prompt, reading.rows)
    feeds, lengths = dict(reading.feeds), [len(ids) for ids in before]
    if manifest.takes_prefix:
        feeds |= {"prompt": _padded(before), "prompt_length": np.array(lengths, np.int32)}
    return replace(reading, feeds=feeds, before=before, ahead=1 + max(lengths))


def no_prompts(rows: int) -> dict[str, np.ndarray]:
    """Empty prompts beside sources, as a graph takes them."""
    return {"prompt": np.zeros((rows, 1), np.int32), "prompt_length": np.zeros(rows, np.int32)}


def prompt_tokens(tokenizer: Tokenizer, given: Any, rows: int) -> list[np.ndarray]:
    """The token ids of the prompts beside sources, (time,) int32 each.

    Args:
        given: a text or token ids, (time,), for all rows; or a list of these, one for each row. "" is none.
        rows: how many.

    Raises:
        InputError: it is something else, of another number of rows, or outside the vocabulary.

    Warns:
        UnknownCharacterWarning: a text has characters or words that the model never saw.
    """
    if not isinstance(given, str | list | tuple) and not _axes(given):
        raise InputError(f"The prompt is {type(given).__name__}; expected a text, token ids, or a list of these.")
    one_for_all = isinstance(given, str) or not any(isinstance(row, str | list | tuple) or _axes(row) for row in given)
    prompts = [given] if one_for_all else list(given)
    if not one_for_all and len(prompts) != rows:
        raise InputError(f"There are {len(prompts)} prompts beside {rows} sources; give one for each, or one for all.")
    warn_of_unknown(tokenizer, [prompt for prompt in prompts if isinstance(prompt, str)])
    encoded = [_ids(tokenizer, prompt) for prompt in prompts]
    return encoded * rows if one_for_all else encoded


def _axes(given: Any) -> int:
    """Of an array; 0 of what is none."""
    try:
        return np.ndim(given)
    except Exception:  # whatever an object's own conversion raises
        return 0


def _ids(tokenizer, prompt):
    if isinstance(prompt, str):
        return encode(tokenizer, prompt, "prompt", alone=False) if prompt else np.zeros(0, np.int32)
    return checked_ids(prompt, tokenizer.vocabulary_size).astype(np.int32)


def padded_tokens(
    tokenizer: Tokenizer, given: Any, what: str, positions: int | None = None
) -> tuple[list[np.ndarray], np.ndarray]:
    """The token ids of a text or several: of each, (time,) int32, and of all, padded with 0, (batch, time) int32.

    Args:
        what: "prompt", "source" or "text", for messages; what the tokenizer prepends and appends is added.
        positions: tokens that the model reads, at most; None for any number.

    Raises:
        InputError: `given` is no text and no list of texts, or one of them has no token, or too many.

    Warns:
        UnknownCharacterWarning: a text has characters or words that the model never saw.
    """
    some_empty = tokenizer.takes_empty and what == "text"
    texts = listed_texts(given, what) if some_empty else checked_texts(given, what)
    _require_short(texts, what, positions)
    warn_of_unknown(tokenizer, texts)
    encoded = [tokenizer.encode(text) if some_empty else encode(tokenizer, text, what) for text in texts]
    if not any(map(len, encoded)):
        raise InputError(f"The tokenizer makes no token of the {what} {texts[0]!r}; give a longer text.")
    return encoded, _padded(encoded)


_LONGEST = 256  # characters that no tokenizer makes one token of, on the average of a text
_MOST = 2**28  # tokens of a batch, padding included: 1 GB


def _require_short(texts: Sequence[str], what: str, positions: int | None) -> None:
    """
    Raises:
        InputError: a text can't but have more tokens than the model reads; it is not encoded first, which takes memory.
    """
    longest = max(map(len, texts))
    if positions is not None and longest > _LONGEST * positions:
        raise InputError(f"The {what} has {longest:,} characters; this model reads {positions} tokens at most.")


def _padded(encoded):
    """(batch, time) int32, padded with 0; nothing but padding where no row has a token."""
    longest = max(map(len, encoded))
    if longest * len(encoded) > _MOST:
        raise InputError(f"{len(encoded)} rows of {longest:,} tokens are too many at once; give fewer at a time.")
    padded = np.zeros((len(encoded), max(1, *map(len, encoded))), np.int32)
    for row, ids in zip(padded, encoded, strict=True):
        row[: len(ids)] = ids
    return padded


def encode(tokenizer: Tokenizer, text: str, what: str, alone: bool = True) -> np.ndarray:
    """The token ids of a prompt, a source or another text.

    Args:
        what: "prompt", "source" or "text".
        alone: whether it is all that is read; not so of a prompt beside a source.

    Raises:
        InputError: there are none.
    """
    before = tokenizer.prepend if alone else ()
    behind = () if what == "prompt" else tokenizer.append
    ids = np.concatenate([before, tokenizer.encode(text), behind]).astype(np.int32)
    if not len(ids):
        raise InputError(f"The tokenizer makes no token of the {what} {text!r}; give a longer text.")
    return ids


def checked_texts(given: Any, what: str) -> list[str]:
    """A list of texts, of a text or several.

    Args:
        what: "prompt", "source" or "text".

    Raises:
        InputError: it is something else, or a text is empty.
    """
    texts = listed_texts(given, what)
    if not all(texts):
        which = f"The {what}" if isinstance(given, str) else f"{what.capitalize()} {texts.index('')}"
        raise InputError(f"{which} is empty; give at least one character.")
    return texts


def listed_texts(given: Any, what: str) -> list[str]:
    """`checked_texts`, of which some may be empty.

    Raises:
        InputError: it is something else.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"The {what} is {type(given).__name__}; expected a text, or a list of texts.")
    if not texts:
        raise InputError(f"There is no {what}; expected a text, or a list of texts.")
    return list(texts)


def warn_of_unknown(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Names what the model never saw, in one warning.

    Warns:
        UnknownCharacterWarning: there is something.
    """
    unknown = list(dict.fromkeys(piece for text in texts for piece in tokenizer.unknown(text)))
    if unknown:
        named = ", ".join(map(repr, unknown[:_NAMED])) + (" and more" if len(unknown) > _NAMED else "")
        message = f"The model never saw {named} and reads each as its unknown token."
        warnings.warn(message, UnknownCharacterWarning, stacklevel=_levels_to_the_caller())


_NAMED = 20


def _levels_to_the_caller() -> int:
    """The stack level of the code that called this package, as `warn` counts them in the function that calls this."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("tfseq.runtime."):
        level, frame = level + 1, frame.f_back
    return level


def written(tokenizer: Tokenizer, reading: Reading, outputs: Mapping[str, np.ndarray]) -> list[Generation]:
    """The outputs of a generation graph as texts.

    Args:
        reading: what the graph read.
        outputs: by name: `tokens` (batch, new_time) int32, and `lengths` (batch,) int32, `scores` (batch,) float32 and
            `attention` (batch, new_time, source_time) float32 where the graph has them.

    Raises:
        ArtefactError: they have other shapes.
    """
    tokens = outputs["tokens"]
    if tokens.ndim != 2 or len(tokens) != reading.rows:
        raise ArtefactError(f"The graph wrote tokens of shape {tokens.shape} for {reading.rows} rows; it is damaged.")
    lengths = outputs.get("lengths", np.full(len(tokens), tokens.shape[1]))
    scores, attention = outputs.get("scores"), outputs.get("attention")
    for name, array, axes in (("lengths", lengths, 1), ("scores", scores, 1), ("attention", attention, 3)):
        if array is not None and (array.ndim != axes or len(array) != reading.rows or array.dtype.kind not in "iuf"):
            raise ArtefactError(
                f"The graph wrote {name} of shape {array.shape} for {reading.rows} rows; it is damaged."
            )

    def row(i: int) -> Generation:
        ids = tokens[i, : lengths[i]]
        weights = None
        if attention is not None:
            time = attention.shape[2]  # a graph may add to what it read, such as an end
            if reading.widths is not None:
                time -= max(reading.widths) - reading.widths[i]
            weights = attention[i, : lengths[i], :time]
        score = None if scores is None else float(scores[i])
        return Generation(continuation(tokenizer, reading.before[i], ids), ids, score, weights)

    return [row(i) for i in range(len(tokens))]


def continuation(tokenizer: Tokenizer, before: np.ndarray, ids: np.ndarray) -> str:
    """The text of tokens that follow others; word tokenizers may put a space between the two."""
    if not len(ids):
        return ""
    context = before[-1:]
    return tokenizer.decode(np.append(context, ids)).removeprefix(tokenizer.decode(context))


def _read_arrays(specs: Sequence[TensorSpec], given: Any) -> Reading:
    wanted = ", ".join(map(str, specs))
    if isinstance(given, str) or (isinstance(given, list | tuple) and any(isinstance(item, str) for item in given)):
        raise InputError(f"This file reads no text; expected arrays: {wanted}.")
    feeds = bind(specs, (), given) if isinstance(given, Mapping) else bind(specs, (given,), {})
    rows = len(next(iter(feeds.values())))
    return Reading(feeds, rows, [np.zeros(0, np.int32)] * rows, None)
