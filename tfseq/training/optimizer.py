"""The optimizer of every training."""

import keras


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
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else learning_rate,
        decay_steps=steps - warmup,
        alpha=0.01,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=weight_decay, beta_2=0.99, global_clipnorm=clip_norm)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer
