#!/usr/bin/env python3
"""The algorithms beside the ring from their description, without the Rust code.

mix: the finalizer of SplitMix64. derived(p, n) = mix(p xor mix(n + step)). A number below b from a
point: the top 64 bits of their product. Several nodes: those of p, then of derived(p, 2^32 + i) for
i = 1, 2, ... below 16 times the nodes, then the rest in order; each once.
"""

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15
FRACTION, TABLE_BITS = 40, 10


def mix(x):
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def derived(point, number):
    return mix(point ^ mix((number + STEP) & MASK))


def below(point, bound):
    return point * bound >> 64


def jump_back(point, n):
    """Ertl, arXiv 2403.18682; the generator is SplitMix64, seeded with the point."""
    if n <= 1:
        return 0
    states = iter(range(1, 10**9))
    draw = lambda: mix((point + next(states) * STEP) & MASK)  # noqa: E731
    v = draw()
    u = (v ^ (v >> 32)) & ((1 << (n - 1).bit_length()) - 1)
    while u:
        q = 1 << (u.bit_length() - 1)
        b = q + ((v >> (32 * (bin(u).count("1") % 2))) & (q - 1))
        candidates = [b]
        while True:
            b = candidates.pop(0)
            if b < q:
                break
            if b < n:
                return b
            if not candidates:
                w = draw()
                candidates = [w & (2 * q - 1), (w >> 32) & (2 * q - 1)]
        u ^= q
    return 0


class Memento:
    """Coluzzi et al., arXiv 2306.09783, over jump_back."""

    def __init__(self, n, removals):
        self.n, self.removed = n, {}
        for b in removals:
            if not self.removed and b == self.n - 1:
                self.n -= 1
            else:
                self.removed[b] = self.n - len(self.removed) - 1

    def __call__(self, point):
        b = jump_back(point, self.n)
        while b in self.removed:
            left = self.removed[b]
            d = below(derived(point, b), left)
            while self.removed.get(d, -1) >= left:
                d = self.removed[d]
            b = d
        return b

    def all(self):
        return [b for b in range(self.n) if b not in self.removed]


def several(point, count, node_of, nodes):
    out = []
    tries = [point] + [derived(point, 2**32 + i) for i in range(1, 16 * len(nodes))]
    for node in [node_of(p) for p in tries if nodes] + nodes:
        if node not in out:
            out.append(node)
    return out[:count]


def log2(x):
    """Of x / 2^63 in [1, 2), by squaring, FRACTION bits."""
    log = 0
    for _ in range(FRACTION):
        square = x * x >> 63
        carry = square >> 64
        log, x = log << 1 | carry, square >> carry
    return log


TABLE = [log2((1 << 63) + (i << (63 - TABLE_BITS))) for i in range(1 << TABLE_BITS)] + [1 << FRACTION]


def neg_log2(u):
    u = max(u, 1)
    zeros = 64 - u.bit_length()
    rest_bits = 63 - TABLE_BITS
    index, rest = divmod((u << zeros) - (1 << 63), 1 << rest_bits)
    log = TABLE[index] + ((TABLE[index + 1] - TABLE[index]) * rest >> rest_bits)
    return ((zeros + 1) << FRACTION) - log


def rendezvous(point, hash_, servers):
    """-log2(u) / weight, least first, then by id; the best of each zone, then the second best."""
    from fractions import Fraction

    lots = sorted((Fraction(neg_log2(mix(point ^ hash_(id_.encode()))), weight), id_, zone or id_ + " alone")
                  for id_, weight, zone in servers if weight)
    depth, ranked = {}, []
    for place, (_, id_, zone) in enumerate(lots):
        ranked.append((depth.get(zone, 0), place, id_))
        depth[zone] = depth.get(zone, 0) + 1
    return [id_ for _, _, id_ in sorted(ranked)]


def lines(hashes, rings):
    yield "# Made by recompute.py, read by tests/golden_algorithms.rs. Never change a line."
    points = [0, 1, MASK, 0x123456789ABCDEF] + [mix(i * STEP & MASK) for i in range(1, 29)]
    show = lambda nodes: ",".join(map(str, nodes)) or "-"  # noqa: E731
    for n in [1, 2, 3, 7, 8, 9, 100, 1000, 65536, 2**31, 2**32 - 1]:
        for point in points:
            yield f"jump_back {n} - {point:016x} {jump_back(point, n)}"
    for n in [0, 1, 5, 40]:
        for point in points[:12]:
            found = several(point, 4, lambda p: jump_back(p, n), list(range(n)))
            yield f"jump_back_locate {n} - {point:016x} {show(found)}"
    for n, removals in [(1, []), (5, [4, 3]), (5, [2, 4, 0]), (10, [0, 9, 5, 1, 7, 2]), (40, list(range(0, 40, 3)))]:
        memento = Memento(n, removals)
        for point in points:
            found = several(point, 3, memento, memento.all())
            yield f"memento {n} {show(removals)} {point:016x} {show(found)}"
    for name, hash_ in hashes:
        for ring_name, servers in rings.items():
            for point in points:
                found = rendezvous(point, hash_, servers)
                yield f"rendezvous {name} {ring_name} {point:016x} {show(found)}"
