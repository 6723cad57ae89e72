"""Rings for tests of the web of trust, made without an agent: Ed25519 keys, user IDs, certifications of every kind.

A key is made once and used in many rings. Nothing here is checked: what is wrong gpg finds.
"""
import hashlib
import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

CURVE = bytes.fromhex("2B06010401DA470F01")
CURVE_25519 = bytes.fromhex("2B060104019755010501")
CREATION, EXPIRY, EXPORTABLE, TRUST, DOMAIN, REVOCABLE, KEY_EXPIRY, ISSUER, FLAGS, REASON, ISSUER_FINGERPRINT = (
    2, 3, 4, 5, 6, 7, 9, 16, 27, 29, 33)
TAG_SIGNATURE, TAG_KEY, TAG_USER_ID, TAG_SUBKEY = 2, 6, 13, 14


def mpi(number):
    number = number.lstrip(b"\0")
    return ((len(number) - 1) * 8 + number[0].bit_length()).to_bytes(2, "big") + number if number else b"\0\0"


def packet(tag, body):
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def subpacket(kind, body):
    length = len(body) + 1
    head = bytes([length]) if length < 192 else b"\xff" + length.to_bytes(4, "big")
    return head + bytes([kind]) + body


def four(number):
    return int(number).to_bytes(4, "big")


class Key:
    """An Ed25519 key made at `made` of 32 bytes; its packets are put together anew for each ring."""

    def __init__(self, made, seed):
        self.made = int(made)
        self.private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        point = self.private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.body = b"\x04" + four(made) + b"\x16" + bytes([len(CURVE)]) + CURVE + mpi(b"\x40" + point)
        self.hashed = b"\x99" + len(self.body).to_bytes(2, "big") + self.body
        self.fingerprint = hashlib.sha1(self.hashed).hexdigest().upper()

    def sign(self, kind, over, made, *subpackets):
        """A signature packet of this type over `over`, which is what stands before the trailer."""
        issuer = bytes.fromhex(self.fingerprint)
        hashed = b"".join((subpacket(ISSUER_FINGERPRINT, b"\x04" + issuer), subpacket(CREATION, four(made)))
                          + subpackets)
        head = b"\x04" + bytes([kind]) + b"\x16\x08" + len(hashed).to_bytes(2, "big") + hashed
        digest = hashlib.sha256(over + head + b"\x04\xff" + four(len(head))).digest()
        signature = self.private.sign(digest)
        unhashed = subpacket(ISSUER, issuer[-8:])
        return packet(TAG_SIGNATURE, head + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2]
                      + mpi(signature[:32]) + mpi(signature[32:]))

    def over(self, name):
        return self.hashed + b"\xb4" + four(len(name)) + name

    def bind(self, name, expires=0, name_expires=0):
        """A user ID with its self-signature; times are seconds since 1970."""
        more = [subpacket(FLAGS, b"\x03")]
        if expires:
            more.append(subpacket(KEY_EXPIRY, four(expires - self.made)))
        if name_expires:
            more.append(subpacket(EXPIRY, four(name_expires - self.made)))
        return packet(TAG_USER_ID, name) + self.sign(0x13, self.over(name), self.made, *more)

    def encryption(self):
        """A subkey to encrypt to (Curve25519; nobody has its private part), with its binding."""
        body = (b"\x04" + four(self.made) + b"\x12" + bytes([len(CURVE_25519)]) + CURVE_25519
                + mpi(b"\x40" + os.urandom(32)) + b"\x03\x01\x08\x07")
        over = self.hashed + b"\x99" + len(body).to_bytes(2, "big") + body
        return packet(TAG_SUBKEY, body) + self.sign(0x18, over, self.made, subpacket(FLAGS, b"\x0c"))

    def withdraw(self, made):
        """The revocation of the key itself."""
        return self.sign(0x20, self.hashed, made, subpacket(REASON, b"\x00"))

    def withdraw_name(self, name, made):
        return self.sign(0x30, self.over(name), made, subpacket(REASON, b"\x20"))

    def certify(self, other, name, made, level=0, **more):
        """A certification of another's user ID. `expires` (a time), `local`, `trust` (depth, amount), `domain`,
        `forever` (it cannot be revoked), `revokes` (it is a revocation)."""
        subpackets = []
        if more.get("expires"):
            subpackets.append(subpacket(EXPIRY, four(more["expires"] - made)))
        if more.get("local"):
            subpackets.append(subpacket(EXPORTABLE, b"\0"))
        if more.get("trust"):
            subpackets.append(subpacket(TRUST, bytes(more["trust"])))
        if more.get("domain"):
            subpackets.append(subpacket(DOMAIN, more["domain"].encode() + b"\0"))
        if more.get("forever"):
            subpackets.append(subpacket(REVOCABLE, b"\0"))
        if more.get("revokes"):
            return self.sign(0x30, other.over(name), made, subpacket(REASON, b"\x00"))
        return self.sign(0x10 + level, other.over(name), made, *subpackets)


def flood(count, made, issuer=None):
    """`count` certifications as small as they can be, each by another key that nobody has (or all by `issuer`, eight
    bytes). They verify nowhere; no two have the same numbers, since gpg would take them for one."""
    parts = []
    for i in range(count):
        body = (b"\x04\x10\x16\x08\x00\x06" + subpacket(CREATION, four(made + i % 1000)) + b"\x00\x0a"
                + subpacket(ISSUER, issuer or os.urandom(8)) + os.urandom(2) + mpi(b"\x80" + i.to_bytes(3, "big"))
                + mpi(b"\x01"))
        parts.append(bytes([0xC0 | TAG_SIGNATURE, len(body)]) + body)
    return b"".join(parts)
