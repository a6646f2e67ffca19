"""Back end for `.tflite` files: LiteRT's interpreter, its tensors filled and read in place.

Every stream has an interpreter of its own, because that holds the tensors; all read the weights of one file's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from edgernn.errors import MissingExtraError, ModelFileError
from edgernn.runtime.backends import Direct, Port, Stepper, check_ports
from edgernn.runtime.backends.tflite_file import read_metadata
from edgernn.spec import LEFT_UNKNOWN, SPEC_KEY, StreamSpec

Array = npt.NDArray[Any]
MakeInterpreter = Callable[[bytes], Any]
SIGNATURE = "step"
SUMMARY_KEY = "edgernn.summary"


def load_engine(data: bytes, place: str, threads: int) -> LiteRTEngine:
    """Load a file by its bytes. Raises `MissingExtraError` without ai-edge-litert, `ModelFileError` when it refuses."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise MissingExtraError(
            "ai-edge-litert is not installed", place=place, hint="pip install 'edgernn[litert]'"
        ) from None

    def make(content: bytes) -> Interpreter:
        return Interpreter(model_content=content, num_threads=threads)

    return LiteRTEngine(data, place, make, "ai-edge-litert")


class LiteRTEngine:
    """A file's bytes and what makes interpreters of them; `package` is the distribution they are from."""

    def __init__(self, data: bytes, place: str, make: MakeInterpreter, package: str) -> None:
        texts = read_metadata(data, place)
        if SPEC_KEY not in texts:
            raise ModelFileError(
                "is a TFLite file without a streaming contract", place=place, hint="export the model with edgernn"
            )
        self.spec_json = texts[SPEC_KEY].decode("utf-8", "replace")
        self.summary_json = texts.get(SUMMARY_KEY, b"[]").decode("utf-8", "replace")
        self._needs = texts.get("min_runtime_version", b"").rstrip(b"\0").decode("ascii", "replace")
        self._data, self._place, self._make, self._package = data, place, make, package
        self._spare = [self._interpreter()]

    def _interpreter(self) -> Any:
        try:
            interpreter = self._make(self._data)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(
                f"the TFLite runtime refuses it: {_first_line(error)}",
                place=self._place,
                hint=f"the file needs TFLite {self._needs} or later",
            ) from error
        return interpreter

    @property
    def details(self) -> dict[str, Any]:
        """The version that runs it, and the least that could."""
        return {self._package: metadata.version(self._package), "needs TFLite": self._needs}

    def programs(self) -> list[LiteRTEngine]:
        """The file's only one."""
        return [self]

    def selftest(self) -> dict[str, bool] | None:
        """A TFLite file has no test vectors."""
        return None

    def check(self, spec: StreamSpec) -> None:
        """Compare the contract with the signature, by name."""
        given: list[Port] = [(port.name, port.dtype, port.shape) for port in spec.inputs]
        given += [(state.input, state.dtype, state.shape) for state in spec.states]
        given += [] if spec.frames_left is None else [(spec.frames_left, "int64", (1,))]
        made: list[Port] = [(port.name, port.dtype, port.shape) for port in spec.outputs]
        made += [(state.output, state.dtype, state.shape) for state in spec.states]
        details = _details(self._spare[0], self._place)
        for kind, promised, tensors in zip(("inputs", "outputs"), (given, made), details, strict=True):
            found = [(name, _dtype(item), tuple(map(int, item["shape"]))) for name, item in tensors.items()]
            check_ports(kind, promised, found, self._place)

    def stepper(self, spec: StreamSpec) -> LiteRTStepper:
        """An interpreter of its own."""
        try:
            interpreter = self._spare.pop()
        except IndexError:
            interpreter = self._interpreter()
        return LiteRTStepper(interpreter, spec, self._place)


class LiteRTStepper:
    """Views of an interpreter's tensors; behind each run the new state is copied to where the next one reads it."""

    def __init__(self, interpreter: Any, spec: StreamSpec, place: str) -> None:
        self._place = place
        self.steps = 0
        given, made = (
            {name: interpreter.tensor(item["index"])() for name, item in tensors.items()}
            for tensors in _details(interpreter, place)
        )
        self.inputs: dict[str, Array] = {port.name: given[port.name] for port in spec.inputs}
        self.outputs: dict[str, Array] = {port.name: made[port.name] for port in spec.outputs}
        self.left: Array | None = None if spec.frames_left is None else given[spec.frames_left].reshape(())
        if self.left is not None:
            self.left[...] = LEFT_UNKNOWN
        self._states = [given[state.input] for state in spec.states]
        self._carried = [(_bytes(given[state.input]), _bytes(made[state.output])) for state in spec.states]
        # `Interpreter.invoke` refuses while somebody holds views of its tensors, because a resize would move them;
        # here every shape is static, so nothing moves
        self._invoke = interpreter._interpreter.Invoke

    def run(self) -> None:
        """One step."""
        try:
            self._invoke()
        except RuntimeError as error:
            raise self._failed(error) from error
        for target, source in self._carried:
            target[:] = source
        self.steps += 1

    def _failed(self, error: RuntimeError) -> ModelFileError:
        return ModelFileError(f"the TFLite runtime failed in a step: {_first_line(error)}", place=self._place)

    def direct(self, x: Array, y: Array) -> Direct | None:
        """`run` and its copies in one function, whose calls and look-ups would cost as much as a small network."""
        x_shape, x_dtype, y_shape, y_dtype = x.shape, x.dtype, y.shape, y.dtype
        array, invoke, carried = np.ndarray, self._invoke, self._carried

        def step(given: Any, out: Any) -> Array | None:
            if type(given) is not array or given.shape != x_shape or given.dtype is not x_dtype:
                return None
            if out is not None and (type(out) is not array or out.shape != y_shape or out.dtype is not y_dtype):
                return None
            if out is not None and not out.flags.writeable:
                return None
            x[...] = given
            try:
                invoke()
            except RuntimeError as error:
                raise self._failed(error) from error
            for target, source in carried:
                target[:] = source
            self.steps += 1
            if out is None:
                return y.copy()
            out[...] = y
            return out

        return step

    def joined(self, steppers: Sequence[Stepper], x: Array | None, y: Array | None) -> None:
        """Streams are stepped one after the other."""

    def prefetch(self) -> None:
        """An interpreter does not tell where its weights are."""

    def states(self) -> list[Array]:
        """The current state's arrays."""
        return self._states

    def set_states(self, states: list[Array]) -> None:
        """Copy values into the current state."""
        for target, source in zip(self._states, states, strict=True):
            target[...] = source


def _details(interpreter: Any, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The signature's inputs and outputs by name."""
    if SIGNATURE not in interpreter.get_signature_list():
        raise ModelFileError(f"has no signature `{SIGNATURE}`", place=place, hint="export the model again")
    runner = interpreter.get_signature_runner(SIGNATURE)
    return runner.get_input_details(), runner.get_output_details()


def _bytes(view: Array) -> memoryview:
    """A tensor's bytes: assigning one such view to another is the cheapest copy that Python has."""
    return view.reshape(-1).view(np.uint8).data


def _dtype(item: dict[str, Any]) -> str:
    return "bool" if item["dtype"] is bool else np.dtype(item["dtype"]).name


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
