"""The command line: what each subcommand calls and prints, and errors as one line with exit code 2."""

import errno
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper

import tfseq.runtime
from tfseq.cli import main
from tfseq.errors import ExportError
from tfseq.runtime import CharacterTokenizer, Manifest, Model, TensorSpec


def test_generate_prints_the_prompt_and_its_continuation(counter, capsys):
    main(["generate", str(counter), "ab", "--max-length", "4"])
    assert capsys.readouterr() == ("abcdef\n", "")


def test_generate_passes_its_settings_on(counter, capsys):
    main(["generate", str(counter), "a", "--max-length", "1", "--temperature", "0.1", "--top-k", "2", "--seed", "3"])
    assert capsys.readouterr().out == "ah\n"  # b, moved on by 1 + 2 + 3


def test_the_device_is_passed_on(counter, shifter, capsys, monkeypatch):
    asked, load = [], tfseq.runtime.load

    def record(path, device, **named):
        asked.append(device)
        return load(path, **named)

    monkeypatch.setattr(tfseq.runtime, "load", record)
    main(["generate", str(counter), "ab", "--max-length", "3", "--device", "cuda"])
    assert capsys.readouterr().out == "abcde\n"
    assert_fails(["predict", str(shifter), "--input", "none.npz", "--device", "openvino"], "none.npz", capsys)
    assert asked == ["cuda", "openvino"]


def test_generate_takes_any_setting_of_the_file(counter, capsys):
    main(["generate", str(counter), "a", "--max-length", "1", "--set", "top-k=2", "--set", "temperature=0.1"])
    assert (
        capsys.readouterr().out == "a" + tfseq.runtime.load(counter).generate("a", 1, top_k=2, temperature=0.1) + "\n"
    )
    for wrong, message in (
        ("top_k", "expected NAME=NUMBER"),
        ("top_k=many", "expected NAME"),
        ("q=1", "no setting 'q'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["generate", str(counter), "a", "--set", wrong])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err


def test_generate_prints_the_answer_to_a_source(copier, capsys):
    main(["generate", str(copier), "abc", "--length-penalty", "2"])
    assert capsys.readouterr().out == "abc\n"


def test_generate_prints_the_prompt_that_an_answer_begins_with(echo, capsys, monkeypatch):
    main(["generate", str(echo), "abc", "--prompt", "de"])
    assert capsys.readouterr().out == "dede\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("abc\n\nba"))
    main(["generate", str(echo), "--prompt", "j"])
    assert capsys.readouterr().out == "jj\n\njj\n"


def test_a_prompt_beside_what_takes_none_is_said(copier, counter, capsys):
    assert_fails(["generate", str(copier), "abc", "--prompt", "a"], "export the model with prefix=True", capsys)
    assert_fails(["generate", str(counter), "abc", "--prompt", "a"], "give the prompt as the text", capsys)


def test_generate_reads_lines_from_the_standard_input(copier, counter, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("abc\n\nba"))
    main(["generate", str(copier), "--max-length", "2"])
    assert capsys.readouterr().out == "ab\n\nba\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("a\nb\n"))
    main(["generate", str(counter), "--max-length", "2"])
    assert capsys.readouterr().out == "abc\nbcd\n"


def test_generate_reads_bytes_that_are_no_text(copier, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\xffb\n"), encoding="ascii"))
    main(["generate", str(copier)])
    out, err = capsys.readouterr()
    assert out == "a\ufffd\n"
    assert "never saw '\\udcff'" in err


def test_a_text_is_printed_as_it_is_written(summer, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("builtins.print", lambda *values, end="\n", flush=False: shown.append("".join(values) + end))
    main(["generate", str(summer), "ad", "--stream", "--max-length", "3"])
    assert shown == ["ad", "f", "c", "h", "\n"]


def test_a_step_file_streams_without_being_told(summer, capsys):
    main(["generate", str(summer), "ad", "--max-length", "3", "--seed", "0"])
    assert capsys.readouterr().out == "adfch\n"


def test_a_reader_that_has_gone_is_no_traceback(counter):
    program = f"from tfseq.cli import main; main(['generate', {str(counter)!r}, 'a', '--max-length', '300000'])"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_inspect_prints_a_table(shifter, capsys):
    main(["inspect", str(shifter)])
    lines = capsys.readouterr().out.splitlines()
    assert "inputs      x   float32  (batch, 3)" in lines
    assert f"size        {shifter.stat().st_size / 1e6:.2f} MB" in lines


def test_unknown_characters_are_one_line_on_stderr(counter, capsys):
    main(["generate", str(counter), "a?", "--max-length", "1"])
    out, err = capsys.readouterr()
    assert out == "a?a\n"
    assert err == "tfseq: warning: The model never saw '?' and reads each as its unknown token.\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["generate", "COUNTER", ""], "empty"),
        (["generate", "COUNTER", "a", "--max-length", "-1"], "max_length is -1"),
        (["generate", "COUNTER", "a", "--seed", "4294967296"], "seed is 4294967296"),
        (["generate", "SHIFTER", "a"], "does not generate"),
        (["generate", "COUNTER", "a", "--top-p", "0.5"], "no setting 'top_p'; it has max_length, temperature"),
        (["generate", "COUNTER", "a", "--stream"], "export the model with streaming=True"),
        (["generate", "COUNTER", "a", "--threads", "0"], "threads is 0"),
        (["generate", "COUNTER", "a", "--device", "tpu"], 'device is \'tpu\'; expected "cpu", "cuda"'),
        (["predict", "SHIFTER", "--input", "x.npz", "--device", "tpu"], "device is 'tpu'; expected"),
        (["generate", "missing.onnx", "a"], "missing.onnx: No such file"),
        (["inspect", "missing.onnx"], "missing.onnx: No such file"),
        (["inspect", __file__], "not an ONNX file"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(command, message, counter, shifter, capsys):
    command = [{"COUNTER": str(counter), "SHIFTER": str(shifter)}.get(word, word) for word in command]
    assert_fails(command, message, capsys)


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["fly"],
        ["generate"],
        ["generate", "m.onnx", "a", "--max-length", "many"],
        ["export", "a.keras", "--decode", "x"],
    ],
)
def test_a_command_that_is_none_exits_with_code_2(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(command)
    assert exit_.value.code == 2


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("export", "verify", "inspect", "generate"))


@pytest.mark.parametrize("command", ["export", "verify", "quantize", "inspect", "generate", "predict"])
def test_help_wraps_only_at_the_width_of_the_terminal(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # wider than any description
    with pytest.raises(SystemExit):
        main([command, "--help"])
    out = capsys.readouterr().out
    lines = [line.strip() for line in out.splitlines()]
    assert [line for line in lines if line[:1].islower()] == [lines[0], "positional arguments", "options"]
    assert "None" not in out


class RecordingExporter:
    """Stands in for tfseq.exporting; keeps what the command line called it with."""

    def __init__(self, passed=True):
        self.calls = []
        self.parity = {"passed": passed, "checks": []}

    def export(self, model, path, **settings):
        self.calls.append(SimpleNamespace(model=model, path=path, **settings))
        settings["progress"]("converting")
        return SimpleNamespace(parity=self.parity, notes=("A layer has no native operator.",))

    def verify(self, path, model, **settings):
        self.calls.append(SimpleNamespace(model=model, path=path, **settings))
        return SimpleNamespace(to_json=lambda: self.parity)


@pytest.fixture
def exporter(monkeypatch):
    exporter = RecordingExporter()
    monkeypatch.setitem(sys.modules, "tfseq.exporting", exporter)
    return exporter


@pytest.fixture
def saved_generator(tmp_path):
    from tfseq.models import RecurrentLanguageModel

    model = RecurrentLanguageModel(vocabulary_size=5, units=3, cell="rnn", name="hello")
    model.build((None, None))
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


@pytest.fixture
def saved_forward_model(tmp_path):
    import keras

    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "dense.keras")
    return tmp_path / "dense.keras"


def test_export_puts_the_loop_and_the_tokenizer_beside_the_model_into_the_file(exporter, saved_generator, capsys):
    CharacterTokenizer(["<unk>", *"ehlo"]).save(saved_generator.with_name("tokenizer.json"))
    output = saved_generator.with_name("model.onnx")
    main(["export", str(saved_generator), str(output)])
    (call,) = exporter.calls
    assert (call.path, call.name, call.opset, call.streaming) == (output, None, None, None)
    assert call.tokenizer.symbols == ["<unk>", "e", "h", "l", "o"]
    assert type(call.decode).__name__ == "Sample"
    assert type(call.model).__name__ == "RecurrentLanguageModel"
    assert capsys.readouterr() == (
        f"Wrote {output}.\nNote: A layer has no native operator.\nparity      passed\n",
        "",  # no steps where stderr is no terminal
    )


def test_export_without_decoding_is_the_forward_pass(exporter, saved_generator, saved_forward_model):
    main(["export", str(saved_generator), "model.onnx", "--decode", "none", "--name", "hello", "--opset", "17"])
    main(["export", str(saved_forward_model), "model.onnx"])
    assert [call.decode for call in exporter.calls] == [None, None]
    assert (exporter.calls[0].tokenizer, exporter.calls[0].name, exporter.calls[0].opset) == (None, "hello", 17)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--decode", "greedy"], "Greedy()"),
        (["--decode", "beam", "--width", "7"], "Beam(width=7)"),
        (["--decode", "sample", "--streaming", "on"], "Sample()"),
    ],
)
def test_the_strategy_is_chosen(exporter, saved_generator, arguments, expected):
    import tfseq

    main(["export", str(saved_generator), "model.onnx", *arguments, "--attention"])
    assert exporter.calls[0].decode == eval(expected, vars(tfseq.decoding))
    assert exporter.calls[0].attention
    assert exporter.calls[0].streaming == (True if "on" in arguments else None)


def test_samples_are_read_and_say_what_is_verified_on(exporter, saved_forward_model, tmp_path):
    one, two = np.ones((2, 4), "float32"), np.zeros((3, 4), "float32")
    np.save(tmp_path / "one.npy", one)
    np.savez(tmp_path / "two.npz", input=two)
    given = ["--samples", str(tmp_path / "one.npy"), "--samples", str(tmp_path / "two.npz")]
    main(["export", str(saved_forward_model), "model.onnx", *given, "--verify", "samples"])
    main(["verify", "model.onnx", "--against", str(saved_forward_model), *given, "--only-samples"])
    for call in exporter.calls:
        assert np.array_equal(call.samples[0], one)
        assert np.array_equal(call.samples[1]["input"], two)
    assert exporter.calls[0].verify == "samples"
    assert exporter.calls[1].random is False
    for how, means in (("on", True), ("off", False)):
        main(["export", str(saved_forward_model), "model.onnx", "--verify", how])
        assert exporter.calls[-1].verify is means
        assert exporter.calls[-1].samples == []


def test_samples_that_are_no_arrays_are_refused(exporter, saved_forward_model, tmp_path, capsys):
    (tmp_path / "x.npz").write_text("no arrays")
    command = ["export", str(saved_forward_model), "model.onnx", "--samples", str(tmp_path / "x.npz")]
    assert_fails(command, "is not a file of arrays", capsys)


def test_what_has_a_source_is_exported_with_a_beam(exporter, tmp_path):
    import numpy as np

    from tfseq.decoding import Beam
    from tfseq.models import Transformer

    model = Transformer(9, units=4, heads=2, hidden=4, depth=1)
    model({"source": np.ones((1, 3), "int32"), "target": np.ones((1, 3), "int32")})
    model.save(tmp_path / "model.keras")
    main(["export", str(tmp_path / "model.keras"), "model.onnx"])
    assert exporter.calls[0].decode == Beam(4)
    assert not exporter.calls[0].attention
    main(["export", str(tmp_path / "model.keras"), "model.onnx", "--prefix"])
    assert [call.prefix for call in exporter.calls] == [False, True]


def test_a_tokenizer_of_subwords_is_read(exporter, saved_generator):
    from tfseq.data import subword_tokenizer

    subword_tokenizer(["hello"], 270).save(saved_generator.with_name("tokenizer.json"))
    main(["export", str(saved_generator), "model.onnx"])
    assert exporter.calls[0].tokenizer.to_json()["kind"] == "tokenizers"


def test_the_tokenizer_can_be_elsewhere(exporter, saved_generator, tmp_path):
    CharacterTokenizer(["<unk>", "x"]).save(tmp_path / "letters.json")
    main(["export", str(saved_generator), "model.onnx", "--tokenizer", str(tmp_path / "letters.json")])
    assert exporter.calls[0].tokenizer.symbols == ["<unk>", "x"]


def test_verify_reports_and_fails_when_the_file_differs(exporter, saved_forward_model, capsys):
    main(["verify", "model.onnx", "--against", str(saved_forward_model)])
    assert capsys.readouterr().out == "parity      passed\n"
    exporter.parity["passed"] = False
    assert_fails(["verify", "model.onnx", "--against", str(saved_forward_model)], "differs from", capsys)


def test_an_export_that_is_refused_is_one_line(exporter, saved_forward_model, capsys):
    def refuse(*args, **kwargs):
        raise ExportError("The model\nhas NaN weights.")

    exporter.export = refuse
    assert_fails(["export", str(saved_forward_model), "model.onnx"], "The model has NaN weights.", capsys)


@pytest.mark.parametrize("content", [None, b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_file_that_keras_cannot_load_is_named(exporter, tmp_path, capsys, content):
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    assert_fails(["export", str(path), "model.onnx"], "model.keras", capsys)
    assert exporter.calls == []


def test_a_damaged_tokenizer_is_named(exporter, saved_generator, capsys):
    saved_generator.with_name("tokenizer.json").write_text(json.dumps({"kind": "characters", "symbols": ["a"]}))
    assert_fails(["export", str(saved_generator), "model.onnx"], "tokenizer", capsys)


def test_tensorflow_says_nothing_when_the_command_line_loads_it():
    program = (
        "from tfseq.terminal import import_tensorflow_quietly as load; load(); import tensorflow, os; os.write(2, b'!')"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "!")


def test_a_saved_model_is_exported_verified_and_generates_what_keras_generates(saved_generator, capsys):
    import keras
    import numpy as np

    tokenizer = CharacterTokenizer(["<unk>", *"ehlo"])
    tokenizer.save(saved_generator.with_name("tokenizer.json"))
    onnx_file = str(saved_generator.with_name("model.onnx"))
    main(["export", str(saved_generator), onnx_file])
    main(["verify", onnx_file, "--against", str(saved_generator)])
    capsys.readouterr()
    main(["generate", onnx_file, "he", "--max-length", "6", "--temperature", "0"])

    model = keras.saving.load_model(saved_generator)
    tokens = tokenizer.encode("he")
    for _ in range(6):
        most_likely = np.argmax(model(tokens[None])[0, -1])
        tokens = np.append(tokens, most_likely).astype(np.int32)
    assert capsys.readouterr().out == tokenizer.decode(tokens) + "\n"


def test_steps_are_shown_with_their_times_on_a_terminal(exporter, saved_forward_model, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")  # a narrow one shortens long paths
    main(["export", str(saved_forward_model), "model.onnx"])
    err = capsys.readouterr().err
    assert re.search(r"loading .*dense.keras: \d+\.\d s", err.replace("\n", ""))
    assert re.search(r"converting: \d+\.\d s", err)


def test_streaming_leaves_the_generation_loop_out(exporter, saved_generator):
    main(["export", str(saved_generator), "model.onnx", "--streaming", "on"])
    assert (exporter.calls[0].streaming, exporter.calls[0].decode) == (True, None)


LAYERS = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def doubled(x):
    return 2 * x
"""


@pytest.fixture
def saved_custom_model(tmp_path, monkeypatch):
    """A model of a class in layers_of_mine.py, in the current folder."""
    import keras

    (tmp_path / "layers_of_mine.py").write_text(LAYERS)
    names = {}
    exec(LAYERS, names)
    keras.Sequential([keras.Input((4,)), names["Doubled"]()]).save(tmp_path / "custom.keras")
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "custom.keras"
    sys.modules.pop("layers_of_mine", None)


def test_a_class_of_ones_own_is_named_by_its_module(exporter, saved_custom_model):
    main(["export", str(saved_custom_model), "model.onnx", "--custom", "layers_of_mine:Doubled"])
    assert exporter.calls[0].model(np.ones((1, 4))).numpy().tolist() == [[2, 2, 2, 2]]
    assert str(saved_custom_model.parent) not in sys.path


@pytest.mark.parametrize(
    ("custom", "message"),
    [
        ([], "needs the class Doubled, which is not Keras' own; name it with --custom MODULE:Doubled"),
        (["--custom", "Doubled"], "expected MODULE:CLASS"),
        (["--custom", "layers_of_mine:Tripled"], "has no Tripled"),
        (["--custom", "layers_of_mine:doubled"], "is a function; --custom expects a class"),
        (["--custom", "layers_of_yours:Doubled"], "No module named 'layers_of_yours'"),
    ],
)
def test_a_class_that_is_not_there_is_named(exporter, saved_custom_model, capsys, custom, message):
    assert_fails(["export", str(saved_custom_model), "model.onnx", *custom], message, capsys)


def test_code_in_a_file_runs_only_if_it_is_trusted(exporter, tmp_path, capsys):
    import keras

    path = tmp_path / "lambda.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: 3 * x)]).save(path)
    command = ["export", str(path), "model.onnx"]
    assert_fails(command, "it holds Python code (a Lambda layer)", capsys)
    main([*command, "--unsafe"])
    assert exporter.calls[0].model(np.ones((1, 4))).numpy().tolist() == [[3, 3, 3, 3]]


def test_predict_prints_its_outputs(shifter, tmp_path, capsys):
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3)), by=[2])
    main(["predict", str(shifter), "--input", str(tmp_path / "in.npz")])
    assert capsys.readouterr().out == "shifted float32 (1, 3)\n[[3. 3. 3.]]\ntotal float32 ()\n9.0\n"


def test_predict_writes_its_outputs(shifter, tmp_path, capsys):
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3)), by=[2])
    main(["predict", str(shifter), "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / "out.npz")])
    assert capsys.readouterr().out == f"Wrote {tmp_path / 'out.npz'}.\nshifted float32 (1, 3)\ntotal float32 ()\n"
    with np.load(tmp_path / "out.npz") as out:
        assert out["shifted"].tolist() == [[3, 3, 3]]
        assert out["total"] == 9


def test_predict_names_the_class_of_a_text(named_by_length, capsys, monkeypatch):
    main(["predict", str(named_by_length), "ab"])
    assert capsys.readouterr().out == "two (100.0%)\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO("ab\n\na"))
    main(["predict", str(named_by_length)])
    assert capsys.readouterr().out == "two (100.0%)\n\none (100.0%)\n"


def test_predict_names_the_classes_of_arrays(named_by_length, tmp_path, capsys):
    np.save(tmp_path / "in.npy", np.array([[1, 2]], np.int32))
    main(["predict", str(named_by_length), "--input", str(tmp_path / "in.npy")])
    assert capsys.readouterr().out == "probabilities float32 (1, 3)\ntwo (100.0%)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ab", "--input", "x.npy"], "Got a text and an --input"),
        (["ab", "--output", "y.npz"], "give them with --input"),
        (["--input", "missing.npy"], "Can't read missing.npy"),
    ],
)
def test_a_text_and_arrays_do_not_mix(named_by_length, capsys, arguments, message):
    assert_fails(["predict", str(named_by_length), *arguments], message, capsys)


def test_a_file_without_labels_names_no_classes(shifter, capsys):
    assert_fails(["predict", str(shifter), "ab"], "shifter does not name its classes", capsys)


@pytest.fixture
def named_by_length(tmp_path, write):
    """A file that calls texts of one to three characters by their length."""
    nodes = [
        helper.make_node("Shape", ["tokens"], ["length"], start=1),  # (1,)
        helper.make_node("Equal", ["lengths", "length"], ["is_length"]),
        helper.make_node("Cast", ["is_length"], ["row"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["row", "axis"], ["probabilities"]),
    ]
    constants = [
        helper.make_tensor("lengths", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [0]),
    ]
    manifest = Manifest(
        name="named_by_length",
        task="predict",
        inputs=(TensorSpec("tokens", "int32", (1, "time")),),
        outputs=(TensorSpec("probabilities", "float32", (1, 3)),),
        operators={},
        opset=18,
        tokenizer=CharacterTokenizer(["<unk>", "a", "b"]).to_json(),
        labels=("one", "two", "three"),
    )
    return write(tmp_path / "named.onnx", nodes, constants, manifest)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((1, 3))}, "Missing by"),
        ({"x": np.ones((1, 3)), "by": [0.5]}, "'by' is float64; expected by int32 (batch)"),
        ({"x": np.ones((1, 3, 1)), "by": [1]}, "'x' has 3 axes, (1, 3, 1); expected x float32 (batch, 3)"),
        ({"x": np.ones((2, 3)), "by": [1]}, "'batch' is 2 in 'x' and 1 in 'by'"),
        (np.ones((1, 3)), "holds one array; expected a .npz file with x float32 (batch, 3), by int32 (batch)"),
        (b"text", "not a file of arrays"),
        (None, "No such file"),
    ],
)
def test_arrays_that_do_not_fit_are_said(shifter, tmp_path, capsys, arrays, message):
    path = tmp_path / ("in.npz" if isinstance(arrays, dict | bytes) else "in.npy")
    if isinstance(arrays, dict):
        np.savez(path, **arrays)
    elif isinstance(arrays, bytes):
        path.write_bytes(arrays)
    elif arrays is not None:
        np.save(path, arrays)
    assert_fails(["predict", str(shifter), "--input", str(path)], message, capsys)


def test_predict_says_what_to_do_with_a_file_that_keeps_states(accumulator, summer, tmp_path, capsys):
    np.save(tmp_path / "in.npy", np.ones((1, 3), np.float32))
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3)), sum=[[4.0]])
    for arguments in (["--input", str(tmp_path / "in.npy")], ["ab"]):
        assert_fails(["predict", str(accumulator), *arguments], "export the model with --streaming off", capsys)
        assert_fails(["predict", str(summer), *arguments], f"run tfseq generate {summer}", capsys)
    main(["predict", str(accumulator), "--input", str(tmp_path / "in.npz")])
    assert "[[5. 6. 7.]]" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["out.txt", "out.npy", "missing/out.npz"])
def test_outputs_that_cannot_be_written_are_said(shifter, tmp_path, capsys, name):
    np.savez(tmp_path / "in.npz", x=np.ones((1, 3)), by=[2])
    command = ["predict", str(shifter), "--input", str(tmp_path / "in.npz"), "--output", str(tmp_path / name)]
    assert_fails(command, "out", capsys)
    assert sorted(os.listdir(tmp_path)) == ["in.npz", "shifter.onnx"]


@pytest.mark.parametrize("command", [["inspect"], ["predict", "--input", "x.npy"], ["quantize", "small.onnx"]])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "changed"])
def test_a_damaged_file_is_one_line(counter, capsys, monkeypatch, command, damage):
    whole = counter.read_bytes()
    damaged = {"cut": whole[:-300], "empty": b"", "text": b"hello", "changed": b"\xff\xff" + whole[2:]}[damage]
    counter.write_bytes(damaged)
    monkeypatch.chdir(counter.parent)
    assert_fails([command[0], str(counter), *command[1:]], "not an ONNX file, or it is damaged or truncated", capsys)
    assert os.listdir() == ["counter.onnx"]


FAILURES = [(errno.ENOSPC, "No space left on device"), (errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only")]


@pytest.mark.parametrize(("code", "message"), FAILURES)
def test_an_export_that_cannot_be_written_leaves_the_old_file(
    saved_forward_model, tmp_path, capsys, monkeypatch, code, message
):
    def fail(file, model):
        file.path.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    old = tmp_path / "old.onnx"
    old.write_bytes(b"old")
    monkeypatch.setattr("tfseq.exporting.writing.onnx_file.OnnxFile.write", fail)
    assert_fails(["export", str(saved_forward_model), str(old)], message, capsys)
    assert old.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["dense.keras", "old.onnx"]


def test_a_saved_model_that_cannot_be_written_leaves_the_old_one(saved_forward_model, tmp_path, capsys, monkeypatch):
    import tensorflow as tf

    def fail(module, folder, **settings):
        (Path(folder) / "variables").mkdir(parents=True)
        raise tf.errors.ResourceExhaustedError(None, None, "variables/part-0; No space left on device")

    old = tmp_path / "saved"
    old.mkdir()
    (old / "saved_model.pb").write_bytes(b"old")
    monkeypatch.setattr(tf.saved_model, "save", fail)
    assert_fails(["export", str(saved_forward_model), str(old)], f"Can't write {old}: No space left on", capsys)
    assert (old / "saved_model.pb").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["dense.keras", "saved"]


def test_a_folder_of_other_things_is_not_replaced(saved_forward_model, tmp_path, capsys):
    assert_fails(["export", str(saved_forward_model), str(tmp_path)], "folder with other things in it", capsys)
    assert saved_forward_model.is_file()


def test_a_saved_model_is_exported_inspected_and_verified(saved_forward_model, tmp_path, capsys):
    main(["export", str(saved_forward_model), str(tmp_path / "saved")])
    main(["verify", str(tmp_path / "saved"), "--against", str(saved_forward_model)])
    capsys.readouterr()
    main(["inspect", str(tmp_path / "saved")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name        saved"
    assert "parity      passed" in lines
    assert_fails(["inspect", str(tmp_path)], "not a SavedModel that tfseq exported", capsys)


def test_a_model_whose_training_diverged_is_refused(tmp_path, capsys):
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.layers[0].kernel.assign(np.full((4, 2), np.nan))
    model.save(tmp_path / "nan.keras")
    assert_fails(["export", str(tmp_path / "nan.keras"), str(tmp_path / "nan.onnx")], "holds NaN", capsys)
    assert os.listdir(tmp_path) == ["nan.keras"]


@pytest.fixture
def exported_dense(tmp_path, capsys):
    import keras

    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((40,), name="x"), keras.layers.Dense(40)]).save(tmp_path / "wide.keras")
    main(["export", str(tmp_path / "wide.keras"), str(tmp_path / "wide.onnx")])
    capsys.readouterr()
    return tmp_path / "wide.onnx"


def test_quantize_writes_a_quantized_file_and_prints_its_accuracy_drop(exported_dense, tmp_path, capsys):
    small = tmp_path / "small.onnx"
    main(["quantize", str(exported_dense), str(small)])
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"Wrote {small}.\nquantized   to int8, standard operators\n")
    assert re.search(r"size: +\d\.\d\d MB -> \d\.\d\d MB", out)
    assert re.search(r"speed: .* times as fast \(.* rounds\) at batch 1\n", out)
    assert re.search(r"change: .* lost .* \(at most 0\.1\)\n", out)
    verify = ["verify", str(small), "--against", str(tmp_path / "wide.keras")]
    assert_fails(verify, "it is quantized (int8), so it has to differ: verify the original", capsys)


def test_quantize_takes_blocks(exported_dense, tmp_path, capsys):
    main(["quantize", str(exported_dense), str(tmp_path / "small.onnx"), "--to", "int4", "--block-size", "16"])
    out = capsys.readouterr().out
    assert "quantized   to int4, standard operators\n" in out
    assert re.search(r"weights: +[\d,]+ multiplied as int4 in blocks of 16, ", out)
    command = ["quantize", str(exported_dense), str(tmp_path / "small.onnx"), "--block-size", "20"]
    assert_fails(command, "block_size is 20; expected 16, 32, 64, 128, 256, or None", capsys)


def test_quantize_judges_on_data(exported_dense, tmp_path, capsys):
    x = np.random.default_rng(0).normal(size=(50, 40)).astype("float32")
    np.savez(tmp_path / "data.npz", x=x, targets=np.arange(50) % 40)
    command = ["quantize", str(exported_dense), str(tmp_path / "small.onnx"), "--data", str(tmp_path / "data.npz")]
    main([*command, "--to", "float16"])
    assert "on 50 samples" in capsys.readouterr().out
    before = (tmp_path / "small.onnx").read_bytes()
    assert_fails([*command, "--metric", "change", "--tolerance", "1e-9"], "at most 1e-09 is allowed", capsys)
    assert (tmp_path / "small.onnx").read_bytes() == before


def assert_fails(command, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(command)
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert err.startswith("tfseq: ")
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(("terminal", "shown"), [(True, "a\\x1b[2Jb\tc"), (False, "a\x1b[2Jb\tc")])
def test_on_a_terminal_a_text_moves_no_cursor(counter, monkeypatch, capsys, terminal, shown):
    monkeypatch.setattr(Model, "generate", lambda *arguments, **named: "\x1b[2Jb\tc")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    main(["generate", str(counter), "a"])
    assert capsys.readouterr().out == shown + "\n"


def test_inspect_checks_the_graph(shifter, capsys):
    assert_fails(["inspect", str(shifter), "--check"], "says no hash of its graph", capsys)
