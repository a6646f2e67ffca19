"""Write a `Program` as a `.ernn` file, which the engine runs as it lies in memory."""

from edgernn.export.to_ernn.api import pack, pack_file

__all__ = ["pack", "pack_file"]
