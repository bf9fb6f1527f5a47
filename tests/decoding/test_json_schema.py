"""JSON schemas as patterns: JSON that is drawn to fit one matches, and JSON that is changed so that it does not."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from tfseq.decoding.json_schema import pattern_of
from tfseq.errors import InputError

LEAVES = st.sampled_from(
    [
        ({"type": "integer"}, st.integers()),
        ({"type": "boolean"}, st.booleans()),
        ({"type": "null"}, st.none()),
        ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
        ({"type": "string", "maxLength": 4}, st.text(max_size=4, alphabet=st.characters(exclude_categories=["Cs"]))),
        ({"enum": ["a.b", 3, None, "(*"]}, st.sampled_from(["a.b", 3, None, "(*"])),
        ({"const": [1, 2]}, st.just([1, 2])),
    ]
)


def wider(parts):
    arrays = parts.map(lambda of: ({"type": "array", "items": of[0], "maxItems": 3}, st.lists(of[1], max_size=3)))
    objects = st.dictionaries(st.text(max_size=3), st.tuples(parts, st.booleans()), max_size=4).map(_object)
    return arrays | objects


def _object(members):
    schema = {
        "type": "object",
        "properties": {name: of[0] for name, (of, _) in members.items()},
        "required": [name for name, (_, needed) in members.items() if needed],
    }
    needed = {name: of[1] for name, (of, required) in members.items() if required}
    optional = {name: of[1] for name, (of, required) in members.items() if not required}
    drawn = st.fixed_dictionaries(needed, optional=optional)
    return schema, drawn.map(lambda value: {name: value[name] for name in members if name in value})


@given(st.data())
@given_settings(max_examples=60, deadline=None)
def test_json_that_fits_a_schema_matches_its_pattern(data):
    schema, values = data.draw(st.recursive(LEAVES, wider, max_leaves=5))
    value = data.draw(values)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    pattern = pattern_of(schema)
    assert re.fullmatch(pattern, text)
    assert not re.fullmatch(pattern, text[:-1] + "}]"[text.endswith("}")])
    assert not re.fullmatch(pattern, " " + text)


@given(st.text(max_size=4, alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_text_may_be_written_in_escapes(text):
    assert re.fullmatch(pattern_of({"type": "string", "maxLength": len(text)}), json.dumps(text, ensure_ascii=True))


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, ["[1,2]", "[1,2,3]"], ["[]", "[1]", "[1,]"]),
        ({"type": "string", "minLength": 2}, ['"ab"', r'"\"\n"'], ['"a"', '"a\nb"', '"a"b"']),
        ({"type": ["integer", "null"]}, ["0", "-12", "null"], ["01", "1.5", ""]),
        ({"anyOf": [{"const": 1}, {"type": "boolean"}]}, ["1", "true"], ["2", '"true"']),
        ({"type": "object"}, ["{}"], ['{"a":1}']),
        ({"type": "string", "maxLength": 1}, [r'"\ud83d\ude80"', r'"\u00e4"', '""'], [r'"\ud83d\ude80a"', r'"\u12"']),
    ],
)
def test_what_fits_and_what_does_not(schema, right, wrong):
    pattern = pattern_of(schema)
    assert all(re.fullmatch(pattern, text) for text in right)
    assert not any(re.fullmatch(pattern, text) for text in wrong)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "text"}, "type is 'text'; expected integer"),
        ({"type": "integer", "minimum": 3}, "has minimum, which is not known"),
        ({"type": "array"}, "has no items"),
        ("integer", "expected a dictionary"),
        ({"$ref": "#/a"}, "type is None"),
    ],
)
def test_schemas_that_are_not_known_are_refused(schema, message):
    with pytest.raises(InputError, match=message):
        pattern_of(schema)
