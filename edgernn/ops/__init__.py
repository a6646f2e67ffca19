"""The step operations, one file each: definition, shape rule, float reference."""

from edgernn.ops.arithmetic import Binary, Clip, Unary, Where
from edgernn.ops.conv1d import Conv1d
from edgernn.ops.conv2d import Conv2d
from edgernn.ops.cumsum import CumSum
from edgernn.ops.embedding import Embedding
from edgernn.ops.frame_index import FrameIndex
from edgernn.ops.gru import GRU
from edgernn.ops.history import History
from edgernn.ops.int4 import Int4
from edgernn.ops.istft import IRFFT, OverlapAdd
from edgernn.ops.layout import Cast, Concat, Expand, Fill, Gather, PadFeatures, Reshape, Slice, Transpose
from edgernn.ops.linear import Linear, MatMul
from edgernn.ops.lstm import LSTM
from edgernn.ops.norm import BatchNorm, LayerNorm
from edgernn.ops.pool import Pool
from edgernn.ops.qarithmetic import QAdd, QMul, QUnary
from edgernn.ops.qconv1d import QConv1d
from edgernn.ops.qconv2d import QConv2d
from edgernn.ops.qgru import QGRU
from edgernn.ops.qlinear import QLinear
from edgernn.ops.qlstm import QLSTM
from edgernn.ops.qrnn import QRNN
from edgernn.ops.quantize import Dequantize, Quantize, Rescale
from edgernn.ops.reduce import Reduce
from edgernn.ops.reflect import Reflect
from edgernn.ops.rnn import RNN
from edgernn.ops.running import CumMax, RunningMean
from edgernn.ops.softmax import Softmax
from edgernn.ops.stft import STFT
from edgernn.ops.validity import CountSteps, Mask, Validity

__all__ = [
    "GRU",
    "IRFFT",
    "LSTM",
    "QGRU",
    "QLSTM",
    "QRNN",
    "RNN",
    "STFT",
    "BatchNorm",
    "Binary",
    "Cast",
    "Clip",
    "Concat",
    "Conv1d",
    "Conv2d",
    "CountSteps",
    "CumMax",
    "CumSum",
    "Dequantize",
    "Embedding",
    "Expand",
    "Fill",
    "FrameIndex",
    "Gather",
    "History",
    "Int4",
    "LayerNorm",
    "Linear",
    "Mask",
    "MatMul",
    "OverlapAdd",
    "PadFeatures",
    "Pool",
    "QAdd",
    "QConv1d",
    "QConv2d",
    "QLinear",
    "QMul",
    "QUnary",
    "Quantize",
    "Reduce",
    "Reflect",
    "Rescale",
    "Reshape",
    "RunningMean",
    "Slice",
    "Softmax",
    "Transpose",
    "Unary",
    "Validity",
    "Where",
]
