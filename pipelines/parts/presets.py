"""How every pipeline is started: `python -m pipelines.NAME quick`, or `full`, and any setting by name."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import tyro

from pipelines.parts.runs import going_on, machine_limits
from tfseq.terminal import one_line_errors
from tfseq.training.precision import explained_precision


def run_with_presets(main: Callable[[Any], None], **presets: Any) -> None:
    """Reads a preset's name and settings that differ from it off the command line, and runs `main` on them.

    Args:
        main: takes the settings.
        presets: settings by the name a person types, dataclass instances of one class.
    """
    module = sys.modules[main.__module__]
    name = module.__spec__.name if module.__spec__ else main.__module__
    resumable = hasattr(next(iter(presets.values())), "resume")
    with (
        going_on(f"python -m {name}", sys.argv[1:]) if resumable else nullcontext(),
        one_line_errors(name.rpartition(".")[2]),
    ):
        settings = tyro.extras.overridable_config_cli(
            {name: (f"The preset {name}.", preset) for name, preset in presets.items()},
            prog=_Program(f"python -m {name}"),
            description=module.__doc__,
        )
        with machine_limits():
            main(settings)


class _Program(str):
    """A program's name of several words. tyro takes what stands before the first space for the name, in its hints."""

    def partition(self, separator: str) -> tuple[str, str, str]:
        return str(self), "", ""


def with_precision(settings: Any, run: Path) -> Any:
    """Settings whose precision is decided, if it is auto; prints which and why, a run's first line.

    Args:
        settings: with `precision`; with `resume`, what the run in `run` began with is kept.
        run: the folder of its checkpoint.
    """
    resumed = run / "checkpoint.npz" if getattr(settings, "resume", False) else None
    precision, why = explained_precision(settings.precision, resumed)
    print(f"Training in {precision}: {why}.", flush=True)
    return replace(settings, precision=precision)
