"""What a benchmark ran on, in one line: date, cores, processor and the instruction sets that decide its speed."""

import os
import platform
import re
from collections.abc import Collection, Mapping
from datetime import date

from tfseq.machine import CPU_INFO, cpu_flags

# Variables that make a library leave out instruction sets, so that a processor stands in for one that lacks them.
LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "CT2_FORCE_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
)


def machine() -> str:
    """Such as "2026-11-20, 2 cores, AMD EPYC (AVX-512 with bfloat16), Python 3.11.7"."""
    kind = ", ".join(part for part in (instruction_sets(cpu_flags()), limits(os.environ)) if part)
    processor = f"{_processor()} ({kind})" if kind else _processor()
    return f"{date.today()}, {os.cpu_count()} cores, {processor}, Python {platform.python_version()}"


def instruction_sets(flags: Collection[str]) -> str:
    """The widest vectors, and what multiplies small types in them: float32, bfloat16 and int8 run at these speeds.

    Args:
        flags: of the processor, as Linux names them; none where it does not say.
    """
    if "avx512f" in flags:
        small = "bfloat16" if "avx512_bf16" in flags else "VNNI" if "avx512_vnni" in flags else ""
        vectors = f"AVX-512 with {small}" if small else "AVX-512"
        return f"{vectors} and AMX" if "amx_tile" in flags else vectors
    if "avx2" in flags:
        return "AVX2 with VNNI" if "avx_vnni" in flags else "AVX2 only"
    if "asimd" in flags:
        vectors = "SVE" if "sve" in flags else "Neon"
        return f"{vectors} with bfloat16" if "bf16" in flags else vectors
    return "no AVX2" if "sse2" in flags else ""


def limits(environment: Mapping[str, str]) -> str:
    """Names a lesser processor that the environment has libraries imitate; empty if it does not."""
    found = [f"{name}={environment[name]}" for name in LIMITS if environment.get(name)]
    found += re.findall(r"--xla_cpu_max_isa=\S+", environment.get("XLA_FLAGS", ""))
    return f"limited by {' '.join(found)}" if found else ""


def _processor() -> str:
    try:
        with CPU_INFO.open() as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
