"""Mail by S/MIME as openssl writes it, with an authority and persons that are made once for a test program."""
import base64
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import harness
from harness import ALICE, BOB, CAROL
from shapes import split
from test_smime import Authority, compressed

P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
MAIL = ("basicConstraints=CA:FALSE", "extendedKeyUsage=emailProtection")
GCM, CBC = "aes-256-gcm", "aes-256-cbc"

_MADE = {}


class People:
    """Alice has a certificate of either kind, so has Bob; Carol's is there to encrypt to, and Mallory's issuer is
    nobody's anchor. Each is a pair of files, certificate and key."""

    def __init__(self, folder):
        self.authority, self.stranger = Authority(folder, "root"), Authority(folder, "stranger")
        rows = (("alice", ALICE, ("rsa:2048",)), ("alice_ec", ALICE, P256), ("bob", BOB, ("rsa:2048",)),
                ("bob_ec", BOB, P256), ("carol", CAROL, P256))
        for name, address, key in rows:
            setattr(self, name, self.authority.issue(address, name, MAIL, key))
        self.mallory = self.stranger.issue(BOB, "mallory", MAIL, P256)
        self.folder = folder

    def own(self):
        """Files to be imported as Alice's own."""
        return [*self.alice, *self.alice_ec]


def people():
    if not _MADE:
        _MADE["folder"] = tempfile.mkdtemp(prefix="pv")
        _MADE["people"] = People(_MADE["folder"])
        unittest.addModuleCleanup(_close)
    return _MADE["people"]


def _close():
    if _MADE:
        shutil.rmtree(_MADE["folder"], ignore_errors=True)
        _MADE.clear()


def import_own(config, *files):
    """Gives the account its certificates with their private keys."""
    done = subprocess.run([harness.PRIVYSEAL, "key", "import", "--own", "--config", config, *files],
                          capture_output=True, check=False, timeout=60, start_new_session=True)
    if done.returncode != 0:
        raise AssertionError(done.stdout.decode() + done.stderr.decode())


def account():
    """Lines of an account that trusts the authority."""
    return '    smime_ca = "%s"\n' % people().authority.certificate


# ---- layers: each takes an entity and gives back one ----

def leaf(der, kind=None, content_type="application/pkcs7-mime"):
    parameter = b"; smime-type=" + kind.encode() if kind else b""
    return (b"Content-Type: " + content_type.encode() + parameter + b"; name=smime.p7m\r\n"
            b"Content-Transfer-Encoding: base64\r\n\r\n" + re.sub(rb"(.{1,64})", rb"\1\r\n", base64.b64encode(der)))


def der_signed(entity, by, *options):
    return people().authority.run("cms", "-sign", "-binary", "-outform", "DER", "-signer", by[0], "-inkey", by[1],
                                  *options, data=entity)


def opaque(entity, by=None):
    return leaf(der_signed(entity, by or people().bob, "-nodetach"), "signed-data")


def detached(entity, by=None):
    encoded = leaf(der_signed(entity, by or people().bob)).split(b"\r\n\r\n", 1)[1]
    return (b"Content-Type: multipart/signed; micalg=sha-256; boundary=\"sig\";\r\n"
            b" protocol=\"application/pkcs7-signature\"\r\n\r\n--sig\r\n" + entity + b"\r\n--sig\r\nContent-Type: "
            b"application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n" + encoded +
            b"\r\n--sig--\r\n")


def der_encrypted(entity, to=None, cipher=GCM):
    return people().authority.run("cms", "-encrypt", "-binary", "-outform", "DER", "-" + cipher, "-recip",
                                  (to or people().alice)[0], data=entity)


def enveloped(entity, to=None, cipher=GCM):
    return leaf(der_encrypted(entity, to, cipher), "authEnveloped-data" if cipher == GCM else "enveloped-data")


def packed(entity):
    return leaf(compressed(entity), "compressed-data")


# ---- messages ----

def entity_of(message):
    mime, _, body = split(message)
    return mime + b"\r\n" + body


def around(message, entity):
    """The message's own fields, and what takes its content's place."""
    return split(message)[1] + b"MIME-Version: 1.0\r\n" + entity


def sealed(message, by=None, to=None, cipher=GCM, sign=opaque):
    """As a mail program sends it: signed, then encrypted; `sign` None: not signed."""
    entity = entity_of(message)
    return around(message, enveloped(sign(entity, by) if sign else entity, to, cipher))


def signed(message, by=None, sign=detached):
    return around(message, sign(entity_of(message), by))


def beside(message):
    """An encrypted part with a list's footer beside it."""
    part = enveloped(opaque(entity_of(message)))
    return around(message, b"Content-Type: multipart/mixed; boundary=\"list\"\r\n\r\n--list\r\n" + part +
                  b"\r\n--list\r\nContent-Type: text/plain\r\n\r\nthe list's footer\r\n--list--\r\n")


def foreign(maker):
    """One message of each kind, as others send them to Alice."""
    who = people()
    triple, inside = maker.message(), maker.message()
    octets = leaf(der_encrypted(detached(entity_of(inside))), content_type="application/octet-stream")
    return [signed(maker.message()), signed(maker.message(), who.bob_ec, opaque),
            sealed(maker.message(), cipher=CBC, to=who.alice_ec), sealed(maker.message(), cipher=CBC, sign=detached),
            sealed(maker.message()), sealed(maker.message(), who.bob_ec, who.alice_ec, sign=detached),
            around(triple, detached(enveloped(opaque(entity_of(triple)), cipher=CBC))), around(inside, octets),
            sealed(maker.message(), sign=lambda entity, by: packed(opaque(entity, by))),
            signed(maker.message(), sign=lambda entity, by: opaque(packed(entity), by)),
            sealed(maker.message(), cipher=CBC, sign=None), sealed(maker.message(), sign=None),
            sealed(maker.message(), to=who.carol), signed(maker.message(), who.mallory), beside(maker.message())]
