"""The runtime in an environment without TensorFlow, Keras and the tools that export."""

import subprocess
import sys

BLOCK_TRAINING = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"tensorflow", "keras", "tf2onnx", "onnx", "tensorflow_datasets", "matplotlib", "jax"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def test_text_is_generated_from_python(counter):
    program = f"from tfseq import runtime; print(runtime.load({str(counter)!r}).generate('ab', max_length=3))"
    assert run(program).stdout == "cde\n"


def test_text_is_generated_from_the_command_line(counter):
    program = f"from tfseq.cli import main; main(['generate', {str(counter)!r}, 'ab', '--max-length', '3'])"
    assert run(program).stdout == "abcde\n"


def test_a_file_is_inspected_from_the_command_line(shifter):
    assert "shifter" in run(f"from tfseq.cli import main; main(['inspect', {str(shifter)!r}])").stdout


def test_export_and_verify_say_what_to_install(counter):
    for command in (["export", "model.keras", "model.onnx"], ["verify", str(counter), "--against", "model.keras"]):
        result = run(f"from tfseq.cli import main; main({command!r})", returncode=2)
        assert result.stdout == ""
        assert result.stderr.startswith("tfseq: ")
        assert 'pip install "tfseq[train]"' in result.stderr
        assert result.stderr.count("\n") == 1


def run(program, returncode=0):
    command = [sys.executable, "-c", BLOCK_TRAINING + program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == returncode, result.stderr
    return result


def test_the_library_of_tokenizers_is_loaded_by_files_that_need_it(counter, copier_of):
    from tfseq.data import subword_tokenizer

    tokenizer = subword_tokenizer(["a b"], 260)
    program = "from tfseq import runtime; runtime.load({!r}); print('tokenizers' in sys.modules)"
    assert run(program.format(str(counter))).stdout == "False\n"
    assert run(program.format(str(copier_of(tokenizer.to_json())))).stdout == "True\n"


def test_text_streams_from_the_command_line(summer):
    program = f"from tfseq.cli import main; main(['generate', {str(summer)!r}, 'ad', '--stream', '--max-length', '3'])"
    assert run(program).stdout == "adfch\n"
