"""The truth of int8: every operation of a quantized file in NumPy, bit for bit what each engine must give.

docs/int8.md says the same in words.
"""

from edgernn.quantize.reference import floats, integers, recurrent, spectrum
from edgernn.quantize.reference.fixed import LIMITS
from edgernn.quantize.reference.ieee import flush
from edgernn.quantize.reference.registry import evaluate
from edgernn.quantize.reference.spectrum import twiddles

__all__ = ["LIMITS", "evaluate", "floats", "flush", "integers", "recurrent", "spectrum", "twiddles"]
