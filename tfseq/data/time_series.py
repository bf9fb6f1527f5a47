"""Time series data: yearly sunspots to forecast, spoken vowels to classify by speaker, files in the .ts format."""

from pathlib import Path

import numpy as np

from tfseq.data.dataset import DataSet, Part, rows_of, stratified_split
from tfseq.data.files import decode, existing_directory, read_bytes, sha256
from tfseq.data.optional_packages import import_package, package_folder, package_version
from tfseq.errors import DataError

SEED = 0


def sunspots(past: int = 24, ahead: int = 1, validation_from: int = 1900, test_from: int = 1950) -> DataSet:
    """Yearly sunspot numbers, 1700 to 2008: the next `ahead` years from the last `past` ones.

    The split is chronological: what is to be forecast in the test part lies in `test_from` or later, and in no other
    part. The years before may be among a part's inputs, as they are known when a forecast is made.

    Args:
        past: years read.
        ahead: years forecast.
        validation_from: first year that is forecast in the validation part.
        test_from: first year that is forecast in the test part.

    Returns:
        inputs (windows, past, 1) and targets (windows, ahead), float32, in sunspots.

    Raises:
        DataError: statsmodels is not installed; a part would be empty.
    """
    package = "The sunspot series"
    table = import_package("statsmodels.datasets", "statsmodels", package).sunspots.load_pandas().data
    years, numbers = table["YEAR"].to_numpy().astype(int), table["SUNACTIVITY"].to_numpy().astype("float32")
    edges = (int(years[0]), validation_from, test_from, int(years[-1]) + 1)
    parts = [windows(numbers, past, ahead, *np.searchsorted(years, edges[i : i + 2])) for i in range(3)]
    if not all(parts):
        raise DataError(
            f"With past {past}, ahead {ahead}, validation_from {validation_from} and test_from {test_from}, the parts "
            f"have {[len(part) for part in parts]} examples; expected years between {years[0]} and {years[-1]}."
        )
    source = f"statsmodels.datasets.sunspots of statsmodels {package_version('statsmodels')}"
    return DataSet("sunspots", parts[0], parts[1], parts[2], source, sha256([numbers.tobytes()]))


def windows(series: np.ndarray, past: int, ahead: int, begin: int = 0, end: int | None = None) -> Part:
    """Every `past` values and the `ahead` that follow, where all that follow have an index from `begin` to `end` - 1.

    Returns:
        inputs (windows, past, 1) and targets (windows, ahead).

    Raises:
        DataError: `past` or `ahead` is less than 1.
    """
    if past < 1 or ahead < 1:
        raise DataError(f"past is {past} and ahead is {ahead}; expected at least 1 of each.")
    end = len(series) if end is None else end
    first = np.arange(max(begin, past), max(end - ahead + 1, max(begin, past)))[:, None]  # index of the first target
    return Part(series[first + np.arange(-past, 0)][..., None], series[first + np.arange(ahead)])


def japanese_vowels(directory: Path | str | None = None) -> DataSet:
    """Who of nine says /ae/: 640 utterances of 7 to 29 steps with 12 coefficients each (Kudo et al., 1999).

    The official split: 270 utterances to train, of which 54 are kept to validate on, and 370 to test on.

    Args:
        directory: with JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts; those that aeon or sktime carries if None.

    Returns:
        inputs: a list of (time, 12) float32; targets (examples,) int32, from 0.

    Raises:
        DataError: neither package is installed; a file is missing or not in the .ts format.
    """
    if directory is not None:
        folder, origin = existing_directory(directory, "JapaneseVowels_TRAIN.ts and JapaneseVowels_TEST.ts"), ""
    else:
        package, version = package_folder("sktime", "JapaneseVowels", "aeon")
        folder, origin = package / "datasets" / "data" / "JapaneseVowels", f" of {version}"
    files = [folder / f"JapaneseVowels_{part}.ts" for part in ("TRAIN", "TEST")]
    (series, targets, labels), (test_series, test_targets, _) = (read_ts(file) for file in files)
    train, validation = (rows_of(series, targets, rows) for rows in stratified_split(targets, 0.2, SEED))
    return DataSet(
        "japanese_vowels",
        train,
        validation,
        Part(test_series, test_targets),
        f"JapaneseVowels_TRAIN.ts, JapaneseVowels_TEST.ts{origin}",
        sha256(file.read_bytes() for file in files),
        tuple(f"speaker {label}" for label in labels),
    )


def read_ts(path: Path) -> tuple[list[np.ndarray], np.ndarray, tuple[str, ...]]:
    """Classified series in the .ts format of timeseriesclassification.com: dimensions divided by colons, then a class.

    Returns:
        series, a list of (time, dimensions) float32; classes (examples,) int32; names of the classes.

    Raises:
        DataError: the file can't be read, or a line of it.
    """
    text = decode(read_bytes(path, "a file in the .ts format"), path)
    header, _, body = text.partition("@data")
    classes = [line.split()[2:] for line in header.splitlines() if line.lower().startswith("@classlabel true")]
    if not classes or not body.strip():
        raise DataError(f"{path} is not in the .ts format; expected a line @classLabel true ... and one @data.")
    (labels,) = classes
    series, targets = [], []
    for number, line in enumerate(body.strip().splitlines(), header.count("\n") + 2):
        *dimensions, label = line.strip().split(":")
        try:
            targets.append(labels.index(label))
            series.append(np.array([np.array(d.split(","), "float32") for d in dimensions], "float32").T.copy())
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: {error}. Expected numbers divided by commas, dimensions of equal length "
                f"divided by colons, and one of {', '.join(labels)}."
            ) from error
    return series, np.array(targets, "int32"), tuple(labels)
