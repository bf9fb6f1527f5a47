"""`fit`: fitting a recurrent language model to one long text by truncated BPTT."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from tfseq.errors import TrainingError
from tfseq.training.early_stopping import Progress
from tfseq.training.language_model_loss import bits, nats_per_token, token_loss
from tfseq.training.learning_curve import plot_learning_curve
from tfseq.training.optimizers import adamw
from tfseq.training.run_folder import Logs, prepared_run
from tfseq.training.scheduled_sampling import ScheduledSampling
from tfseq.training.setting_ranges import Amount, CheckedSettings, Count, CountOrNone, PositiveAmount, Seed, Share
from tfseq.training.truncated_bptt import TruncatedBPTT


@dataclass(frozen=True)
class TrainingSettings(CheckedSettings):
    """How to train: AdamW, warm-up then cosine decay, gradients clipped by their global norm.

    Attributes:
        batch: contiguous streams that are read side by side.
        chunk: tokens per stream and step; gradients go back no further.
        steps: training steps in all.
        evaluate_every: steps between two evaluations, each with a checkpoint.
        learning_rate: at the end of the warm-up; it decays to a hundredth of that.
        warmup: steps over which the learning rate rises from zero.
        weight_decay: AdamW's, on everything but biases.
        clip_norm: largest global norm of the gradients.
        patience: evaluations without improvement before training stops early; None never does.
        scheduled_sampling: probability of feeding the model its own prediction, reached at the last step; 0 never does.
        seed: of the draws made while training.
    """

    batch: Count = 64
    chunk: Count = 100
    steps: Count = 2000
    evaluate_every: Count = 200
    learning_rate: Amount = 3e-3
    warmup: CountOrNone = 50
    weight_decay: Amount = 0.05
    clip_norm: PositiveAmount = 1.0
    patience: Count | None = None
    scheduled_sampling: Share = 0.0
    seed: Seed = 0

    def __post_init__(self):
        super().__post_init__()
        if self.warmup >= self.steps:
            raise TrainingError(f"warmup is {self.warmup} of {self.steps} steps; expected fewer than steps.")


def fit(
    model,
    train: Callable[[int], Iterable],
    validation: Iterable,
    settings: TrainingSettings,
    directory: Path,
    *,
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    evaluation_batch: int | None = None,
    verbose: int = 1,
) -> list[dict[str, float]]:
    """Trains a recurrent language model with truncated BPTT and leaves it with the weights of its best evaluation.

    Args:
        model: with `initial_state` and `read`, such as RecurrentLanguageModel.
        train: endless chunks from a given global step on, such as
            `lambda step: contiguous_streams(tokens, batch, chunk, start=step, epochs=None)`.
        validation: one pass over the validation text, such as `evaluation_stream(tokens, evaluation_batch, chunk)`.
        settings: how to train.
        directory: receives checkpoint.npz and the one before it, best.npz, learning_curve.png and TensorBoard's logs.
        resume: go on from the directory's checkpoint. An interrupted run then ends, on CPUs, with the same bits as one
            that was not interrupted. If the newest checkpoint is damaged, it goes on from the one before and warns.
        identity: what else the run depends on (the data's hash); a checkpoint with another is refused.
        evaluation_batch: streams of the validation chunks; those of training if not given.
        verbose: 1 shows a progress bar, 2 a line per evaluation, 0 nothing.

    Returns:
        one dict per evaluation: step, seconds, nats, bits, val_nats, val_bits.

    Raises:
        TrainingError: settings out of range, nothing that could be resumed, a loss that is not finite, or a folder or
            disk that can't be written.
    """
    trainer = TruncatedBPTT(model, settings.batch, evaluation_batch, _scheduled_sampling(settings))
    trainer.compile(
        adamw(settings.learning_rate, settings.steps, settings.warmup, settings.weight_decay, settings.clip_norm),
        token_loss(),
        weighted_metrics=[nats_per_token()],
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    trainer.optimizer.build(trainer.trainable_variables)
    progress = Progress(
        directory,
        settings.patience,
        asdict(settings) | (identity or {}),
        settings.evaluate_every,
        kept=model,
        monitor="val_nats",
        measure=_nats_and_bits,
    )
    progress.set_model(trainer)
    if resume:
        progress.restore()
    chunks = train(progress.rounds * settings.evaluate_every)  # which may refuse the data, before a folder is made
    with prepared_run(directory):
        rounds = -(-settings.steps // settings.evaluate_every)
        if progress.rounds < rounds and not progress.exhausted:
            trainer.fit(
                chunks,
                validation_data=validation,
                initial_epoch=progress.rounds,
                epochs=rounds,
                steps_per_epoch=settings.evaluate_every,
                shuffle=False,
                callbacks=[progress, Logs(directory / "tensorboard")],
                verbose=verbose,
            )
        progress.restore_best()
        plot_learning_curve(progress.history, directory / "learning_curve.png", directory.name)
    return progress.history


def _nats_and_bits(logs: dict[str, float]) -> dict[str, float]:
    in_bits = {"bits": bits(logs["nats"]), "val_bits": bits(logs["val_nats"])}
    return {name: (logs | in_bits)[name] for name in ("nats", "bits", "val_nats", "val_bits")}


def _scheduled_sampling(settings: TrainingSettings) -> ScheduledSampling | None:
    if not settings.scheduled_sampling:
        return None
    return ScheduledSampling(settings.scheduled_sampling, settings.steps, settings.seed)
