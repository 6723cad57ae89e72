#!/usr/bin/python3
"""What openssl, gpgsm and NSS encrypt and sign by S/MIME is opened, and the verdict says what it is worth.

Certificates of an authority that is made for the test. Each message is opened by smime_opener, the same code as the
proxy's, which also makes the view again without any key.
"""
import base64
import itertools
import os
import re
import subprocess
import tempfile
import unittest

import smime_authority
from smime_authority import KEYS, leaf

OPENER = os.path.join(os.environ["BUILD"], "tests", "smime_opener")
CANARY = b"xyzzy-canary"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello " + CANARY + b"\r\n"
HTML = b"Content-Type: text/html\r\n\r\n<b>" + CANARY + b"</b>\r\n"
FROM = b"From: Bob <bob@example.net>\r\nTo: Alice <alice@example.org>\r\nSubject: outer\r\nMIME-Version: 1.0\r\n"
MAIL = "basicConstraints=CA:FALSE\nextendedKeyUsage=emailProtection\nsubjectAltName=email:%s\n"
GOOD = {"signature": "good", "signer": "bob@example.net", "trust": "full"}


def run(*argv, **more):
    return smime_authority.run(*argv, **more).stdout


class Authority(smime_authority.Authority):
    """Alice with each kind of key, and Bob."""

    def __init__(self, home):
        super().__init__(home)
        for name, kind in KEYS.items():
            self.issue(name, kind, "middle", MAIL % "alice@example.org")
        self.issue("bob", "RSA:2048", "middle", MAIL % "bob@example.net")
        self.issue("bob-ec", "EC:P-384", "middle", MAIL % "bob@example.net")


class Open(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.authority = Authority(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def open(self, entity, *own):
        """The words of the verdict, and the view."""
        a = self.authority
        pairs = [a.path(name + end) for name in own for end in (".pem", ".key")]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([OPENER, a.path("root.pem"), folder, *pairs], input=FROM + entity,
                                  capture_output=True, check=False, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        verdict = next(line for line in done.stderr.decode().splitlines() if line.startswith("signature="))
        return dict(word.split("=", 1) for word in verdict.split("; ")), done.stdout

    def check(self, entity, own, expected):
        words, view = self.open(entity, own)
        self.assertEqual({name: words.get(name) for name in expected}, expected, view[:800])
        self.assertIn(CANARY, view)
        return view

    def test_openssl_encrypts(self):
        a = self.authority
        oaep = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256")
        ways = [(name, more) for name in KEYS for more in
                ((), oaep if name.startswith("rsa") else ("-keyopt", "ecdh_kdf_md:sha256"))]
        for (name, more), (cipher, integrity) in itertools.product(ways, (
                ("aes-128-gcm", "ok"), ("aes-256-gcm", "ok"), ("aes-256-cbc", "none"), ("aes-128-cbc", "none"),
                ("des3", "none"))):
            for form in ((), ("-stream", "-indef", "-keyid")):
                with self.subTest(key=name, more=more, cipher=cipher, form=form):
                    view = self.check(a.encrypt(HTML, cipher, [(name, *more)], *form), name,
                                      {"encryption": "smime", "integrity": integrity, "signature": "none"})
                    # Only what nobody can have changed is shown as more than text.
                    self.assertEqual(b"text/html" in view, integrity == "ok")

    def test_old_ciphers(self):
        for cipher in ("rc2-40", "rc2-64", "rc2-128"):
            entity = self.authority.encrypt(TEXT, cipher, [("rsa2048",)], "-provider", "legacy", "-provider", "default")
            self.check(entity, "rsa2048", {"encryption": "smime", "integrity": "none"})

    def test_several_recipients(self):
        entity = self.authority.encrypt(TEXT, "aes-256-gcm", [("bob",), ("bob-ec",), ("p256",), ("rsa3072",)])
        for name in ("p256", "rsa3072", "bob", "bob-ec"):
            self.check(entity, name, {"encryption": "smime", "integrity": "ok"})
        words, view = self.open(entity, "p384")
        self.assertEqual(words["encryption"], "failed")
        self.assertNotIn(CANARY, view)

    def test_openssl_signs_and_encrypts(self):
        a = self.authority
        for by, form, cipher in itertools.product(("bob", "bob-ec"), ((), ("-nodetach",)),
                                                  ("aes-256-gcm", "aes-256-cbc")):
            pss = ("-keyopt", "rsa_padding_mode:pss") if by == "bob" else ()
            with self.subTest(by=by, form=form, cipher=cipher):
                inner = a.sign(HTML, *form, by=by)
                sealed = {**GOOD, "encryption": "smime", "integrity": "ok"}
                self.assertIn(b"text/html", self.check(a.encrypt(inner, cipher, [("p256",)]), "p256", sealed))
                # RFC 2634: signed, encrypted, signed.
                self.check(a.sign(a.encrypt(inner, cipher, [("rsa2048",)]), *pss, by=by), "rsa2048", sealed)
        # A signature outside proves nothing of what CBC gives.
        view = self.check(a.sign(a.encrypt(HTML, "aes-256-cbc", [("p256",)]), "-nodetach"), "p256",
                          {**GOOD, "integrity": "none"})
        self.assertNotIn(b"text/html", view)

    def test_changed_on_the_way(self):
        a = self.authority
        for cipher in ("aes-256-gcm", "aes-256-cbc"):
            entity = a.encrypt(a.sign(TEXT, "-nodetach"), cipher, [("p256",)])
            head, _, body = entity.partition(b"\r\n\r\n")
            der = bytearray(base64.b64decode(body))
            for at in range(len(der) - 900, len(der), 97):
                der[at] ^= 1
                words, view = self.open(leaf(bytes(der)), "p256")
                der[at] ^= 1
                if cipher.endswith("gcm"):
                    self.assertEqual(words["encryption"], "failed", at)
                    self.assertNotIn(CANARY, view)
                else:
                    self.assertTrue(words["encryption"] == "failed" or words["integrity"] == "none", (at, words))
            self.assertIn(b"pkcs7-mime", head)

    def test_gpgsm_encrypts(self):
        a = self.authority
        home = tempfile.mkdtemp(dir=a.home)
        env = dict(os.environ, GNUPGHOME=home)
        with open(os.path.join(home, "gpgsm.conf"), "w", encoding="ascii") as file:
            file.write("disable-dirmngr\ndisable-crl-checks\nbatch\n")
        with open(os.path.join(home, "gpg-agent.conf"), "w", encoding="ascii") as file:
            file.write("allow-loopback-pinentry\n")
        try:
            for name in ("root", "middle", "rsa2048", "rsa3072", "rsa4096"):
                run("gpgsm", "--batch", "--import", a.path(name + ".pem"), env=env)
            listed = run("gpgsm", "--batch", "--with-colons", "--list-keys", "Test root", env=env).decode()
            root = re.search(r"^fpr:+([0-9A-F]{40}):", listed, re.M).group(1)
            with open(os.path.join(home, "trustlist.txt"), "w", encoding="ascii") as file:
                file.write(root + " S relax\n")
            # That of Debian 12 cannot encrypt to curves.
            for name in ("rsa2048", "rsa3072", "rsa4096"):
                for cipher in ("AES128", "AES256", "3DES"):
                    with self.subTest(key=name, cipher=cipher):
                        der = run("gpgsm", "--batch", "--disable-crl-checks", "--encrypt", "--cipher-algo", cipher,
                                  "-r", "/CN=Test " + name, env=env, stdin=TEXT)
                        self.check(leaf(der), name, {"encryption": "smime", "integrity": "none"})
        finally:
            subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False, capture_output=True)

    def test_nss_encrypts_and_signs(self):
        a = self.authority
        home = tempfile.mkdtemp(dir=a.home)
        run("certutil", "-N", "-d", "sql:" + home, "--empty-password")
        for name in ("root", "middle"):
            run("certutil", "-A", "-d", "sql:" + home, "-n", name, "-t", "CT,C,C", "-i", a.path(name + ".pem"))
        run("certutil", "-A", "-d", "sql:" + home, "-n", "alice@example.org", "-t", ",,", "-i", a.path("rsa2048.pem"))
        run("pk12util", "-i", a.pkcs12("bob"), "-d", "sql:" + home, "-W", "pw", "-K", "")
        source = os.path.join(home, "text")
        with open(source, "wb") as file:
            file.write(TEXT)
        sealed = run("cmsutil", "-E", "-d", "sql:" + home, "-r", "alice@example.org", "-i", source)
        self.check(leaf(sealed), "rsa2048", {"encryption": "smime", "integrity": "none"})
        signed = run("cmsutil", "-S", "-d", "sql:" + home, "-N", "bob", "-H", "SHA256", "-G", "-i", source)
        self.check(leaf(signed), "rsa2048", {**GOOD, "encryption": "none"})
        with open(source, "wb") as file:
            file.write(leaf(signed))
        both = run("cmsutil", "-E", "-d", "sql:" + home, "-r", "alice@example.org", "-i", source)
        self.check(leaf(both), "rsa2048", {**GOOD, "encryption": "smime"})


if __name__ == "__main__":
    unittest.main()
