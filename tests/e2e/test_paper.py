"""A key on paper: printed, lost, typed in again with slips, and back."""
import os
import random
import re
import shutil
import subprocess
import tempfile
import unittest

import test_cli
from harness import Gpg, wait_for
from test_key_life import ALICE, FIRST, Owner, WRONG


class Paper(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pv")
        self.addCleanup(shutil.rmtree, self.root, True)
        self.addCleanup(wait_for, lambda: not test_cli.words_with(self.root), "the agents' end")
        self.alice = Owner(self.root, ALICE, test_cli.RULES)
        self.addCleanup(lambda: Gpg(self.alice.home).close())

    def write(self, text):
        path = os.path.join(self.root, "typed")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def lose_home(self):
        subprocess.run(["gpgconf", "--homedir", self.alice.home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.alice.home)

    def stranger(self):
        gpg = Gpg(os.path.join(self.root, "g%d" % len(os.listdir(self.root))))
        self.addCleanup(gpg.close)
        return gpg

    def test_secret_key(self):
        made = self.alice.json("key", "make", "--name", "Alice", fds={"passphrase-fd": FIRST})
        sealer = self.stranger()
        sealer.take(self.alice.key().encode())
        sealed = sealer.run("--trust-model", "always", "--armor", "-r", made["fingerprint"], "--encrypt", data=b"mail")
        said = self.alice.run("key", "export", "--secret", "--paper", ALICE, fds={"passphrase-fd": WRONG}, status=1)[1]
        self.assertIn("no passphrase was given that opens", said)
        text = self.alice.run("key", "export", "--secret", "--paper", ALICE, fds={"passphrase-fd": FIRST})[0]
        text = text if isinstance(text, str) else text.decode()
        lines = re.findall(r"^ *\d+: [A-Z2-7 ]+ = [A-Z2-7]{5}$", text, re.M)
        # It fits on a page.
        self.assertTrue(10 < len(lines) < 50, text)
        self.assertTrue(max(map(len, text.splitlines())) <= 100)
        self.lose_home()
        # Every line, with one letter of it wrong: it is named, and nothing is imported.
        random.seed(1)
        for line in random.sample(lines, 5):
            number, letters = line.split(":", 1)
            at = random.choice([i for i, letter in enumerate(letters) if letter.isalpha()])
            wrong = letters[:at] + ("Q" if letters[at] != "Q" else "R") + letters[at + 1:]
            path = self.write(text.replace(line, number + ":" + wrong))
            said = self.alice.run("key", "import", "--own", path, status=1)[1]
            self.assertIn("line %d " % int(number), said)
        self.assertEqual(self.alice.json("key", "list"), [])
        said = self.alice.run("key", "import", "--own", self.write(text.replace(lines[3] + "\n", "")), status=1)[1]
        self.assertIn("line 4 ", said)
        # As a person types it: lower case, without the blanks, with the letters that look like those.
        typed = "privyseal PAPER key\r\npart: secret\r\n" + "\r\n".join(
            line.replace(" ", "").replace("O", "0").replace("I", "1").replace("B", "8").lower() for line in lines)
        typed += "\r\n" + re.search(r"^all:.*$", text, re.M).group(0)
        path = self.write(typed)
        # A file cannot say whose it is.
        self.assertIn("--own", self.alice.run("key", "import", path, status=1)[1])
        self.alice.run("key", "import", "--own", path)
        self.assertTrue(self.alice.state()[made["fingerprint"]]["secret"])
        own = Gpg(self.alice.home)
        for passphrase, plain in ((WRONG, b""), (FIRST, b"mail")):
            done = own.run("--pinentry-mode", "loopback", "--passphrase", passphrase, "--decrypt", data=sealed.stdout,
                           check=False)
            self.assertEqual(done.stdout, plain)

    def test_without_a_passphrase(self):
        """What whoever finds it could use is not printed; the public key is."""
        made = self.alice.json("key", "make", "--name", "Alice", "--no-passphrase")
        said = self.alice.run("key", "export", "--secret", "--paper", ALICE, status=1)[1]
        self.assertIn("has no passphrase", said)
        output = os.path.join(self.root, "paper")
        self.alice.run("key", "export", "--paper", ALICE, "--output", output)
        self.lose_home()
        self.alice.run("key", "import", output)
        entry = self.alice.state()[made["fingerprint"]]
        self.assertEqual((entry["secret"], entry["address"]), (False, ALICE))


if __name__ == "__main__":
    unittest.main()
