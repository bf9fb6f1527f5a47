"""`Model.classify`: texts and arrays to labels with probabilities."""

import dataclasses

import numpy as np
import pytest
from onnx import TensorProto, helper

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import (
    CharacterTokenizer,
    Label,
    Manifest,
    TensorSpec,
    UnknownCharacterWarning,
    WordTokenizer,
    load,
)
from tfseq.runtime.classification import named

TOKENIZER = CharacterTokenizer(["<unk>", *"abc"]).to_json()
SOFTMAX = Manifest(
    name="finder",
    task="predict",
    inputs=(TensorSpec("tokens", "int32", ("batch", "time")),),
    outputs=(TensorSpec("probabilities", "float32", ("batch", 2)), TensorSpec("found", "float32", ("batch", 1))),
    operators={"Max": 1},
    opset=18,
    tokenizer=TOKENIZER,
    labels=("without a", "with a"),
)
SIGMOID = dataclasses.replace(SOFTMAX, outputs=SOFTMAX.outputs[::-1])
STEPS = dataclasses.replace(SOFTMAX, outputs=(TensorSpec("steps", "float32", ("batch", "time", 2)),))


@pytest.fixture
def finder(tmp_path, write):
    """Writes a file that says with what probability a text has an "a": 0.9 if it has, 0.25 if not."""

    def of(manifest):
        nodes = [
            helper.make_node("Equal", ["tokens", "a"], ["is_a"]),
            helper.make_node("Where", ["is_a", "yes", "no"], ["each"]),  # (batch, time)
            helper.make_node("ReduceMax", ["each", "axis_1"], ["found"], keepdims=1),
            helper.make_node("Sub", ["one", "found"], ["not_found"]),
            helper.make_node("Concat", ["not_found", "found"], ["probabilities"], axis=1),
            helper.make_node("Unsqueeze", ["each", "axis_2"], ["columns"]),
            helper.make_node("Sub", ["one", "columns"], ["other_columns"]),
            helper.make_node("Concat", ["other_columns", "columns"], ["steps"], axis=2),
        ]
        constants = [
            helper.make_tensor("a", TensorProto.INT32, [], [1]),
            helper.make_tensor("yes", TensorProto.FLOAT, [], [0.9]),
            helper.make_tensor("no", TensorProto.FLOAT, [], [0.25]),
            helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
            helper.make_tensor("axis_1", TensorProto.INT64, [1], [1]),
            helper.make_tensor("axis_2", TensorProto.INT64, [1], [2]),
        ]
        return load(write(tmp_path / "finder.onnx", nodes, constants, manifest))

    return of


def test_a_text_is_named_with_its_probability(finder):
    name, probability = finder(SOFTMAX).classify("cab")
    assert name == "with a"
    assert probability == pytest.approx(0.9)
    assert str(Label("with a", 0.9)) == "with a (90.0%)"


def test_each_of_several_texts_is_named(finder):
    assert [label.name for label in finder(SOFTMAX).classify(["cab", "c"])] == ["with a", "without a"]


def test_texts_are_predicted_as_their_token_ids_are(finder):
    file, texts = finder(dataclasses.replace(SOFTMAX, labels=())), ["cab", "c", "ba"]
    expected = file.predict(np.array([[3, 1, 2], [3, 0, 0], [2, 1, 0]]))
    for given in (texts, tuple(texts), np.array(texts), np.array(texts, object)[:, None], [[text] for text in texts]):
        assert np.array_equal(file.predict(given)["probabilities"], expected["probabilities"])
    assert np.array_equal(file.run({"tokens": "cab"})["found"], [[np.float32(0.9)]])


def test_tokens_of_texts_may_be_none_beside_others(finder):
    words = WordTokenizer(["", "?", "b", "a"], split="character").to_json()
    file = finder(dataclasses.replace(SOFTMAX, tokenizer=words))
    with pytest.warns(UnknownCharacterWarning, match="'x'"):
        found = file.classify(["b", "", "ab", "bx"])
    assert [label.name for label in found] == [*["without a"] * 3, "with a"]  # the file finds token 1, the unknown one
    with pytest.raises(InputError, match="makes no token of the text ''"):
        file.classify("")


@pytest.mark.parametrize("shape", [("batch",), ("batch", 1), ("batch", 1, 1)])
def test_strings_are_one_for_each_row(tmp_path, write, shape):
    spec = TensorSpec("text", "string", shape)
    manifest = dataclasses.replace(
        SOFTMAX, inputs=(spec,), outputs=(dataclasses.replace(spec, name="same"),), tokenizer=None, labels=()
    )
    file = load(write(tmp_path / "same.onnx", [helper.make_node("Identity", ["text"], ["same"])], [], manifest))
    assert file.predict(["a b", "é"]).ravel().tolist() == ["a b", "é"]
    assert file.predict("a").shape == (1, *shape[1:])


def test_one_probability_is_that_of_the_second_of_two_classes(finder):
    with_a, without = finder(SIGMOID).classify(["a", "bcb"])
    assert with_a == ("with a", pytest.approx(0.9))
    assert without == ("without a", pytest.approx(0.75))


def test_arrays_are_named_row_by_row(finder):
    file = finder(SOFTMAX)
    by_position, by_name = file.classify(np.array([[1, 2], [3, 3]])), file.classify(tokens=np.array([[1, 2], [3, 3]]))
    assert by_position == by_name == [("with a", pytest.approx(0.9)), ("without a", pytest.approx(0.75))]


def test_each_step_is_named_where_each_is_classified(finder):
    (steps,) = finder(STEPS).classify(np.array([[1, 2, 1]]))
    assert [step.name for step in steps] == ["with a", "without a", "with a"]


def test_the_most_likely_of_several_classes_is_taken():
    assert named(["x", "y", "z"], np.array([[0.2, 0.3, 0.5], [0.6, 0.4, 0.0]])) == [("z", 0.5), ("x", 0.6)]


def test_unknown_characters_are_named(finder):
    with pytest.warns(UnknownCharacterWarning, match="'!'"):
        assert finder(SOFTMAX).classify("a!").name == "with a"


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        ({"labels": ()}, "a", "does not name its classes; call predict"),
        ({"tokenizer": None}, "a", "reads no text; expected arrays: tokens int32"),
        ({}, "", "The text is empty"),
        ({}, ["a", ""], "Text 1 is empty"),
        ({}, ["a", 3], "expected a text, or a list of texts"),
        ({}, np.zeros((1, 2, 3), int), "'tokens' has 3 axes"),
    ],
)
def test_what_cannot_be_classified_is_said(finder, change, given, message):
    with pytest.raises(InputError, match=message):
        finder(dataclasses.replace(SOFTMAX, **change)).classify(given)


def test_a_file_that_generates_does_not_classify(counter):
    with pytest.raises(InputError, match="counter generates and does not classify; call generate"):
        load(counter).classify("ab")


@pytest.mark.parametrize("labels", ["ab", [1, 2], {"a": 1}])
def test_labels_that_are_no_names_are_a_damaged_manifest(labels):
    with pytest.raises(ArtefactError, match="labels"):
        Manifest.from_json(SOFTMAX.to_json() | {"labels": labels})
