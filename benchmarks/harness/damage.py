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

from benchmarks.harness.damaged_archives import damaged_archive
from benchmarks.harness.damaged_values import damaged_bytes, damaged_json

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
        if name.endswith(".npz") and rng.random() < 0.6:
            return kind, name, damaged_archive(rng, content)
        return kind, name, damaged_bytes(rng, content)
    content = rng.choice(_models())
    if kind == "model":
        return kind, "model.onnx", damaged_bytes(rng, content)
    if kind == "graph":
        return kind, "model.onnx", _damaged_graph(rng, content)
    model = onnx.load_from_string(content)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "tfseq")
    manifest = json.loads(entry.value)
    if kind == "tokenizer in a manifest" and manifest["tokenizer"]:
        manifest["tokenizer"] = _damaged_tokenizer(rng, manifest["tokenizer"])
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            manifest = damaged_json(rng, manifest)
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
        return damaged_json(rng, value)
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
            inner = damaged_json(rng, inner)
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
