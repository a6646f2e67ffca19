"""Back end for `.onnx` files: onnxruntime with buffers bound once, so that a step allocates nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import MissingExtraError, ModelFileError
from edgernn.runtime.backends import Direct, Port, Stepper, check_ports
from edgernn.spec import LEFT_UNKNOWN, SPEC_KEY, StreamSpec

Array = npt.NDArray[Any]
SUMMARY_KEY = "edgernn.summary"


def load_engine(data: bytes, place: str, threads: int) -> OnnxEngine:
    """Load a file by its bytes. Raises `MissingExtraError` without onnxruntime, `ModelFileError` when it refuses."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            "onnxruntime is not installed", place=place, hint="pip install 'edgernn[onnxruntime]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # a stream sleeps between frames: spinning threads would only burn the battery
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if not data or "INVALID_PROTOBUF" in str(error):
            raise ModelFileError("is truncated, or no ONNX file at all", place=place) from None
        raise ModelFileError(f"onnxruntime refuses it: {_first_line(error)}", place=place) from error
    return OnnxEngine(session, place)


class OnnxEngine:
    """An inference session and the texts in its file."""

    def __init__(self, session: Any, place: str) -> None:
        self._session = session
        try:
            props = session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError:
            raise ModelFileError("is damaged: its metadata is no text", place=place) from None
        if SPEC_KEY not in props:
            raise ModelFileError(
                "is an ONNX file without a streaming contract", place=place, hint="export the model with edgernn"
            )
        self.spec_json: str = props[SPEC_KEY]
        self.summary_json: str = props.get(SUMMARY_KEY, "[]")
        self._place = place

    @property
    def details(self) -> dict[str, Any]:
        """The version that runs it."""
        return {"onnxruntime": metadata.version("onnxruntime")}

    def programs(self) -> list[OnnxEngine]:
        """The file's only one."""
        return [self]

    def selftest(self) -> dict[str, bool] | None:
        """An ONNX file has no test vectors."""
        return None

    def check(self, spec: StreamSpec) -> None:
        """Compare the contract with the graph."""
        given: list[Port] = [(port.name, port.dtype, port.shape) for port in spec.inputs]
        given += [(state.input, state.dtype, state.shape) for state in spec.states]
        given += [] if spec.frames_left is None else [(spec.frames_left, "int64", ())]
        made: list[Port] = [(port.name, port.dtype, port.shape) for port in spec.outputs]
        made += [(state.output, state.dtype, state.shape) for state in spec.states]
        for kind, promised, nodes in (
            ("inputs", given, self._session.get_inputs()),
            ("outputs", made, self._session.get_outputs()),
        ):
            found = [(node.name, _dtype(node.type), tuple(node.shape)) for node in nodes]
            check_ports(kind, promised, found, self._place)

    def stepper(self, spec: StreamSpec) -> OnnxStepper:
        """Buffers of one stream."""
        return OnnxStepper(self._session, spec, self._place)


class OnnxStepper:
    """Two bindings over two sets of state: each run reads one set and writes the other."""

    def __init__(self, session: Any, spec: StreamSpec, place: str) -> None:
        self._session = session
        self._place = place
        self.inputs = {port.name: np.zeros(port.shape, port.dtype) for port in spec.inputs}
        self.outputs = {port.name: np.zeros(port.shape, port.dtype) for port in spec.outputs}
        self.left = None if spec.frames_left is None else np.full((), LEFT_UNKNOWN, np.int64)
        self._states = [[np.zeros(state.shape, state.dtype) for state in spec.states] for _ in range(2)]
        self._current = 0
        self.steps = 0
        self._bindings = [self._bind(spec, side) for side in range(2)]

    def _bind(self, spec: StreamSpec, side: int) -> Any:
        binding = self._session.io_binding()
        given: list[tuple[str, Array]] = list(self.inputs.items())
        given += [(state.input, array) for state, array in zip(spec.states, self._states[side], strict=True)]
        if spec.frames_left is not None and self.left is not None:
            given.append((spec.frames_left, self.left))
        made = list(self.outputs.items())
        made += [(state.output, array) for state, array in zip(spec.states, self._states[1 - side], strict=True)]
        for name, array in given:
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in made:
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding

    def run(self) -> None:
        """One step."""
        try:
            self._session.run_with_iobinding(self._bindings[self._current])
        except Exception as error:
            raise ModelFileError(f"onnxruntime failed in a step: {_first_line(error)}", place=self._place) from error
        self._current = 1 - self._current
        self.steps += 1

    def direct(self, x: Array, y: Array) -> Direct | None:
        """A session has no shorter way than `run`."""
        return None

    def joined(self, steppers: Sequence[Stepper], x: Array | None, y: Array | None) -> None:
        """Streams are stepped one after the other."""

    def prefetch(self) -> None:
        """A session does not tell where its weights are."""

    def states(self) -> list[Array]:
        """The current state's arrays."""
        return self._states[self._current]

    def set_states(self, states: list[Array]) -> None:
        """Copy values into the current state."""
        for target, source in zip(self.states(), states, strict=True):
            target[...] = source


def _dtype(text: str) -> str:
    """NumPy's name for `tensor(…)`."""
    name = text.removeprefix("tensor(").removesuffix(")")
    return "float32" if name == "float" else name


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
