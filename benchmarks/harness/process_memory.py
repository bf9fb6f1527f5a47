"""The peak memory of this process."""

from pathlib import Path


def peak_megabytes() -> float:
    """Of this process alone; `getrusage` would count its parent's memory, in which it began."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
