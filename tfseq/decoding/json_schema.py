"""A small JSON schema as a regular expression, of JSON without white space between its parts."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tfseq.errors import InputError

_BEYOND = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # one character, written as two halves
_CHARACTER = rf'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|{_BEYOND}|\\u[0-9a-fA-F]{{4}})'
_INTEGER = r"-?(?:0|[1-9][0-9]*)"
_PATTERNS = {
    "integer": _INTEGER,
    "number": rf"{_INTEGER}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?",
    "boolean": "(?:true|false)",
    "null": "null",
}
_KNOWN = {
    "string": ("minLength", "maxLength"),
    "array": ("items", "minItems", "maxItems"),
    "object": ("properties", "required", "additionalProperties"),
}
_ANNOTATIONS = ("type", "title", "description", "default", "examples", "$schema", "$id", "$comment")


def pattern_of(schema: Mapping[str, Any]) -> str:
    """The regular expression of the JSON that a schema takes.

    Known are the types string (minLength, maxLength), integer, number, boolean, null, array (items, minItems,
    maxItems) and object (properties, in their order, of which those that are not `required` may be left out); enum,
    const and anyOf. A text has no spaces between its parts, names and constants are not written in escapes, and arrays
    in arrays are as deep as the schema.

    Raises:
        InputError: the schema has what is not known.
    """
    if not isinstance(schema, Mapping):
        raise InputError(f"A schema is {schema!r}; expected a dictionary.")
    for name, values in (("const", [schema.get("const")]), ("enum", schema.get("enum", ()))):
        if name in schema:
            _refuse_others(schema, name)
            return _any(re.escape(json.dumps(value, ensure_ascii=False, separators=(",", ":"))) for value in values)
    if "anyOf" in schema:
        _refuse_others(schema, "anyOf")
        return _any(map(pattern_of, schema["anyOf"]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return _any(pattern_of({**schema, "type": each}) for each in kind)
    if kind not in (*_PATTERNS, *_KNOWN):
        raise InputError(f"A schema's type is {kind!r}; expected {', '.join((*_PATTERNS, *_KNOWN))}.")
    _refuse_others(schema, *_KNOWN.get(kind, ()))
    if kind == "string":
        return f'"{_CHARACTER}{_times(schema, "minLength", "maxLength")}"'
    if kind == "array":
        return _array(schema)
    return _object(schema) if kind == "object" else _PATTERNS[kind]


def _array(schema):
    if "items" not in schema:
        raise InputError("A schema's array has no items; say what it holds.")
    item = pattern_of(schema["items"])
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    if most == 0:
        return r"\[\]"
    more = f"(?:,{item}){{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
    return rf"\[{item}{more}\]" if least else rf"\[(?:{item}{more})?\]"


def _object(schema):
    properties, required = schema.get("properties") or {}, schema.get("required", ())
    members = [(json.dumps(name, ensure_ascii=False), pattern_of(each), name) for name, each in properties.items()]
    parts = [(f"{re.escape(key)}:{value}", name in required) for key, value, name in members]
    return rf"\{{{_members(parts)}\}}"


def _members(parts, first=True):
    """Members behind one another with commas between, those that are not required or not."""
    if not parts:
        return ""
    (part, required), *rest = parts
    after = _members(rest, False)
    if required:
        return ("" if first else ",") + part + after
    return f"(?:{part}{after}|{_members(rest)})" if first else f"(?:,{part})?{after}"


def _times(schema, least, most):
    return f"{{{schema.get(least, 0)},{schema.get(most, '')}}}" if least in schema or most in schema else "*"


def _any(patterns):
    return f"(?:{'|'.join(patterns)})"


def _refuse_others(schema, *known):
    if others := set(schema) - {*known, *_ANNOTATIONS}:
        raise InputError(f"A schema has {', '.join(sorted(others))}, which is not known here; leave it out.")
