"""Keys to and from other OpenPGP programs: rnp (the library of Thunderbird), sq and gpg read what privyseal writes of
keys, and keys that they made are taken, encrypted to and verified with."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "e2e"))
import harness  # noqa: E402
from harness import ALICE, Gpg, RefServer, World  # noqa: E402

OTHER = "dana@example.edu"
PASSPHRASE = "correct horse"


class Case(World):
    def setUp(self):
        super().setUp()
        self.home = self.alice()
        self.proxy = harness.Proxy(self, RefServer(self), rules=harness.REQUIRED, start=False)

    def privyseal(self, *words, data=None, fd=None, status=0):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], input=data,
                              capture_output=True, check=False, timeout=60, start_new_session=True,
                              pass_fds=[fd] if fd else [])
        self.assertEqual(done.returncode, status, (words, done.stderr.decode()))
        return done.stdout

    def tool(self, *words, data=None):
        done = subprocess.run(words, input=data, capture_output=True, check=False, timeout=60,
                              env=dict(os.environ, HOME=self.folder))
        self.assertEqual(done.returncode, 0, (words, done.stdout, done.stderr))
        return done.stdout

    def file(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def rnp_home(self):
        path = os.path.join(self.folder, "rnp%d" % self.count())
        os.mkdir(path, 0o700)
        return path


class Read(Case):
    """What privyseal writes."""

    def check_read(self, path, fingerprint, secret=False):
        with open(path, "rb") as file:
            data = file.read()
        seen = self.tool("sq", "inspect", path).decode()
        self.assertIn(fingerprint, seen.replace(" ", ""))
        self.assertEqual("Secret key:" in seen, secret)
        home = self.rnp_home()
        self.tool("rnpkeys", "--homedir", home, "--import-keys", path)
        kind = ["--secret"] if secret else []
        seen = self.tool("rnpkeys", "--homedir", home, "--list-keys", *kind).decode().lower()
        self.assertIn(fingerprint.lower(), seen)
        self.assertIn(ALICE, seen)
        gpg = Gpg(os.path.join(self.folder, "g%d" % self.count()))
        self.add(gpg.close)
        gpg.run("--pinentry-mode", "loopback", "--passphrase", PASSPHRASE, "--import", data=data)
        listed = gpg.run("--with-colons", "--list-secret-keys" if secret else "--list-keys").stdout.decode()
        self.assertIn(fingerprint, listed)
        return home

    def test_what_is_written(self):
        fingerprint = self.home.fingerprint(ALICE)
        self.check_read(self.file("public", self.privyseal("key", "export", ALICE)), fingerprint)
        secret = self.file("secret", self.privyseal("key", "export", "--secret", ALICE))
        home = self.check_read(secret, fingerprint, True)
        sealed = self.home.run("--trust-model", "always", "--armor", "-r", fingerprint, "--encrypt",
                               data=b"for me").stdout
        self.assertEqual(self.tool("rnp", "--homedir", home, "--password", "", "--decrypt", self.file("m", sealed),
                                   "--output", "-"), b"for me")
        reading, writing = os.pipe()
        os.write(writing, PASSPHRASE.encode() + b"\n")
        os.close(writing)
        backup = self.privyseal("key", "backup", "--passphrase-fd", str(reading), ALICE, fd=reading)
        os.close(reading)
        home = self.check_read(self.file("backup", backup), fingerprint, True)
        self.assertEqual(self.tool("rnp", "--homedir", home, "--password", PASSPHRASE, "--decrypt",
                                   self.file("m", sealed), "--output", "-"), b"for me")
        self.privyseal("key", "publish", "--wkd", os.path.join(self.folder, "web"), ALICE)
        path, = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(self.folder, "web"))
                 for name in names if os.path.basename(folder) == "hu"]
        self.check_read(path, fingerprint)


class Taken(Case):
    """Keys that others made."""

    def check_used(self, public, opener, sealer):
        """Mail to the key is opened by its owner's program; what that signs and encrypts is opened here."""
        self.privyseal("key", "import", self.file("k", public))
        message = ("From: <%s>\r\nTo: <%s>\r\nSubject: s\r\n\r\nthe text\r\n" % (ALICE, OTHER)).encode()
        sealed = self.privyseal("seal", data=message)
        armour = re.search(rb"-----BEGIN PGP MESSAGE-----.*?-----END PGP MESSAGE-----\r?\n", sealed, re.S).group(0)
        self.assertIn(b"the text", opener(self.file("sealed", armour)))
        me = self.file("me", self.home.export(ALICE))
        cipher = sealer(self.file("plain", b"Content-Type: text/plain\r\n\r\nthe answer\r\n"), me)
        answer = (b"From: <%s>\r\nTo: <%s>\r\nSubject: s\r\nMIME-Version: 1.0\r\n"
                  b"Content-Type: multipart/encrypted; boundary=\"e\"; protocol=\"application/pgp-encrypted\"\r\n\r\n"
                  b"--e\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--e\r\n"
                  b"Content-Type: application/octet-stream\r\n\r\n" % (OTHER.encode(), ALICE.encode())
                  + cipher.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n--e--\r\n")
        self.privyseal("key", "pin", "--yes", OTHER, self.home.fingerprint(OTHER))
        shown = self.privyseal("open", data=answer)
        self.assertIn(b"the answer", shown)
        self.assertIn(b"signature=good", shown)
        self.assertIn(b"encryption=openpgp", shown)

    def check_own(self, secret):
        """The secret key as one's own: what is encrypted to it is opened with it."""
        gpg = Gpg(os.path.join(self.folder, "own"))
        self.add(gpg.close)
        text = self.proxy.text.replace(ALICE, OTHER).replace(self.home.home, gpg.home)
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(text)
        self.privyseal("key", "import", "--own", self.file("k", secret))
        message = ("From: <%s>\r\nTo: <%s>\r\nSubject: s\r\n\r\nto myself\r\n" % (OTHER, OTHER)).encode()
        shown = self.privyseal("open", data=self.privyseal("seal", data=message))
        self.assertIn(b"to myself", shown)
        self.assertIn(b"signature=good", shown)

    def test_rnp(self):
        home = self.rnp_home()
        rnp = ("rnp", "--homedir", home, "--password", "")
        keys = ("rnpkeys", "--homedir", home, "--password", "")
        self.tool(*keys, "--generate-key", "--expert", "--userid", "Dana <%s>" % OTHER, data=b"22\n")
        self.tool(*keys, "--list-keys")

        def seal(plain, me):
            self.tool(*keys, "--import-keys", me)
            return self.tool(*rnp, "--armor", "--sign", "-u", OTHER, "--encrypt", "-r", ALICE, plain, "--output", "-")

        self.check_used(self.tool(*keys, "--export-key", OTHER), lambda path: self.tool(
            *rnp, "--decrypt", path, "--output", "-"), seal)
        self.check_own(self.tool(*keys, "--export-key", "--secret", OTHER))

    def test_sq(self):
        path = os.path.join(self.folder, "sq.key")
        self.tool("sq", "key", "generate", "--userid", "Dana <%s>" % OTHER, "--export", path)
        self.check_used(self.tool("sq", "key", "extract-cert", path),
                        lambda sealed: self.tool("sq", "decrypt", "--recipient-key", path, sealed),
                        lambda plain, me: self.tool("sq", "encrypt", "--recipient-cert", me, "--signer-key", path,
                                                    plain))
        with open(path, "rb") as file:
            self.check_own(file.read())


if __name__ == "__main__":
    unittest.main()
