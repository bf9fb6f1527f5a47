"""How every pipeline is started: `python -m pipelines.NAME quick`, or `full`, and any setting by name."""

import sys
from collections.abc import Callable
from typing import Any

import tyro

from tfseq.terminal import one_line_errors


def run_with_presets(main: Callable[[Any], None], **presets: Any) -> None:
    """Reads a preset's name and settings that differ from it off the command line, and runs `main` on them.

    Args:
        main: takes the settings.
        presets: settings by the name a person types, dataclass instances of one class.
    """
    module = sys.modules[main.__module__]
    program = f"python -m {module.__spec__.name if module.__spec__ else main.__module__}"
    with one_line_errors(program.rpartition(".")[2]):
        settings = tyro.extras.overridable_config_cli(
            {name: (f"The preset {name}.", preset) for name, preset in presets.items()},
            prog=program,
            description=module.__doc__,
        )
        main(settings)
