"""Regular expressions, as Python spells them, as deterministic finite automata over characters (Thompson, 1968)."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfseq.errors import InputError

try:
    from re import _constants as codes  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:  # a Python without them
    parser = codes = None

MOST_STATES = 20_000
_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "DIGIT": str.isdecimal,
    "SPACE": str.isspace,
    "WORD": lambda character: character.isalnum() or character == "_",
}


@dataclass(frozen=True)
class CharacterAutomaton:
    """States and what leads from one to another; state 0 is the first.

    Attributes:
        characters: each that the pattern tells apart or a token has, in order.
        next: (states, characters) int32, -1 where a character can't follow.
        accepting: (states,) bool, where the text matches as it is.
    """

    characters: str
    next: np.ndarray
    accepting: np.ndarray


def automaton_of(pattern: str, characters: Iterable[str]) -> CharacterAutomaton:
    """The automaton of the texts that `re.fullmatch(pattern, text)` takes.

    Args:
        pattern: without flags, look-around, back-references and anchors other than at its ends.
        characters: those that texts are made of.

    Raises:
        InputError: the pattern is none, or has what no finite automaton can do, or too many states.
    """
    if parser is None:
        raise InputError("This Python does not show its regular expressions' parts; give the answers as a list.")
    try:
        tree = parser.parse(pattern)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"pattern is {pattern!r}, no regular expression: {error}.") from None
    if tree.state.flags & ~re.UNICODE:
        raise InputError(f"The pattern {pattern!r} has flags; spell what they stand for, such as [aA].")
    nfa = _Nfa(pattern)
    last = nfa.add(tree, 0)
    return _determinized(nfa, last, "".join(sorted(set(characters))))


@dataclass
class _Nfa:
    """States are numbered as they are made; `free` leads on without a character, `on` with one that fits."""

    pattern: str
    free: list[list[int]] = field(default_factory=lambda: [[]])
    on: list[list[tuple[Callable[[str], bool], int]]] = field(default_factory=lambda: [[]])

    def new(self) -> int:
        if len(self.free) > MOST_STATES:
            raise InputError(f"The pattern {self.pattern!r} has more than {MOST_STATES} states; repeat less often.")
        self.free.append([])
        self.on.append([])
        return len(self.free) - 1

    def add(self, parts: Any, state: int) -> int:
        """States of a parsed pattern from `state` on; returns its last one."""
        for code, value in parts:
            state = self._add(code, value, state)
        return state

    def _add(self, code, value, state):
        if code in (codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN):
            end = self.new()
            self.on[state].append((_fits(code, value), end))
            return end
        if code is codes.BRANCH:
            end = self.new()
            for branch in value[1]:
                start = self.new()
                self.free[state].append(start)
                self.free[self.add(branch, start)].append(end)
            return end
        if code is codes.SUBPATTERN:
            if value[1] or value[2]:
                raise self._refusal("flags in a group")
            return self.add(value[3], state)
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):  # a whole text matches either way
            least, most, part = value
            for _ in range(least):
                state = self.add(part, state)
            end = self.new()
            if most == codes.MAXREPEAT:
                loop = self.new()
                self.free[state].append(loop)
                self.free[self.add(part, loop)].append(loop)
                self.free[loop].append(end)
                return end
            for _ in range(most - least):
                self.free[state].append(end)
                start = self.new()
                self.free[state].append(start)
                state = self.add(part, start)
            self.free[state].append(end)
            return end
        raise self._refusal(str(code).lower().replace("_", " "))

    def _refusal(self, what: str) -> InputError:
        return InputError(f"The pattern {self.pattern!r} has {what}, which no finite automaton can do; leave it out.")

    def closure(self, states: Iterable[int]) -> frozenset[int]:
        """These states and those that they lead to without a character."""
        found = list(states)
        seen = set(found)
        for state in found:
            new = [other for other in self.free[state] if other not in seen]
            seen.update(new)
            found += new
        return frozenset(found)


def _fits(code: Any, value: Any) -> Callable[[str], bool]:
    if code is codes.ANY:
        return lambda character: character != "\n"
    if code in (codes.LITERAL, codes.NOT_LITERAL):
        return lambda character: (ord(character) == value) == (code is codes.LITERAL)
    negated = (codes.NEGATE, None) in value
    tests = [_one_of_set(kind, what) for kind, what in value if kind is not codes.NEGATE]
    return lambda character: any(test(character) for test in tests) != negated


def _one_of_set(kind: Any, what: Any) -> Callable[[str], bool]:
    if kind is codes.LITERAL:
        return lambda character: ord(character) == what
    if kind is codes.RANGE:
        return lambda character: what[0] <= ord(character) <= what[1]
    name = str(what).rpartition("CATEGORY_")[2]
    test, inverted = _CATEGORIES[name.removeprefix("NOT_")], name.startswith("NOT_")
    return lambda character: test(character) != inverted


def _determinized(nfa: _Nfa, last: int, characters: str) -> CharacterAutomaton:
    tests = {test: bytes(map(test, characters)) for edges in nfa.on for test, _ in edges}
    fits = {test: np.frombuffer(found, bool) for test, found in tests.items()}
    numbers = {nfa.closure([0]): 0}
    rows = []
    for states in (queue := list(numbers)):
        edges = [(fits[test], target) for state in states for test, target in nfa.on[state]]
        row = np.full(len(characters), -1, np.int32)
        if edges and characters:
            which = np.stack([fit for fit, _ in edges], axis=1)  # (characters, edges)
            kinds, of_character = np.unique(which, axis=0, return_inverse=True)
            for i, kind in enumerate(kinds):
                if not kind.any():
                    continue
                after = nfa.closure(target for (_, target), fit in zip(edges, kind) if fit)
                if after not in numbers:
                    numbers[after] = len(numbers)
                    queue.append(after)
                row[of_character.reshape(-1) == i] = numbers[after]
        rows.append(row)
        if len(rows) > MOST_STATES:
            raise InputError(f"The pattern {nfa.pattern!r} has more than {MOST_STATES} states; repeat less often.")
    accepting = np.array([last in states for states in queue])
    return CharacterAutomaton(characters, np.stack(rows), accepting)
