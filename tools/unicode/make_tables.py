#!/usr/bin/env python3
"""Writes the tables of Unicode normalisation that the tokenizer needs (src/ParVts.Engine/Text/unicode.bin).

.NET normalises text through ICU, which a small container does not have, so the engine brings its own tables.
Source: Python's unicodedata (the Unicode Character Database). Run: python3 tools/unicode/make_tables.py

Layout, little-endian int32 throughout:
  canonical decompositions      count, then (code point, length, code points ...)
  compatibility decompositions  the same; only where they differ from the canonical ones
  combining classes             count, then (code point, class)
  compositions                  count, then (first, second, composed)
Decompositions are complete (applied again until nothing changes) and ordered. Hangul is left out: it is arithmetic.
"""
import struct
import sys
import unicodedata
from pathlib import Path

HANGUL = range(0xAC00, 0xD7A4)


def main() -> None:
    out = []

    def write(*values: int) -> None:
        out.append(struct.pack(f"<{len(values)}i", *values))

    points = [p for p in range(0x110000) if not 0xD800 <= p < 0xE000 and p not in HANGUL]
    canonical = {p: unicodedata.normalize("NFD", chr(p)) for p in points}
    compatible = {p: unicodedata.normalize("NFKD", chr(p)) for p in points}
    for table in (
        {p: text for p, text in canonical.items() if text != chr(p)},
        {p: text for p, text in compatible.items() if text != canonical[p]},
    ):
        write(len(table))
        for point, text in table.items():
            write(point, len(text), *map(ord, text))

    classes = {p: unicodedata.combining(chr(p)) for p in points if unicodedata.combining(chr(p))}
    write(len(classes))
    for point, value in classes.items():
        write(point, value)

    pairs = []
    for point in points:
        parts = unicodedata.decomposition(chr(point)).split()
        if len(parts) == 2 and not parts[0].startswith("<") and unicodedata.normalize("NFC", chr(point)) == chr(point):
            pairs.append((int(parts[0], 16), int(parts[1], 16), point))
    write(len(pairs))
    for pair in pairs:
        write(*pair)

    target = Path(__file__).resolve().parents[2] / "src/ParVts.Engine/Text/unicode.bin"
    target.write_bytes(b"".join(out))
    print(f"Unicode {unicodedata.unidata_version}: {target.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
