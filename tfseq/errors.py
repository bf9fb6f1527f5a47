"""Exception classes of tfseq. Each message says what arrived, what was expected and what to do."""


class TfseqError(Exception):
    """Base of every error that tfseq raises on purpose; the command line prints its message and exits with 2."""


class DataError(TfseqError):
    """A corpus, file or data set that can't be used: missing, empty, too short, not UTF-8."""


class TrainingError(TfseqError):
    """A training run that can't start or go on: settings that contradict each other, a checkpoint of another model."""


class ExportError(TfseqError):
    """A model that can't be exported, or a destination that can't be written."""


class MissingPackageError(ExportError, AttributeError):
    """A part of tfseq that needs a package which is not installed."""


class ParityError(ExportError):
    """An exported file whose outputs differ from the model's; no such file is left behind."""


class QuantizationError(ExportError):
    """A quantized file whose accuracy drop exceeds the tolerance; no such file is left behind."""


class ArtefactError(TfseqError):
    """A file that is not a tfseq artefact: missing, corrupted, truncated, or without a manifest."""


class InputError(TfseqError):
    """Arguments that an artefact or a model can't take: wrong name, type, rank or range."""
