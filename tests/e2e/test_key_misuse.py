"""What a person may do wrong with the key commands, and what somebody hands them to do it with."""
import os
import resource
import signal
import subprocess
import unittest

import test_cli
from harness import wait_for
from test_key_life import FIRST, Life, Owner


class Misuse(Life):
    def setUp(self):
        super().setUp()
        self.bob = Owner(self.root, "bob@example.org")

    def write(self, name, text):
        path = os.path.join(self.root, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def secret_of_bob(self):
        """Unprotected, as somebody would hand it over who wants to be taken for its owner's other self."""
        fingerprint = self.bob.json("key", "make", "--no-passphrase")["fingerprint"]
        return fingerprint, self.bob.run("key", "export", "--secret", fingerprint)[0]

    def test_a_certificate_of_another_own_key_revokes_none(self):
        """What was not named is not given up, least of all for good."""
        one = self.make("--no-passphrase")
        other = self.make("--no-passphrase", "--another")
        words = ("key", "revoke", one["fingerprint"], "--yes", "--certificate", other["revocation"])
        said = self.alice.run(*words, status=1)[1]
        self.assertIn("holds no revocation certificate of " + one["fingerprint"], said)
        states = self.alice.state()
        self.assertEqual([states[key["fingerprint"]]["revoked"] for key in (one, other)], [False, False])
        # A key is none, and is not taken into the ring on the way.
        self.secret_of_bob()
        self.alice.run("key", "revoke", one["fingerprint"], "--yes", "--certificate",
                       self.write("bob.asc", self.bob.key()), status=1)
        self.assertEqual(len(self.alice.state()), 2)

    def test_a_backup_with_the_key_of_another(self):
        """Its first lines name one's own key; what follows is not that."""
        made = self.make("--backup", self.backup, passphrase_fd=FIRST)
        fingerprint, secret = self.secret_of_bob()
        with open(self.backup, encoding="utf-8") as file:
            text = file.read()
        head = text[:text.index("-----BEGIN")]
        for content in (head + secret, text + secret, head + secret + text[len(head):]):
            self.assertIn(made["fingerprint"], content)
            self.alice.run("key", "import", "--own", self.write("forged", content), status=1)
            self.assertEqual(list(self.alice.state()), [made["fingerprint"]])
        # What was said of one file is not said of the next.
        path = self.write("bob.secret", secret)
        self.alice.at_terminal("key", "import", self.backup, path, answers=["yes"], status=1)
        self.assertNotIn(fingerprint, self.alice.state())

    def test_a_paper_with_the_key_of_another(self):
        made = self.make("--no-passphrase")["fingerprint"]
        fingerprint = self.bob.json("key", "make", fds={"passphrase-fd": FIRST})["fingerprint"]
        paper = self.bob.run("key", "export", "--secret", "--paper", fingerprint, fds={"passphrase-fd": FIRST})[0]
        head, rest = paper.split("Key: ", 1)
        forged = head + "Key: " + made + "\n" + rest.split("\n", 1)[1]
        said = self.alice.run("key", "import", "--own", self.write("forged", forged), status=1)[1]
        self.assertIn("does not hold the key that it names", said)
        self.assertEqual(list(self.alice.state()), [made])
        self.alice.run("key", "import", "--own", self.write("paper", paper))
        self.assertEqual(self.alice.state()[fingerprint]["trust"], "own")

    def test_what_is_wrong_is_said(self):
        """The cause, and not what it looks like from afar."""
        nowhere = os.path.join(self.root, "nowhere", "x")
        for words, status, wanted in (
                (("key", "make", "--no-passphrase", "--name", "Al\x1bice"), 2, "control character"),
                (("key", "make", "--no-passphrase", "--name", "Al\u202eice"), 2, "control character"),
                (("key", "make", "--no-passphrase", "--name", b"J\xf6rg"), 2, "no UTF-8"),
                (("key", "make", "--passphrase-fd", "1020"), 2, "expected the number of an open descriptor"),
                (("key", "import", self.root), 3, self.root + ": Is a directory"),
                (("key", "pin", "--remove", "bob@example.org"), 1, "nothing was said"),
                (("key", "pin", "--forget", "--yes", "bob@example.org"), 1, "nothing is kept of bob@example.org")):
            self.assertIn(wanted, self.alice.run(*words, status=status)[1], words)
        made = self.make("--no-passphrase")
        said = self.alice.run("key", "export", made["fingerprint"], "--output", nowhere, status=3)[1]
        self.assertIn(nowhere + ": No such file or directory", said)

    def test_a_disk_that_is_full(self):
        """Half a key is no file."""
        fingerprint = self.open_key()
        done = subprocess.run([test_cli.PROGRAM, "key", "export", fingerprint, "--output", self.backup, "--config",
                               self.alice.config], capture_output=True, check=False, restore_signals=False,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)))
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn(b"writing " + self.backup.encode(), done.stderr)
        self.assertFalse(os.path.exists(self.backup))

    def test_ended_at_the_question(self):
        """No file stands in the way of the next attempt."""
        for words in (("make",), ("backup",), ("rotate", "--statement", self.backup + ".txt")):
            option = "--output" if words[0] == "backup" else "--backup"
            self.alice.at_terminal("key", *words, option, self.backup, answers=["\x03"], status=-signal.SIGINT)
            self.assertFalse(os.path.exists(self.backup), words)
            self.assertFalse(os.path.exists(self.backup + ".txt"), words)
            if words == ("make",):
                self.assertEqual(self.alice.state(), {})
                self.open_key()
        self.assertEqual(len(self.alice.state()), 1)

    def test_ended_while_it_writes(self):
        """The secret key is in no folder of the moment, and a backup that is there is whole."""
        self.make(passphrase_fd=FIRST)
        runtime = os.path.join(self.root, "run")
        os.mkdir(runtime, 0o700)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
            reading, writing = os.pipe()
            os.write(writing, FIRST.encode() + b"\n")
            os.close(writing)
            words = ["key", "backup", "--output", self.backup, "--passphrase-fd", str(reading)]
            process = subprocess.Popen([test_cli.PROGRAM, *words, "--config", self.alice.config], pass_fds=[reading],
                                       env=dict(os.environ, HOME=self.alice.folder, XDG_RUNTIME_DIR=runtime),
                                       stderr=subprocess.PIPE)
            os.close(reading)
            wait_for(lambda: os.listdir(runtime), "the folder of the moment")
            process.send_signal(number)
            said = process.communicate(timeout=60)[1]
            self.assertIn(process.returncode, (-number, 0), said)
            if number == signal.SIGKILL and process.returncode != 0:
                wait_for(lambda: not os.listdir(runtime), "nobody leaves the secret key behind")
                self.assertFalse(os.path.exists(self.backup))
                self.no_agent_is_left()
                continue
            self.assertEqual(os.listdir(runtime), [])
            with open(self.backup, encoding="utf-8") as file:
                self.assertIn("-----END PGP PRIVATE KEY BLOCK-----", file.read())
            os.unlink(self.backup)


def load_tests(loader, tests, pattern):
    """Those of the base class are run where they stand."""
    del tests, pattern
    return unittest.TestSuite(Misuse(name) for name in loader.getTestCaseNames(Misuse) if name in vars(Misuse))


if __name__ == "__main__":
    unittest.main()
