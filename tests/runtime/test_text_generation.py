"""`Model.generate` on prompts and sources, with files whose outputs are known by hand."""

import json
import warnings

import numpy as np
import onnx
import pytest
from numpy.testing import assert_array_equal
from onnx import helper
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tfseq.data import subword_tokenizer
from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import (
    CharacterTokenizer,
    CodePointTokenizer,
    Manifest,
    Setting,
    SubwordTokenizer,
    TensorSpec,
    TokenizerPair,
    UnknownCharacterWarning,
    load,
)


def test_a_file_of_the_first_tfseq_still_runs(old_counter):
    assert load(old_counter).generate("ab", max_length=3) == "cde"
    result = load(old_counter).generate("ab", max_length=3, details=True)
    assert (result.text, result.tokens.tolist(), result.score, result.attention) == ("cde", [3, 4, 5], None, None)


def test_a_source_becomes_a_text(copier):
    assert load(copier).generate("abc") == "abc"
    assert load(copier).generate(["a", "abcdefghij", "cab"]) == ["a", "abcdefghi", "cab"]  # of 9 at most by default
    assert load(copier).generate(["a", "abcd"], max_length=2) == ["a", "ab"]


def test_details_are_scores_tokens_and_attention_weights(copier):
    long, short = load(copier).generate(["abc", "b"], details=True)
    assert (long.text, long.tokens.tolist(), long.length, long.score) == ("abc", [1, 2, 3], 3, 1.5)
    assert_array_equal(long.attention, np.eye(3))
    assert (short.text, short.length, short.score) == ("b", 1, 0.5)
    assert_array_equal(short.attention, [[1]])
    assert load(copier).generate("abcd", max_length=2, details=True, length_penalty=-2).score == -4
    assert load(copier).generate("abcd", max_length=2, details=True).attention.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_a_prompt_has_no_attention(counter):
    result = load(counter).generate("a", max_length=4, details=True)
    assert (result.text, result.score, result.attention) == ("bcde", -4.0, None)


def test_no_length_is_no_text(counter, copier):
    assert load(copier).generate(["a", "b"], max_length=0) == ["", ""]
    result = load(counter).generate("a", max_length=0, details=True)
    assert (result.text, result.length, result.score) == ("", 0, None)


@pytest.mark.parametrize("text", ["", ["a", ""], 7, [], np.zeros((1, 3))])
def test_what_is_no_source_is_said(copier, text):
    with pytest.raises(InputError, match=r"(?i)source"):
        load(copier).generate(text)


@pytest.mark.parametrize("name", ["temperature", "width", "start"])
def test_a_setting_that_the_file_has_not_is_named_beside_those_it_has(copier, name):
    with pytest.raises(InputError, match=f"no setting '{name}'; it has max_length, length_penalty.*'beam'"):
        load(copier).generate("a", **{name: 1})


def test_old_files_have_the_settings_that_are_known(copier):
    (name,) = load(copier).settings
    penalty = load(copier).settings[name]
    assert (name, penalty.default, penalty.neutral, penalty.dtype) == ("length_penalty", 0.5, 1.0, "float32")


def test_a_file_describes_its_own_settings(copier):
    model = load(copier)
    spec = {"low": -3, "high": 2.5, "above": True, "description": "how long", "later": "ignored"}
    model.manifest.decoding["settings"] = {"length_penalty": spec}
    assert model.settings["length_penalty"] == Setting(0.5, "float32", None, -3, 2.5, True, "how long")
    with pytest.raises(InputError, match=r"length_penalty is -3; expected a number, more than -3, 2.5 at most"):
        model.generate("a", length_penalty=-3)
    for wrong in ({"low": "0"}, {"above": 1}, {"neutral": True}, {"description": 3}, 7):
        model.manifest.decoding["settings"] = {"length_penalty": wrong}
        with pytest.raises(ArtefactError, match=r"manifest is damaged: .*length_penalty"):
            model.generate("a")


def test_a_setting_of_none_is_one_left_out(copier):
    assert load(copier).generate("a", temperature=None, length_penalty=None) == "a"


def test_code_points_go_to_the_graph_as_they_are(copier_of):
    model = load(copier_of(CodePointTokenizer(["<unk>", *"né😀\ud800"]).to_json()))
    with warnings.catch_warnings(action="error"):
        assert model.generate(["né😀", "\ud800"], details=True)[0].tokens.tolist() == [0x6E, 0xE9, 0x1F600]
        assert model.generate("\ud800n") == "\ud800n"
    with pytest.warns(UnknownCharacterWarning, match="'x'"):
        assert model.generate("nx") == "nx"


def test_subwords_and_an_end_that_sources_get(copier_of):
    tokenizer = subword_tokenizer(["né😀 men"] * 2, 270, append_end=True)
    result = load(copier_of(tokenizer.to_json(), source="english")).generate("né😀 men fly", 99, details=True)
    assert result.text == "né😀 men fly"
    assert result.tokens.tolist() == [*tokenizer.encode("né😀 men fly"), 2]


def test_a_source_may_have_a_vocabulary_of_its_own(copier_of):
    source, target = CharacterTokenizer(["<unk>", *"abc"]), CharacterTokenizer(["<unk>", *"xyz"])
    model = load(copier_of(TokenizerPair(source, target).to_json()))
    assert model.generate(["cab", "a"]) == ["zxy", "x"]
    with pytest.warns(UnknownCharacterWarning, match="'x'"):
        model.generate("bax")


def words(*vocabulary):
    library = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return SubwordTokenizer(library.to_str())


def edit(path, **changes):
    model = onnx.load(path)
    manifest = json.loads(model.metadata_props[0].value) | changes
    helper.set_model_props(model, {"tfseq": json.dumps(manifest)})
    onnx.save(model, path)
    return path


def test_a_word_that_goes_on_keeps_its_space(counter):
    tokenizer = words("<unk>", *"abcdefghi", "##j")
    edit(counter, tokenizer=tokenizer.to_json())
    assert load(counter).generate("b a", max_length=2) == " b c"
    assert load(counter).generate("h", max_length=2) == " i##j".replace("##", "")


def test_unknown_words_are_named(counter):
    edit(counter, tokenizer=words("<unk>", *"abcdefghij").to_json())
    with pytest.warns(UnknownCharacterWarning, match="'fly', 'men' and reads"):
        load(counter).generate(["fly a", "men fly b"], max_length=1)


def test_a_text_of_which_no_token_is_left_is_refused(counter):
    edit(counter, tokenizer=words("<unk>", "a").to_json())
    with pytest.raises(InputError, match="no token of the prompt ' '"):
        load(counter).generate([" ", "a"])


def test_many_unknown_characters_are_not_all_listed(counter):
    with pytest.warns(UnknownCharacterWarning, match="and more") as caught:
        load(counter).generate("".join(map(chr, range(0x4E00, 0x4F00))), max_length=1)
    assert len(str(caught[0].message)) < 200


def test_a_warning_points_at_the_caller(counter):
    with pytest.warns(UnknownCharacterWarning) as caught:
        load(counter).generate("?", max_length=1)
    assert caught[0].filename == __file__


@pytest.fixture
def captioner(write, tmp_path):
    """Writes as many letters as the pixels of an image, (batch, 2), add up to; the letter's number is `letter`."""
    manifest = Manifest(
        name="captioner",
        task="generate",
        inputs=(
            TensorSpec("image", "float32", ("batch", 2)),
            TensorSpec("max_length", "int32", ()),
            TensorSpec("letter", "int32", ()),
        ),
        outputs=(TensorSpec("tokens", "int32", ("batch", "new_time")), TensorSpec("lengths", "int32", ("batch",))),
        operators={},
        opset=18,
        tokenizer=CodePointTokenizer("ab").to_json(),
        decoding={"strategy": "greedy", "start": 1, "end": 2, "letter": 97},
    )
    nodes = [
        helper.make_node("ReduceSum", ["image", "one"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["pixels"], to=onnx.TensorProto.INT32),
        helper.make_node("Min", ["pixels", "max_length"], ["lengths"]),
        helper.make_node("Shape", ["lengths"], ["batch"]),
        helper.make_node("Cast", ["max_length"], ["time"], to=onnx.TensorProto.INT64),
        helper.make_node("Reshape", ["time", "one"], ["times"]),
        helper.make_node("Concat", ["batch", "times"], ["shape"], axis=0),
        helper.make_node("Expand", ["letter", "shape"], ["tokens"]),
    ]
    return write(tmp_path / "captioner.onnx", nodes, [helper.make_tensor("one", 7, [1], [1])], manifest)


def test_images_become_texts(captioner):
    model = load(captioner)
    assert model.generate(np.array([[1, 2], [1, 0]]), max_length=5) == ["aaa", "a"]
    assert model.generate({"image": [[1.0, 1.0]]}, letter=98) == ["bb"]
    with pytest.raises(InputError, match=r"reads no text; expected arrays: image float32 \(batch, 2\)"):
        model.generate("abc")
    with pytest.raises(InputError, match="image"):
        model.generate([[1, 2, 3]])
    with pytest.raises(InputError, match=r"letter is 1\.5"):
        model.generate([[1, 2]], letter=1.5)


def test_a_setting_without_a_default_must_be_given(captioner):
    edit(captioner, decoding={"start": 1})
    with pytest.raises(InputError, match="'letter' has no default"):
        load(captioner).generate([[1, 2]])


@pytest.mark.parametrize("already", [1, 3])
def test_no_more_is_written_than_the_model_has_positions(counter, already):
    edit(counter, decoding={"strategy": "sample", "temperature": 0, "max_positions": 4})
    model, prompt = load(counter), "abc"[:already]
    assert model.generate(prompt) == "abcdefg"[already:5]  # the fifth is written and not read
    assert model.generate(prompt, max_length=5 - already) == "abcdefg"[already:5]
    with pytest.raises(InputError, match=f"max_length is 5; after {already} tokens there is room for {5 - already}"):
        model.generate(prompt, max_length=5)
    with pytest.raises(InputError, match="The text has 5 tokens; this model reads 4 at most"):
        model.generate(["a", "abcde"])


def test_a_source_longer_than_the_model_reads_is_refused(copier):
    edit(copier, decoding={"start": 1, "max_positions": 3})
    assert load(copier).generate("abc") == "abc"
    with pytest.raises(InputError, match="The source has 4 tokens; this model reads 3 at most"):
        load(copier).generate(["a", "abcd"])
    with pytest.raises(InputError, match="there is room for 3"):
        load(copier).generate("abc", max_length=4)


@pytest.mark.parametrize("tokenizer", [{"kind": "tokenizers", "json": "{}"}, {"kind": "runes"}, ["a"], {"symbols": []}])
def test_a_file_with_a_damaged_tokenizer_is_refused(counter, tokenizer):
    with pytest.raises(ArtefactError, match=r"counter\.onnx can't be used: .*tokenizer"):
        load(edit(counter, tokenizer=tokenizer))


def test_prompts_beside_sources_are_texts_or_token_ids(echo):
    """The file writes its prompts again, so the texts say what it was given."""
    model = load(echo)
    assert model.manifest.takes_prefix
    assert not model.continues_prompts
    sources = ["abc", "d", "ef"]
    for none in (None, "", [], ["", [], ""]):
        assert model.generate(sources, prompt=none) == ["", "", ""]
    assert model.generate(sources, prompt="ab") == model.generate(sources, prompt=[1, 2]) == ["ab"] * 3
    assert model.generate(sources, prompt=np.array([1, 2])) == ["ab"] * 3
    for prompts in (["abc", "", "j"], [[1, 2, 3], [], [10]], ["abc", [], np.array([10])]):
        assert model.generate(sources, prompt=prompts) == ["abc", "", "j"]
    assert model.generate("abc", prompt="cd") == model.generate("abc", prompt=["cd"]) == "cd"
    found = model.generate(sources, prompt=["abc", "", "j"], details=True)
    assert [result.tokens.tolist() for result in found] == [[1, 2, 3], [], [10]]
    assert [result.score for result in found] == [3, 0, 1]
    assert model.generate("abc", 0, prompt="a") == ""


def test_a_prompt_is_of_the_vocabulary_that_is_written(echo_of):
    source, target = CharacterTokenizer(["<unk>", *"abc"]), CharacterTokenizer(["<unk>", *"xyz"])
    model = load(echo_of(TokenizerPair(source, target).to_json()))
    assert model.generate("cab", prompt="yx") == "yx"
    with pytest.warns(UnknownCharacterWarning, match="'a'"):
        model.generate("bac", prompt="ya")


def test_words_keep_the_space_behind_a_prompt(echo_of):
    model = load(echo_of(words("<unk>", "<start>", "<end>", "men", "walk").to_json()))
    assert model.generate("walk", prompt="men walk") == " men walk"


def test_a_prompt_takes_positions(echo_of):
    model = load(echo_of(CharacterTokenizer(["<unk>", *"abcdefghij"]).to_json(), max_positions=4))
    assert model.generate("abc", 2, prompt="ab") == "ab"
    with pytest.raises(InputError, match="max_length is 3; after 3 tokens there is room for 2"):
        model.generate("abc", 3, prompt="ab")
    with pytest.raises(InputError, match="has 6 tokens; this model reads 4 at most"):
        model.generate("abc", prompt="abcde")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (7, "The prompt is int; expected a text, token ids, or a list of these"),
        ({"a": 1}, "The prompt is dict"),
        (["a", "b", "c"], "There are 3 prompts beside 2 sources; give one for each, or one for all"),
        ([[1], [11]], "Token 11 is outside the vocabulary of 11"),
        ([0.5], "Token ids are float64"),
        (["a", None], "Token ids are object"),
    ],
)
def test_prompts_that_cannot_be_are_said(echo, prompt, message):
    with pytest.raises(InputError, match=message):
        load(echo).generate(["a", "b"], prompt=prompt)


def test_files_that_take_no_prompt_beside_a_source_say_so(copier, counter):
    with pytest.raises(InputError, match="takes no prompt beside its source; export the model with prefix=True"):
        load(copier).generate("abc", prompt="a")
    with pytest.raises(InputError, match="continues prompts; give the prompt as the text"):
        load(counter).generate("abc", prompt="a")
