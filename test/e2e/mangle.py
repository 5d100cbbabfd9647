# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged messages: cut short, bits flipped, and streams of garbage. All choices come from the generator given."""

import re

WORDS = [b"INVITE", b"ACK", b"BYE", b"CANCEL", b"OPTIONS", b"SIP/2.0", b"sip:", b"sips:", b"tel:", b"bob@example.org", b" ", b"\t",
         b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\r\n ", b"Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK", b"v:", b"From: ", b"f:", b"To: ",
         b"t:", b"Call-ID: ", b"i:", b"CSeq: ", b"Contact: ", b"m:", b"Route: ", b"Record-Route: ", b"Content-Length: ", b"l:",
         b";tag=", b";did=", b";lr", b";branch=", b"<", b">", b'"', b"\\", b";", b",", b"=", b"@", b":", b"%00", b"%", b"\0", b"200", b"180",
         b"487", b"0", b"1", b"-1", b"4294967296", b"99999999999999999999", b"[::1]", b"255.255.255.255", b"\xff\xfe", b"x" * 300,
         b"Max-Forwards: 70\r\n", b"Expires: ", b"Require: ", b"*"]


def cuts(rng, raw, count):
    """The message cut short: `count` different lengths, or all."""
    lengths = list(range(len(raw)))
    if count < len(lengths):
        lengths = rng.sample(lengths, count)
    return [raw[:n] for n in lengths]


def flip(rng, raw, places=None, bits=1):
    """So many bits flipped at `places`, anywhere if there are none."""
    out = bytearray(raw)
    for _ in range(bits):
        out[rng.choice(places) if places else rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def identity(raw):
    """Where Call-ID, tags and cookie stand in a message."""
    places = []
    for m in re.finditer(rb"\r\nCall-ID: ([^\r]+)|;tag=([^;\r]+)|;did=([^;>\r]+)", raw):
        group = next(i for i in (1, 2, 3) if m.group(i))
        places += range(m.start(group), m.end(group))
    return places


def flip_identity(rng, raw):
    """One bit of the identity flipped, but none that only changes the case of a letter."""
    while True:
        at, bit = rng.choice(identity(raw)), 1 << rng.randrange(8)
        if bit != 0x20 or not raw[at:at + 1].isalpha():
            return raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1:]


def garbage(rng, size):
    """A datagram of `size` bytes or so: noise, words of SIP in no order, or one line without end."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randbytes(size)
    if kind == 1:
        return rng.choice((b"INVITE ", b"SIP/2.0 200 ", b"\r\n", b" ")) + b"a" * size
    out = rng.choice((b"INVITE sip:bob@example.org SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"")) if kind == 2 else b""
    while len(out) < size:
        out += rng.choice(WORDS)
    return out
