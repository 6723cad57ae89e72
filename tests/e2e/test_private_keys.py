"""Private keys of S/MIME: imported while serve runs and while it does not, kept sealed, given back, and removed."""
import glob
import os
import pty
import re
import signal
import sqlite3
import subprocess
import tempfile
import termios
import unittest
import unittest.mock

import harness
import rsa_keys
from harness import ALICE, wait_for
from imap_harness import Case, RefImap
from test_imap_locked import set_agent

PASSPHRASE = b"correct horse"


def openssl(*words, data=None):
    done = subprocess.run(["openssl", *words], input=data, capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr.decode())
    return done.stdout


class Files:
    """A CA, and Alice's certificate by it."""

    def __init__(self, folder):
        self.folder = folder
        with open(self.path("leaf.cnf"), "w") as file:
            file.write("subjectAltName=email:%s\nbasicConstraints=CA:FALSE\n" % ALICE)
        for name in ("ca.key", "alice.key"):
            rsa_keys.put(self.path(name))
        openssl("req", "-x509", "-key", self.path("ca.key"), "-out", self.path("ca.pem"), "-subj", "/CN=Test CA",
                "-days", "30", "-addext", "keyUsage=keyCertSign")
        openssl("req", "-new", "-key", self.path("alice.key"), "-out", self.path("alice.csr"), "-subj",
                "/CN=Alice Liddell")
        openssl("x509", "-req", "-in", self.path("alice.csr"), "-CA", self.path("ca.pem"), "-CAkey",
                self.path("ca.key"), "-CAcreateserial", "-days", "30", "-extfile", self.path("leaf.cnf"), "-out",
                self.path("alice.pem"))
        self.fingerprint = self.print_of("alice.pem")

    def path(self, name):
        return os.path.join(self.folder, name)

    def print_of(self, name):
        text = openssl("x509", "-in", self.path(name), "-noout", "-fingerprint", "-sha256").decode()
        return text.split("=")[1].strip().replace(":", "")

    def pkcs12(self, name, *options):
        openssl("pkcs12", "-export", "-inkey", self.path("alice.key"), "-in", self.path("alice.pem"), "-certfile",
                self.path("ca.pem"), "-out", self.path(name), "-passout", "pass:" + PASSPHRASE.decode(), *options)
        return self.path(name)

    def private_numbers(self):
        """Pieces of the key that no file of ours may hold: the primes, as DER has them."""
        text = openssl("rsa", "-in", self.path("alice.key"), "-noout", "-text").decode()
        primes = re.findall(r"prime\d:\n((?: +[0-9a-f:]+\n)+)", text)
        return [bytes.fromhex(re.sub(r"[\s:]", "", prime))[8:40] for prime in primes]


class Commands(Case):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = Files(folder.name)

    def begin(self, start=True):
        self.server = RefImap(self, tls="none")
        self.proxy = harness.Proxy(self, None, imap=self.server, rules=harness.TRUSTING, start=start)

    def run_command(self, *words, status=0, passphrase=None):
        read, write = os.pipe()
        if passphrase is not None:
            os.write(write, passphrase + b"\n")
            words += ("--passphrase-fd", str(read))
        os.close(write)
        try:
            done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], capture_output=True,
                                  check=False, timeout=60, start_new_session=True, pass_fds=(read,))
        finally:
            os.close(read)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.said = done.stderr.decode(errors="replace")
        return done.stdout

    def import_own(self, *names, status=0, passphrase=PASSPHRASE):
        return self.run_command("key", "import", "--own", *[self.files.path(name) for name in names], status=status,
                                passphrase=passphrase).decode()

    def rows(self):
        """What the table of private keys holds. Only while no vault runs."""
        path = os.path.join(self.proxy.state, "store", "durable.sqlite")
        with sqlite3.connect("file:%s?immutable=1" % path, uri=True) as database:
            return [row[0].decode() for row in database.execute("SELECT fingerprint FROM private_key")]

    def certificates(self):
        return {os.path.basename(path) for path in
                glob.glob(os.path.join(self.proxy.state, "keys", ALICE, "certificates", "*"))}

    def assert_sealed(self):
        numbers = self.files.private_numbers()
        self.assertEqual(len(numbers), 2)
        for path in glob.glob(os.path.join(self.proxy.state, "**"), recursive=True):
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    data = file.read()
                for number in numbers:
                    self.assertNotIn(number, data, path)

    def exported(self):
        data = self.run_command("key", "export", "--secret", self.files.fingerprint, passphrase=b"another one")
        return openssl("pkcs12", "-nodes", "-passin", "pass:another one", data=data)


class PrivateKeys(Commands):
    def test_alone(self):
        self.begin(start=False)
        self.files.pkcs12("alice.p12")
        said = self.import_own("alice.p12")
        self.assertIn(self.files.fingerprint + ": yours", said)
        self.assertNotIn("names no address", said)
        self.assertEqual(self.rows(), [self.files.fingerprint])
        self.assertEqual(len(self.certificates()), 2)
        self.assert_sealed()
        self.assertIn(openssl("rsa", "-in", self.files.path("alice.key"), "-noout", "-modulus"),
                      openssl("rsa", "-noout", "-modulus", data=self.exported()))
        self.assertEqual(self.exported().count(b"BEGIN CERTIFICATE"), 2)

    def test_while_serve_runs(self):
        self.begin()
        self.files.pkcs12("alice.p12")
        self.import_own("alice.p12")
        self.assertEqual(self.exported().count(b"BEGIN CERTIFICATE"), 2)
        self.assert_sealed()
        self.proxy.stop()
        self.assertEqual(self.rows(), [self.files.fingerprint])
        self.assert_sealed()
        self.proxy.start()
        self.assertIn(b"PRIVATE KEY", self.exported())
        self.run_command("key", "delete", "--secret", self.files.fingerprint, status=1)
        self.run_command("key", "delete", "--yes", self.files.fingerprint, status=1)
        self.run_command("key", "delete", self.files.fingerprint, "--yes", "--secret")
        self.run_command("key", "export", "--secret", self.files.fingerprint, status=1, passphrase=b"x")
        self.proxy.stop()
        self.assertEqual(self.rows(), [])
        self.assertEqual(len(self.certificates()), 1)

    def test_old_file(self):
        self.begin(start=False)
        self.files.pkcs12("old.p12", "-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-3DES", "-macalg",
                          "sha1")
        self.import_own("old.p12")
        self.assertEqual(self.rows(), [self.files.fingerprint])

    def test_pem_in_two_files(self):
        self.begin(start=False)
        self.import_own("alice.key", status=1)
        self.assertIn("without its certificate", self.said)
        self.import_own("alice.pem", status=1)
        self.assertIn("no private key", self.said)
        self.import_own("alice.key", "alice.pem", "ca.pem")
        self.assertEqual(self.rows(), [self.files.fingerprint])
        self.assertEqual(len(self.certificates()), 2)

    def test_refused(self):
        self.begin(start=False)
        path = self.files.pkcs12("alice.p12")
        self.import_own("alice.p12", status=1, passphrase=b"wrong")
        self.assertIn("not its passphrase", self.said)
        self.import_own("alice.p12", status=1, passphrase=None)
        self.assertIn("locked with a passphrase", self.said)
        with open(path, "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(data[:-200])
        self.import_own("alice.p12", status=1)
        self.assertIn("damaged", self.said)
        self.assertEqual(self.certificates(), set())
        self.assertFalse(os.path.exists(os.path.join(self.proxy.state, "store", "durable.sqlite")) and self.rows())

    def test_interrupted_at_the_terminal(self):
        """The terminal echoes again, whatever ends the question for a passphrase."""
        self.begin(start=False)
        path = self.files.pkcs12("alice.p12")
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(harness.PRIVYSEAL, [harness.PRIVYSEAL, "key", "import", "--own", path, "--config",
                                         self.proxy.config])
        self.addCleanup(os.close, terminal)
        wait_for(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, "the question")
        os.write(terminal, b"half of it\x03")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGINT)
        self.assertTrue(termios.tcgetattr(terminal)[3] & termios.ECHO)

    def test_only_its_issuer_renews_or_revokes_it(self):
        """A certificate has another life than a key, and it is said which."""
        self.begin(start=False)
        self.import_own("alice.key", "alice.pem", passphrase=None)
        for command, word in (("renew", "import --own"), ("rotate", "import --own"), ("revoke", "issuer"),
                              ("backup", "export --secret")):
            self.run_command("key", command, self.files.fingerprint, status=1)
            self.assertIn("is a certificate; ", self.said)
            self.assertIn(word, self.said)

    def at_terminal(self, path, *answers):
        """The status of an import that is told `answers`, and what stood on the terminal."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(harness.PRIVYSEAL, [harness.PRIVYSEAL, "key", "import", "--own", path, "--config",
                                         self.proxy.config])
        shown = b""
        try:
            for answer in answers:
                while not shown.endswith(b": "):
                    shown += os.read(terminal, 4096)
                wait_for(lambda: not termios.tcgetattr(terminal)[3] & termios.ECHO, "the question")
                os.write(terminal, answer + b"\n")
                shown += b"|"
            while True:
                try:
                    shown += os.read(terminal, 4096)
                except OSError:
                    break
        finally:
            os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown

    def test_asked_at_the_terminal(self):
        """Once more after a wrong one; what is typed is not shown."""
        self.begin(start=False)
        path = self.files.pkcs12("alice.p12")
        status, shown = self.at_terminal(path, b"a wrong one", PASSPHRASE)
        self.assertEqual(status, 0, shown)
        self.assertEqual(self.rows(), [self.files.fingerprint])
        self.assertNotIn(PASSPHRASE, shown)
        self.assertNotIn(b"a wrong one", shown)

    def test_asked_by_pinentry(self):
        """Without a terminal gpg-agent asks."""
        pinentry, told = os.path.join(self.folder, "pinentry"), os.path.join(self.folder, "pin")
        with open(pinentry, "w", encoding="ascii") as file:
            file.write(PINENTRY % {"folder": self.folder})
        os.chmod(pinentry, 0o700)
        set_agent(self.alice(), "pinentry-program " + pinentry)
        self.begin(start=False)
        self.files.pkcs12("alice.p12")
        for answer, status in ((b"", 1), (PASSPHRASE, 0)):
            with open(told, "wb") as file:
                file.write(answer)
            with self.subTest(answer=answer):
                self.import_own("alice.p12", status=status, passphrase=None)
        self.assertEqual(self.rows(), [self.files.fingerprint])
        with open(os.path.join(self.folder, "asked"), encoding="ascii") as file:
            self.assertEqual(file.read(), "asked\n" * 2)

    def test_clearing_keeps_it(self):
        self.begin(start=False)
        for is_running in (False, True):
            if is_running:
                self.proxy.start()
            self.import_own("alice.key", "alice.pem", passphrase=None)
            self.run_command("store", "clear")
            self.run_command("store", "clear", "--all", "--yes", status=1)
            self.assertIn("--private-keys", self.said)
            self.assertIn(b"PRIVATE KEY", self.exported())
            self.run_command("store", "clear", "--all", "--private-keys", "--yes")
            self.run_command("key", "export", "--secret", self.files.fingerprint, status=1, passphrase=b"x")


SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SPY = "/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so"
PINENTRY = """#!/bin/sh
echo OK
while read -r word rest; do case $word in
GETPIN) echo asked >>%(folder)s/asked; echo "D $(cat %(folder)s/pin)"; echo OK;;
BYE) echo OK; exit;;
*) echo OK;;
esac; done
"""


class Token(Commands):
    """The key is on a token, here SoftHSM's, and every call of its module is noted."""

    def setUp(self):
        super().setUp()
        self.hsm = os.path.join(self.folder, "hsm")
        os.makedirs(os.path.join(self.hsm, "tokens"))
        self.write("hsm/softhsm2.conf", "directories.tokendir = %s/tokens\n" % self.hsm)
        environment = {"SOFTHSM2_CONF": self.hsm + "/softhsm2.conf", "PKCS11SPY": SOFTHSM,
                       "PKCS11SPY_OUTPUT": self.hsm + "/spied"}
        patch = unittest.mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)
        self.tool("softhsm2-util", "--init-token", "--free", "--label", "tests", "--so-pin", "0000", "--pin", "123456")
        self.tool("softhsm2-util", "--import", self.files.path("alice.key"), "--token", "tests", "--label", "a", "--id",
                  "01", "--pin", "123456")
        openssl("x509", "-in", self.files.path("alice.pem"), "-outform", "DER", "-out", self.files.path("alice.der"))
        self.tool("pkcs11-tool", "--module", SOFTHSM, "--token-label", "tests", "--login", "--pin", "123456",
                  "--write-object", self.files.path("alice.der"), "--type", "cert", "--id", "01")
        self.write("pinentry", PINENTRY % {"folder": self.folder})
        os.chmod(os.path.join(self.folder, "pinentry"), 0o700)
        set_agent(self.alice(), "pinentry-program %s/pinentry" % self.folder)
        self.server = RefImap(self, tls="none")
        self.proxy = harness.Proxy(self, None, imap=self.server, rules=harness.TRUSTING, start=False, account="""
            pkcs11_module = "%s"
            pkcs11_dir = "%s" """ % (SPY, self.hsm))

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="ascii") as file:
            file.write(text)

    def read(self, name):
        try:
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def tool(self, *words):
        subprocess.run(words, check=True, capture_output=True)

    def logins(self):
        return len(re.findall(r": C_Login\b", self.read("hsm/spied")))

    def last_login(self):
        return self.read("hsm/spied").split(": C_Login")[-1].split(": C_")[0]

    def test_pin(self):
        self.run_command("key", "import", "--token", "pkcs11:token=tests;id=%01;pin-value=123456", status=2)
        self.run_command("key", "import", "--token", "pkcs11:token=tests;id=%09", status=1)
        said = self.run_command("key", "import", "--token", "pkcs11:token=tests;id=%01").decode()
        self.assertIn(self.files.fingerprint + ": yours", said)
        self.assertEqual(self.logins(), 0)
        self.write("pin", "999999")
        self.proxy.start()
        self.proxy.imap().logout()
        wait_for(lambda: "unlocking the keys of" in self.proxy.log(), "a PIN that is refused")
        self.assertEqual((self.logins(), self.read("asked")), (1, "asked\n"))
        for _ in range(3):
            self.proxy.imap().logout()
        self.assertEqual((self.logins(), self.read("asked")), (1, "asked\n"))
        self.proxy.stop()
        self.assertEqual((self.logins(), self.read("asked")), (1, "asked\n"))
        self.assertNotIn("999999", self.proxy.log())
        # A new start is a person's doing: somebody is asked again.
        self.write("pin", "123456")
        self.proxy.start()
        self.proxy.imap().logout()
        wait_for(lambda: self.logins() == 2 and "CKR_OK" in self.last_login(), "a PIN that is right")
        self.proxy.stop()
        self.assertEqual(self.proxy.log().count("unlocking the keys of"), 1)


if __name__ == "__main__":
    unittest.main()
