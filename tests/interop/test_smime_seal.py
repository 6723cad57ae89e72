#!/usr/bin/python3
"""What privyseal seals by S/MIME is read by openssl, gpgsm and NSS; what one of them is known not to read is said.

Certificates of an authority that is made for the test; every message is sealed by smime_sealer, the same code as the
proxy's, and opened by the tool alone, with its own keys and its own idea of trust.
"""
import base64
import email
import email.policy
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import zlib

import smime_authority
from smime_authority import KEYS, Failed, run

SEALER = os.path.join(os.environ["BUILD"], "tests", "smime_sealer")
CANARY = b"xyzzy-canary"
BODY = b"Hello " + CANARY + b",\r\n" + "caf\xe9 \u2713".encode() + b"\r\nFrom here \r\n"
MESSAGE = (b"From: Alice <alice@example.org>\r\nTo: Bob <bob@example.org>\r\nBcc: zoe@example.org\r\n"
           b"Subject: " + CANARY + b"\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
           b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
           b"\r\n" + BODY)
MAIL = ("basicConstraints=CA:FALSE\nkeyUsage=%s\nextendedKeyUsage=emailProtection\n"
        "subjectAltName=email:alice@example.org\n")


class Authority(smime_authority.Authority):
    """Alice with each kind of key."""

    def __init__(self, home):
        super().__init__(home)
        for name, kind in KEYS.items():
            usage = "keyEncipherment" if kind.startswith("RSA") else "keyAgreement"
            self.issue(name, kind, "middle", MAIL % ("digitalSignature," + usage))


def payload_of(entity):
    """The one text in `entity`, whatever multipart lies around it."""
    message = email.message_from_bytes(entity, policy=email.policy.default)
    leaves = [part for part in message.walk() if part.get_content_type() == "text/plain"]
    return leaves[0] if leaves else None


class Reader:
    """One tool: takes a message as it was sealed, and gives the text. Raises Failed where it cannot."""

    def __init__(self, authority):
        self.authority = authority
        self.home = tempfile.mkdtemp(dir=authority.home)

    def write(self, name, content):
        path = os.path.join(self.home, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    @staticmethod
    def parts(entity):
        """The content of multipart/signed, byte for byte, and the DER of its signature."""
        boundary = re.search(rb'boundary="([^"]+)"', entity).group(1)
        pieces = entity.split(b"\r\n--" + boundary)
        return pieces[1][2:], email.message_from_bytes(pieces[2][2:]).get_payload(decode=True)

    @staticmethod
    def der(entity):
        """Python would change line ends within what is binary."""
        header, body = entity.split(b"\r\n\r\n", 1)
        is_binary = email.message_from_bytes(header)["Content-Transfer-Encoding"] == "binary"
        return body if is_binary else base64.b64decode(body)

    def open(self, entity, key):
        """Down through all layers."""
        for _layer in range(4):
            message = email.message_from_bytes(entity.split(b"\r\n\r\n")[0])
            kind, smime = message.get_content_type(), message.get_param("smime-type")
            if kind == "multipart/signed":
                content, signature = self.parts(entity)
                self.verify_detached(content, signature)
                entity = content
            elif kind != "application/pkcs7-mime":
                return entity
            elif smime == "signed-data":
                entity = self.verify_opaque(self.der(entity))
            elif smime in ("enveloped-data", "authEnveloped-data"):
                entity = self.decrypt(self.der(entity), key)
            else:
                raise Failed("cannot read " + str(smime))
        raise Failed("too many layers")


class OpenSSL(Reader):
    """Signatures with the root alone: that the issuer between came with them is part of the proof."""

    def verify_detached(self, content, signature):
        run("openssl", "cms", "-verify", "-binary", "-cades", "-inform", "DER", "-in",
            self.write("signature", signature), "-content", self.write("content", content), "-CAfile",
            self.authority.path("root.pem"), "-out", os.devnull)

    def verify_opaque(self, der):
        return run("openssl", "cms", "-verify", "-binary", "-cades", "-inform", "DER", "-in",
                   self.write("signed", der), "-CAfile", self.authority.path("root.pem")).stdout

    def decrypt(self, der, key):
        return run("openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", self.write("sealed", der),
                   "-recip", self.authority.path(key + ".pem"), "-inkey", self.authority.path(key + ".key")).stdout


class GpgSM(Reader):
    def __init__(self, authority):
        super().__init__(authority)
        os.chmod(self.home, 0o700)
        fingerprint = run("openssl", "x509", "-in", authority.path("root.pem"), "-noout", "-fingerprint",
                          "-sha1").stdout.decode().split("=")[1].strip()
        self.write("trustlist.txt", (fingerprint + " S relax\n").encode())
        self.write("gpg-agent.conf", b"allow-preset-passphrase\n")
        self.gpgsm("--import", authority.path("root.pem"), check=False)
        self.gpgsm("--import", authority.path("middle.pem"), check=False)
        for name, kind in KEYS.items():
            if kind.startswith("EC"):
                self.import_curve(name, kind.split(":")[1])
            else:
                self.gpgsm("--pinentry-mode", "loopback", "--passphrase-fd", "0", "--import", authority.pkcs12(name),
                           stdin=b"pw\n", check=False)

    def import_curve(self, name, curve):
        """gpgsm 2.2 takes no such key out of PKCS#12: it gets it as its agent keeps keys."""
        self.gpgsm("--import", self.authority.path(name + ".pem"), check=False)
        listed = self.gpgsm("--with-colons", "--with-keygrip", "--list-keys", "Test " + name).stdout.decode()
        grip = re.search(r"^grp:+([0-9A-F]+):", listed, re.M).group(1)
        der = run("openssl", "ec", "-in", self.authority.path(name + ".key"), "-outform", "DER").stdout
        size = int(curve[2:]) // 8
        secret = der[der.index(b"\x04" + bytes([size])) + 2:][:size]
        public = der[-(2 * size + 1):]
        curve = b"NIST " + curve.encode()
        text = b"(11:private-key(3:ecc(5:curve%d:%s)(1:q%d:%s)(1:d%d:%s)))" % (
            len(curve), curve, len(public), public, len(secret), secret)
        self.write(os.path.join("private-keys-v1.d", grip + ".key"), text)

    def gpgsm(self, *argv, **more):
        return run("gpgsm", "--homedir", self.home, "--batch", "--no-tty", "--disable-dirmngr", "--disable-crl-checks",
                   *argv, **more)

    def close(self):
        run("gpgconf", "--homedir", self.home, "--kill", "all", check=False)

    def verify_detached(self, content, signature):
        self.gpgsm("--verify", self.write("signature", signature), self.write("content", content))

    def verify_opaque(self, der):
        out = os.path.join(self.home, "text")
        self.gpgsm("--yes", "--output", out, "--verify", self.write("signed", der))
        with open(out, "rb") as file:
            return file.read()

    def decrypt(self, der, key):
        return self.gpgsm("--pinentry-mode", "loopback", "--passphrase-fd", "0", "--decrypt",
                          self.write("sealed", der), stdin=b"pw\n").stdout


class NSS(Reader):
    def __init__(self, authority):
        super().__init__(authority)
        self.database = "sql:" + self.home
        run("certutil", "-N", "-d", self.database, "--empty-password")
        run("certutil", "-A", "-d", self.database, "-n", "root", "-t", ",C,", "-i", authority.path("root.pem"))
        for name in KEYS:
            run("pk12util", "-i", authority.pkcs12(name), "-d", self.database, "-W", "pw")

    def close(self):
        pass

    def cmsutil(self, *argv):
        return run("cmsutil", "-D", "-d", self.database, *argv).stdout

    def verify_detached(self, content, signature):
        self.cmsutil("-u", "5", "-i", self.write("signature", signature), "-c", self.write("content", content))

    def verify_opaque(self, der):
        return self.cmsutil("-u", "5", "-i", self.write("signed", der))

    def decrypt(self, der, key):
        return self.cmsutil("-i", self.write("sealed", der))


class SmimeSeal(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(prefix="privyseal-smime-")
        cls.authority = Authority(cls.home)
        cls.readers = {"openssl": OpenSSL(cls.authority), "gpgsm": GpgSM(cls.authority), "nss": NSS(cls.authority)}

    @classmethod
    def tearDownClass(cls):
        cls.readers["gpgsm"].close()
        shutil.rmtree(cls.home)

    def seal(self, action, options, signer=None, recipients=(), message=MESSAGE):
        folder = tempfile.mkdtemp(dir=self.home)
        path = self.authority.path
        source = os.path.join(folder, "message")
        with open(source, "wb") as file:
            file.write(message)
        with open(source, "rb") as file:
            done = subprocess.run([SEALER, os.path.join(folder, "certificates"), path("root.pem"),
                                   path("middle.pem"), action, options,
                                   path(signer + ".pem") if signer else "-", path(signer + ".key") if signer else "-",
                                   *[path(name + ".pem") for name in recipients]],
                                  stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def reads(self, tool, sealed, key):
        """What the tool makes of it: True, and then it is the very text; or False."""
        try:
            entity = self.readers[tool].open(sealed, key)
        except Failed as failure:
            self.reason = str(failure)
            return False
        payload = payload_of(entity)
        self.assertIsNotNone(payload, entity[:300])
        self.assertEqual(payload.get_payload(decode=True).replace(b"\n", b"\r\n").replace(b"\r\r", b"\r"), BODY)
        self.assertEqual(payload["Subject"], CANARY.decode())
        self.assertIsNone(payload["Bcc"])
        return True

    def assert_reads(self, sealed, key, *, but=()):
        reasons = {}
        for tool in self.readers:
            if not self.reads(tool, sealed, key):
                reasons[tool] = self.reason
        self.assertEqual(sorted(reasons), sorted(but), reasons)

    def test_signed(self):
        for signer, form in itertools.product(KEYS, ("detached", "opaque")):
            with self.subTest(signer=signer, form=form):
                self.assert_reads(self.seal("sign", form, signer), signer)

    def test_signed_with_pss(self):
        for signer, form in itertools.product(("rsa2048", "rsa4096"), ("pss", "pss,opaque")):
            with self.subTest(signer=signer, form=form):
                self.assert_reads(self.seal("sign", form, signer), signer)

    def test_encrypted(self):
        """Signed within, either way."""
        for key, form in itertools.product(("rsa2048", "rsa3072", "rsa4096"), ("cbc", "cbc,opaque")):
            with self.subTest(key=key, form=form):
                self.assert_reads(self.seal("both", form, "rsa2048", [key]), key)

    def test_encrypted_to_curves(self):
        """NSS knows no key agreement before 3.99, gpgsm 2.2 makes nothing of the key that it agrees on: neither reads
        what openssl writes for curves, either."""
        path = self.authority.path
        run("openssl", "cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", "-out", path("theirs"), "-recip",
            path("p256.pem"), "-keyopt", "ecdh_kdf_md:sha256", stdin=MESSAGE)
        with open(path("theirs"), "rb") as file:
            theirs = file.read()
        for tool in ("gpgsm", "nss"):
            self.assertRaises(Failed, self.readers[tool].decrypt, theirs, "p256")
        for key, form in itertools.product(("p256", "p384"), ("cbc", "cbc,opaque")):
            with self.subTest(key=key, form=form):
                self.assert_reads(self.seal("both", form, key, [key]), key, but=("gpgsm", "nss"))

    def test_encrypted_with_gcm(self):
        """gpgsm reads AuthEnvelopedData since 2.3, NSS not at all."""
        for key, form in itertools.product(KEYS, ("gcm", "gcm,opaque")):
            with self.subTest(key=key, form=form):
                self.assert_reads(self.seal("both", form, "p256", [key]), key, but=("gpgsm", "nss"))

    def test_encrypted_with_oaep(self):
        """gpgsm reads OAEP since 2.3, NSS not for mail."""
        for key, form in itertools.product(("rsa2048", "rsa4096"), ("cbc,oaep", "gcm,oaep")):
            with self.subTest(key=key, form=form):
                self.assert_reads(self.seal("both", form, "rsa2048", [key]), key, but=("gpgsm", "nss"))

    def test_for_several(self):
        """NSS cannot read what is for a curve, too; gpgsm passes over that."""
        sealed = self.seal("both", "cbc", "rsa2048", ["rsa3072", "rsa2048"])
        self.assert_reads(sealed, "rsa3072")
        self.assert_reads(sealed, "rsa2048")
        sealed = self.seal("both", "cbc", "rsa2048", ["rsa3072", "p384"])
        self.assert_reads(sealed, "rsa3072", but=("nss",))
        self.assert_reads(sealed, "p384", but=("nss",))

    def test_not_signed(self):
        self.assert_reads(self.seal("encrypt", "cbc", None, ["rsa3072"]), "rsa3072")
        self.assert_reads(self.seal("encrypt", "gcm", None, ["rsa3072"]), "rsa3072", but=("gpgsm", "nss"))

    def test_compressed(self):
        """None of the three expands it; what is in it is zlib's, and the rest they read."""
        sealed = self.seal("both", "cbc,compressed", "rsa2048", ["rsa2048"], message=MESSAGE + b"again\r\n" * 10000)
        self.assertLess(len(sealed), 20000)
        for tool, reader in self.readers.items():
            with self.subTest(tool=tool):
                entity = reader.decrypt(reader.der(sealed), "rsa2048")
                content, signature = reader.parts(entity)
                reader.verify_detached(content, signature)
                self.assertIn(b"smime-type=compressed-data", content)
                der = reader.der(content)
                octets = run("openssl", "asn1parse", "-inform", "DER", stdin=der).stdout.decode()
                pieces = re.findall(r"^ *(\d+):d=\d+ +hl=(\d+) l= *(\d+) prim: +OCTET STRING", octets, re.M)
                packed = b"".join(der[int(at) + int(header):][:int(size)] for at, header, size in pieces)
                self.assertIn(b"again\r\n" * 10000, zlib.decompress(packed))

    def test_gcm_where_it_is_known_to_be_read(self):
        for form, kind in (("auto", b"enveloped-data"), ("auto,known", b"authEnveloped-data"),
                           ("cbc,known", b"enveloped-data")):
            self.assertIn(b"smime-type=" + kind + b";", self.seal("both", form, "rsa2048", ["p256"]))

    def test_own(self):
        """Another device with the key reads it as any message, though Bcc comes back, too."""
        sealed = self.seal("own", "cbc", "rsa2048", ["rsa2048"])
        self.assertNotIn(CANARY, sealed)
        for tool, reader in self.readers.items():
            with self.subTest(tool=tool):
                entity = reader.open(sealed, "rsa2048")
                self.assertIn(b"Bcc: zoe@example.org\r\n", entity)
                self.assertTrue(entity.endswith(b"\r\n\r\n" + BODY))


if __name__ == "__main__":
    unittest.main()
