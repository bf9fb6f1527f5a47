"""GPT-NeoX's cached decoding with positions: KerasHub's own turns every query as if it stood at the beginning."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock


@contextlib.contextmanager
def positioned(task: Any, position: Any) -> Iterator[None]:
    """Within, the queries of a GPT-NeoX task are turned by their positions, from `position` on, as in its `call`.

    Its cache holds keys that are not turned; all of them are, from position 0, at each step.
    """
    with contextlib.ExitStack() as patches:
        if type(task).__name__ == "GPTNeoXCausalLM":
            for layer in task.backbone.transformer_layers:
                rotary = layer._self_attention_layer.rotary_embedding_layer
                patches.enter_context(mock.patch.object(rotary, "call", _queries_first(rotary.call, position)))
        yield


def _queries_first(call: Any, position: Any) -> Any:
    """`call` of a rotary embedding, whose first input are the queries and whose second the keys."""
    starts = [position, 0]

    def turned(inputs: Any, start_index: Any = 0, positions: Any = None) -> Any:
        return call(inputs, start_index=starts.pop(0))

    return turned
