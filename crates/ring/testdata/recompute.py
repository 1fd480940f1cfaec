#!/usr/bin/env python3
"""Recomputes the golden vectors from the description of scheme 1, without the Rust code.

    python3 recompute.py           compare the files with what is computed here
    python3 recompute.py --write   write the files (needs the module `xxhash`)

golden-v1.txt is the ring, golden-algorithms-v1.txt what algorithms.py describes.

Scheme 1: the point of a key is the hash of its bytes; the point of token i of a server is the
hash of its id followed by i as four little-endian bytes. sha1: the first eight bytes of the
digest, big-endian. xxh3: 64 bits, seed 0. The owner is the first token at or after the point,
after the last token comes the first; equal tokens are settled by the smaller id. Then the
nearest server of each zone, then the second of each zone, and so on; a server without a zone
has one of its own.
"""

import hashlib
import pathlib
import struct
import sys

# The folder holds test data only.
sys.dont_write_bytecode = True

import algorithms  # noqa: E402

try:
    import xxhash
except ImportError:
    xxhash = None

FILE = pathlib.Path(__file__).with_name("golden-v1.txt")
ALGORITHMS = pathlib.Path(__file__).with_name("golden-algorithms-v1.txt")
KEYS = [b"", b"a", b"user-17", b"\x00\xff\x00\xff", bytes(range(16)), bytes(range(256)) * 5]
# id, weight, zone
RINGS = {
    "plain": [("n1", 1, ""), ("n2", 1, ""), ("n3", 1, ""), ("n4", 1, "")],
    "zones": [("a1", 1, "a"), ("a2", 2, "a"), ("b1", 1, "b"), ("b2", 3, "b"), ("c1", 1, "c"),
              ("lone", 1, ""), ("drained", 0, "d")],
    "two-zones": [("a1", 1, "a"), ("a2", 1, "a"), ("a3", 1, "a"), ("b1", 1, "b"), ("b2", 1, "b")],
}
TOKENS_PER_WEIGHT = [3, 128]


def sha1(data):
    return int.from_bytes(hashlib.sha1(data).digest()[:8], "big")


def xxh3(data):
    return xxhash.xxh3_64_intdigest(data, seed=0)


def tokens(hash_, servers, per_weight):
    return sorted((hash_(id_.encode() + struct.pack("<I", i)), id_)
                  for id_, weight, _ in servers for i in range(weight * per_weight))


def locate(ring, zone_of, point):
    order = []
    for token in [t for t in ring if t[0] >= point] + [t for t in ring if t[0] < point]:
        if token[1] not in order:
            order.append(token[1])
    chosen, depth = [], 0
    while len(chosen) < len(order):
        for id_ in order:
            in_zone = [other for other in chosen if zone_of[other] == zone_of[id_]]
            if id_ not in chosen and len(in_zone) <= depth:
                chosen.append(id_)
        depth += 1
    return chosen


def lines(name, hash_):
    for key in KEYS:
        yield f"key {name} {key.hex() or '-'} {hash_(key):016x}"
    for ring_name, servers in RINGS.items():
        zone_of = {id_: zone or f"zone of {id_} alone" for id_, _, zone in servers}
        for per_weight in TOKENS_PER_WEIGHT:
            ring = tokens(hash_, servers, per_weight)
            for point, id_ in ring if per_weight == 3 else ring[:3] + ring[-3:]:
                yield f"token {name} {ring_name} {per_weight} {point:016x} {id_}"
            points = [0, 1, 2**64 - 1, ring[0][0], ring[0][0] + 1, ring[-1][0], ring[-1][0] + 1]
            points += [hash_(key) for key in KEYS] + [i << 61 for i in range(1, 8)]
            for point in points:
                found = ",".join(locate(ring, zone_of, point))
                yield f"locate {name} {ring_name} {per_weight} {point:016x} {found}"


def header():
    yield "# Made by recompute.py, read by tests/golden.rs. Never change a line: it is a format."
    for ring_name, servers in RINGS.items():
        for id_, weight, zone in servers:
            yield f"server {ring_name} {id_} {weight} {zone or '-'}"


def compare(file, computed):
    stored = file.read_text().splitlines()
    if not xxhash:
        stored = [line for line in stored if line.split()[1] != "xxh3"]
    if stored != computed:
        sys.exit(f"{file.name} differs from scheme 1")
    print(f"{file.name}: {len(computed)} lines agree")


def main():
    hashes = [("sha1", sha1)] + ([("xxh3", xxh3)] if xxhash else [])
    if not xxhash:
        print("no module xxhash: comparing sha1 only")
    ring = [*header(), *(line for hash_ in hashes for line in lines(*hash_))]
    others = [*algorithms.lines(hashes, RINGS)]
    for file, computed in [(FILE, ring), (ALGORITHMS, others)]:
        if "--write" in sys.argv:
            file.write_text("\n".join(computed) + "\n")
        else:
            compare(file, computed)


main()
