"""Loading the splits of a tensorflow-datasets data set by name, with its features checked."""

from collections.abc import Sequence
from typing import Any

from tfseq.errors import DataError


def load_tfds(name: str, splits: Sequence[str], features: Sequence[str], alternative: str) -> tuple[list[Any], Any]:
    """Splits of a data set, downloaded and prepared on first use.

    Args:
        name: such as "mnist" or "imdb_reviews".
        splits: such as ("train", "test").
        features: what every example must have.
        alternative: what a person can do instead, for the message.

    Returns:
        a tf.data.Dataset of dicts per split, and the data set's tfds.core.DatasetInfo.

    Raises:
        DataError: the data set is unknown, can't be downloaded, or has other features; tensorflow-datasets is missing.
    """
    try:
        import tensorflow_datasets

        parts, info = tensorflow_datasets.load(name, split=list(splits), with_info=True)
    except ImportError as error:
        raise DataError(
            f"{name} needs tensorflow-datasets and what it imports, but: {error}. Install tfseq[train]."
        ) from error
    # TFDS looks a name up, downloads, unpacks and parses: what can go wrong comes from many libraries, with no type
    # in common.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise DataError(
            f"tensorflow-datasets could not load the splits {' and '.join(splits)} of {name}: {reason}. Check the name "
            f"and that this machine reaches the internet, which the first use needs; or {alternative}."
        ) from error
    missing = [feature for feature in features if feature not in info.features]
    if missing:
        raise DataError(
            f"{name} has no {' and no '.join(missing)}: its features are {', '.join(info.features)}. Give another data "
            "set."
        )
    return parts, info
