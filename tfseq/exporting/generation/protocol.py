"""`require_protocol`: a Generator is tried in Keras before anything is traced, so that a mistake is told as one."""

from typing import Any

import keras

from tfseq.errors import ExportError
from tfseq.exporting.signatures.generator_inputs import source_specs
from tfseq.exporting.signatures.sample_inputs import as_list, by_name
from tfseq.models.checking.check import check_generator, defines_call
from tfseq.models.checking.findings import Finding
from tfseq.models.generator import Generator

PAGE = "docs/your_own_model.md shows a model of each kind, line by line."
# What a model computes, and not whether it can be exported: for whoever leaves the verification out, a note.
_COMPUTED = ("logits", "random", "padding", "neighbours", "beams", "call and step", "read and step")


def require_protocol(model: Generator, samples: Any = (), verify: Any = True) -> tuple[str, ...]:
    """Has `check_generator` look at a model, which builds one without weights.

    Models of tfseq's own, whose tests hold them to the protocol, are only built: all their layers are of Keras and
    tfseq.

    Args:
        samples: sample inputs, whose sources are read where the model can't take random ones.
        verify: False makes notes of what the model computes otherwise than the protocol says.

    Returns:
        notes for the manifest.

    Raises:
        ExportError: the model does not keep to the protocol; the findings, a line each.
    """
    if model.built and _is_known(model):
        return model.notes
    findings = check_generator(model, _sources(model, samples), configuration=False)
    allowed = {"growing state"} | (set() if defines_call(model) else {"call"})  # a stream's own comparison sees to it
    findings = [finding for finding in findings if finding.rule not in allowed]
    noted = [] if verify else [finding for finding in findings if finding.rule in _COMPUTED]
    refused = [finding for finding in findings if finding not in noted]
    if refused:
        raise ExportError(_refusal(model, refused))
    return (*model.notes, *map(str, noted))


def builds(model: Generator) -> bool:
    """Whether a model without weights has some once `check_generator` has called it."""
    check_generator(model, configuration=False)
    return model.built


def _refusal(model: Generator, findings: list[Finding]) -> str:
    """The findings in one message."""
    if len(findings) == 1:
        return f"{findings[0]} {PAGE}"
    lines = "".join(f"\n- {finding}" for finding in findings)
    return f"{type(model).__name__} can't generate yet; {len(findings)} things are to be changed:{lines}\n{PAGE}"


def _is_known(model: keras.Model) -> bool:
    layers = list(model._flatten_layers())
    modules = {type(layer).__module__.partition(".")[0] for layer in layers}
    own = (keras.layers.Lambda, keras.Sequential, type(keras.Model(*[keras.Input((1,))] * 2)))  # somebody's code
    return modules <= {"keras", "tfseq"} and not any(isinstance(layer, own) for layer in layers)


def _sources(model, samples):
    """The sources of the first sample; {} where there is none, or where it does not fit, which is told later."""
    try:
        specs = source_specs(model)
        return by_name(as_list(samples, len(specs))[0], specs) if specs and samples else {}
    except Exception:
        return {}
