"""AdamW and Muon, with warm-up, cosine decay and gradient clipping."""

from typing import Any

import keras
from keras import ops

from tfseq import keras_versions


def adamw(
    learning_rate: float, steps: int, warmup: int, weight_decay: float, clip_norm: float
) -> keras.optimizers.Optimizer:
    """AdamW with warm-up, then cosine decay to a hundredth, and gradients clipped by their global norm.

    Args:
        learning_rate: at the end of the warm-up (Loshchilov and Hutter, 2017).
        steps: training steps in all; more than `warmup`.
        warmup: steps over which the learning rate rises from zero.
        weight_decay: on everything but biases.
        clip_norm: largest global norm of the gradients (Pascanu et al., 2013).
    """
    return _without_decay_of_biases(
        AdamW(
            _warm_up_then_decay(learning_rate, steps, warmup),
            weight_decay=weight_decay,
            beta_2=0.99,
            global_clipnorm=clip_norm,
        )
    )


def muon(
    learning_rate: float, steps: int, warmup: int, weight_decay: float, clip_norm: float
) -> keras.optimizers.Optimizer:
    """Muon for the matrices between layers, AdamW for embeddings, scales and biases; arguments as those of `adamw`.

    Updates of matrices are scaled to the size of Adam's (Liu et al., 2025, "Muon is scalable for LLM training"), so
    that both take one learning rate.
    """
    return _without_decay_of_biases(
        Muon(
            _warm_up_then_decay(learning_rate, steps, warmup),
            weight_decay=weight_decay,
            adam_weight_decay=weight_decay,
            adam_beta_2=0.99,
            global_clipnorm=clip_norm,
        )
    )


OPTIMIZERS = {"adamw": adamw, "muon": muon}


class _OneRateForAllWeights:
    """Decays weights by one learning rate, where Keras has the graph compute its schedule anew for each of them."""

    iterations: Any
    _learning_rate: Any

    def _apply_weight_decay(self, variables):
        rate = self._learning_rate
        if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            self._learning_rate = rate(self.iterations)
        try:
            super()._apply_weight_decay(variables)  # type: ignore[misc]
        finally:
            self._learning_rate = rate


class AdamW(_OneRateForAllWeights, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` (Loshchilov and Hutter, 2019), whose steps are sooner traced.

    In a .keras file it is Keras' own, so that a compiled model is loaded without tfseq.
    """

    __module__ = "keras.optimizers"


@keras.saving.register_keras_serializable(package="tfseq")
class Muon(_OneRateForAllWeights, keras_versions.Muon):  # type: ignore[valid-type, misc]
    """`keras.optimizers.Muon` (Jordan et al., 2024) that makes updates orthogonal in bfloat16, as its authors do.

    The Newton-Schulz iteration is nearly all products, and wants no exact result.
    """

    def zeropower_via_newtonschulz5(self, x, steps):
        scaled = ops.cast(x, "float32")
        scaled = ops.cast(scaled / (ops.norm(scaled) + 1e-7), "bfloat16")
        return ops.cast(super().zeropower_via_newtonschulz5(scaled, steps), x.dtype)


def _warm_up_then_decay(learning_rate, steps, warmup):
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else learning_rate,
        decay_steps=steps - warmup,
        alpha=0.01,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _without_decay_of_biases(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer
