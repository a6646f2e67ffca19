"""Small functions for the families: every spelling of an operation that PyTorch's graphs may hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

aten = torch.ops.aten


def arithmetic(m: nn.Module, x: Tensor) -> Tensor:
    """Numbers and tensors as operands, on either side."""
    y = aten.add.Scalar(x, 1.0) + aten.sub.Scalar(x, 2.0) + aten.mul.Scalar(x, 3.0) + aten.div.Scalar(x, 4.0)
    y = y + aten.rsub.Scalar(x, 1.0) + aten.rsub.Tensor(x, y) + aten.pow.Scalar(2.0, x)
    y = y + aten.pow.Tensor_Tensor(x.abs() + 1, x) - (-x) * aten.square(x)
    y = torch.maximum(y, x) + torch.minimum(y, aten.clamp_min(x, -0.5)) + aten.clamp_max(x, 0.5)
    return y + functional.hardtanh(x) + functional.relu6(x) + m.slope(x.transpose(1, 2)).transpose(1, 2)


def functions(m: nn.Module, x: Tensor) -> Tensor:
    """Functions of one element."""
    size = x.abs() + 0.5
    y = torch.exp(x) + torch.expm1(x) + torch.log1p(size) + torch.log2(size) + torch.log10(size) + torch.rsqrt(size)
    y = y + torch.reciprocal(size) + torch.erf(x) + torch.sin(x) + torch.cos(x) + torch.sign(x)
    z = torch.floor(3 * x) + torch.ceil(3 * x) + torch.round(3 * x) + functional.softsign(x)
    return y + z + functional.hardsigmoid(x) + functional.gelu(x) + x.square()


def comparisons(m: nn.Module, x: Tensor) -> Tensor:
    """Truth values: made, joined, and choosing."""
    y = x.flip(-1)
    some = (x >= 0.1) | (x > y) & (x <= 3.0) & (y <= x) | (x == 1.0) | (y < -1) | (x < y)
    other = torch.logical_or(x >= y, ~(x == y)) & torch.logical_and(x != y, torch.logical_not(x != 0.25)) | (x > 1)
    other = aten.bitwise_or.Tensor(aten.bitwise_and.Tensor(other, some), x > 2)
    other = other | (x > 0.2) * (y > 0.3)
    chosen = torch.where(some, x, 0.5) + torch.where(other, 2.0, y) + x.masked_fill(other, -1.0)
    return (
        chosen
        + torch.where(some, x, y)
        + some.float()
        + other.type_as(x)
        + aten.to.device(x > 0, x.device, torch.float32)
    )


def shapes(m: nn.Module, x: Tensor) -> Tensor:
    """Axes added, dropped, split, moved and joined; x [batch, time, 8]."""
    index = torch.tensor([3, 1, 0, 2])
    a, b = x.split(4, -1)
    c, d, e = x.split([2, 4, 2], -1)
    parts = torch.stack([a, b, d, x.index_select(-1, index)], 2)  # [batch, time, 4, 4]
    parts = parts.mT + parts.swapaxes(2, 3) + parts.movedim(2, -1)
    first, *_ = parts.unbind(2)
    wide = x.unflatten(-1, (2, 4)).flatten(-2).unsqueeze(-1).squeeze(-1).squeeze((0,)).unsqueeze(0)
    turned = x[0].t().T.mT.squeeze().t().unsqueeze(0)
    same = aten.alias(aten.detach(x.contiguous().clone().cpu()))
    whole = torch.cat([first, wide, turned, same, c, e, functional.one_hot(index, 4).float().sum(0).expand(1, 1, 4)
                       .expand(1, x.shape[1], 4)], -1)  # fmt: skip
    return aten.constant_pad_nd(whole, [1, 2], 0.5)


def constants(m: nn.Module, x: Tensor) -> Tensor:
    """Values made from the length alone."""
    length = x.shape[1]
    steps = torch.arange(length) + torch.arange(1, length + 1) + torch.arange(0, 2 * length, 2)
    flat = torch.zeros(length) + torch.ones(length) * torch.full((length,), 0.5)
    like = torch.zeros_like(x) + torch.ones_like(x) + torch.full_like(x, 2.0)
    return x + (steps.float() / 100 + flat).unsqueeze(-1) + like + aten._to_copy(steps.unsqueeze(-1), dtype=torch.float)


def products(m: nn.Module, x: Tensor) -> Tensor:
    """Matrix products in every form; x [batch, time, 8]."""
    matrix = m.out.weight
    y = aten.mm(x[0], matrix) + aten.addmm(m.out.bias, x[0], matrix)
    y = y + aten.mv(x[0], matrix[0]).unsqueeze(-1) + (matrix @ x.transpose(1, 2)).transpose(1, 2)[0]
    scores = aten.bmm(x.reshape(-1, 2, 4), x.reshape(-1, 4, 2))  # of each frame
    return y.unsqueeze(0) + aten._unsafe_view(scores, [1, x.shape[1], 4]).repeat_interleave(2, -1)


def deviations(m: nn.Module, x: Tensor) -> Tensor:
    """Sums, means, extremes and deviations of features."""
    y = x.unflatten(-1, (2, 4))
    parts = [x.sum(-1), x.std(-1), x.var(-1), y.mean((2, 3)), y.amax((2, 3)), y.amin(-1).sum(-1), aten.std.dim(x, [-1])]
    parts += [aten.var.dim(x, [-1], False), x.max(-1).values, x.min(-1)[0], torch.var(x, -1, correction=2)]
    parts += [torch.std(x, -1, correction=0), torch.max(x[..., 0], x[..., 1]), torch.min(x[..., 2], x[..., 3])]
    return torch.stack(parts, -1)


def attention(m: nn.Module, x: Tensor) -> Tensor:
    """Frames that attend to frames, a step of it at a time; x [batch, time, 8]."""
    index = torch.arange(x.shape[1])
    behind = index[:, None] - index
    band = (behind >= -1) & (behind < 4)
    scores = aten.mm(x[0], x[0].t())
    scores /= 3.0
    scores *= 2.0
    scores += -0.1 * behind.abs()
    scores.masked_fill_(~band, float("-inf"))
    y = aten.mm(scores.softmax(-1), x[0]).unsqueeze(0)
    heads = x.view(-1, 2, 4).transpose(0, 1)
    scores = (aten.bmm(heads, heads.transpose(1, 2)) - 0.2 * behind.abs()).contiguous().clone()
    scores = torch.where(band, scores, float("-inf")).unsqueeze(0)
    mixed = aten.bmm(torch.softmax(scores, 3).squeeze(0), heads)
    scores = torch.where(band, torch.matmul(heads, heads.mT).reshape(1, 2, *band.shape), torch.tensor(-1e9))
    mixed = mixed + functional.dropout(scores.softmax(-1), 0.5, False).view(2, *band.shape) @ heads
    return y + mixed.transpose(0, 1).reshape(1, -1, 8)


def pooling(m: nn.Module, x: Tensor) -> Tensor:
    """The weights of a softmax over time on their way to a product; x [batch, time, 8]."""
    column = torch.softmax(x.mean(-1, keepdim=True), 1)
    row = column.contiguous().clone().permute(0, 2, 1)
    y = aten.bmm(functional.dropout(row, 0.5, False), x) + torch.softmax(x[..., 0], -1).unsqueeze(1) @ x
    y = y + column.mT @ x + (column.squeeze(-1).unsqueeze(-1) * x).sum(1, keepdim=True)
    each = torch.softmax(x, 1).transpose(1, 2).contiguous()
    return y + column.view(1, 1, -1) @ x + (each.reshape(1, 8, -1) @ x).mean(1, keepdim=True)


def complex_values(m: nn.Module, x: Tensor) -> Tensor:
    """Complex arithmetic on pairs of features; x [batch, time, 8]."""
    z = torch.view_as_complex(x.unflatten(-1, (4, 2)))
    y = z * z.conj() + aten.conj_physical(z) * (2 + 1j) - (-z) / (x[..., :4].abs() + 1) + z.resolve_conj() * 0.5
    return torch.view_as_real(y).flatten(-2) + torch.cat([y.real, y.imag], -1)


def decompositions(m: nn.Module, x: Tensor) -> Tensor:
    """What has no rule of its own, but whose parts have; x [batch, time, 8]."""
    y = m.norm(x) + torch.einsum("btf,fo->bto", x, m.out.weight)
    y = torch.lerp(y, x, 0.3) + torch.lerp(x, y, torch.sigmoid(x)) + functional.softshrink(x, 0.3)
    y += functional.hardshrink(x) + torch.addcmul(x, x, y, value=0.5) + functional.threshold(x, 0.1, -0.2)
    y.lerp_(x, 0.25)
    half = y.narrow(-1, 0, 4).tile(1, 1, 2) + x.view_as(y).reshape_as(y) + x.new_zeros(x.shape) + x.new_ones(8)
    outer = torch.einsum("btf,btg->btfg", x[..., :4], y[..., :2]).flatten(2)
    numbers = [torch.logsumexp(x, -1), torch.logaddexp(x[..., 0], y[..., 0]), torch.linalg.norm(x, dim=-1)]
    numbers += [torch.cosine_similarity(x, y, -1), torch.exp2(x[..., 1])]
    first, second = torch.einsum("bft,of->bot", x.swapdims(1, 2), m.out.weight).mT.tensor_split(2, -1)
    limited = x.clamp(-m.out.bias.abs(), x.abs() / 2)
    return torch.cat([half, outer, torch.stack(numbers, -1), first * second, limited], -1)


def over_time(m: nn.Module, x: Tensor) -> Tensor:
    """Frames beside those before them; x [batch, time, 8]."""
    start = torch.zeros_like(x[:, :1])
    before = torch.cat([start, x[:, :-1]], 1)
    change = torch.diff(x, dim=1, prepend=start)
    context = functional.pad(x, (0, 0, 2, 0)).unfold(1, 3, 1)  # [batch, time, 8, 3]
    pairs = x.unfold(-1, 4, 2).flatten(2)
    places = torch.stack([x.argmax(-1), x.unflatten(-1, (2, 4)).argmin(2)[..., 1]], -1)
    ramp = x * torch.linspace(0, 1, 8) + torch.ones_like(x[0, 0]) + torch.full_like(x[:, 0:1], 0.5)
    return torch.cat([before, change, context.flatten(2), pairs, places.float(), ramp], -1)
