import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tfseq.cli import main
from tfseq.errors import ExportError
from tfseq.runtime import CharacterTokenizer


def test_generate_prints_the_prompt_and_its_continuation(counter, capsys):
    main(["generate", str(counter), "ab", "--length", "4"])
    assert capsys.readouterr() == ("abcdef\n", "")


def test_generate_passes_its_settings_on(counter, capsys):
    main(["generate", str(counter), "a", "--length", "1", "--temperature", "0.1", "--top-k", "2", "--seed", "3"])
    assert capsys.readouterr().out == "ah\n"  # b, moved on by 1 + 2 + 3


def test_inspect_prints_a_table(shifter, capsys):
    main(["inspect", str(shifter)])
    lines = capsys.readouterr().out.splitlines()
    assert "inputs      x   float32  (batch, 3)" in lines
    assert f"size        {shifter.stat().st_size / 1e6:.2f} MB" in lines


def test_unknown_characters_are_one_line_on_stderr(counter, capsys):
    main(["generate", str(counter), "a?", "--length", "1"])
    out, err = capsys.readouterr()
    assert out == "a?a\n"
    assert err == "tfseq: warning: The model never saw '?' and reads each as its unknown symbol.\n"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["generate", "COUNTER", ""], "empty"),
        (["generate", "COUNTER", "a", "--length", "-1"], "length is -1"),
        (["generate", "COUNTER", "a", "--seed", "4294967296"], "seed is 4294967296"),
        (["generate", "SHIFTER", "a"], "does not generate"),
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
        ["generate", "m.onnx", "a", "--length", "many"],
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


class RecordingExporter:
    """Stands in for tfseq.exporting; keeps what the command line called it with."""

    def __init__(self, passed=True):
        self.calls = []
        self.parity = {"passed": passed, "checks": []}

    def export(self, model, path, **settings):
        self.calls.append(SimpleNamespace(model=model, path=path, **settings))
        settings["progress"]("converting")
        return SimpleNamespace(parity=self.parity, notes=("A layer has no native operator.",))

    def verify(self, path, model):
        self.calls.append(SimpleNamespace(model=model, path=path))
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
    assert (call.path, call.name, call.opset) == (output, None, 18)
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
        "from tfseq.cli import import_tensorflow_quietly as load; load(); import tensorflow, os; os.write(2, b'!')"
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
    main(["generate", onnx_file, "he", "--length", "6", "--temperature", "0"])

    model = keras.saving.load_model(saved_generator)
    tokens = tokenizer.encode("he")
    for _ in range(6):
        likeliest = np.argmax(model(tokens[None])[0, -1])
        tokens = np.append(tokens, likeliest).astype(np.int32)
    assert capsys.readouterr().out == tokenizer.decode(tokens) + "\n"


def assert_fails(command, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(command)
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert err.startswith("tfseq: ")
    assert err.count("\n") == 1
    assert message in err
