"""edgernn: recurrent networks trained in PyTorch, run one frame at a time on small machines."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
