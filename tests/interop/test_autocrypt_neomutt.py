#!/usr/bin/python3
"""neomutt's own Autocrypt on the other side: it takes Alice's field and answers encrypted, and what it writes has
Alice's proxy encrypt to Bob. No key is given to either by hand."""
import os
import pty
import re
import select
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
from harness import ALICE, BOB, wait_for  # noqa: E402
from test_autocrypt import Case, Person, is_encrypted, letter  # noqa: E402

SECRET = "the mome raths"
SETTINGS = """
set autocrypt=yes autocrypt_dir="%(folder)s/autocrypt" autocrypt_reply=yes crypt_use_gpgme=yes
set from="%(bob)s" use_from=yes hostname=example.net copy=no wait_key=no quit=yes mark_old=no
set sendmail="%(folder)s/sendmail" mbox_type=Maildir folder="%(folder)s/mail" spoolfile="%(folder)s/mail"
set askcc=no abort_unmodified=no editor="cp %(folder)s/text" abort_nosubject=no autoedit=yes fast_reply=yes
set pager="%(folder)s/pager" confirmappend=no delete=no pager_stop prompt_after=no include=no
"""
# It asks them at its first start.
QUESTIONS = ((rb"Create it", b"y"), (rb"initial autocrypt", b"y"), (rb"account address", b"\r"), (rb"reate new", b"c"),
             (rb"Prefer encryption", b"y"), (rb"Scan a mailbox", b"n"))
LIMIT_S = 60


class Neomutt:
    """Bob's, in a folder of its own."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "neomutt")
        for name in ("mail/cur", "mail/new", "mail/tmp"):
            os.makedirs(os.path.join(self.folder, name))
        self.write("rc", SETTINGS % {"folder": self.folder, "bob": BOB})
        self.write("text", SECRET + "\n")
        self.write("sendmail", "#!/bin/sh\nexec cat >%s/sent\n" % self.folder)
        self.write("pager", "#!/bin/sh\nexec cp \"$1\" %s/shown\n" % self.folder)
        for name in ("sendmail", "pager"):
            os.chmod(self.path(name), 0o700)
        self.received = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(text)

    def close(self):
        subprocess.run(["gpgconf", "--homedir", self.path("autocrypt"), "--kill", "all"], check=False,
                       capture_output=True)

    def run(self, keys, questions=()):
        """On a terminal of its own; gives what it showed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ.update(HOME=self.folder, TERM="vt100", LC_ALL="C.UTF-8")
            os.environ.pop("GNUPGHOME", None)
            os.execvp("neomutt", ["neomutt", "-n", "-F", self.path("rc"), "-e", "push \"%s\"" % keys, "-f",
                                  self.path("mail")])
        try:
            return self.talk(terminal, list(questions))
        finally:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
            os.waitpid(pid, 0)
            os.close(terminal)

    @staticmethod
    def talk(terminal, questions):
        said, at, end = b"", 0, time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            said += piece
            asked = re.search(questions[0][0], said[at:]) if questions else None
            if asked:
                at += asked.end()
                os.write(terminal, questions.pop(0)[1])
            if piece == b"":
                break
        return said

    def take(self, message):
        self.received += 1
        with open(self.path("mail/new/%d.example" % self.received), "wb") as file:
            file.write(message.replace(b"\r\n", b"\n"))

    def result(self, name, said):
        if not os.path.exists(self.path(name)):
            raise AssertionError(said[-3000:])
        with open(self.path(name), "rb") as file:
            return file.read().replace(b"\n", b"\r\n")


class Both(Case):
    def test_in_both_directions(self):
        alice, mutt = Person(self, ALICE), Neomutt(self.folder)
        self.add(mutt.close)
        mutt.take(alice.send(letter(ALICE, BOB), BOB)[BOB])
        said = mutt.run("<quit>", QUESTIONS)
        # What it has read of her it answers encrypted: both prefer that.
        said += mutt.run("<reply><send-message><quit>")
        answer = mutt.result("sent", said)
        self.assertTrue(is_encrypted(answer), said[-2000:])
        self.assertIn(b"\r\nAutocrypt: addr=" + BOB.encode(), answer)
        [shown] = alice.receive(answer)
        self.assertIn(SECRET.encode(), shown)
        copy = wait_for(lambda: self.encrypted(alice, BOB), "Alice's proxy to have taken note")
        mutt.take(copy)
        said = mutt.run("<last-entry><display-message><quit>")
        self.assertIn(b"secret of alice", mutt.result("shown", said))


if __name__ == "__main__":
    unittest.main()
