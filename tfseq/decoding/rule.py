"""`Rule`, the base class of rules: what changes the logits of greedy decoding, sampling and beam search alike."""

from typing import Any, ClassVar

from tfseq.decoding.context import Context
from tfseq.decoding.settings import Configured
from tfseq.models.generator import Generator


class Rule(Configured):
    """What may come next: a frozen dataclass with `apply`, given to any strategy as `rules=[...]`.

    Attributes:
        sees_history: whether it looks at the tokens read so far, `Context.history`.
        sees_max_length: whether it looks at `Context.max_length`; then a graph of one decode step takes it, too.
        decides_end: whether it alone says when a sequence may end; then there is no `min_length`.
    """

    sees_history: ClassVar[bool] = False
    sees_max_length: ClassVar[bool] = False
    decides_end: ClassVar[bool] = False

    def check(self, model: Generator, strategy: Any) -> None:
        """
        Raises:
            InputError: the rule asks for what the model can't do, or does not go with the strategy.
        """

    def first(self, model: Generator, rows: Any) -> Any:
        """Its state before the first token: a pytree of tensors (rows, ...); () if it has none."""
        return ()

    def read(self, state: Any, tokens: Any) -> Any:
        """Its state after a part of the prompt, (rows, time) int32, that is read at once; `apply` sees what follows."""
        return state

    def apply(self, context: Context, state: Any) -> tuple[Any, Any]:
        """Called once at every step, also while a row reads its prompt.

        Returns:
            logits (rows, vocabulary) float32, made of `context.logits`, and the new state. A token whose logit is -inf
            can't be chosen; each row has to keep one that can.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `apply`.")
