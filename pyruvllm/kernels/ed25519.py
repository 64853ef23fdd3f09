"""Verifying Ed25519 signatures in plain Python (RFC 8032): for hosts that have nothing faster. It takes milliseconds and keeps no secrets.

A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z on the curve -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo P.
"""

from hashlib import sha512

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493  # the order of BASE
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1

Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def sound(public: bytes, signature: bytes) -> bool:
    """Whether they are the one way to write what they write: full length, s below L, both points below P.

    Implementations differ in what else they take; asked this first, they agree.
    """
    if len(public) != 32 or len(signature) != 64 or int.from_bytes(signature[32:], "little") >= L:
        return False
    return all(int.from_bytes(point, "little") & ~(1 << 255) < P for point in (public, signature[:32]))


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    if not sound(public, signature):
        return False
    key = decoded(public)
    if key is None:
        return False
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(sha512(signature[:32] + public + message).digest(), "little") % L
    minus = (P - key[0], key[1], 1, P - key[3])
    return encoded(combined(s, BASE, h, minus)) == signature[:32]  # R = s B - h A


def decoded(content: bytes) -> Point | None:
    """The point that 32 bytes name: y, and in the highest bit whether x is odd. None where there is none."""
    number = int.from_bytes(content, "little")
    odd, y = number >> 255, number & ~(1 << 255)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT % P
    if x * x % P != square or (odd and not x):
        return None
    x = P - x if x & 1 != odd else x
    return (x, y, 1, x * y % P)


def encoded(point: Point) -> bytes:
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def added(p: Point, q: Point) -> Point:
    """Complete: also for equal points and the neutral one (RFC 8032, 5.1.4)."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * D * p[3] * q[3] % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def combined(m: int, p: Point, n: int, q: Point) -> Point:
    """m p + n q."""
    steps = {(1, 0): p, (0, 1): q, (1, 1): added(p, q)}
    total = NEUTRAL
    for bit in reversed(range(max(m.bit_length(), n.bit_length()))):
        total = added(total, total)
        step = (m >> bit & 1, n >> bit & 1)
        if step != (0, 0):
            total = added(total, steps[step])
    return total


BASE = decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
