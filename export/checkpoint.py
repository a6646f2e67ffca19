"""Read checkpoints: find the state dict, fit its keys to a module, recognise its layers."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgernn.errors import MissingExtraError, WeightsError

WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which trainers keep the state dict
PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning


def load_state_dict(path: str | Path, key: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a checkpoint by name, and the key they were found under ("" for the top).

    Reads `.safetensors` and whatever `torch.load(weights_only=True)` reads. `key` names the entry; without it the
    file itself, or its `state_dict`, `model_state_dict` or `model`, is taken. Raises `WeightsError`.
    """
    path = Path(path)
    data = _read(path)
    if key is not None:
        if not isinstance(data, Mapping) or key not in data:
            raise WeightsError(f"has no entry `{key}`", place=str(path), hint=f"it has: {_listed(data)}")
        data, found = data[key], key
    else:
        found = ""
        if isinstance(data, Mapping) and not _is_state_dict(data):
            found = next((name for name in WRAPPERS if _is_state_dict(data.get(name))), "")
            data = data.get(found, data)
    if isinstance(data, nn.Module):
        data = data.state_dict()
    if not _is_state_dict(data):
        raise WeightsError(
            "holds no state dict",
            place=str(path),
            hint=f"name its entry: `--weights {path.name}:KEY` of {_listed(data)}",
        )
    return {name: item for name, item in data.items() if isinstance(item, Tensor)}, found


def fit_weights(module: nn.Module, path: str | Path, key: str | None = None) -> str:
    """Load a checkpoint into `module`; gives a sentence that says what was found and what was stripped.

    Prefixes of wrappers (`module.`, `_orig_mod.`, `model.`) are stripped when that makes every key match. Raises
    `WeightsError` with the keys that do not, and leaves the module as it was then.
    """
    state, found = load_state_dict(path, key)
    wanted = dict(module.state_dict())
    stripped, names = "", state
    while set(names) != set(wanted):
        prefix = next((item for item in PREFIXES if all(name.startswith(item) for name in names)), None)
        if prefix is None or not names:
            break
        names = {name.removeprefix(prefix): item for name, item in names.items()}
        stripped += prefix
    if set(names) != set(wanted):
        _refuse(path, set(state) if set(state) & set(wanted) else set(names), set(wanted))
    for name, item in names.items():
        if item.shape != wanted[name].shape:
            raise WeightsError(
                f"`{name}` is {list(item.shape)}; the module has {list(wanted[name].shape)}",
                place=str(path),
                hint="build the module with the sizes it was trained with",
            )
    module.load_state_dict(names)
    parts = [f"{len(names)} tensors from {Path(path).name}"]
    parts += [f"under `{found}`"] if found else []
    parts += [f"without their prefix `{stripped}`"] if stripped else []
    return ", ".join(parts)


def describe(path: str | Path) -> list[dict[str, Any]]:
    """The layers recognised in a checkpoint, in its order: layer, kind, shape (a text), params."""
    state, _ = load_state_dict(path)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, item in state.items():
        layer, _, leaf = name.rpartition(".")
        groups.setdefault(layer, {})[leaf] = item
    return [
        {"layer": layer, **_recognise(items), "params": sum(item.numel() for item in items.values())}
        for layer, items in groups.items()
    ]


def _recognise(items: Mapping[str, Tensor]) -> dict[str, str]:
    if "weight_hh_l0" in items:
        rows, size = items["weight_hh_l0"].shape
        projected = "weight_hr_l0" in items
        hidden = items["weight_hr_l0"].shape[1] if projected else size
        kind = {1: "RNN", 3: "GRU", 4: "LSTM"}.get(rows // hidden, "recurrent")
        layers = sum(name.startswith("weight_hh_l") and not name.endswith("_reverse") for name in items)
        both = ", bidirectional" if "weight_hh_l0_reverse" in items else ""
        shape = f"{items['weight_ih_l0'].shape[1]} → {hidden}, {layers} layers{both}"
        return {"kind": kind, "shape": shape + (f", projected to {size}" if projected else "")}
    if "running_mean" in items:
        return {"kind": "BatchNorm", "shape": str(items["running_mean"].numel())}
    weight = items.get("weight")
    if weight is None:
        return {"kind": "parameters", "shape": ", ".join(f"{n} {list(x.shape)}" for n, x in items.items())}
    sizes = list(weight.shape)
    if weight.ndim == 1:
        return {"kind": "norm", "shape": str(sizes[0])}
    if weight.ndim == 2:
        kind = "Linear" if "bias" in items else "Linear or Embedding"
        return {"kind": kind, "shape": f"{sizes[1]} → {sizes[0]}"}
    return {"kind": f"Conv{weight.ndim - 2}d", "shape": f"{sizes[1]} → {sizes[0]}, kernel {sizes[2:]}"}


def _read(path: Path) -> Any:
    if not path.is_file():
        raise WeightsError("no such file", place=str(path))
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise MissingExtraError(
                "safetensors is not installed", place=str(path), hint="pip install 'edgernn[export]'"
            ) from None
        try:
            return load_file(path)
        except Exception as error:
            raise WeightsError(f"cannot be read as safetensors ({error})", place=str(path)) from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"cannot be read as weights ({first:.120})",
            place=str(path),
            hint="save tensors only: torch.save(model.state_dict(), path)",
        ) from None


def _is_state_dict(data: Any) -> bool:
    return isinstance(data, Mapping) and bool(data) and any(isinstance(item, Tensor) for item in data.values())


def _listed(data: Any) -> str:
    return ", ".join(map(str, list(data)[:8])) if isinstance(data, Mapping) else type(data).__name__


def _refuse(path: str | Path, given: set[str], wanted: set[str]) -> None:
    missing, extra = sorted(wanted - given), sorted(given - wanted)
    lines = [f"missing `{name}`" + _near(name, extra) for name in missing[:6]]
    lines += [f"unexpected `{name}`" for name in extra[:6]]
    rest = len(missing) + len(extra) - len(lines)
    lines += [f"and {rest} more"] if rest else []
    raise WeightsError(
        "the keys do not fit the module: " + ", ".join(lines),
        place=str(path),
        hint="check the factory's arguments, or name the entry: `--weights FILE:KEY`",
    )


def _near(name: str, candidates: list[str]) -> str:
    found = difflib.get_close_matches(name, candidates, 1)
    return f" (is it `{found[0]}`?)" if found else ""
