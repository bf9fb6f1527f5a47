"""Files damaged on purpose, from a seed: their bytes, and the values inside their JSON and protocol buffers."""

import copy
import functools
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

EXPORTED = Path(__file__).parents[2] / "exported"
KINDS = ("model", "manifest", "tokenizer in a manifest", "graph", "tokenizer", "arrays", "SavedModel")
_LARGEST = 700_000  # bytes of a model that is damaged: each case is written and opened


def damaged(seed: int) -> tuple[str, str, bytes]:
    """A kind out of `KINDS`, the name that the file has to have, and its bytes."""
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    if kind == "tokenizer":
        value = copy.deepcopy(rng.choice(_tokenizers()))
        if rng.random() < 0.2:
            value = json.loads(value["json"]) if "json" in value else value
        return kind, "tokenizer.json", _dumped(rng, _damaged_tokenizer(rng, value))
    if kind == "arrays":
        name, content = rng.choice(_arrays())
        return kind, name, _damaged_bytes(rng, content)
    content = rng.choice(_models())
    if kind == "model":
        return kind, "model.onnx", _damaged_bytes(rng, content)
    if kind == "graph":
        return kind, "model.onnx", _damaged_graph(rng, content)
    model = onnx.load_from_string(content)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "tfseq")
    manifest = json.loads(entry.value)
    if kind == "tokenizer in a manifest" and manifest["tokenizer"]:
        manifest["tokenizer"] = _damaged_tokenizer(rng, manifest["tokenizer"])
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            manifest = _damaged_json(rng, manifest)
    text = _dumped(rng, manifest)
    if kind == "SavedModel":
        return kind, "tfseq.json", text
    del model.metadata_props[:]
    written = model.SerializeToString()
    return kind, "model.onnx", written + _field(14, _field(1, b"tfseq") + _field(2, text))


@functools.cache
def _models() -> list[bytes]:
    files = sorted(EXPORTED.glob("*/*.onnx"))
    return [file.read_bytes() for file in files if file.stat().st_size < _LARGEST]


@functools.cache
def _tokenizers() -> list[dict[str, Any]]:
    from tfseq.runtime import CharacterTokenizer, Manifest, WordTokenizer

    manifests = [Manifest.from_file(file) for file in sorted(EXPORTED.glob("*/*.onnx"))]
    words = WordTokenizer(["", "?", "the", "cat", "dog"], lower=True, strip_punctuation=True, ngrams=(1, 2))
    characters = CharacterTokenizer(["<pad>", "<unk>", "a", "b", "c"])
    found = [dict(manifest.tokenizer) for manifest in manifests if manifest.tokenizer]
    return [*found, words.to_json(), characters.to_json(), {"kind": "pair", "source": found[0], "target": found[-1]}]


@functools.cache
def _arrays() -> list[tuple[str, bytes]]:
    one, several, small = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(one, np.zeros((2, 3), np.float32))
    np.savez(several, a=np.zeros((2, 3)), b=np.arange(4))
    np.savez_compressed(small, a=np.zeros((200, 300)))
    return [("x.npy", one.getvalue()), ("x.npz", several.getvalue()), ("x.npz", small.getvalue())]


def _damaged_bytes(rng: random.Random, content: bytes) -> bytes:
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


def _damaged_json(rng: random.Random, value: Any) -> Any:
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


_REGEXES = (
    "(a+)+$",
    "(x*)*y",
    "(",
    "[",
    "a{1000}",
    "(?<=a)b",
    "\\p{L}+",
    "",
    "(a|a)*b",
    "((((a*)*)*)*)*c",
    ".*",
    "(\\w+\\s?)*$",
)


def _damaged_tokenizer(rng: random.Random, value: Any) -> Any:
    if not (isinstance(value, dict) and isinstance(value.get("json"), str) and rng.random() < 0.8):
        return _damaged_json(rng, value)
    inner = json.loads(value["json"])
    match rng.randrange(8):
        case 0:
            split = {
                "type": "Split",
                "pattern": {"Regex": rng.choice(_REGEXES)},
                "behavior": "Isolated",
                "invert": False,
            }
            inner["pre_tokenizer"] = split
        case 1:
            long = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * rng.choice((2, 50, 1000))}
            inner["normalizer"] = {"type": "Sequence", "normalizers": [long] * rng.choice((2, 10, 30))}
        case 2:
            inner["model"]["unk_token"] = rng.choice(("absent", "", 5))
        case 3 if isinstance(inner["model"].get("vocab"), dict):
            vocabulary = inner["model"]["vocab"]
            vocabulary[rng.choice(list(vocabulary))] = rng.choice((2**32 - 1, 2**31, 10**9, -1, 0))
        case 4:
            inner["normalizer"] = {
                "type": "Precompiled",
                "precompiled_charsmap": rng.choice(("", "AAAA", "/////w==", "EAAAAAEAAAACAAAAAwAAAGE=")),
            }
        case 5:
            inner["decoder"] = rng.choice(
                (
                    {"type": "ByteFallback"},
                    {"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": True},
                    {"type": "Strip", "content": "a", "start": 10**6, "stop": 2**40},
                    {"type": "Replace", "pattern": {"Regex": rng.choice(_REGEXES)}, "content": "b" * 1000},
                )
            )
        case _:
            inner = _damaged_json(rng, inner)
    return {**value, "json": json.dumps(inner)}


def _damaged_graph(rng: random.Random, content: bytes) -> bytes:
    """Names, types, sizes and attributes of a graph changed; the protocol buffer stays whole."""
    model = onnx.load_from_string(content)
    graph = model.graph
    for _ in range(rng.choice((1, 1, 3))):
        node, tensor = rng.choice(graph.node), rng.choice(graph.initializer or [onnx.TensorProto()])
        value = rng.choice((*graph.input, *graph.output, onnx.ValueInfoProto()))
        match rng.randrange(11):
            case 0:
                value.name = rng.choice(("", "x", value.name + "x"))
            case 1:
                value.type.tensor_type.elem_type = rng.randrange(25)
            case 2:
                value.type.tensor_type.shape.dim.add(dim_value=rng.choice((0, 1, 7)))
            case 3:
                for axis in value.type.tensor_type.shape.dim:
                    axis.dim_value = rng.choice((1, 2, 10**6))
            case 4:
                node.op_type = rng.choice(("Add", "MatMul", "Loop", "Gather", "Nothing"))
            case 5 if node.input:
                node.input.pop()
            case 6 if node.attribute:
                rng.choice(node.attribute).i = rng.choice((-1, 10**9))
            case 7:
                tensor.dims.append(rng.choice((0, 2, 10**6)))
            case 8:
                tensor.raw_data = tensor.raw_data[: rng.randrange(1 + len(tensor.raw_data))]
            case 9 if graph.output:
                graph.output.pop()
            case _:
                graph.output.reverse()
    return model.SerializeToString()


def _dumped(rng: random.Random, value: Any) -> bytes:
    text = json.dumps(value).encode()
    match rng.randrange(20):
        case 0:
            return b"[" * 100_000 + b"]" * 100_000
        case 1:
            at = rng.randrange(len(text))
            return text[:at] + bytes([rng.randrange(256)]) + text[at + 1 :]
        case 2:
            return b'{"a":' * 5000 + b"1" + b"}" * 5000
        case 3:
            return text.replace(b"1", b"1" * 5000, 1)
    return text


def _field(number: int, value: bytes) -> bytes:
    return bytes(_varint(8 * number + 2)) + bytes(_varint(len(value))) + value


def _varint(value: int) -> Iterator[int]:
    while value > 127:
        yield 128 | value & 127
        value >>= 7
    yield value
