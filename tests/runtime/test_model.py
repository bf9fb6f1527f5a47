"""`Model` and `load`: generation settings, predictions, damaged files, threads."""

import os
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_array_equal

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import Model, UnknownCharacterWarning, load
from tfseq.runtime.session import Session

EXPORTED = Path(__file__).parents[2] / "exported"


def test_a_prompt_is_continued_without_being_repeated(counter):
    assert load(counter).generate("ab", max_length=3) == "cde"


def test_each_of_several_prompts_is_continued_from_its_own_end(counter):
    assert load(counter).generate(["a", "abcde", "ab"], max_length=2) == ["bc", "fg", "cd"]


def test_a_list_of_one_prompt_gives_a_list(counter):
    assert load(counter).generate(["a"], max_length=1) == ["b"]


@pytest.mark.parametrize(
    ("settings", "letter"),
    [({}, "b"), ({"temperature": 0.5}, "g"), ({"top_k": 2}, "d"), ({"seed": 3}, "e"), ({"seed": -11}, "b")],
)
def test_settings_reach_the_graph(counter, settings, letter):
    assert load(counter).generate("a", max_length=1, **settings) == letter


def test_settings_left_out_are_those_of_the_manifest(counter):
    edit_metadata(counter, '"seed": 0', '"seed": 2')
    assert load(counter).generate("a", max_length=1) == "d"
    assert load(counter).generate("a", max_length=1, seed=0) == "b"


def test_length_zero_adds_nothing(counter):
    assert load(counter).generate("a", max_length=0) == ""
    assert load(counter).generate(["a", "b"], max_length=0) == ["", ""]


def test_unknown_characters_are_named_in_one_warning(counter):
    with pytest.warns(UnknownCharacterWarning, match=r"'z', '!'") as caught:
        assert load(counter).generate(["az!z", "!"], max_length=2) == ["ab", "ab"]  # the unknown token is 0
    assert len(caught) == 1


def test_known_characters_bring_no_warning(counter):
    with warnings.catch_warnings(action="error"):
        load(counter).generate("abc", max_length=1)


def test_an_unknown_token_is_generated_as_the_replacement_character(counter):
    assert load(counter).generate("i", max_length=3) == "j\ufffda"


@pytest.mark.parametrize("text", ["", [], ["a", ""], 7, b"a", ["a", 7], None])
def test_what_is_no_prompt_is_said(counter, text):
    with pytest.raises(InputError, match=r"(?i)prompt"):
        load(counter).generate(text)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_length": -1},
        {"max_length": 1.5},
        {"max_length": 2**31},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": 1e39},
        {"temperature": "hot"},
        {"temperature": "1"},
        {"top_k": -1},
        {"top_k": 2.5},
        {"seed": 2**31},
        {"seed": -(2**31) - 1},
        {"seed": "x"},
        {"top_p": 0.5},
        {"width": 4},
        {"length": 10},
    ],
)
def test_arguments_out_of_range_are_named(counter, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        load(counter).generate("a", **arguments)


def test_the_widest_seeds_are_taken(counter):
    for seed in (-(2**31), 2**31 - 1):
        assert len(load(counter).generate("a", max_length=2, seed=seed)) == 2


def test_a_file_that_predicts_does_not_generate(shifter):
    with pytest.raises(InputError, match="does not generate"):
        load(shifter).generate("a")


def test_a_file_without_a_tokenizer_generates_token_ids_by_predict(counter):
    model = onnx.load(counter)
    text = model.metadata_props[0].value
    model.metadata_props[0].value = text.replace(text[text.index('{"kind"') : text.index(', "decoding"')], "null")
    onnx.save(model, counter)
    inputs = {"prompt_length": [2], "max_length": 3, "temperature": 0.0, "top_k": 0, "seed": 0}
    assert load(counter).predict(prompt=[[1, 2]], **inputs)["tokens"].tolist() == [[3, 4, 5]]
    with pytest.raises(InputError, match="predict"):
        load(counter).generate("a")


def test_several_outputs_come_by_name(shifter):
    outputs = load(shifter).predict([[1.0, 2.0, 3.0]], by=[10])
    assert_array_equal(outputs["shifted"], np.array([[11, 12, 13]], np.float32))
    assert outputs["total"] == 36


def test_arrays_that_the_graph_cannot_run_on_are_an_input_error(counter):
    feeds = {"prompt": [[1, 2]], "prompt_length": [9], "max_length": 1, "temperature": 0, "top_k": 0, "seed": 0}
    arrays = {name: np.array(value, "float32" if name == "temperature" else "int32") for name, value in feeds.items()}
    with pytest.raises(InputError, match=r"prompt_length int32 \(1,\)"):  # GatherElements reads outside the prompt
        Session(counter).run(arrays)


@pytest.mark.parametrize("length", [0, 3, 99, -1])
def test_the_length_of_a_prompt_is_one_of_its_own(counter, length):
    with pytest.raises(InputError, match=f"prompt_length is {length}; the prompt has 2 tokens: 1 to 2"):
        load(counter).predict([[1, 2]], [length], 1, 0.0, 0, 0)


@pytest.mark.parametrize("token", [-1, 11, 10**6])
def test_tokens_are_those_of_the_vocabulary(counter, token):
    with pytest.raises(InputError, match=f"'prompt' holds the token {token}; expected 0 to 10"):
        load(counter).predict([[1, token]], [2], 1, 0.0, 0, 0)


def test_the_model_says_what_it_is(shifter):
    assert repr(load(shifter)) == "<tfseq.runtime.Model 'shifter': predict(x float32 (batch, 3), by int32 (batch))>"
    assert load(shifter).manifest.name == "shifter"
    assert isinstance(load(str(shifter)), Model)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtefactError, match=r"none\.onnx: No such file"):
        load(tmp_path / "none.onnx")


def test_a_folder_is_no_artefact(tmp_path):
    with pytest.raises(ArtefactError, match="folder"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"To be, or not to be", bytes(100), b"\x08\x07"])
def test_a_file_that_is_not_onnx_is_refused(tmp_path, content, capfd):
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(ArtefactError, match="not an ONNX file"):
        load(tmp_path / "x.onnx")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(counter, kept, capfd):
    content = counter.read_bytes()
    counter.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ArtefactError, match=r"counter\.onnx"):
        load(counter)
    assert capfd.readouterr() == ("", "")


def test_an_onnx_file_without_a_manifest_is_refused(counter):
    model = onnx.load(counter)
    del model.metadata_props[:]
    onnx.save(model, counter)
    with pytest.raises(ArtefactError, match="no tfseq manifest"):
        load(counter)


def test_a_manifest_of_another_graph_is_refused(shifter):
    edit_metadata(shifter, '"by"', '"to"')
    with pytest.raises(ArtefactError, match=r"\['x', 'to'\]"):
        load(shifter)


def test_a_graph_for_a_newer_runtime_is_refused_in_one_sentence(counter, capfd):
    model = onnx.load(counter)
    model.opset_import[0].version = 999
    onnx.save(model, counter)
    with pytest.raises(ArtefactError, match=r"ONNX Runtime .* can't run"):
        load(counter)
    assert capfd.readouterr() == ("", "")


def edit_metadata(path, old, new):
    model = onnx.load(path)
    assert old in model.metadata_props[0].value
    model.metadata_props[0].value = model.metadata_props[0].value.replace(old, new)
    onnx.save(model, path)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_threads_that_cannot_be_are_refused(counter, threads):
    with pytest.raises(InputError, match="threads is"):
        load(counter, threads=threads)


@pytest.fixture
def threads_of(monkeypatch):
    """The number of threads that ONNX Runtime is asked for when a file is loaded; 0 stands for all cores."""
    threads = []
    create = onnxruntime.InferenceSession

    def record(path, given, **named):
        threads.append(given.intra_op_num_threads)
        return create(path, given, **named)

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)

    def ask(path, **named):
        load(path, **named)
        return threads[-1]

    return ask


def test_small_files_that_generate_take_one_thread(threads_of, counter, summer, shifter, monkeypatch):
    assert [threads_of(path) for path in (counter, summer, shifter)] == [1, 1, 0]
    assert threads_of(counter, threads=2) == 2
    assert threads_of(shifter, threads=1) == 1
    monkeypatch.setattr("tfseq.runtime.model.SMALL", counter.stat().st_size)
    assert threads_of(counter) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_unless_asked_for(shifter, accumulator, value):
    x = np.array([[1, 2, 3], [4, value, 6]], "float32")
    for ask in (lambda model: model.predict(x, [1, 2]), lambda model: model.run({"x": x, "by": [1, 2]})):
        with pytest.raises(
            InputError, match=rf"'x' holds {value} at \[1, 1\]; expected finite numbers.*allow_nan=True"
        ):
            ask(load(shifter))
    outputs = load(shifter, allow_nan=True).predict(x, [1, 2])
    np.testing.assert_array_equal(outputs["shifted"], x + np.array([[1], [2]]))
    stream = load(accumulator).stream()
    stream.predict(x[:1])
    with pytest.raises(InputError, match=r"holds .* at \[0, 1\]"):
        stream.predict(x[1:])
    np.testing.assert_array_equal(stream.predict(x[:1]), [[7, 9, 12]])  # the refused chunk left no trace
    kept = load(accumulator).run({"x": x[:1], "sum": np.array([[value]], "float32")})  # a state may hold anything
    assert np.isinf(kept["sum_next"]).all() or np.isnan(kept["sum_next"]).all()
    np.testing.assert_array_equal(load(accumulator, allow_nan=True).stream().predict(x[:1]), [[1, 3, 6]])


ODD = [10**400, -(10**5000), b"1", "1", [1.0], np.ones(2), np.zeros(0), 1j, float("nan"), object(), {}, 1e300]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("name", ["temperature", "top_k", "max_length"])
def test_a_setting_is_one_number(counter, name, value):
    with pytest.raises(InputError, match=f"{name} is .*; expected "):
        load(counter).generate("ab", **{name: value})


def test_a_number_may_come_as_an_array_of_no_axes(counter):
    model = load(counter)
    as_arrays = model.generate("ab", np.array(3), temperature=np.float64(0), top_k=np.array(2))
    assert as_arrays == model.generate("ab", 3, temperature=0, top_k=2)


class Unreadable:
    def __array__(self, *arguments, **named):
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [Unreadable(), {}, set(), b"x", None, [[1], [1, 2]], 10**400, 1j])
def test_what_numpy_cannot_read_is_an_input_error(shifter, value):
    with pytest.raises(InputError, match=r"The input 'x' (is|has)"):
        load(shifter).predict(value, by=[1])
    with pytest.raises(InputError, match="expected a dictionary of arrays by name"):
        load(shifter).run([value])


def test_more_threads_than_a_machine_has_use_for_are_refused(counter):
    with pytest.raises(InputError, match="threads is 2000000; expected a whole number, 1 to "):
        load(counter, threads=2_000_000)


def test_a_text_that_can_only_be_too_long_is_not_encoded(counter, monkeypatch):
    model = load(counter)
    object.__setattr__(model.manifest, "decoding", {**model.manifest.decoding, "max_positions": 8})
    monkeypatch.setattr(type(model.tokenizer), "encode", None)
    with pytest.raises(InputError, match="The prompt has 1,000,000 characters; this model reads 8 tokens at most"):
        model.generate("a" * 10**6)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ArtefactError, match=r"pipe\.onnx is a device or a pipe"):
        load(tmp_path / "pipe.onnx")
    with pytest.raises(ArtefactError, match="There is no file"):
        load("a\0.onnx")


@pytest.mark.parametrize("name", ["seq2seq", "char_lm_rnn", "text_classification"])
def test_a_text_beyond_the_limit_is_refused_and_the_limit_can_be_moved(name):
    path = EXPORTED / name / "model.onnx"
    longest, ask = 40, "classify" if name == "text_classification" else "generate"
    with pytest.raises(InputError, match=r"has 1,000,000 characters; expected 262,144 at most.*longest_text=1000000"):
        getattr(load(path), ask)("a" * 10**6)
    limited = load(path, longest_text=longest)
    for given in ("a" * 41, ["a", "a" * 41]):
        with pytest.raises(InputError, match="has 41 characters; expected 40 at most"):
            getattr(limited, ask)(given)
    assert getattr(limited, ask)(["a" * 40]) == getattr(load(path, longest_text=None), ask)(["a" * 40])
    with pytest.raises(InputError, match="longest_text is 0"):
        load(path, longest_text=0)
