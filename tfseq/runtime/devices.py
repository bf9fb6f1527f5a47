"""Devices by name, as the execution providers of ONNX Runtime that compute on them, and what to install for each."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tfseq.errors import InputError
from tfseq.runtime.printable import shown

Provider = str | tuple[str, Mapping[str, Any]]  # as ONNX Runtime takes them: a name, or a name and its options
CPU = "CPUExecutionProvider"
DEVICES = {
    "cpu": CPU,
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
# Each is a whole ONNX Runtime; what stands in brackets brings NVIDIA's libraries.
_PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "TensorrtExecutionProvider": "onnxruntime-gpu[cuda,cudnn]",
    "CoreMLExecutionProvider": "onnxruntime",
    "DmlExecutionProvider": "onnxruntime-directml",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "CANNExecutionProvider": "onnxruntime-cann",
    "WebGpuExecutionProvider": "onnxruntime-webgpu",
}
_SYSTEMS = {"CoreMLExecutionProvider": "on macOS", "DmlExecutionProvider": "on Windows"}
_NVIDIA = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}


def providers_of(device: str | Sequence[Provider], onnxruntime: Any) -> list[Provider]:
    """Execution providers in the order of preference; what the first can't compute, the next does.

    Args:
        device: a name out of `DEVICES`, or providers as ONNX Runtime takes them.
        onnxruntime: the module.

    Raises:
        InputError: there is no such device, or this ONNX Runtime was built without it.
    """
    if isinstance(device, str):
        if device not in DEVICES:
            raise InputError(f"device is {shown(device)}; expected {_KNOWN}.")
        providers: list[Provider] = list(dict.fromkeys([DEVICES[device], CPU]))
    else:
        providers = _checked(device)
    available, existing = onnxruntime.get_available_providers(), onnxruntime.get_all_providers()
    for name in names_of(providers):
        if name in available:
            continue
        has = f"this ONNX Runtime ({onnxruntime.__version__}) has {', '.join(available)}."
        if name not in existing:
            raise InputError(f"{name!r} is no execution provider; {has}")
        raise InputError(f"device={device!r} needs {name}, and {has} {_what_to_install(name)}")
    if _NVIDIA & set(names_of(providers)) and hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # what it does not find, it prints; ONNX Runtime then logs it
            onnxruntime.preload_dlls()
    return providers


def names_of(providers: Sequence[Provider]) -> list[str]:
    """The providers without their options."""
    return [provider if isinstance(provider, str) else provider[0] for provider in providers]


def check_in_use(providers: Sequence[Provider], in_use: Sequence[str]) -> None:
    """A provider that can't start is left out by ONNX Runtime, and the CPU computes: an error here.

    Raises:
        InputError: one of `providers` is not `in_use`.
    """
    for name in names_of(providers):
        if name not in in_use:
            raise InputError(
                f"{name} can't start here, and ONNX Runtime would use {', '.join(in_use)} instead: there is no such "
                f"device, a library that it needs is missing (ONNX Runtime's log on stderr names it), or an option is "
                f'wrong. {_what_to_install(name)} Or take device="cpu".'
            )


def _checked(device: Any) -> list[Provider]:
    if not isinstance(device, Sequence) or not device:
        raise InputError(f"device is {shown(device)}; expected {_KNOWN}.")
    for provider in device:
        match provider:
            case str() | (str(), Mapping()) if not isinstance(provider, list):
                continue
        raise InputError(
            f"device has {shown(provider)}; expected names of execution providers, or tuples (name, options)."
        )
    return list(device)


def _what_to_install(name: str) -> str:
    package = _PACKAGES.get(name)
    if package is None:
        return f"{name} comes with a build of ONNX Runtime of its own."
    where = f", {_SYSTEMS[name]}" if name in _SYSTEMS else ""
    return f'{name} comes with: pip install "{package}"{where}; uninstall other packages of ONNX Runtime first.'


_KNOWN = ", ".join(f'"{name}"' for name in DEVICES) + ", or a list of ONNX Runtime's execution providers"
