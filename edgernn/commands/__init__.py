"""The commands of `edgernn`, one file each, with a click command called `command`."""
