"""What has no rule, taken apart into operations that have one by PyTorch's own decompositions."""

from __future__ import annotations

import torch
from torch import fx
from torch.export.graph_signature import InputKind

from edgernn.export.in_place import out_of_place
from edgernn.export.nodes import op_name
from edgernn.export.rules import find_attention_rule, find_rule

_OF_OTHERS = torch._C.DispatchKey.CompositeImplicitAutograd


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same program without the operations that an input reaches and that only their parts have rules for.

    A program whose operations all have rules stays as it is, its names too. What depends on no input is evaluated, so
    it may be any operation.
    """
    taken: set[torch._ops.OpOverload] = set()
    while found := _without_rule(program) - taken:
        known = torch.export.default_decompositions()
        table = {operation: known[operation] for operation in found if operation in known}
        # views of other operations (`view_as`, `narrow`) come apart whatever the table says
        if not table and not any(operation.has_kernel_for_dispatch_key(_OF_OTHERS) for operation in found):
            break
        program = program.run_decompositions(table)
        taken |= found
    return program


def _without_rule(program: torch.export.ExportedProgram) -> set[torch._ops.OpOverload]:
    """Operations without a rule that an input reaches, those that work in place as what they leave."""
    reached: set[fx.Node] = set()
    given = {item.arg.name for item in program.graph_signature.input_specs if item.kind is InputKind.USER_INPUT}
    for node in program.graph.nodes:
        if node.name in given or any(item in reached for item in node.all_input_nodes):
            reached.add(node)
    # the bodies of custom cells, which are graphs of their own
    inner = (item for item in program.graph_module.modules() if item is not program.graph_module)
    nodes = [node for item in inner if isinstance(item, fx.GraphModule) for node in item.graph.nodes]
    found = set()
    for node in (*reached, *nodes):
        if not isinstance(node.target, torch._ops.OpOverload) or node.target.namespace != "aten":
            continue
        name = out_of_place(op_name(node)) or op_name(node)
        if find_rule(name) is None and find_attention_rule(name) is None:
            kind, overload = name.split(".")
            packet = getattr(torch.ops.aten, kind, None)
            if packet is not None and overload in packet.overloads():
                found.add(getattr(packet, overload))
    return found
