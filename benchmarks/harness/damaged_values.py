"""Bytes and JSON values damaged on purpose: one place or a few, drawn at random."""

import copy
import random
from typing import Any


def damaged_bytes(rng: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        # The metadata is at one end of the file, and headers are at the other: both more often than by their size.
        at = rng.choice((rng.randrange(len(data)), rng.randrange(min(500, len(data))), -rng.randint(1, len(data) // 2)))
        at %= len(data)
        length = rng.choice((1, 2, 4, 16, 256))
        match rng.randrange(7):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.randrange(256)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = rng.randbytes(length)
            case 4:
                data[at : at + length] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * length
            case 5:
                data[at:at] = data[at : at + length]
            case 6:
                del data[max(1, at) :]
        if len(data) < 2:
            break
    return bytes(data)


def _odd(rng: random.Random, like: Any) -> Any:
    numbers = (0, -1, 1, 5, 10**6, 2**31, 2**32 - 1, 2**63, 10**400, 1e308, float("nan"), float("inf"), -0.5)
    texts = (
        "",
        "x",
        "\ud800",
        "\x1b[2J\nparity passed",
        "a" * 3000,
        "\0",
        "{0}",
        "%s",
        "../x",
        "batch",
        "float32",
        "O",
        "M8",
    )
    others: tuple[Any, ...] = (
        None,
        True,
        False,
        [],
        {},
        [[]],
        [None],
        {"": None},
        [1, [2, 3]],
        ["a", "b", "c"],
        {"a": {"b": 1}},
    )
    if rng.random() < 0.5 and isinstance(like, int | float):
        return rng.choice((*numbers, like + 1, like - 1, -like, like * 10**6, str(like)))
    if rng.random() < 0.5 and isinstance(like, str):
        return rng.choice((*texts, like + "x", like[::-1], like.upper(), like * 50))
    return rng.choice(rng.choice((numbers, texts, others)))


def damaged_json(rng: random.Random, value: Any) -> Any:
    """The value with one place in it changed; places that are higher up are as likely as the many below."""
    value = copy.deepcopy(value)
    at = value
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return value
        key = rng.choice(keys)
        below = at[key]
        if isinstance(below, dict | list) and below and rng.random() < 0.75:
            at = below
            continue
        match rng.randrange(6):
            case 0:
                del at[key]
            case 1 if isinstance(at, dict):
                at[rng.choice(("", "x", str(key) + "x", "\ud800"))] = at.pop(key)
            case 1 | 2 if isinstance(at, list):
                at.insert(key, copy.deepcopy(rng.choice((below, at[0]))))
            case 3 if isinstance(at, list):
                rng.shuffle(at)
            case _:
                at[key] = _odd(rng, below)
        return value
