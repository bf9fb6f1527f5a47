"""A pipeline started as a person starts it, in this process: one of its own would import TensorFlow again."""

import runpy
import sys
from unittest import mock


def run_pipeline(name, *arguments):
    """`python -m pipelines.NAME ARGUMENTS`. What ends a process raises SystemExit."""
    with mock.patch.object(sys, "argv", [name, *arguments]):
        runpy.run_module(f"pipelines.{name}", run_name="__main__", alter_sys=True)
