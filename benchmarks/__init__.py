"""Every speed and quality figure that README and docs state, as a command: `python -m benchmarks.NAME`."""
