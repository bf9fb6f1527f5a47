"""What a process may use of its machine: quotas as the kernel writes them, bfloat16 by instruction set."""

import os
import random

import pytest

from tfseq import machine

ZEN_3 = frozenset(["sse4_2", "avx", "f16c", "fma", "avx2", "bmi2", "vaes"])
SKYLAKE = ZEN_3 | {"avx512f", "avx512bw", "avx512vl", "avx512_vnni"}
ZEN_5 = SKYLAKE | {"avx512_bf16"}
SAPPHIRE_RAPIDS = ZEN_5 | {"amx_tile", "amx_bf16", "amx_int8"}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", None), ("200000 100000", 2.0), ("50000 100000", 0.5), ("250000 100000", 2.5)]
)
def test_a_quota_of_version_2_is_time_per_period(tmp_path, limit, cores):
    write(tmp_path / "cgroup" / "cpu.max", limit + "\n")
    write(tmp_path / "own", "0::/\n")
    assert machine.cpu_quota(tmp_path / "cgroup", tmp_path / "own") == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("400000", 4.0), ("0", None)])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_is_in_two_files(tmp_path, quota, cores, controllers):
    folder = tmp_path / "cgroup" / controllers / "docker" / "abc"
    write(folder / "cpu.cfs_quota_us", quota + "\n")
    write(folder / "cpu.cfs_period_us", "100000\n")
    write(tmp_path / "own", f"5:memory:/docker/abc\n1:{controllers}:/docker/abc\n")
    assert machine.cpu_quota(tmp_path / "cgroup", tmp_path / "own") == cores


@pytest.mark.parametrize("seed", range(20))
def test_a_process_is_bound_by_every_group_above_it(tmp_path, seed):
    draw = random.Random(seed)
    path, limits = tmp_path / "cgroup", []
    for depth in range(draw.randint(1, 5)):
        path = path / f"slice{depth}"
        quota = draw.choice(["max", draw.randint(1, 64) * 10_000])
        limits += [] if quota == "max" else [quota / 100_000]
        write(path / "cpu.max", f"{quota} 100000\n")
    write(tmp_path / "own", f"0::/{path.relative_to(tmp_path / 'cgroup')}\n")
    assert machine.cpu_quota(tmp_path / "cgroup", tmp_path / "own") == min(limits, default=None)


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert machine.cpu_quota(tmp_path / "none", tmp_path / "neither") is None


def test_damaged_control_groups_set_no_limit(tmp_path):
    write(tmp_path / "cgroup" / "cpu.max", "many of them\n")
    write(tmp_path / "own", "no colons here\n0::/a/../b\n")
    assert machine.cpu_quota(tmp_path / "cgroup", tmp_path / "own") is None


@pytest.mark.parametrize(
    ("allowed", "quota", "cores"), [(16, None, 16), (16, 2.5, 3), (16, 0.2, 1), (2, 8.0, 2), (4, 4.0, 4), (64, 2.0, 2)]
)
def test_cores_are_those_allowed_within_the_quota(monkeypatch, allowed, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    machine.available_cores.cache_clear()
    try:
        assert machine.available_cores() == cores
    finally:
        machine.available_cores.cache_clear()


@pytest.mark.parametrize(("flags", "quick"), [(ZEN_3, False), (SKYLAKE, False), (ZEN_5, True), (SAPPHIRE_RAPIDS, True)])
def test_bfloat16_is_quick_where_the_processor_has_instructions_for_it(flags, quick):
    assert machine.multiplies_bfloat16(flags, {}) is quick


@pytest.mark.parametrize(
    ("environment", "quick"),
    [
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "avx2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}, False),
        ({"DNNL_MAX_CPU_ISA": "AVX2_VNNI_2"}, False),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "AVX10_1_512_AMX"}, True),
        ({"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, True),
        ({"ONEDNN_MAX_CPU_ISA": ""}, True),
        ({"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}, False),
        ({"XLA_FLAGS": "--xla_dump_to=here --xla_cpu_max_isa=AVX512_BF16"}, True),
        ({"XLA_FLAGS": "--xla_dump_to=here"}, True),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, False),
        ({"TF_ENABLE_ONEDNN_OPTS": "1"}, True),
    ],
)
def test_what_limits_the_libraries_limits_the_answer(environment, quick):
    assert machine.multiplies_bfloat16(SAPPHIRE_RAPIDS, environment) is quick
    assert machine.multiplies_bfloat16(ZEN_3, environment) is False


def test_flags_are_read_as_linux_writes_them(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 avx512_bf16\nbugs\t\t: spectre\n")
    assert machine.cpu_flags(info) == {"fpu", "avx2", "avx512_bf16"}
    info.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert machine.cpu_flags(info) == {"fp", "asimd", "bf16"}
    assert machine.cpu_flags(tmp_path / "none") == frozenset()
