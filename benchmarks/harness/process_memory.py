"""The memory of this process: now, and at most."""

import contextlib
from pathlib import Path


def peak_megabytes() -> float:
    """Of this process alone; `getrusage` would count its parent's memory, in which it began."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024


def forget_peak() -> float:
    """Begins a new peak, where Linux allows it; returns the megabytes that the process has now."""
    with contextlib.suppress(OSError):  # else the peak is that since the process began
        Path("/proc/self/clear_refs").write_text("5")
    return held_megabytes()


def held_megabytes() -> float:
    """What the process has now."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024
