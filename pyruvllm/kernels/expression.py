"""Arithmetic over the whole-number arguments of an operation: how long an operand is, and what must hold.

    cols / 32 * 18          rows * cols          cols % 32 == 0          first + count <= total

Names, whole numbers, + - * / % (division drops the rest), comparisons, ``and``. The same text is evaluated here and becomes C in the
kernel's own check, so both refuse the same arguments.
"""

import ast
from collections.abc import Mapping
from functools import cache

_LIMIT = 2**64 - 1  # the C twin saturates here
_C = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "times", ast.Div: "over", ast.Mod: "rest"}
_COMPARE = {ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


class Expression:
    """One such text. Raises ValueError where it holds anything else."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        try:
            self._tree = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            raise ValueError(f"{text!r} is no expression: {error.msg}") from None
        self.names = frozenset(node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name))
        self.c = _translated(self._tree, text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def __call__(self, values: Mapping[str, int]) -> int:
        """Its value, at most 2**64 - 1; a difference below zero and a division by zero are zero, as in C."""
        return _value(self._tree, values)


@cache
def shared(text: str) -> Expression:
    """The same one for the same text: operations have few texts, in many places."""
    return Expression(text)


def _value(node: ast.expr, values: Mapping[str, int]) -> int:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return int(values[node.id])
        case ast.BoolOp():
            return int(all(_value(part, values) for part in node.values))
        case ast.Compare():
            left, right = _value(node.left, values), _value(node.comparators[0], values)
            match node.ops[0]:
                case ast.Eq():
                    return int(left == right)
                case ast.NotEq():
                    return int(left != right)
                case ast.Lt():
                    return int(left < right)
                case ast.LtE():
                    return int(left <= right)
                case ast.Gt():
                    return int(left > right)
            return int(left >= right)
    left, right = _value(node.left, values), _value(node.right, values)
    match node.op:
        case ast.Add():
            return min(left + right, _LIMIT)
        case ast.Sub():
            return max(left - right, 0)
        case ast.Mult():
            return left * right if left.bit_length() + right.bit_length() <= 64 else _LIMIT  # as C can tell without 128 bits
        case ast.Div():
            return left // right if right else 0
    return left % right if right else 0


def _translated(node: ast.expr, text: str) -> str:
    """The C for it, over ``a->name``, in saturating u64 arithmetic (abi.h)."""
    match node:
        case ast.Constant() if type(node.value) is int and 0 <= node.value <= 2**32:
            return f"{node.value}ull"
        case ast.Name():
            return f"(u64)a->{node.id}"
        case ast.BoolOp(op=ast.And()):
            return "(" + " && ".join(_translated(part, text) for part in node.values) + ")"
        case ast.Compare(ops=[op]) if type(op) in _COMPARE:
            return f"({_translated(node.left, text)} {_COMPARE[type(op)]} {_translated(node.comparators[0], text)})"
        case ast.BinOp() if type(node.op) in _C:
            return f"{_C[type(node.op)]}({_translated(node.left, text)}, {_translated(node.right, text)})"
    raise ValueError(f"{text!r} holds {ast.unparse(node)!r}; names, whole numbers, + - * / %, one comparison and `and` are allowed")
