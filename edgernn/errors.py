"""The errors that a user sees: what is wrong, where, and what to do next."""

from __future__ import annotations

HOST_INSTALL = "it takes an install for hosts: from a checkout, pip install '.[export]'"


class EdgeRNNError(Exception):
    """Base of every error this package raises on purpose.

    `cause` says what is wrong, `place` where (a module path, a file, an input's name), `hint` the next step.
    The command line prints all three without a traceback and exits with status 1.
    """

    def __init__(self, cause: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(cause, place, hint)
        self.cause = cause
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.place}: {self.cause}" if self.place else self.cause
        return f"{text}\n\nhint: {self.hint}" if self.hint else text


class ExportError(EdgeRNNError):
    """The module cannot be captured, or the file cannot be written."""


class UnsupportedError(ExportError):
    """An operation of the module has no streaming rule, or needs frames that a stream does not have."""


class ProofError(ExportError):
    """The stream does not give what the whole sequence gives in PyTorch."""


class WeightsError(ExportError):
    """A checkpoint cannot be read, or its keys do not fit the module."""


class QuantizeError(EdgeRNNError):
    """The model cannot be quantized as asked."""


class CalibrationError(QuantizeError):
    """The calibration data does not fit the model, or says too little about it."""


class SpecError(EdgeRNNError):
    """The streaming contract of a file is missing, malformed or of an unknown version."""


class ModelFileError(EdgeRNNError):
    """A model file is missing, truncated, altered or of an unknown kind."""


class InputError(EdgeRNNError):
    """Frames of the wrong shape, dtype, hop or rate."""


class StateError(EdgeRNNError):
    """A saved state is damaged or belongs to another model."""


class MissingExtraError(EdgeRNNError):
    """An optional dependency is not installed."""


class TargetError(EdgeRNNError):
    """A board is not known or not described rightly, or cannot be built for, reached or run on."""
