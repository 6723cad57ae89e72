"""The store's keys under a passphrase: it is asked for at login, and only a person sets it, or takes it away."""
import json
import os
import signal
import subprocess
import unittest

import corpus
import harness
from harness import ALICE, wait_for
from test_imap_constant import rows_of
from test_imap_first import from_bob
import test_imap_locked
from test_imap_locked import LOCKED, set_agent
from test_store_keys import UNAVAILABLE, Keys
from twin import encrypted

FIRST, SECOND, WRONG = "looking glass", "queen & 100% hearts", "jabberwocky"
OPENPGP, FILE, PASSPHRASE = 3, 1, 4

# Writes down what it was told to show; then does what the file `does` says. It types the lines of the file `says`, one
# after the other, the last one again and again.
PINENTRY = """#!/bin/sh
echo "OK hello"
error= description=
while read -r word rest; do
    case "$word" in
    SETDESC) description=$rest; echo OK ;;
    SETERROR) error=$rest; echo OK ;;
    GETPIN)
        printf '%%s|%%s\\n' "$description" "$error" >>"%(folder)s/asked"
        error=
        while [ "$(cat "%(folder)s/does")" = wait ]; do sleep 0.05; done
        if [ "$(cat "%(folder)s/does")" = cancel ]; then
            echo "ERR 83886179 Operation cancelled <Pinentry>"
        else
            printf 'D %%s\\nOK\\n' "$(head -n 1 "%(folder)s/says" | sed 's/%%/%%25/g')"
            if [ "$(wc -l <"%(folder)s/says")" -gt 1 ]; then sed -i 1d "%(folder)s/says"; fi
        fi ;;
    BYE) echo OK; exit 0 ;;
    *) echo OK ;;
    esac
done
"""


class Passphrase(Keys):
    does, asked = test_imap_locked.Locked.does, test_imap_locked.Locked.asked

    def set_pinentry(self):
        """A window that says what the test says, and counts how often it was opened."""
        path = os.path.join(self.folder, "pinentry")
        with open(path, "w", encoding="ascii") as file:
            file.write(PINENTRY % {"folder": self.folder})
        os.chmod(path, 0o700)
        set_agent(self.alice(), "pinentry-program " + path)
        self.says(FIRST)
        self.does("open")

    def begin_store(self, **options):
        self.set_pinentry()
        self.begin_with(encrypted(from_bob("secret")), from_bob("plain"), **options)

    def says(self, *words):
        with open(os.path.join(self.folder, "says"), "w", encoding="utf-8") as file:
            file.writelines(word + "\n" for word in words)

    def start_anew(self):
        """The agent knows no passphrase any more."""
        self.proxy.stop()
        self.alice().close()
        self.proxy.start()

    def passphrase(self, *words, status=0, **fds):
        """`privyseal store passphrase`, with the values of its options for descriptors."""
        command, held = ["store", "passphrase", *words], []
        for name, value in fds.items():
            reading, writing = os.pipe()
            os.write(writing, value.encode() + b"\n")
            os.close(writing)
            held.append(reading)
            command += ["--" + name + "-fd", str(reading)]
        done = subprocess.run([harness.PRIVYSEAL, *command, "--config", self.proxy.config], capture_output=True,
                              check=False, timeout=60, start_new_session=True, stdin=subprocess.DEVNULL, pass_fds=held)
        for descriptor in held:
            os.close(descriptor)
        text = done.stdout.decode() + done.stderr.decode()
        self.assertEqual(done.returncode, status, text)
        for value in (FIRST, SECOND, WRONG):
            self.assertNotIn(value, text + self.proxy.log())
        return text

    def kept(self):
        return json.loads(self.run_command("store", "show", "--json"))["accounts"][0]["keys"]

    def kind(self):
        """How the row is kept on disk; serve does not run afterwards."""
        self.proxy.stop()
        return self.row()[0]

    def check_locked(self, first):
        raw = self.raw()
        raw.ok("SELECT INBOX")
        rows, said = raw.command("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")
        self.assertRegex(said, UNAVAILABLE)
        self.assertEqual(list(rows_of(row for row in rows if b"BODY" in row)), [2])
        self.assertNotIn(first[1], b"".join(rows))
        self.assertRegex(raw.command("SEARCH BODY " + corpus.WORD)[1], UNAVAILABLE)
        return raw

    def wait_opened(self, first):
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the keys")
        self.assertEqual(self.views(), first)

    def test_asked_at_login(self):
        """Set while serve runs; after a start one prompt opens it, and nothing wraps it to the OpenPGP key again."""
        self.begin_store()
        first = self.views()
        self.wrapped()
        self.assertEqual(self.kept(), "openpgp")
        self.assertIn("sealed with the passphrase", self.passphrase(passphrase=FIRST))
        self.assertEqual(self.kept(), "passphrase")
        self.assertRegex(self.checked(), "^ok .*sealed with a passphrase$")
        self.assertEqual(self.views(), first)
        self.assertEqual(self.kind(), PASSPHRASE)
        self.assertNotIn(b"BEGIN PGP MESSAGE", self.store_bytes())
        self.assertIn("asked for when", self.checked())
        self.proxy.start()
        self.assertEqual(self.asked(), [])
        self.does("wait")
        raw = self.check_locked(first)
        wait_for(self.asked, "a prompt")
        self.check_locked(first)
        self.assertIn(ALICE, self.asked()[0])
        self.does("open")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the keys")
        self.assertEqual(rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")), first)
        # A vault that dies asks nobody, nor does another start: the agent knows it.
        os.kill(self.proxy.workers()[0], signal.SIGKILL)
        self.assertEqual(self.views(), first)
        self.assertEqual(len(self.asked()), 1)
        self.assertEqual(self.kind(), PASSPHRASE)
        self.assertEqual(self.proxy.log().count("wrapped to the OpenPGP key"), 1)
        self.proxy.start()

    def test_wrong(self):
        """Three wrong answers and it stays locked, and nobody is asked again; the agent gives none of them later."""
        self.begin_store()
        first = self.views()
        self.passphrase(passphrase=FIRST)
        self.says(WRONG)
        self.start_anew()
        self.check_locked(first)
        wait_for(lambda: "a wrong passphrase" in self.proxy.log(), "words about it")
        self.assertEqual([bool(line.split("|")[1]) for line in self.asked()], [False, True, True])
        self.says(FIRST)
        for _ in range(2):
            self.check_locked(first)
        self.assertEqual(len(self.asked()), 3)
        self.proxy.stop()
        self.says(WRONG, FIRST)
        self.proxy.start()
        self.wait_opened(first)
        self.assertEqual(len(self.asked()), 5)

    def test_declined(self):
        self.begin_store()
        first = self.views()
        self.passphrase(passphrase=FIRST)
        self.does("cancel")
        self.start_anew()
        self.check_locked(first)
        wait_for(lambda: "unlocking the keys of" in self.proxy.log(), "the end of the prompt")
        self.does("open")
        for _ in range(3):
            self.check_locked(first)
        self.assertEqual(len(self.asked()), 1)

    def test_no_openpgp_key(self):
        """An account that has none, as one with certificates alone: the passphrase is all that opens the store."""
        self.alice().run("--yes", "--delete-secret-and-public-key", self.alice().fingerprint(ALICE))
        self.begin_store()
        first = self.views()
        self.assertIn(b"encryption=failed", first[1])
        self.assertIn("store passphrase " + ALICE, self.checked())
        self.passphrase(passphrase=FIRST)
        self.does("wait")
        self.start_anew()
        self.check_locked(first)
        wait_for(self.asked, "a prompt")
        self.does("open")
        self.wait_opened(first)
        self.assertEqual(len(self.asked()), 1)

    def test_refused_key(self):
        """Who will not unlock the OpenPGP key is not asked for the passphrase of the store, too."""
        home = self.alice()
        home.run("--yes", "--delete-secret-and-public-key", home.fingerprint(ALICE))
        for options in (("--quick-gen-key", "<%s>" % LOCKED, "ed25519"), ("--quick-add-key", None, "cv25519")):
            words = [word or home.fingerprint(LOCKED) for word in options]
            home.run("--pinentry-mode", "loopback", "--passphrase", SECOND, *words,
                     "default" if words[0] == "--quick-gen-key" else "encr", "0")
        self.begin_store(account='    also = { "%s" }' % LOCKED)
        self.does("cancel")
        self.proxy.stop()
        self.proxy.start()
        self.passphrase(passphrase=FIRST)
        self.start_anew()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: "unlocking the keys of" in self.proxy.log(), "the end of the prompt")
        self.assertRegex(raw.command("FETCH 1 (BODY.PEEK[])")[1], UNAVAILABLE)
        self.assertEqual([LOCKED in line for line in self.asked()], [True])

    def test_changed_and_removed(self):
        """With serve and without; whoever cannot open the keys changes nothing."""
        self.begin_store()
        first = self.views()
        self.wrapped()
        self.assertIn("no passphrase", self.passphrase("--remove", status=1))
        # Without serve the OpenPGP key opens them.
        self.proxy.stop()
        self.passphrase(passphrase=FIRST)
        before = self.row()
        self.assertEqual(before[0], PASSPHRASE)
        self.assertIn("not the passphrase", self.passphrase(passphrase=SECOND, **{"old-passphrase": WRONG}, status=1))
        self.assertIn("not the passphrase", self.passphrase("--remove", **{"old-passphrase": WRONG}, status=1))
        self.assertEqual(self.row(), before)
        self.passphrase(passphrase=SECOND, **{"old-passphrase": FIRST})
        self.assertNotIn(before[1], self.store_bytes())
        # Locked, while serve runs.
        self.proxy.start()
        self.assertIn("not the passphrase", self.passphrase(passphrase=FIRST, **{"old-passphrase": FIRST}, status=1))
        self.passphrase(passphrase=FIRST, **{"old-passphrase": SECOND})
        self.assertEqual(self.views(), first)
        self.assertEqual(self.asked(), [])
        # Open, while serve runs: nothing else is wanted.
        self.passphrase(passphrase=SECOND)
        self.says(SECOND)
        self.start_anew()
        self.wait_opened(first)
        self.assertIn("taken away", self.passphrase("--remove"))
        self.assertEqual(self.kept(), "file")
        self.assertEqual(self.kind(), FILE)
        self.proxy.start()
        self.assertEqual(self.views(), first)
        self.wrapped(2)
        self.assertEqual(self.kind(), OPENPGP)
        self.proxy.start()

    def test_asked_by_the_command(self):
        """Twice for the new one; what is not the same both times is asked for again."""
        self.begin_store()
        first = self.views()
        self.says("", WRONG, SECOND, FIRST)
        self.passphrase()
        self.assertEqual(len(self.asked()), 5)
        self.assertIn("empty", self.asked()[1].split("|")[1])
        self.assertIn("not the same", self.asked()[3].split("|")[1])
        self.proxy.stop()
        before = self.row()
        self.does("cancel")
        self.assertIn("nothing is changed", self.passphrase("--remove", status=1))
        self.assertEqual(self.row(), before)
        self.does("open")
        self.says(FIRST, SECOND)
        self.passphrase()
        self.assertNotEqual(self.row(), before)
        self.proxy.start()
        self.wait_opened(first)

    def test_wrong_words(self):
        self.begin_store()
        for words in (("--remove", "--passphrase-fd", "0"), ("--passphrase-fd", "x"), (ALICE, "--account", ALICE),
                      ("nobody@example.org",), ("--passphrase-fd", "0")):
            self.passphrase(*words, status=2)
        self.passphrase(passphrase="p" * 256, status=2)
        self.passphrase(passphrase="p" * 255)

    def test_killed_in_between(self):
        """Whoever dies while it is changed: one of the two opens it, and all is there."""
        self.begin_store()
        first = self.views()
        self.passphrase(passphrase=FIRST)
        for number in range(6):
            old, new = (FIRST, SECOND) if number % 2 == 0 else (SECOND, FIRST)
            reading, writing = os.pipe()
            os.write(writing, new.encode() + b"\n")
            os.close(writing)
            command = subprocess.Popen([harness.PRIVYSEAL, "store", "passphrase", "--passphrase-fd", str(reading),
                                        "--config", self.proxy.config], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, pass_fds=[reading], start_new_session=True)
            os.close(reading)
            if number < 4:
                # What the vault is doing then differs from run to run.
                try:
                    command.wait(0.2 * number + 0.1)
                except subprocess.TimeoutExpired:
                    pass
                os.kill(self.proxy.workers()[0], signal.SIGKILL)
                command.communicate(timeout=60)
            else:
                command.kill()
                command.communicate()
            self.says(old, new)
            self.start_anew()
            self.wait_opened(first)
            # From here on the one that is said to be old is.
            self.passphrase(passphrase=new)


if __name__ == "__main__":
    unittest.main()
