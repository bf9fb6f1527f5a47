"""What this process may use of the machine it runs on: cores, as its container's quota counts them, and bfloat16."""

import math
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
CPU_INFO = Path("/proc/cpuinfo")

# oneDNN's names of instruction sets that multiply bfloat16 (ONEDNN_MAX_CPU_ISA), and the processors' flags for them.
_BFLOAT16_ISAS = re.compile(r"(ALL|DEFAULT|AVX512_CORE_(BF16|FP16|AMX)|AVX10_\d_512).*")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@cache
def available_cores() -> int:
    """Cores that this process may keep busy: those it may run on, and no more than the CPU quota of its container.

    `os.cpu_count` is the host's: a container of two cores on a host of 64 would start 64 threads, which wait for each
    other. A quota of 2.5 cores counts as 3.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that control groups allow this process; None if they set no limit.

    Args:
        cgroups: where they are mounted: version 2 (cpu.max) or 1 (cpu.cfs_quota_us).
        own: names the groups of this process; a limit of any group above counts, too.
    """
    limits = []
    for folder in _groups(cgroups, own):
        try:
            if (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            if quota != "max" and int(quota) > 0 and int(period) > 0:
                limits.append(int(quota) / int(period))
        except (OSError, ValueError):
            continue  # no such group here, or no limit of a known form
    return min(limits, default=None)


def _groups(cgroups: Path, own: Path) -> list[Path]:
    """Folders of this process' control groups, and of those above them."""
    folders = [cgroups, cgroups / "cpu", cgroups / "cpu,cpuacct"]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "", "/")
        root = cgroups / controllers if controllers else cgroups
        folder = root / path.lstrip("/")
        while folder != root and root in folder.parents:
            folders.append(folder)
            folder = folder.parent
    return folders


def cpu_flags(cpu_info: Path = CPU_INFO) -> frozenset[str]:
    """Names of the processor's instruction sets, as Linux has them; none where the system does not say."""
    try:
        lines = cpu_info.read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())


def multiplies_bfloat16(flags: frozenset[str] | None = None, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether products of bfloat16 are quicker than those of float32 on this processor.

    They are, two to four times, where it has instructions for them (AVX512_BF16, AMX) and TensorFlow may use these.
    Elsewhere each product converts its inputs first: a whole training step is slower, up to four times with
    convolutions. A timed product does not show it: without such instructions a single product of bfloat16 can be
    as quick as one of float32, and it is the conversions around it that cost.

    Args:
        flags: of the processor; this one's if None.
        environment: ONEDNN_MAX_CPU_ISA and --xla_cpu_max_isa in XLA_FLAGS limit what is used; TF_ENABLE_ONEDNN_OPTS=0
            leaves TensorFlow without oneDNN, whose kernels these are.
    """
    if not BFLOAT16_FLAGS & (cpu_flags() if flags is None else flags):
        return False
    limit = environment.get("ONEDNN_MAX_CPU_ISA") or environment.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    of_xla = re.search(r"--xla_cpu_max_isa=(\w+)", environment.get("XLA_FLAGS", ""))
    return (
        environment.get("TF_ENABLE_ONEDNN_OPTS") != "0"
        and _BFLOAT16_ISAS.fullmatch(limit.upper()) is not None
        and (of_xla is None or of_xla[1].upper() in ("AVX512_BF16", "AMX", "AMX_FP16"))
    )
