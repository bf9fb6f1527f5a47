"""Devices and session options: what reaches ONNX Runtime, what is not installed, what can't start."""

import onnxruntime
import pytest

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import load
from tfseq.runtime.devices import DEVICES

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@pytest.fixture
def available(monkeypatch):
    """Has ONNX Runtime say that it was built with some providers."""
    return lambda *names: monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))


@pytest.fixture
def given(monkeypatch):
    """What ONNX Runtime was given for each session; all are made on the CPU, and claim the device."""
    sessions = []

    class Recorded(onnxruntime.InferenceSession):
        def __init__(self, path, options, providers, **named):
            threads, level = options.intra_op_num_threads, options.log_severity_level
            sessions.append({"providers": providers, "threads": threads, "log": level})
            super().__init__(path, options, providers=providers and [CPU], **named)

        def get_providers(self):
            names = [name if isinstance(name, str) else name[0] for name in sessions[-1]["providers"] or ()]
            return list(dict.fromkeys([*names, CPU]))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    return sessions


def test_a_file_runs_on_the_cpu_unless_told(counter):
    assert load(counter).providers == load(counter, device="cpu").providers == (CPU,)


@pytest.mark.parametrize(("device", "provider"), DEVICES.items())
def test_a_device_is_its_provider_before_the_cpu(counter, available, given, device, provider):
    available(provider, CPU)
    model = load(counter, device=device)
    assert given[-1]["providers"] == ([CPU] if device == "cpu" else [provider, CPU])
    assert model.providers == ((CPU,) if device == "cpu" else (provider, CPU))
    assert model.generate("ab", max_length=3) == "cde"


def test_providers_reach_onnx_runtime_as_they_are(counter, available, given):
    available(CUDA, CPU)
    providers = [(CUDA, {"device_id": 1, "cudnn_conv_algo_search": "HEURISTIC"}), CPU]
    assert load(counter, device=providers).providers == (CUDA, CPU)
    assert given[-1]["providers"] == providers


def test_options_of_a_provider_are_taken(counter):
    model = load(counter, device=[(CPU, {"arena_extend_strategy": "kSameAsRequested"})])
    assert model.generate("ab", max_length=3) == "cde"


@pytest.mark.parametrize("device", ["tpu", "CUDA", "", CUDA])
def test_an_unknown_device_is_refused_with_the_known_ones(counter, device):
    with pytest.raises(InputError, match=f'device is \'{device}\'; expected "cpu", "cuda", .*"openvino"'):
        load(counter, device=device)


@pytest.mark.parametrize("device", [None, 7, [], {CUDA: {}}, [7], [(CPU,)], [(CPU, "fast")], [[CPU, {}]], [(7, {})]])
def test_what_is_neither_a_device_nor_providers_is_refused(counter, device):
    with pytest.raises(InputError, match=r"device (is|has) .*; expected .*execution providers"):
        load(counter, device=device)


@pytest.mark.parametrize(
    ("device", "package"),
    [
        ("cuda", r'"onnxruntime-gpu\[cuda,cudnn\]";'),
        ("coreml", '"onnxruntime", on macOS;'),
        ("directml", '"onnxruntime-directml", on Windows;'),
        ("openvino", '"onnxruntime-openvino";'),
        ([("TensorrtExecutionProvider", {}), CPU], r'"onnxruntime-gpu\[cuda,cudnn\]";'),
        (["DnnlExecutionProvider"], None),
    ],
)
def test_a_device_that_is_not_installed_names_its_package(counter, available, device, package):
    available("AzureExecutionProvider", CPU)
    install = f"pip install {package}" if package else "comes with a build of ONNX Runtime of its own"
    with pytest.raises(InputError, match=rf"needs \w+, and .*has AzureExecutionProvider, {CPU}\. .*{install}"):
        load(counter, device=device)


def test_a_provider_that_does_not_exist_is_named(counter):
    with pytest.raises(InputError, match=f"'CudaExecutionProvider' is no execution provider; .*{CPU}"):
        load(counter, device=["CudaExecutionProvider", CPU])


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime may have a GPU")
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in available")
def test_a_device_that_cannot_start_is_an_error_and_not_the_cpu(counter, available, capfd):
    available(CUDA, CPU)  # as a build for GPUs says where there is none; ONNX Runtime itself then takes the CPU
    with pytest.raises(InputError, match=f'{CUDA} can\'t start here, .* would use {CPU} .*Or take device="cpu"'):
        load(counter, device="cuda")
    assert capfd.readouterr() == ("", "")


def test_a_graph_that_the_device_refuses_says_why(counter, available, monkeypatch):
    def refuse(*arguments, **named):
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : backend.cc:136 Backend::Backend()\nIt has no Loop.\n\n")

    available("OpenVINOExecutionProvider", CPU)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(InputError, match=r"with OpenVINOExecutionProvider: It has no Loop\. Take device=\"cpu\""):
        load(counter, device="openvino")


def test_session_options_reach_onnx_runtime(counter, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    assert load(counter, session_options=options).generate("ab", max_length=3) == "cde"
    assert (tmp_path / "optimized.onnx").stat().st_size > 0


def test_what_session_options_set_is_kept_and_the_rest_is_ours(counter, shifter, given):
    options = onnxruntime.SessionOptions()
    load(counter, session_options=options)
    load(shifter, session_options=options, threads=3)
    options.intra_op_num_threads, options.log_severity_level = 5, 3
    load(counter, session_options=options)
    assert [(each["threads"], each["log"]) for each in given] == [(1, 4), (3, 4), (5, 3)]


def test_session_options_are_left_as_they_were(counter, tmp_path):
    options = onnxruntime.SessionOptions()
    load(counter, session_options=options)
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ArtefactError, match="not an ONNX file"):
        load(tmp_path / "empty.onnx", session_options=options)
    assert (options.intra_op_num_threads, options.log_severity_level) == (0, -1)


def test_two_numbers_of_threads_are_refused(counter):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    assert load(counter, threads=2, session_options=options).generate("a", max_length=1) == "b"
    with pytest.raises(InputError, match=r"threads is 3, and session_options.intra_op_num_threads 2"):
        load(counter, threads=3, session_options=options)


@pytest.mark.skipif(not hasattr(onnxruntime.SessionOptions, "add_provider"), reason="ONNX Runtime has it since 1.23")
def test_devices_that_session_options_name_are_left_to_them(counter, given):
    options = onnxruntime.SessionOptions()
    options.add_provider(CPU, {})
    assert load(counter, session_options=options).generate("ab", max_length=3) == "cde"
    assert given[-1]["providers"] is None
    with pytest.raises(InputError, match="device is 'cuda', and session_options name devices, too"):
        load(counter, device="cuda", session_options=options)


@pytest.mark.parametrize("options", [{"intra_op_num_threads": 1}, 4, onnxruntime.RunOptions()])
def test_what_is_no_session_options_is_refused(counter, options):
    with pytest.raises(InputError, match=r"session_options is .*; expected an onnxruntime\.SessionOptions"):
        load(counter, session_options=options)
