"""`Strategy`, the base class of decoding strategies: run-time settings, states, and rules such as forbidden tokens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from keras import ops

from tfseq.decoding.context import Choice, Context, empty_history, log_probabilities, read_on
from tfseq.decoding.rule import Rule
from tfseq.decoding.settings import TAKEN, Configured, find_class, require_integer, setting
from tfseq.errors import ArtefactError, InputError
from tfseq.layers import loops
from tfseq.models.generator import Generator
from tfseq.runtime.setting import Setting


class RulesState(NamedTuple):
    """What a strategy and its rules carry from step to step, () each where it is not used.

    Attributes:
        came: which tokens came so far, (rows, vocabulary) bool.
        history: the tokens read so far, a `History`.
        rules: of each rule its state.
        own: the strategy's own.
    """

    came: Any = ()
    history: Any = ()
    rules: tuple = ()
    own: Any = ()


@dataclass(frozen=True, kw_only=True)
class Strategy(Configured):
    """How the next tokens are chosen: `Greedy`, `Sample`, `Beam` or a class of your own, which defines `choose`.

    A subclass is a frozen dataclass. Its fields that `setting` makes are run-time settings: inputs of an exported
    graph, with their ranges and descriptions in the file. All other fields are fixed in a traced loop, and numbers,
    texts or lists of them.

    Args:
        min_length: tokens before the end token may come.
        repetition_penalty: divides the positive and multiplies the negative logits of all tokens that the row has read
            or chosen (Keskar et al., 2019, "CTRL", section 4.1); 1 leaves them as they are.
        forbidden: ids of tokens that are never chosen.
        rules: further rules, one after another: `NoRepeatNGram`, `Automaton` or of your own, see `Rule`.

    Attributes:
        NAME: in manifests; by default the class's own name, in small letters.
        token_by_token: whether it chooses token by token; otherwise it has a loop of its own, `decode`, and can't
            stream.
        sees_history, sees_hidden, sees_max_length: what `Context` has to hold for `choose`: the tokens read so far;
            hidden states, of a model that defines `step_with_hidden`, those of the prompt, too; `max_length`, also in
            a graph of one decode step.

    Raises:
        InputError: a value is out of range.
    """

    min_length: int = setting(0, "new tokens before the text may end", neutral=0, low=0, tried=(0, 0, 4, 10))
    repetition_penalty: float = setting(
        1.0,
        "above 1 makes tokens that came before less likely",
        neutral=1.0,
        low=0,
        above=True,
        optional=True,
        hint="1: none",
        tried=(1.3, 1.1, 0.7),
    )
    forbidden: tuple[int, ...] = ()
    rules: tuple[Rule, ...] = ()

    token_by_token: ClassVar[bool] = True
    sees_history: ClassVar[bool] = False
    sees_hidden: ClassVar[bool] = False
    sees_max_length: ClassVar[bool] = False

    def __post_init__(self):
        super().__post_init__()
        forbidden = tuple(self.forbidden) if isinstance(self.forbidden, Iterable) else (self.forbidden,)
        for token in forbidden:
            require_integer("a forbidden token", token, 0)
        forbidden = tuple(sorted({int(token) for token in forbidden}))
        object.__setattr__(self, "forbidden", forbidden)
        rules = (self.rules,) if isinstance(self.rules, Rule) else tuple(self.rules)
        object.__setattr__(self, "rules", rules)
        names = list(self.own_settings)
        for rule in rules:
            if not isinstance(rule, Rule):
                raise InputError(f"rules holds {rule!r}; expected tfseq.decoding.NoRepeatNGram(..) and the like.")
            names += rule.own_settings
        for name in names:
            if names.count(name) > 1 or name in TAKEN:
                raise InputError(f"Two settings are named {name!r}; a strategy and its rules need a name for each.")
        if self.min_length and self.decides_end:
            raise InputError(f"min_length is {self.min_length}, beside a rule that says when a text may end; leave it.")

    @property
    def decides_end(self) -> bool:
        """Whether a rule says when a sequence may end."""
        return any(rule.decides_end for rule in self.rules)

    def specs(self, model: Generator) -> dict[str, Setting]:
        """The run-time settings that decoding `model` reads besides `max_length`, in order."""
        read = self.read_settings
        for rule in self.rules:
            read |= rule.read_settings
        if not model.ends or self.decides_end:
            del read["min_length"]
        return read

    def dtypes(self, model: Generator) -> dict[str, str]:
        """The types of `specs` by name."""
        return {name: spec.dtype for name, spec in self.specs(model).items()}

    @property
    def settings(self) -> dict[str, float]:
        """Every run-time setting by name, as it is by default; a model reads those that `dtypes` names."""
        values = self.own_settings
        for rule in self.rules:
            values |= rule.own_settings
        return values

    @property
    def fixed(self) -> tuple:
        """What of the strategy a traced loop holds; all else is read at run time."""
        own = {**self.fixed_fields, "rules": tuple(rule.fixed for rule in self.rules)}
        return type(self), *own.values(), tuple(self.read_settings)

    def tried(self, name: str):
        """Values of a setting to verify an export with; () for any integer."""
        for rule in self.rules:
            if name in rule.own_settings:
                return rule.tried(name)
        return super().tried(name)

    def replaced(self, **values: Any) -> Self:
        """The strategy with other values of its fields, or of its rules' settings.

        Raises:
            InputError: there is no such field, or a value is out of range.
        """
        own = [field.name for field in fields(self)]
        known = {*own, *self.settings}
        for name in values:
            if name not in known:
                names = ", ".join(dict.fromkeys([*own, *self.settings]))
                raise InputError(f"{type(self).__name__} has no setting {name!r}; it has {names}.")
        rules = tuple(
            replace(rule, **{name: values[name] for name in rule.own_settings if name in values})
            for rule in values.get("rules", self.rules)
        )
        return replace(self, **{name: value for name, value in values.items() if name in own} | {"rules": rules})

    def to_json(self) -> dict[str, Any]:
        value = super().to_json()
        value["rules"] = [{"rule": rule.NAME, **rule.to_json()} for rule in self.rules]
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        rules = []
        for each in value.get("rules") or ():
            kind = find_class(Rule, str(each.get("rule") if isinstance(each, Mapping) else each))
            if kind is None:
                raise ArtefactError(f"There is no rule {each!r} here; import the module that defines it.")
            rules.append(kind.from_json(each))
        return super().from_json({**value, "rules": rules})

    def check(self, model: Generator) -> None:
        """
        Raises:
            InputError: the strategy asks for what the model can't do.
        """
        vocabulary, ends = model.vocabulary_size, model.ends
        if self.min_length and not ends:
            raise InputError(
                f"min_length is {self.min_length}, but no token ends {type(model).__name__}'s sequences: they all get "
                "max_length tokens. Leave min_length at 0."
            )
        if self.forbidden and self.forbidden[-1] >= vocabulary:
            raise InputError(f"forbidden holds {self.forbidden[-1]}; expected token ids from 0 to {vocabulary - 1}.")
        if len({*self.forbidden, *ends}) == vocabulary:
            raise InputError(f"forbidden holds {len(self.forbidden)} tokens, which leaves none of {vocabulary}.")
        if self.sees_hidden and not model.has_hidden:
            raise InputError(
                f"{type(self).__name__} looks at hidden states, and {type(model).__name__} gives none: define "
                "step_with_hidden."
            )
        for rule in self.rules:
            rule.check(model, self)

    def prepare(self, settings: Mapping[str, Any], rows: Any, vocabulary_size: int, positions: Any) -> Any:
        """What is the same at all steps, computed before the loop: a pytree, which `choose` finds as `prepared`.

        Args:
            settings: name -> scalar tensor.
            rows: () int32.
            vocabulary_size: number of tokens in the vocabulary.
            positions: of the new tokens in their sequences, (steps,) int32.
        """
        return ()

    def first(self, model: Generator, rows: Any) -> Any:
        """The strategy's own state before the first step: a pytree of tensors (rows, ...), whose types and shapes stay
        as they are but for an axis that grows, see `Generator.initial_state`; () if it has none."""
        return ()

    def choose(self, context: Context) -> Choice:
        """The next token of each row, after the rules.

        It is called at every step, also while a row reads its prompt and nothing is chosen.

        Returns:
            the tokens, and the strategy's own state where it has one.
        """
        raise TypeError(f"{type(self).__name__} does not choose token by token.")

    def chosen(self, context: Context, rules_state: RulesState) -> tuple[Any, Any, RulesState]:
        """Tokens (rows,) int32, their log-probabilities (rows,) float32, and the state after them."""
        tokens, log_p, own = self.choose(replace(context, own=rules_state.own))
        if log_p is None:
            log_p = log_probabilities(context.logits, tokens)
        return tokens, log_p, rules_state._replace(own=own)

    def decode(self, task: Any) -> dict[str, Any]:
        """The loop of a strategy that does not choose `token_by_token`: takes a `Task`, returns what `decode` does."""
        raise TypeError(f"{type(self).__name__} has no loop of its own.")

    @property
    def counts_tokens(self) -> bool:
        """Whether it or a rule looks at `max_length`."""
        return self.sees_max_length or any(rule.sees_max_length for rule in self.rules)

    @property
    def _carries_history(self):
        return self.sees_history or any(rule.sees_history for rule in self.rules)

    def first_rules_state(self, model: Generator, rows: Any, read: Any = None) -> RulesState:
        """The rules' and the strategy's states before the first token.

        Args:
            rows: () int32.
            read: tokens that the rows have read at once, (rows, time) int32; None if none.
        """
        state = RulesState(
            () if self.repetition_penalty == 1 else ops.zeros((rows, model.vocabulary_size), "bool"),
            empty_history(rows) if self._carries_history else (),
            tuple(rule.first(model, rows) for rule in self.rules),
            self.first(model, rows),
        )
        return state if read is None else self.note_read(state, read)

    def note_read(self, rules_state: RulesState, tokens: Any) -> RulesState:
        """The states after tokens that were read at once, (rows, time) int32; `apply_rules` notes the last one."""
        came, history, rules, own = rules_state
        if self.repetition_penalty != 1:
            rows, vocabulary = ops.shape(tokens)[0], came.shape[1]
            starts = ops.expand_dims(ops.arange(rows, dtype="int32") * vocabulary, 1)
            places = ops.reshape(starts + tokens, (-1, 1))  # in rows * vocabulary
            these = ops.zeros((rows * vocabulary,), "int32")
            these = ops.scatter_update(these, places, ops.ones_like(places[:, 0]))
            came = ops.logical_or(came, ops.reshape(these, (-1, vocabulary)) > 0)
        if self._carries_history:
            history = read_on(history, tokens[:, :-1])
        if self.rules:
            rules = tuple(rule.read(state, tokens[:, :-1]) for rule, state in zip(self.rules, rules))
        return RulesState(came, history, rules, own)

    def apply_rules(self, context: Context, rules_state: RulesState) -> tuple[Context, RulesState]:
        """The context with its logits as the rules leave them, -inf where a token must not come, and the new states."""
        model, settings, logits = context.model, context.settings, context.logits
        came, history, rules, own = rules_state
        ids = np.arange(model.vocabulary_size, dtype="int32")
        if self.repetition_penalty != 1:
            penalty = settings["repetition_penalty"]
            came = ops.logical_or(came, ops.equal(ops.expand_dims(context.tokens, 1), ids))
            penalized = ops.where(logits > 0, logits / penalty, logits * penalty)
            logits = ops.where(came, penalized, logits)
        barred = np.where(np.isin(ids, self.forbidden), -np.inf, 0).astype("float32")
        if model.ends and not self.decides_end:
            rows = np.stack([barred, np.where(np.isin(ids, model.ends), np.float32(-np.inf), barred)])
            early = ops.cast(context.index < settings["min_length"], "int32")
            logits += loops.take_rows(ops.convert_to_tensor(rows), early)  # quicker than choosing token by token
        elif self.forbidden:
            logits += barred
        if self._carries_history:
            history = read_on(history, ops.expand_dims(context.tokens, 1))
        seen = history.tokens if self._carries_history else None
        context = replace(context, logits=logits, model_logits=context.logits, history=seen)
        after = []
        for rule, state in zip(self.rules, rules):
            logits, state = rule.apply(context, state)
            context = replace(context, logits=logits)
            after.append(state)
        return context, RulesState(came, history, tuple(after), own)
