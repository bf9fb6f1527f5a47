"""A trained model -> what it ships as: exported/NAME with the verified file, its pictures and its card."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

import tfseq
from pipelines.parts.card import Card
from tfseq.decoding import Strategy
from tfseq.errors import ExportError
from tfseq.exporting import as_float32
from tfseq.runtime import Manifest, Tokenizer
from tfseq.runtime.atomic_write import atomic_write, remove_leftovers
from tfseq.runtime.manifest_table import describe_parity
from tfseq.terminal import steps

EXPORTED = Path("exported")


def publish(
    model: keras.Model,
    name: str,
    *,
    what: str,
    data: Mapping[str, Any],
    scores: Mapping[str, float],
    settings: Any,
    run: Path,
    sample: Callable[[tfseq.runtime.Model], str],
    labels: Sequence[str] = (),
    tokenizer: Tokenizer | None = None,
    decode: Strategy | None = None,
    attention: bool = False,
    samples: Any = (),
    streaming: bool = False,
    pictures: Sequence[Path] = (),
) -> tfseq.runtime.Model:
    """Exports a model, proves the files equal to it, and writes the card.

    exported/NAME gets model.keras, tokenizer.json, saved_model/ and model.onnx, with `streaming` also model.step.onnx,
    which keeps its state between calls; learning_curve.png and other pictures; and card.md.

    Args:
        model: trained; one that computes in bfloat16 becomes a float32 copy.
        name: of the artefact.
        what: the architecture, in a line.
        data: where its examples came from, as `DataSet.provenance()` has it.
        scores: name -> number, on held-out data; its peer's among them.
        settings: of the pipeline, a dataclass.
        run: folder of the training, with learning_curve.png if there is one.
        sample: what a person would do with the file, as text: printed, and shown on the card.
        labels, tokenizer, decode, attention, samples: as `tfseq.export` takes them.
        pictures: further PNG files for the card.

    Returns:
        model.onnx, opened by ONNX Runtime.

    Raises:
        ExportError, ParityError: as `tfseq.export` does, or model.keras can't be written.
    """
    folder = EXPORTED / name
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    exact = as_float32(model)
    save_model(exact, folder / "model.keras")
    if tokenizer is not None:
        tokenizer.save(folder / "tokenizer.json")
    said = {"tokenizer": tokenizer, "labels": labels, "name": name, "data": {**data, **scores}, "decode": decode}

    def export(file: str, **how: Any) -> Manifest:
        with steps() as progress:  # shown on a terminal
            return tfseq.export(exact, folder / file, progress=lambda step: progress(f"{step} {file}"), **said, **how)

    print(f"Exporting to {folder}", flush=True)
    export("saved_model", samples=samples, attention=attention)
    manifest = export("model.onnx", samples=samples, attention=attention)
    print(f"Verified against Keras:\n{describe_parity(manifest.parity)}")
    if streaming:
        print(f"In steps:\n{describe_parity(export('model.step.onnx', streaming=True).parity)}")

    file = tfseq.runtime.load(folder / "model.onnx")  # no TensorFlow from here on
    shown = sample(file)
    print(f"\n{folder / 'model.onnx'}, run by ONNX Runtime:\n\n{shown}\n")
    curve = run / "learning_curve.png"
    kept = [shutil.copy(picture, folder) for picture in (curve, *pictures) if picture.is_file()]
    Card(
        what=what,
        name=name,
        scores=scores,
        settings=asdict(settings),
        sample=shown,
        pictures=tuple(Path(picture).name for picture in kept),
        manifest=manifest,
    ).write(folder / "card.md")
    return file


def save_model(model: keras.Model, path: Path) -> None:
    """`model.save(path)`, whole or not at all.

    Raises:
        ExportError: the file can't be written.
    """
    with atomic_write(path) as temporary:
        try:
            model.save(temporary)
        except (OSError, RuntimeError) as error:  # HDF5 has no kind of its own for a disk that is full
            raise ExportError(f"Can't write {path}: {getattr(error, 'strerror', None) or error}.") from error
