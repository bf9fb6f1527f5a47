"""The line that says what a benchmark ran on: instruction sets from the processor's flags, and limits on them."""

import pytest

from benchmarks.harness import machine

AVX2 = "sse2 avx avx2 fma"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("sse2 sse4_2 avx", "no AVX2"),
        (AVX2, "AVX2 only"),  # Haswell, Zen 3
        (f"{AVX2} avx_vnni", "AVX2 with VNNI"),  # Alder Lake
        (f"{AVX2} avx512f avx512bw", "AVX-512"),  # Skylake
        (f"{AVX2} avx512f avx512_vnni", "AVX-512 with VNNI"),  # Ice Lake
        (f"{AVX2} avx512f avx512_vnni avx512_bf16", "AVX-512 with bfloat16"),  # Zen 4
        (f"{AVX2} avx512f avx512_vnni avx512_bf16 amx_tile amx_bf16 amx_int8", "AVX-512 with bfloat16 and AMX"),
        ("fp asimd", "Neon"),
        ("fp asimd sve bf16 i8mm", "SVE with bfloat16"),
        ("", ""),
    ],
)
def test_instruction_sets_are_told_by_flags(flags, words):
    assert machine.instruction_sets(flags.split()) == words


def test_limits_name_the_variables_that_make_a_processor_imitate_another():
    assert machine.limits({"PATH": "/bin", "XLA_FLAGS": "--xla_dump_to=/tmp"}) == ""
    environment = {"ONEDNN_MAX_CPU_ISA": "AVX2", "XLA_FLAGS": "--xla_foo=1 --xla_cpu_max_isa=AVX2 --xla_bar=2"}
    assert machine.limits(environment) == "limited by ONEDNN_MAX_CPU_ISA=AVX2 --xla_cpu_max_isa=AVX2"


def test_the_line_names_the_kind_of_machine(monkeypatch):
    monkeypatch.setattr(machine, "cpu_flags", lambda: {"avx2", "avx512f", "avx512_bf16"})
    monkeypatch.setattr(machine, "_processor", lambda: "AMD EPYC")
    for name in (*machine.LIMITS, "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    assert ", AMD EPYC (AVX-512 with bfloat16), Python 3." in machine.machine()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert "(AVX-512 with bfloat16, limited by ONEDNN_MAX_CPU_ISA=AVX2)" in machine.machine()


def test_without_flags_the_line_has_no_brackets(monkeypatch):
    monkeypatch.setattr(machine, "cpu_flags", frozenset)
    monkeypatch.setattr(machine, "_processor", lambda: "arm64")
    for name in (*machine.LIMITS, "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    assert ", arm64, Python 3." in machine.machine()
