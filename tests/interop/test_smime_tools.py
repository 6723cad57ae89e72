#!/usr/bin/python3
"""privyseal seal and open as people run them, against openssl, gpgsm and NSS: each kind of key and each form once in
each direction. What the engines make of every combination is in test_smime_seal.py and test_smime_open.py."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import harness  # noqa: E402
import smime_authority  # noqa: E402
import test_smime_open as opening  # noqa: E402
import test_smime_seal as sealing  # noqa: E402

ALICE = "alice@example.org"
CONFIG = """
state = "%(folder)s/state"
account "alice@example.org" {
    smtp = "smtp+clear://127.0.0.1:9"
    smime_ca = "%(root)s"
    %(options)s
}
rule all { encrypt = %(encrypt)s  sign = always  format = smime  trust = full }
"""


class Tools(unittest.TestCase):
    """One authority; every certificate of it names Alice, who writes to Bob, who has the same kind of key."""

    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.mkdtemp(prefix="pv")
        cls.authority = sealing.Authority(cls.home)
        for name, kind in smime_authority.KEYS.items():
            usage = "keyEncipherment" if kind.startswith("RSA") else "keyAgreement"
            cls.authority.issue("bob-" + name, kind, "middle", (sealing.MAIL % ("digitalSignature," + usage)).replace(
                ALICE, "bob@example.org"))
        cls.configs = {}

    @classmethod
    def tearDownClass(cls):
        for name in os.listdir(cls.home):
            keys = os.path.join(cls.home, name, "state", "keys", ALICE, "gnupg")
            if os.path.isdir(keys):
                subprocess.run(["gpgconf", "--homedir", keys, "--kill", "all"], capture_output=True, check=False)
        shutil.rmtree(cls.home)

    def config(self, key, encrypt, options):
        """A privyseal of Alice's with this own key, made at its first use."""
        if (key, encrypt, options) not in self.configs:
            folder = tempfile.mkdtemp(dir=self.home)
            path = os.path.join(folder, "c.conf")
            with open(path, "w", encoding="ascii") as file:
                file.write(CONFIG % {"folder": folder, "root": self.authority.path("root.pem"), "options": options,
                                     "encrypt": encrypt})
            self.configs[key, encrypt, options] = path
            a = self.authority.path
            self.run_cli(path, "key", "import", "--own", a(key + ".pem"), a(key + ".key"))
            self.run_cli(path, "key", "import", a("middle.pem"), a("bob-" + key + ".pem"))
        return self.configs[key, encrypt, options]

    def run_cli(self, config, *words, data=b""):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", config], input=data, capture_output=True,
                              check=False, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, 0, done.stdout[-500:] + done.stderr)
        return done.stdout

    def seal(self, key, encrypt, options):
        return self.run_cli(self.config(key, encrypt, options), "seal", "--to", "bob@example.org",
                            data=sealing.MESSAGE)

    def open(self, key, entity):
        head = opening.FROM.replace(b"bob@example.net", b"bob@example.org")
        config = self.config(key, "required", "")
        words = self.run_cli(config, "open", "--report", data=head + re.sub(rb"\r?\n", b"\r\n", entity)).decode()
        return dict(word.split("=", 1) for word in words.splitlines()[0].split("; "))

    def readers(self):
        readers = {"openssl": sealing.OpenSSL(self.authority), "gpgsm": sealing.GpgSM(self.authority),
                   "nss": sealing.NSS(self.authority)}
        self.addCleanup(readers["gpgsm"].close)
        return readers

    def test_sealed_here(self):
        """Alice's own key reads what goes to Bob, too."""
        readers = self.readers()
        openssl = ("openssl",)
        for key, encrypt, options, tools in (
                ("rsa2048", "never", "", readers), ("rsa3072", "never", "smime_sign = opaque", readers),
                ("rsa4096", "never", "smime_rsa = modern", readers), ("p256", "never", "", readers),
                ("p384", "never", "smime_sign = opaque", readers),
                ("rsa2048", "required", "smime_cipher = cbc", readers),
                ("rsa3072", "required", "smime_cipher = gcm", openssl),
                ("rsa4096", "required", "smime_rsa = modern", openssl),
                ("p256", "required", "smime_cipher = gcm", openssl), ("p384", "required", "", openssl)):
            sealed = self.seal(key, encrypt, options)
            if encrypt == "required":
                self.assertNotIn(sealing.CANARY, sealed)
            for tool in tools:
                with self.subTest(key=key, encrypt=encrypt, options=options, tool=tool):
                    payload = sealing.payload_of(readers[tool].open(sealed, key))
                    self.assertEqual(payload.get_payload(decode=True).replace(b"\r\n", b"\n"),
                                     sealing.BODY.replace(b"\r\n", b"\n"))

    def test_sealed_by_openssl(self):
        pss = ("-keyopt", "rsa_padding_mode:pss")
        oaep = ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256")
        for key, sign, cipher, more in (
                ("rsa2048", (), "aes-256-cbc", ()), ("rsa3072", pss, "aes-256-gcm", oaep),
                ("rsa4096", ("-nodetach",), "aes-128-gcm", ()), ("p256", (), "aes-256-cbc", ()),
                ("p384", ("-nodetach",), "aes-256-gcm", ("-keyopt", "ecdh_kdf_md:sha256"))):
            signed = self.authority.sign(opening.HTML, *sign, by="bob-" + key)
            sealed = self.authority.encrypt(signed, cipher, [(key, *more)])
            for entity, encryption in ((signed, "none"), (sealed, "smime")):
                with self.subTest(key=key, sign=sign, cipher=cipher, encryption=encryption):
                    words = self.open(key, entity)
                    self.assertEqual((words["signature"], words["encryption"], words["integrity"]),
                                     ("good", encryption, "ok"))

    def test_sealed_by_gpgsm(self):
        """Bob's gpgsm has Alice's certificates."""
        readers = self.readers()
        gpgsm = readers["gpgsm"]
        gpgsm.gpgsm("--pinentry-mode", "loopback", "--passphrase-fd", "0", "--import",
                    self.authority.pkcs12("bob-rsa2048"), stdin=b"pw\n", check=False)
        common = ("--pinentry-mode", "loopback", "--passphrase-fd", "0", "--local-user", "/CN=Test bob-rsa2048")
        with open(self.authority.path("text"), "wb") as file:
            file.write(opening.TEXT)
        signed = smime_authority.leaf(gpgsm.gpgsm(*common, "--sign", self.authority.path("text"), stdin=b"pw\n").stdout)
        self.assertEqual(self.open("rsa3072", signed)["signature"], "good")
        with open(self.authority.path("text"), "wb") as file:
            file.write(signed)
        sealed = gpgsm.gpgsm("--encrypt", "-r", "/CN=Test rsa3072", self.authority.path("text")).stdout
        words = self.open("rsa3072", smime_authority.leaf(sealed))
        self.assertEqual((words["signature"], words["encryption"]), ("good", "smime"))

    def test_sealed_by_nss(self):
        home = tempfile.mkdtemp(dir=self.home)
        a, database = self.authority, "sql:" + home
        opening.run("certutil", "-N", "-d", database, "--empty-password")
        for name in ("root", "middle"):
            opening.run("certutil", "-A", "-d", database, "-n", name, "-t", "CT,C,C", "-i", a.path(name + ".pem"))
        opening.run("certutil", "-A", "-d", database, "-n", ALICE, "-t", ",,", "-i", a.path("rsa2048.pem"))
        opening.run("pk12util", "-i", a.pkcs12("bob-rsa2048"), "-d", database, "-W", "pw", "-K", "")
        with open(os.path.join(home, "text"), "wb") as file:
            file.write(opening.TEXT)
        signed = smime_authority.leaf(opening.run("cmsutil", "-S", "-d", database, "-N", "bob-rsa2048", "-H", "SHA256",
                                                  "-G", "-i", os.path.join(home, "text")))
        self.assertEqual(self.open("rsa2048", signed)["signature"], "good")
        with open(os.path.join(home, "text"), "wb") as file:
            file.write(signed)
        sealed = opening.run("cmsutil", "-E", "-d", database, "-r", ALICE, "-i", os.path.join(home, "text"))
        words = self.open("rsa2048", smime_authority.leaf(sealed))
        self.assertEqual((words["signature"], words["encryption"]), ("good", "smime"))


if __name__ == "__main__":
    unittest.main()
