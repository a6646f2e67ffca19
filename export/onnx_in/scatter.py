"""Elements written into a copy, at places that are known: the caches of a stream are often made so."""

from __future__ import annotations

import math

import numpy as np

from edgernn.errors import UnsupportedError
from edgernn.export.onnx_in.elementwise import first
from edgernn.export.onnx_in.layout import counted
from edgernn.export.onnx_in.reader import Reader, known
from edgernn.export.onnx_in.registry import reads
from edgernn.export.onnx_in.symbols import Known, Node, Symbol
from edgernn.program import Array


@reads("ScatterND")
def scatter_nd(r: Reader, node: Node) -> Symbol:
    """indices `[…, depth]` name the first `depth` axes of what each update replaces."""
    x, _, updates = node.inputs
    assert x is not None
    assert updates is not None
    return _written(r, node, x, _places(known(node.inputs[1], "places"), x.shape), updates)


@reads("ScatterElements", "Scatter")
def scatter_elements(r: Reader, node: Node) -> Symbol:
    """Each update replaces an element of the same position but for one axis, whose place is given."""
    x, _, updates = node.inputs
    assert x is not None
    assert updates is not None
    return _written(r, node, x, _along(node, known(node.inputs[1], "places"), x.shape), updates)


@reads("GatherND")
def gather_nd(r: Reader, node: Node) -> Symbol:
    """The elements that `scatter_nd` would replace."""
    if node.attributes.get("batch_dims", 0):
        raise UnsupportedError("has batch axes")
    x, index = first(node), known(node.inputs[1], "places")
    places = _places(index, x.shape)
    shape = (*index.shape[:-1], *x.shape[index.shape[-1] :])
    return r.reshape(r.take(r.reshape(x, (math.prod(x.shape),)), places.reshape(-1), 0), shape)


@reads("GatherElements")
def gather_elements(r: Reader, node: Node) -> Symbol:
    """The elements that `scatter_elements` would replace."""
    x, index = first(node), known(node.inputs[1], "places")
    places = _along(node, index, x.shape)
    return r.reshape(r.take(r.reshape(x, (math.prod(x.shape),)), places.reshape(-1), 0), index.shape)


def _places(index: Array, shape: tuple[int, ...]) -> Array:
    """The number of each element that is meant, in memory's order: `[index…, inner]`."""
    depth = index.shape[-1]
    index = np.where(index < 0, index + np.array(shape[:depth]), index)
    inner = math.prod(shape[depth:])
    rows = np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), shape[:depth])
    return np.asarray(rows)[..., None] * inner + np.arange(inner)


def _along(node: Node, index: Array, shape: tuple[int, ...]) -> Array:
    axis = counted(node.attributes.get("axis", 0), len(shape))
    places: list[Array] = list(np.indices(index.shape))
    places[axis] = np.where(index < 0, index + shape[axis], index)
    return np.asarray(np.ravel_multi_index(tuple(places), shape))


def _written(r: Reader, node: Node, x: Symbol, places: Array, updates: Symbol) -> Symbol:
    """x with elements replaced: pieces side by side where one run of them is, else a gather of both."""
    if node.attributes.get("reduction", "none") != "none":
        raise UnsupportedError("adds to what it replaces")
    flat = places.reshape(-1)
    size = math.prod(x.shape)
    old, new = r.reshape(x, (size,)), r.reshape(updates, (flat.size,))
    start = int(flat[0])
    if np.array_equal(flat, start + np.arange(flat.size)):
        parts = [r.slice(old, 0, 0, start)] if start else []
        parts += [new]
        parts += [r.slice(old, 0, start + flat.size, size)] if start + flat.size < size else []
        return r.reshape(r.concat(parts, 0), x.shape)
    index = np.arange(size)
    index[flat] = size + np.arange(flat.size)
    both = r.concat([old, new], 0)
    return r.reshape(Known(both.array[index]) if isinstance(both, Known) else r.take(both, index, 0), x.shape)
