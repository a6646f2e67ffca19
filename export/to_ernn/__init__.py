"""Write programs as a `.ernn` file, which the engine runs as it lies in memory."""

from edgernn.export.to_ernn.api import pack

__all__ = ["pack"]
