"""A key that is locked: asked for once, at login; what it would open is UNAVAILABLE and nothing else until then."""
import os
import re
import signal
import subprocess
import time
import unittest

import corpus
import harness
from harness import ALICE, BOB, Gpg, wait_for
from imap_harness import Case
from test_imap_first import VERDICT, from_bob
from twin import encrypted

LOCKED = "a.liddell@example.org"
PASSPHRASE = "looking glass"

# Writes down that it was asked, and what it was told to show; then does what the file `does` says.
PINENTRY = """#!/bin/sh
echo "OK hello"
while read -r word rest; do
    case "$word" in
    SETDESC) description=$rest; echo OK ;;
    GETPIN)
        echo "asked $description" >>"%(folder)s/asked"
        while [ "$(cat "%(folder)s/does")" = wait ]; do sleep 0.05; done
        if [ "$(cat "%(folder)s/does")" = cancel ]; then
            echo "ERR 83886179 Operation cancelled <Pinentry>"
        else
            echo "D %(passphrase)s"
            echo OK
        fi ;;
    BYE) echo OK; exit 0 ;;
    *) echo OK ;;
    esac
done
"""


def set_agent(gpg, *options):
    """Begins an agent anew, which remembers no passphrase and takes little time over one."""
    with open(os.path.join(gpg.home, "gpg-agent.conf"), "w", encoding="ascii") as file:
        file.write("\n".join(("s2k-count 65536",) + options) + "\n")
    gpg.close()


class Locked(Case):
    """Alice has two keys: one that is open, and one with a passphrase, under her other address. INBOX holds what either
    of them opens, and plain mail: 1 plain, 2 open, 3 locked, 4 plain, 5 locked, 6 open."""

    def begin_locked(self, does):
        other, home = Gpg(os.path.join(self.folder, "o")), self.alice()
        self.add(other.close)
        for gpg in (other, home):
            set_agent(gpg)
        secret = ["--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
        other.run(*secret, "--quick-gen-key", "Alice <%s>" % LOCKED, "ed25519", "default", "0")
        other.run(*secret, "--quick-add-key", other.fingerprint(LOCKED), "cv25519", "encr", "0")
        home.run("--import", data=other.run(*secret, "--armor", "--export-secret-keys", LOCKED).stdout)
        home.run("--import-ownertrust", data=(other.fingerprint(LOCKED) + ":6:\n").encode())
        home.take(harness.keys().export(BOB))
        harness.keys().take(other.export(LOCKED))
        # The address is that of the keys of earlier tests, too.
        self.locked = to = other.fingerprint(LOCKED)
        self.set_pinentry(home)
        self.does(does)
        self.begin(account='    also = { "%s" }' % LOCKED)
        self.server.put(from_bob("m1"), encrypted(from_bob("m2")), encrypted(from_bob("m3"), to=to),
                        from_bob("m4"), encrypted(from_bob("m5"), to=to), encrypted(from_bob("m6")), flags="(kept)")

    def set_pinentry(self, home):
        path = os.path.join(self.folder, "pinentry")
        with open(path, "w", encoding="ascii") as file:
            file.write(PINENTRY % {"folder": self.folder, "passphrase": PASSPHRASE})
        os.chmod(path, 0o700)
        set_agent(home, "pinentry-program " + path)

    def does(self, word):
        path = os.path.join(self.folder, "does")
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(word)
        os.rename(path + ".new", path)

    def asked(self):
        """What the prompts that there were have said."""
        try:
            with open(os.path.join(self.folder, "asked"), encoding="utf-8") as file:
                return file.read().splitlines()
        except FileNotFoundError:
            return []

    def wait_for_prompt(self):
        wait_for(self.asked, "a prompt")

    @staticmethod
    def rows(responses):
        """Without words about how far it has come."""
        return [row for row in responses if b"INPROGRESS" not in row]

    def fetch(self, raw, numbers):
        return self.rows(raw.ok("FETCH %s (BODY.PEEK[])" % numbers))

    def number(self, response):
        return int(response.split(b" ")[1])

    def check_unavailable(self, raw, command, items):
        """All others are answered first, in order, and wholly; of the locked ones only what the server says."""
        responses, said = raw.command(command)
        self.assertRegex(said, rb"^NO \[UNAVAILABLE\]")
        rows = self.rows(responses)
        self.assertEqual([self.number(row) for row in rows], [1, 2, 4, 6, 3, 5])
        for row in rows[:4]:
            self.assertIn(b"about" if b"ENVELOPE" in items else corpus.CANARY, row.replace(b"outer", b"about"))
        for row in rows[4:]:
            number = self.number(row)
            left = re.sub(rb"UID %d|FLAGS \([^)]*\)|INTERNALDATE \"[^\"]*\"|MODSEQ \(\d+\)" % number, b"", row)
            self.assertEqual(left.split(), [b"*", b"%d" % number, b"FETCH", b"(", b")"], row)
            self.assertIn(b"FLAGS (kept", row)
        return rows

    def test_others_are_answered_first(self):
        self.begin_locked("cancel")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.wait_for_prompt()
        for items in ("BODY.PEEK[]", "FLAGS BODY[TEXT]", "INTERNALDATE ENVELOPE RFC822.SIZE", "BODYSTRUCTURE ENVELOPE"):
            items = "UID FLAGS INTERNALDATE " + items
            for verb in ("FETCH", "UID FETCH"):
                with self.subTest(items=items, verb=verb):
                    rows = self.check_unavailable(raw, "%s 1:* (%s)" % (verb, items), items.encode())
                    for row in rows[4:]:
                        self.assertIn(b"INTERNALDATE", row)
        # Nobody has seen it.
        self.assertEqual(raw.ok("SEARCH UNSEEN"), [b"* SEARCH 3 5"])
        # What needs no view is given.
        self.assertEqual(len(raw.ok("FETCH 1:* (UID FLAGS INTERNALDATE)")), 6)
        self.assertIn(b"kept", raw.ok("STORE 3 +FLAGS (other)")[0])
        # One alone.
        responses, said = raw.command("FETCH 3 (BODY.PEEK[])")
        self.assertRegex(said, rb"^NO \[UNAVAILABLE\]")
        self.assertNotIn(b"BODY", b"".join(responses))
        # A search that would be incomplete is none; one that needs no content is.
        responses, said = raw.command("SEARCH BODY " + corpus.WORD)
        self.assertRegex(said, rb"^NO \[UNAVAILABLE\]")
        self.assertEqual(responses, [])
        self.assertEqual(raw.ok("SEARCH KEYWORD other"), [b"* SEARCH 3"])
        self.assertEqual(len(self.asked()), 1)

    def test_asked_once(self):
        """One prompt, which names the key; after a cancel there is none, whoever logs in or asks."""
        self.begin_locked("cancel")
        for _ in range(3):
            raw = self.raw()
            raw.ok("SELECT INBOX")
            self.wait_for_prompt()
            self.assertRegex(raw.command("FETCH 1:* (UID BODY.PEEK[])")[1], rb"^NO \[UNAVAILABLE\]")
            raw.ok("LOGOUT")
        self.assertEqual(len(self.asked()), 1)
        self.assertIn(LOCKED, self.asked()[0])
        self.does("open")
        with self.proxy.imap() as client:
            client.select()
            time.sleep(0.5)
            self.assertEqual(client.fetch("3", "(BODY.PEEK[])")[0], "NO")
        self.assertEqual(len(self.asked()), 1)

    def test_opened_at_login(self):
        """One prompt for all of a key's parts; then everything is read, in this session and in others."""
        self.begin_locked("open")
        raw = self.raw()
        self.wait_for_prompt()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 3 (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        rows = self.fetch(raw, "1:*")
        self.assertEqual([self.number(row) for row in rows], [1, 2, 3, 4, 5, 6])
        for number, row in enumerate(rows, 1):
            self.assertIn(b"outer m%d" % number, row)
            self.assertEqual(row.count(corpus.CANARY), 1, row)
        self.assertEqual(raw.ok("SEARCH BODY " + corpus.WORD), [b"* SEARCH 1 2 3 4 5 6"])
        other = self.raw()
        other.ok("SELECT INBOX")
        self.assertEqual(self.fetch(other, "1:*"), rows)
        self.assertEqual(len(self.asked()), 1)

    def test_opened_later(self):
        """What was UNAVAILABLE was not judged: once the key is open the message is shown as if it always had been."""
        self.begin_locked("cancel")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.wait_for_prompt()
        rows = self.check_unavailable(raw, "FETCH 1:* (UID FLAGS BODY.PEEK[])", b"BODY")
        self.does("open")
        home = self.alice()
        home.run("--yes", "--local-user", LOCKED, "--output", "/dev/null", "--detach-sign", data=b"x")
        home.decrypt(harness.keys().run("--trust-model", "always", "--encrypt", "--recipient", self.locked,
                                        data=b"x").stdout)
        after = self.rows(raw.ok("FETCH 1:* (UID FLAGS BODY.PEEK[])"))
        self.assertEqual([after[index] for index in (0, 1, 3, 5)], rows[:4])
        for index in (2, 4):
            self.assertIn(b"encryption=openpgp", VERDICT.search(after[index]).group(0))
            self.assertIn(corpus.CANARY, after[index])

    def test_forgotten(self):
        """The agent forgets the passphrase while a program stays logged in: it is asked for again when it is wanted."""
        self.begin_locked("open")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 3 (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        before = self.fetch(raw, "3")
        subprocess.run(["gpgconf", "--homedir", self.alice().home, "--reload", "gpg-agent"], check=True)
        wait_for(lambda: raw.command("FETCH 5 (RFC822.SIZE)")[1].startswith(b"OK"), "the key again")
        self.assertEqual(len(self.asked()), 2)
        self.assertEqual(self.fetch(raw, "3"), before)

    def test_others_read_while_it_is_asked(self):
        """A prompt that nobody answers holds up nobody, nor does it count against the time of a job."""
        self.begin_locked("wait")
        began = time.monotonic()
        raw = self.raw()
        self.wait_for_prompt()
        raw.ok("SELECT INBOX")
        self.assertIn(corpus.CANARY, self.fetch(raw, "1")[0])
        self.assertIn(corpus.CANARY, self.fetch(raw, "2")[0])
        other = self.raw()
        other.ok("EXAMINE INBOX")
        self.assertIn(corpus.CANARY, self.fetch(other, "6")[0])
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual(len(self.asked()), 1)
        self.does("open")
        wait_for(lambda: raw.command("FETCH 3 (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        self.assertIn(corpus.CANARY, self.fetch(raw, "5")[0])
        self.assertEqual(len(self.asked()), 1)

    def test_no_agent(self):
        """An agent that dies and stays dead is a locked key, and no reason to show anything else."""
        self.begin_locked("cancel")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.wait_for_prompt()
        before = self.fetch(raw, "2")
        # The master does not start it again within a session.
        self.alice().close()
        responses, said = raw.command("FETCH 1:* (UID FLAGS BODY.PEEK[])")
        if said.startswith(b"NO"):
            self.assertRegex(said, rb"^NO \[UNAVAILABLE\]")
        for row in self.rows(responses):
            self.assertNotIn(b"encryption=failed", row)
            self.assertNotIn(b"BEGIN PGP", row)
        self.assertEqual(self.fetch(raw, "2"), before)
        self.assertEqual(self.fetch(raw, "1")[0].count(corpus.CANARY), 1)


class OwnKeyLocked(Case):
    def test_saving(self):
        """What cannot be signed is not saved, neither sealed nor plain."""
        home = self.alice()
        set_agent(home)
        home.run("--yes", "--delete-secret-and-public-key", home.fingerprint(ALICE))
        home.run("--pinentry-mode", "loopback", "--passphrase", PASSPHRASE, "--quick-gen-key", "<%s>" % ALICE,
                 "ed25519",
                 "default", "0")
        home.run("--pinentry-mode", "loopback", "--passphrase", PASSPHRASE, "--quick-add-key", home.fingerprint(ALICE),
                 "cv25519", "encr", "0")
        Locked.set_pinentry(self, home)
        Locked.does(self, "cancel")
        self.begin()
        raw = self.raw()
        wait_for(lambda: Locked.asked(self), "a prompt")
        wait_for(lambda: "unlocking the keys" in self.proxy.log(), "its end")
        for _ in range(2):
            self.assertRegex(raw.command("APPEND INBOX", (corpus.text(), ""))[1], rb"^NO \[UNAVAILABLE\]")
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.assertNotIn(b"APPEND", self.server.wire())
        self.assertEqual(raw.ok("STATUS INBOX (MESSAGES)"), [b'* STATUS "INBOX" (MESSAGES 0)'])


class Dying(Case):
    """A process that dies is no reason to say of a message that it cannot be opened: that would be kept for good."""

    def begin(self, **options):
        super().begin(**options)
        self.alice().take(harness.keys().export(BOB))
        self.session, self.count = self.raw(), 0
        self.session.ok("SELECT INBOX")
        self.add(lambda: self.signal_agent(signal.SIGCONT))

    def agents(self):
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and
                harness.command_of(int(name)).startswith("gpg-agent --homedir " + self.alice().home)]

    def signal_agent(self, number):
        for pid in self.agents():
            os.kill(pid, number)

    def decrypting(self):
        return [pid for pid in harness.descendants(self.proxy.process.pid) if
                re.match(r"gpg .*--decrypt", harness.command_of(pid))]

    def catch(self):
        """A message's gpg that waits for an answer of its agent; the message's number."""
        for _ in range(5):
            self.server.put(encrypted(from_bob("m%d" % self.count), signer=None))
            self.count += 1
            self.session.ok("NOOP")
            self.signal_agent(signal.SIGSTOP)
            self.session.send("x FETCH %d (BODY.PEEK[])\r\n" % self.count)
            end = time.monotonic() + 1
            while time.monotonic() < end:
                if self.decrypting():
                    return self.decrypting()
                time.sleep(0.02)
            # It was the list of keys that was waited for.
            self.signal_agent(signal.SIGCONT)
            self.session.answer("x")
        raise AssertionError("no message is being decrypted")

    def check_opened(self):
        rows = self.session.ok("FETCH %d (BODY.PEEK[])" % self.count)
        self.assertIn(b"encryption=openpgp", VERDICT.search(rows[-1]).group(0))
        self.assertIn(corpus.CANARY, rows[-1])

    def answer(self):
        rows, said = self.session.answer("x")
        for row in rows:
            self.assertNotIn(b"encryption=failed", row)
        return said

    def test_dying(self):
        self.begin()
        for who in ("gpg", "keepers", "agent"):
            with self.subTest(who=who):
                found = self.catch()
                # Whoever waits for the agent goes on only when it is gone.
                if who == "agent":
                    self.signal_agent(signal.SIGKILL)
                for pid in {"gpg": found, "keepers": self.proxy.keepers(), "agent": []}[who]:
                    os.kill(pid, signal.SIGKILL)
                self.signal_agent(signal.SIGCONT)
                said = self.answer()
                self.assertRegex(said, rb"^OK" if who == "gpg" else rb"^NO \[UNAVAILABLE\]")
                # Whatever gpg the person uses brings the agent back.
                self.alice().run("--list-secret-keys")
                self.check_opened()


if __name__ == "__main__":
    unittest.main()
