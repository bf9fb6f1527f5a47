"""Times the steps of Keras' `fit`, without its start and end."""

import time


class Clock:
    """Time from the end of step `warmup` to the end of the last step: `fit`'s own start and end are not a step's."""

    def __init__(self, warmup: int):
        self.warmup = warmup
        self.started = self.seconds = 0.0

    def callback(self):
        import keras

        def at_end(step, logs):
            if step == self.warmup - 1:
                self.started = time.perf_counter()
            self.seconds = time.perf_counter() - self.started

        return keras.callbacks.LambdaCallback(on_train_batch_end=at_end)
