#!/usr/bin/python3
"""FETCH before a Dovecot where it is hard: changes asked for by MODSEQ, messages that come and go, locked keys,
views that are larger than what a slow client has taken."""
import os
import random
import re
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import corpus  # noqa: E402
import dovecot  # noqa: E402
import harness  # noqa: E402
import twin  # noqa: E402
from dovecot import Dovecot, Talk  # noqa: E402
from harness import ALICE, BOB  # noqa: E402

COMMANDS = int(os.environ.get("FETCH_COMMANDS", "300"))
SEED = int(os.environ.get("FETCH_SEED", "1"))
SECONDS = float(os.environ.get("FETCH_SECONDS", "5"))
ENABLED = {0: b"NOOP", 1: b"ENABLE CONDSTORE", 2: b"ENABLE QRESYNC"}


def from_bob(subject, text):
    return corpus.lines("From: Bob <%s>\nTo: Alice <%s>\nSubject: %s\nMIME-Version: 1.0\nContent-Type: text/plain\n"
                        "\n%s\n"
                        % (BOB, ALICE, subject, text))


class Changes(twin.Chance):
    """FETCH and STORE with mod-sequences; "@n@" stands for the n-th time at which both sides were asked for theirs."""

    times = 1

    def fetch(self):
        words = [self.item() for _ in range(self.random.randint(1, 4))] + [self.pick(b"UID", b"MODSEQ")]
        is_uid, modifier = self.pick(True, False), b""
        if self.random.random() < 0.5:
            modifier = b" (CHANGEDSINCE @%d@%s)" % (self.random.randint(max(0, self.times - 8), self.times - 1),
                                                    self.pick(b"", b" VANISHED") if is_uid else b"")
        return (b"UID " if is_uid else b"") + b"FETCH %s (%s)%s" % (self.numbers(), b" ".join(words), modifier)

    def command(self):
        return self.pick(*[self.fetch] * 6, *[self.store] * 3, self.copy, lambda: b"EXPUNGE", lambda: b"NOOP")()


@unittest.skipUnless(dovecot.is_there(), "Dovecot is not installed")
class Fetch(harness.World):
    def begin(self, messages):
        self.server = Dovecot(users=("alice",))
        self.add(self.server.close)
        self.alice().take(harness.keys().export(BOB))
        self.proxy = harness.Proxy(self, None, imap=self.server)
        self.direct = self.talk(self.server.port)
        for message in messages:
            self.direct.append("INBOX", message, b"()")
        client = self.talk(self.proxy.imap_port)
        return client

    def talk(self, port):
        talk = Talk(port, "alice", "secret")
        self.add(talk.close)
        return talk

    def test_changes_are_the_same_as_the_twins(self):
        pair = twin.Pair(self, 60, SEED)
        chance, talks, times = Changes(pair, SEED), pair.talks(), []
        for talk in talks:
            talk.command(ENABLED[SEED % 3])
            talk.command(b"SELECT INBOX")
        for number in range(COMMANDS):
            if number % 5 == 0:
                now = [talk.command(b"STATUS INBOX (HIGHESTMODSEQ)")[0] for talk in talks]
                times.append([re.search(rb"HIGHESTMODSEQ (\d+)\)", b"".join(told)).group(1) for told in now])
                chance.times = len(times)
            command = chance.command()
            told = []
            for side, talk in enumerate(talks):
                asked = re.sub(rb"@(\d+)@", lambda match, side=side: times[int(match.group(1))][side], command)
                told.append([re.sub(rb"(MODSEQ \(|MODIFIED |HIGHESTMODSEQ )\d+", rb"\1N", line)
                             for line in twin.answers(talk, asked)])
            self.assertEqual(told[0], told[1], "command %d: %r" % (number, command))

    def churn(self, messages, stop, errors):
        """Another mail program takes messages away and brings others, all the time."""
        chance = random.Random(SEED)
        try:
            talk = Talk(self.server.port, "alice", "secret")
            talk.command(b"SELECT INBOX")
            while not stop.is_set():
                uids = talk.command(b"UID SEARCH ALL")[0][0].split()[2:]
                for uid in chance.sample(uids, min(3, len(uids))):
                    talk.command(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % uid)
                talk.command(b"EXPUNGE")
                for message in chance.sample(messages, 3):
                    talk.append("INBOX", message, b"()")
            talk.close()
        except (OSError, AssertionError, IndexError) as error:
            errors.append(error)

    def test_messages_come_and_go(self):
        messages = [from_bob("mark%d" % number, "body-of-%d" % number) for number in range(30)]
        messages = [twin.encrypted(message) if number % 2 else message for number, message in enumerate(messages)]
        for enable in ENABLED.values():
            client = self.begin(messages)
            stop, errors, known = threading.Event(), [], {}
            thread = threading.Thread(target=self.churn, args=(messages, stop, errors))
            thread.start()
            try:
                client.command(enable)
                client.command(b"SELECT INBOX")
                end = time.monotonic() + SECONDS / len(ENABLED)
                # For a while, and until some have come that were not there at first.
                while time.monotonic() < end or (len(known) <= len(messages) and thread.is_alive()):
                    for command in (b"FETCH 1:* (UID BODY.PEEK[])", b"UID FETCH 1:* (FLAGS RFC822.SIZE BODY[])",
                                    b"NOOP"):
                        self.check_marks(client.command(command), known)
            finally:
                stop.set()
                thread.join()
            self.assertEqual(errors, [])
            self.assertGreater(len(known), len(messages))

    def check_marks(self, answer, known):
        untagged, tagged = answer
        self.assertRegex(tagged, rb"^OK ")
        for response in untagged:
            uid = re.match(rb"\* \d+ FETCH \(UID (\d+) [^\r\n]*BODY\[\] \{[1-9]", response)
            if uid:
                mark, = re.findall(rb"^Subject: mark(\d+)\r$", response, re.M)
                self.assertIn(b"\r\nbody-of-%s\r\n" % mark, response)
                self.assertEqual(known.setdefault(uid.group(1), mark), mark)

    def test_a_locked_key_holds_up_no_others(self):
        home = self.alice()
        loopback = ("--passphrase", "pass", "--pinentry-mode", "loopback")
        home.run(*loopback, "--quick-gen-key", "<locked@example.org>", "ed25519", "default", "0")
        home.run(*loopback, "--quick-add-key", home.fingerprint("locked@example.org"), "cv25519", "encr", "0")
        harness.keys().take(home.export("locked@example.org"))
        with open(os.path.join(home.home, "gpg-agent.conf"), "a", encoding="utf-8") as file:
            file.write("\npinentry-program /bin/false\n")
        subprocess.run(["gpgconf", "--homedir", home.home, "--kill", "all"], check=True, capture_output=True)
        plain = from_bob("plain", "plain")
        locked, opened = twin.encrypted(plain, to="locked@example.org"), twin.encrypted(plain)
        client = self.begin([opened, locked, plain, locked, opened])
        client.command(b"SELECT INBOX")

        def fetch(command):
            untagged, tagged = client.command(command, check=False)
            numbers = [int(line.split()[1]) for line in untagged if b" FETCH (" in line]
            return numbers, [line for line in untagged if line.startswith((b"* 2 ", b"* 4 "))], tagged

        numbers, of_locked, tagged = fetch(b"FETCH 1:* (UID FLAGS RFC822.SIZE BODY[])")
        self.assertEqual(numbers, [1, 3, 5, 2, 4])
        for line in of_locked:
            self.assertRegex(line, rb"^\* \d FETCH \(UID \d FLAGS \((\\Recent)?\)\)\r\n$")
        self.assertRegex(tagged, rb"^NO \[UNAVAILABLE\] ")
        numbers, _, tagged = fetch(b"FETCH 1:* (RFC822.SIZE)")
        self.assertEqual(numbers, [1, 3, 5])
        self.assertRegex(tagged, rb"^NO \[UNAVAILABLE\] ")
        numbers, _, tagged = fetch(b"UID FETCH 1:3,5 (FLAGS)")
        self.assertEqual(numbers, [1, 2, 3, 5])
        self.assertRegex(tagged, rb"^OK ")

    def test_a_slow_client_gets_a_large_view_whole(self):
        text = "".join("line %d of a message that is long\n" % number for number in range(400000))
        long, short = from_bob("long", text), from_bob("short", "short")
        client = self.begin([twin.encrypted(short), twin.encrypted(long), short, twin.encrypted(long)])
        client.command(b"SELECT INBOX")
        client.socket.sendall(b"s FETCH 1:* (UID BODY.PEEK[] BODY.PEEK[TEXT])\r\n")
        time.sleep(1)
        self.direct.append("INBOX", short, b"()")
        told = []
        while not told or not told[-1].startswith(b"s "):
            told.append(client.response())
        found = [line for line in told if b" FETCH (" in line[:20]]
        self.assertEqual([int(line.split()[1]) for line in found], [1, 2, 3, 4])
        body = text.replace("\n", "\r\n").encode()
        for line in (found[1], found[3]):
            self.assertEqual(line.count(body), 2)
        self.assertRegex(told[-1], rb"^s OK ")


if __name__ == "__main__":
    unittest.main()
