"""What the pipelines of single images have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfseq.data import DataSet, distorted, shuffled_batches
from tfseq.training.setting_ranges import Amount, CheckedSettings, ShareBelowOne

ANSWERED = 250  # images at a time


@dataclass(frozen=True)
class Distortion(CheckedSettings):
    """How far an image is moved while training, anew in every epoch; see `tfseq.data.distorted`.

    Attributes:
        shift: pixels at most.
        turn: degrees at most.
        zoom: share by which it is made larger or smaller at most.
        slant: pixels sideways per pixel of height at most.
        bend: pixels by which points of it are moved apart from their neighbours at most.
    """

    shift: Amount = 1.0
    turn: Amount = 15.0
    zoom: ShareBelowOne = 0.15
    slant: Amount = 0.2
    bend: Amount = 0.0


def distorted_batches(data: DataSet, distortion: Distortion, batch: int, seed: int) -> Callable[[Any], Any]:
    """From an epoch to its batches of the images to train on, shuffled and distorted."""
    return distorted(shuffled_batches(*data.train, batch, seed=seed), **vars(distortion), seed=seed)


def artefact_name(pipeline: str, settings: Any, data: DataSet) -> str:
    """The pipeline's name for its default data, and with the data's name for others."""
    default_data = settings.data is None and settings.tfds is None
    return pipeline if default_data else f"{pipeline}_{data.name}"
