"""Write a `Program` as a TFLite file, its state carried through the signature `step`."""

from edgernn.export.to_tflite.api import PRECISIONS, to_tflite

__all__ = ["PRECISIONS", "to_tflite"]
