"""The boards that models live on: what they are, what is built for them, and what may be claimed of them."""

from edgernn.targets.board import EVIDENCE, Board, boards, find_board

__all__ = ["EVIDENCE", "Board", "boards", "find_board"]
