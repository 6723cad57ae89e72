"""privyseal check --repair: what can be mended is, after asking; what cannot be is told of and left as it is."""
import os
import socket
import stat
import subprocess
import sys
import unittest

import test_cli
from harness import Gpg
from test_cli import key_that_asks_for_aead
from test_key_life import ALICE, Life, Owner


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


class Repair(Life):
    def check(self, *words, status=0):
        return self.alice.run("check", "--offline", *words, status=status)[0]

    def path(self, *names):
        return os.path.join(self.alice.home, *names)

    def test_modes(self):
        self.open_key()
        secrets = self.path("private-keys-v1.d")
        keys = [os.path.join(secrets, name) for name in os.listdir(secrets)]
        paths = [self.alice.home, secrets, self.path("openpgp-revocs.d"), os.path.join(self.alice.folder, "s"), *keys]
        before = [mode(path) for path in paths]
        for path in paths:
            os.chmod(path, mode(path) | 0o044)
        link = os.path.join(secrets, "link.key")
        os.symlink(self.alice.config, link)
        outside = mode(self.alice.config)
        said = self.check(status=1)
        self.assertEqual(said.count("can be read by others"), 5)
        self.assertIn("privyseal check --repair", said)
        # Nobody is there to ask.
        self.assertIn("not mended", self.check("--repair", status=1))
        self.assertNotEqual([mode(path) for path in paths], before)
        self.alice.run("check", "--yes", status=2)
        self.assertEqual(self.check("--repair", "--yes").count(": mended"), 5)
        self.assertEqual([mode(path) for path in paths], before)
        self.assertEqual(mode(self.alice.config), outside)
        self.assertNotIn("read by others", self.check())

    def test_a_folder_elsewhere_is_left_alone(self):
        self.open_key()
        elsewhere = os.path.join(self.root, "elsewhere")
        os.rename(self.path("openpgp-revocs.d"), elsewhere)
        letter = os.path.join(elsewhere, "letter")
        with open(letter, "w", encoding="ascii"):
            os.chmod(letter, 0o644)
        os.chmod(elsewhere, 0o755)
        os.symlink(elsewhere, self.path("openpgp-revocs.d"))
        self.check("--repair", "--yes", status=1)
        self.assertEqual((mode(letter), mode(elsewhere)), (0o644, 0o755))

    def test_asked_for_each(self):
        self.open_key()
        os.chmod(self.alice.home, 0o755)
        os.chmod(self.path("openpgp-revocs.d"), 0o755)
        said = self.alice.at_terminal("check", "--offline", "--repair", answers=["yes", "no"], status=1)
        self.assertEqual((mode(self.alice.home), mode(self.path("openpgp-revocs.d"))), (0o700, 0o755))
        self.assertEqual((said.count("mended: expected"), said.count(": mended")), (1, 1))

    def test_locks(self):
        """Only that of a process of this machine that has ended."""
        self.open_key()
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            pass
        here = socket.gethostname()
        locks = {"pubring.kbx.lock": (ended.pid, here), ".#lk0x01.x.%d" % ended.pid: (ended.pid, here),
                 "x.lock": (os.getpid(), here), "y.lock": (ended.pid, "elsewhere.example")}
        for name, (process, machine) in locks.items():
            with open(self.path(name), "w", encoding="ascii") as file:
                file.write("%10d\n%s\n" % (process, machine))
        for name, content in (("odd.lock", "no lock"), ("minus.lock", "%10d\n%s\n" % (-1, here)), ("empty.lock", "")):
            with open(self.path(name), "w", encoding="ascii") as file:
                file.write(content)
        os.symlink(self.path("pubring.kbx.lock"), self.path("link.lock"))
        said = self.check("--repair", "--yes")
        self.assertEqual(said.count("no more: mended"), 2)
        self.assertIn("machine elsewhere.example", said)
        left = sorted(name for name in os.listdir(self.alice.home) if name.endswith(".lock") or name.startswith(".#lk"))
        self.assertEqual(left, ["empty.lock", "link.lock", "minus.lock", "odd.lock", "x.lock", "y.lock"])

    def test_aead(self):
        self.alice.run("key", "import", "--own", data=key_that_asks_for_aead("Alice <%s>" % ALICE))
        self.assertIn("privyseal check --repair", self.check(status=1))
        self.assertIn("AEAD, and such mail is refused: mended", self.check("--repair", "--yes"))
        self.assertNotIn("AEAD", self.check())
        (entry,) = self.alice.json("key", "list")
        self.assertEqual((entry["aead"], entry["trust"]), (False, "own"))

    def test_trust_of_a_persons_own_home(self):
        gpg = Gpg(os.path.join(self.root, "person"))
        self.addCleanup(gpg.close)
        os.rename(self.alice.folder, self.alice.folder + ".first")
        self.alice = Owner(self.root, ALICE, test_cli.RULES, extra='gnupghome = "%s"' % gpg.home)
        gpg.make(ALICE)
        gpg.run("--check-trustdb")
        self.assertNotIn("older", self.check())
        # As a gpg leaves it that is told to see to the database later.
        other = Gpg(os.path.join(self.root, "other"))
        self.addCleanup(other.close)
        other.make("bob@example.net")
        gpg.run("--no-auto-check-trustdb", "--import", data=other.export("bob@example.net"))
        gpg.run("--no-auto-check-trustdb", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-sign-key",
                other.fingerprint("bob@example.net"))
        self.assertIn("trust database is older than the key ring; `privyseal check --repair`", self.check())
        self.assertIn("older than the key ring: mended", self.check("--repair", "--yes"))
        self.assertNotIn("older", self.check())

    def test_a_damaged_ring_is_left_as_it_is(self):
        self.open_key()
        ring = self.path("pubring.kbx")
        with open(ring, "r+b") as file:
            whole = file.read()
            file.seek(32)
            file.write(b"\0\0\0\5" + b"\xff" * 60)
        with open(ring, "rb") as file:
            damaged = file.read()
        said = self.check("--repair", "--yes", status=1)
        self.assertIn("gpg cannot read the whole key ring", said)
        with open(ring, "rb") as file:
            self.assertEqual(file.read(), damaged)
        with open(ring, "wb") as file:
            file.write(whole)
        self.check()

    def test_a_damaged_store(self):
        """It is never written over."""
        self.open_key()
        self.alice.run("certificate")
        store = os.path.join(self.alice.folder, "s", "store")
        os.makedirs(store, 0o700, exist_ok=True)
        with open(os.path.join(store, "durable.sqlite"), "wb") as file:
            file.write(b"not a database " * 1000)
        with open(os.path.join(store, "key"), "wb") as file:
            file.write(b"k" * 32)
        os.chmod(os.path.join(store, "key"), 0o600)
        said = self.check("--repair", "--yes", status=1)
        self.assertIn("the store is damaged", said)
        with open(os.path.join(store, "durable.sqlite"), "rb") as file:
            self.assertEqual(file.read(), b"not a database " * 1000)


def load_tests(loader, tests, pattern):
    """Those of the base classes are run where they stand."""
    del tests, pattern
    names = [name for name in loader.getTestCaseNames(Repair) if name in vars(Repair)]
    return unittest.TestSuite(Repair(name) for name in names)


if __name__ == "__main__":
    unittest.main()
