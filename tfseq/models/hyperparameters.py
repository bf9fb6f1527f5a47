"""Checks of hyper-parameters that the models share."""


def check_sizes(**sizes):
    """Raises ValueError for a size below 1, by name."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}; expected at least 1.")
