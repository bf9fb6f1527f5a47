"""`Automaton`, a rule: what is written is one of the texts of a finite automaton, a list of answers or a pattern."""

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from keras import ops

from tfseq.decoding.pattern import automaton_of
from tfseq.decoding.rule import Rule
from tfseq.errors import ArtefactError, InputError
from tfseq.layers.loops import take_rows
from tfseq.runtime.tokenizer_base import REPLACEMENT, Tokenizer

DENSE = 2**20  # entries of the largest table that has a column for every token; others have one for every kind of token
_NEVER = 2**30  # tokens until a dead end is done
_MARK = "\u2060"  # a word joiner: what a token's text stands beside when it is read off a decoder


@dataclass(frozen=True, eq=False)
class Automaton(Rule):
    """Lets a row write only what a finite automaton over token ids accepts, and end only where it does.

    It begins with the first new token, after the prompt. A token is allowed if an accepting state can be reached with
    the tokens that are left of `max_length`, END among them; so every row ends there, if the shortest text fits at all
    (a shorter `max_length` cuts it off). `min_length` is no setting beside it.

    Made by `answers`, `pattern` or `json_schema`, or of a table of your own.

    Args:
        kinds: of each token, (vocabulary,) integers: its column of `next`, or -1 for a token that never comes.
        next: the state that a token leads to, (states, kinds) integers; -1 where it must not come. 0 is the first.
        accepting: (states,) bool, where a text may end.
        described: what it accepts, for people.

    Raises:
        InputError: the arrays do not fit one another, or accept nothing.
    """

    kinds: Any
    next: Any
    accepting: Any
    described: str = ""

    NAME: ClassVar[str] = "automaton"
    sees_max_length: ClassVar[bool] = True
    decides_end: ClassVar[bool] = True

    def __post_init__(self):
        kinds, following, accepting = (
            np.array(x, dtype) for x, dtype in ((self.kinds, "int32"), (self.next, "int32"), (self.accepting, "bool"))
        )
        states, columns = following.shape if following.ndim == 2 else (0, 0)
        if kinds.ndim != 1 or not states or accepting.shape != (states,):
            raise InputError(
                f"kinds is {kinds.shape}, next {following.shape} and accepting {accepting.shape}; expected "
                "(vocabulary,), (states, kinds) and (states,)."
            )
        if kinds.size and not (kinds.min() >= -1 and kinds.max() < columns):
            raise InputError(f"kinds goes from {kinds.min()} to {kinds.max()}; expected -1 to {columns - 1}.")
        if following.size and not (following.min() >= -1 and following.max() < states):
            raise InputError(f"next goes from {following.min()} to {following.max()}; expected -1 to {states - 1}.")
        for name, array in (("kinds", kinds), ("next", following), ("accepting", accepting)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if _distances(following, accepting)[0] >= _NEVER:
            raise InputError(f"The automaton{self._of} accepts no text that these tokens can write.")

    @classmethod
    def table(cls, next: Any, accepting: Any, described: str = "") -> Self:
        """Of a table with a column for every token: `next` (states, vocabulary), -1 where it must not come."""
        following = np.asarray(next, "int32")
        if following.ndim != 2:
            raise InputError(f"next is {following.shape}; expected (states, vocabulary).")
        columns, kinds = np.unique(following, axis=1, return_inverse=True)
        return cls(kinds.reshape(-1), columns, accepting, described)

    @classmethod
    def answers(cls, answers: Iterable[str | Sequence[int]], tokenizer: Tokenizer | int) -> Self:
        """Of a list of answers: one of them is written, and nothing else.

        Args:
            answers: texts, each in the tokens that the tokenizer makes of it; or token ids without an end.
            tokenizer: of the model; or its vocabulary's size, where all answers are token ids.

        Raises:
            InputError: there is no answer, or one that has no or unknown tokens.
        """
        size = tokenizer if isinstance(tokenizer, int) else tokenizer.writer.vocabulary_size
        answers = list(answers)
        sequences = [_ids(answer, tokenizer, size) for answer in answers]
        rows: list[dict[int, int]] = [{}]  # a trie: of each state, token -> state
        accepting = [False]
        for sequence in sequences:
            state = 0
            for token in sequence:
                if token not in rows[state]:
                    rows[state][token] = len(rows)
                    rows.append({})
                    accepting.append(False)
                state = rows[state][token]
            accepting[state] = True
        used = sorted({token for row in rows for token in row})
        kinds, following = np.full(size, -1), np.full((len(rows), max(len(used), 1)), -1)
        kinds[used] = np.arange(len(used))
        for state, row in enumerate(rows):
            for token, target in row.items():
                following[state, kinds[token]] = target
        shown = ", ".join(str(answer) if isinstance(answer, str) else str(list(answer)) for answer in answers[:8])
        more = f" and {len(answers) - 8} more" if len(answers) > 8 else ""
        return cls(kinds, following, accepting, f"one of {shown}{more}")

    @classmethod
    def pattern(cls, pattern: str, tokenizer: Tokenizer | Sequence[str | None]) -> Self:
        """Of a regular expression: what is written matches it as a whole, as `re.fullmatch` does.

        A text may be put together of tokens in any way. Tokens that are a part of a character are left out.

        Args:
            pattern: as Python spells it, without flags, look-around, back-references and anchors.
            tokenizer: of the model; or each token's text, None for one that never comes.

        Raises:
            InputError: the pattern is none, or has what no finite automaton can do.
        """
        texts = token_texts(tokenizer.writer) if isinstance(tokenizer, Tokenizer) else list(tokenizer)
        return cls._of_pattern(pattern, texts, f"pattern {pattern}")

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any], tokenizer: Tokenizer | Sequence[str | None]) -> Self:
        """Of a small JSON schema: what is written is JSON that fits it; see `tfseq.decoding.json_schema.pattern_of`.

        Raises:
            InputError: the schema has what is not known.
        """
        from tfseq.decoding.json_schema import pattern_of

        texts = token_texts(tokenizer.writer) if isinstance(tokenizer, Tokenizer) else list(tokenizer)
        return cls._of_pattern(pattern_of(schema), texts, f"JSON schema {dict(schema)}")

    @classmethod
    def _of_pattern(cls, pattern, texts, described):
        of = automaton_of(pattern, "".join(text for text in texts if text))
        dead = len(of.next)
        by_character = np.full((dead + 1, len(of.characters) + 1), dead, np.int32)  # the last character is none
        by_character[:-1, :-1] = np.where(of.next < 0, dead, of.next)
        by_character[:, -1] = np.arange(dead + 1)
        place = {character: i for i, character in enumerate(of.characters)}
        spelled = [[place[character] for character in text or ""] for text in texts]
        longest = max(map(len, spelled), default=0)
        characters = np.array([ids + [len(place)] * (longest - len(ids)) for ids in spelled], np.int32)
        following = np.empty((dead, len(texts)), np.int32)
        empty = np.array([not text for text in texts], bool)
        for state in range(dead):
            after = np.full(len(texts), state)
            for i in range(longest):
                after = by_character[after, characters[:, i]]
            following[state] = np.where(empty | (after == dead), -1, after)
        following, accepting = _trimmed(following, of.accepting)
        return cls.table(following, accepting, described)

    def check(self, model, strategy):
        if len(self.kinds) != model.vocabulary_size:
            raise InputError(
                f"The automaton{self._of} is of {len(self.kinds)} tokens, and {type(model).__name__} has "
                f"{model.vocabulary_size}."
            )
        if not model.ends:
            raise InputError(
                f"An automaton says when a text ends, and no token ends {type(model).__name__}'s sequences: set the "
                "model's `end` to the id of one, such as that of a line break."
            )
        if self._tables(model.ends, strategy.forbidden)[1][0].min() >= _NEVER:
            raise InputError(f"The automaton{self._of} accepts no text without the forbidden tokens.")

    def first(self, model, rows):
        return ops.zeros((rows,), "int32")

    def apply(self, context, state):
        kinds, needed, following = self._tables(context.model.ends, context.strategy.forbidden)
        columns = needed.shape[1]
        read = context.tokens if kinds is None else take_rows(ops.convert_to_tensor(kinds), context.tokens)
        state = take_rows(ops.convert_to_tensor(following.reshape(-1)), state * columns + read)
        state = ops.where(context.index > 0, state, 0)  # (rows,); 0 is before the first new token
        needs = take_rows(ops.convert_to_tensor(needed), state)  # (rows, columns)
        left = ops.reshape(context.max_length - context.index, (-1, 1))  # (1, 1) or (rows, 1), this one among them
        needs_at_least = take_rows(ops.convert_to_tensor(needed.min(axis=1, keepdims=True)), state)
        allowed = needs <= ops.maximum(left, needs_at_least)
        if kinds is not None:
            allowed = ops.take(allowed, kinds, axis=1)  # (rows, vocabulary)
        logits = ops.where(allowed, context.logits, float("-inf"))
        if len(context.strategy.rules) == 1:
            return logits, state  # which leaves a token, as nothing else bars any that it needs
        some_left = ops.max(logits, axis=1, keepdims=True) > float("-inf")
        return ops.where(some_left, logits, ops.where(allowed, context.model_logits, float("-inf"))), state

    def _tables(self, ends, forbidden):
        """Each token's column (None: its own id), and by state and column the tokens that are needed until the text is
        done if it comes next, itself and END among them, and the state that follows."""
        size, (states, columns) = len(self.kinds), self.next.shape
        kinds, never, end = self.kinds.copy(), columns, columns + 1
        kinds[kinds < 0] = never
        kinds[list(forbidden)] = never
        kinds[list(ends)] = end
        kinds[[token for token in ends if token in forbidden]] = never
        used = np.isin(np.arange(columns), kinds)
        following = np.where(used, self.next, -1)
        distances = _distances(following, self.accepting)
        needed = np.full((states, columns + 2), _NEVER, np.int32)
        needed[:, :columns] = np.where(following < 0, _NEVER, np.minimum(distances[following] + 1, _NEVER))
        needed[:, end] = np.where(self.accepting, 1, _NEVER)
        after = np.zeros_like(needed)
        after[:, :columns] = np.maximum(following, 0)
        if states * size <= DENSE:
            return None, needed[:, kinds], after[:, kinds]
        return kinds.astype("int32"), needed, after

    @property
    def _of(self):
        return f" ({self.described})" if self.described else ""

    @property
    def _content(self):
        return self.kinds.tobytes(), self.next.shape, self.next.tobytes(), self.accepting.tobytes()

    def __eq__(self, other):
        return isinstance(other, Automaton) and self._content == other._content

    def __hash__(self):
        return hash(self._content)

    @property
    def fixed(self):
        return type(self), self

    def __repr__(self):
        return f"<Automaton of {len(self.next)} states{self._of}>"

    def to_json(self):
        described = {"described": self.described, "states": len(self.next)}
        return described | {name: _packed(getattr(self, name)) for name in ("kinds", "next", "accepting")}

    @classmethod
    def from_json(cls, value):
        try:
            kinds, following, accepting = (_unpacked(value[name]) for name in ("kinds", "next", "accepting"))
            states = len(accepting)
            return cls(kinds, following.reshape(states, -1), accepting, str(value.get("described", "")))
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error, InputError) as error:
            raise ArtefactError(f"The manifest's automaton is damaged: {error}") from None


def token_texts(tokenizer: Tokenizer) -> list[str | None]:
    """What each token adds to a text, as the tokenizer decodes it behind other text; None for those that are no text,
    or a part of a character."""
    return [_text_behind(tokenizer, token) for token in range(tokenizer.vocabulary_size)]


def _text_behind(tokenizer, token):
    """As decoders tell the first token of a text from others, a token is decoded behind itself."""
    once, twice = tokenizer.decode([token]), tokenizer.decode([token, token])
    text = twice[len(once) :]
    if token in (tokenizer.start, tokenizer.end) or not text or REPLACEMENT in twice:
        return None
    return text


def _ids(answer, tokenizer, size):
    if isinstance(answer, str):
        if isinstance(tokenizer, int):
            raise InputError(f"The answer {answer!r} is a text; give the tokenizer, not the vocabulary's size.")
        writer = tokenizer.writer
        if unknown := writer.unknown(answer):
            raise InputError(f"The answer {answer!r} has what the tokenizer does not know: {', '.join(unknown)}.")
        answer = writer.encode(answer)
    ids = [int(token) for token in answer]
    if not all(0 <= token < size for token in ids):
        raise InputError(f"The answer {ids} has token ids that are not from 0 to {size - 1}.")
    return ids


def _distances(following: np.ndarray, accepting: np.ndarray) -> np.ndarray:
    """Of each state, how many tokens a text needs at least until it is done, END among them, (states,) int64."""
    distances = np.where(accepting, 1, _NEVER).astype("int64")
    while True:
        after = np.where(following < 0, _NEVER, distances[following]).min(axis=1, initial=_NEVER)
        shorter = np.minimum(distances, after + 1)
        if (shorter == distances).all():
            return np.minimum(distances, _NEVER)
        distances = shorter


def _trimmed(following, accepting):
    """Without the states that can't be reached, or from which no text is done; the first one stays."""
    alive = _distances(following, accepting) < _NEVER
    following = np.where((following >= 0) & alive[following], following, -1)
    reached, queue = {0}, [0]
    for state in queue:
        new = set(following[state][following[state] >= 0].tolist()) - reached
        reached |= new
        queue += sorted(new)
    kept = sorted(reached)
    number = np.full(len(following) + 1, -1)
    number[kept] = np.arange(len(kept))
    return number[following[kept]], accepting[kept]


def _packed(array: np.ndarray) -> str:
    return base64.b85encode(zlib.compress(array.astype("<i4").tobytes(), 9)).decode("ascii")


def _unpacked(text: str) -> np.ndarray:
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(base64.b85decode(text), 2**30)
    if not unpacking.eof:
        raise ValueError("a table is cut off, or too large")
    return np.frombuffer(content, "<i4").astype("int32")
