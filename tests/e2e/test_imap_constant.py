"""A view never changes under its UID: not over restarts, sudden ends, lost files, other keys; and nothing is lost."""
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, Gpg, wait_for
from imap_dovecot import AgentLog
from imap_harness import Case, Raw
from test_imap_first import VERDICT, from_bob
from twin import encrypted, inline, signed

ROUNDS = 7
WHOLE = re.compile(rb"\* \d+ FETCH \(UID (\d+) RFC822\.SIZE (\d+) BODY\[\] \{(\d+)\}\r\n")
FACTS = "(UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])"


def rows_of(responses):
    """UID to view, of complete responses."""
    rows = {}
    for response in responses:
        match = WHOLE.match(response)
        if match and response.endswith(b")"):
            uid, size, length = (int(number) for number in match.groups())
            view = response[match.end():-1]
            if not len(view) == size == length:
                raise AssertionError("%d bytes of a view of %d, RFC822.SIZE %d" % (len(view), length, size))
            rows[uid] = view
    return rows


def verdict_of(view):
    """Its words without the date."""
    return re.sub(rb"\s+at=\S*", b"", VERDICT.search(view).group(0))


class Constant(Case):
    def begin_with(self, *messages, **options):
        self.begin(**options)
        self.agent = AgentLog(self.alice())
        self.restart()
        self.raw().ok("LOGOUT")
        self.agent.settle(self.proxy)
        self.server.put(*messages)

    def restart(self):
        self.proxy.stop()
        self.proxy.start()

    def views(self, mailbox="INBOX"):
        raw = self.raw()
        raw.ok("SELECT " + mailbox)
        return rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])"))

    def facts(self, mailbox="INBOX"):
        """All that is said of the messages without their bodies."""
        raw = self.raw()
        raw.ok("SELECT " + mailbox)
        return [row for row in raw.ok("FETCH 1:* " + FACTS) if b"INPROGRESS" not in row]

    def command(self, *words):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], capture_output=True,
                              check=False, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, 0, done.stdout.decode() + done.stderr.decode())
        return done.stdout.decode()

    def lose_views(self):
        self.proxy.stop()
        folder = os.path.join(self.proxy.state, "store")
        for name in [name for name in os.listdir(folder) if name.startswith("views.sqlite")]:
            os.unlink(os.path.join(folder, name))
        self.proxy.start()

    def certify(self, fingerprint):
        """Alice makes sure whose key it is."""
        self.alice().run("--yes", "--local-user", ALICE, "--quick-lsign-key", fingerprint)
        # In a person's own home the person's own gpg does this.
        self.alice().run("--check-trustdb")

    def signer(self, name, address=BOB):
        """A home with another key for an address."""
        gpg = Gpg(os.path.join(self.folder, name))
        self.add(gpg.close)
        gpg.make(address)
        return gpg

    def sealed_by(self, gpg, name):
        """A message that this key has signed, sealed for Alice."""
        gpg.take(harness.keys().export(ALICE))
        mime = b"Content-Type: text/plain; charset=utf-8\r\n\r\nthe %s of %s\r\n" % (corpus.CANARY, name.encode())
        cipher = gpg.run("--armor", "--trust-model", "always", "--local-user", BOB, "--sign", "--encrypt",
                         "--recipient", ALICE, data=mime).stdout.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        header = from_bob(name).split(b"MIME-Version")[0]
        return (header + b"MIME-Version: 1.0\r\nContent-Type: multipart/encrypted; boundary=\"enc\";\r\n"
                b" protocol=\"application/pgp-encrypted\"\r\n\r\n--enc\r\nContent-Type: application/pgp-encrypted\r\n"
                b"\r\nVersion: 1\r\n\r\n--enc\r\nContent-Type: application/octet-stream\r\n\r\n" + cipher +
                b"\r\n--enc--\r\n")


class Killed(Constant):
    def kill_some(self, what):
        """Ends processes as the kernel does when memory is short; all of them as a power cut does."""
        if what == "all":
            self.proxy.kill()
            return
        vault, net = self.proxy.workers()[:2]
        for pid in {"vault": [vault], "net": [net], "keepers": self.proxy.keepers()}[what]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def sync(self, chance, what):
        """The rows of a first sync in the midst of which processes die."""
        raw = wait_for(self.session, "a session")
        after = threading.Timer(chance.uniform(0, 0.8), self.kill_some, [what])
        after.start()
        responses = []
        try:
            raw.send("s FETCH %s (UID RFC822.SIZE BODY.PEEK[])\r\n" % chance.choice(("1:*", "1:20", "15:*")))
            responses = raw.answer("s")[0]
        except OSError:
            pass
        after.join()
        return rows_of(responses)

    def session(self):
        """None while there is nobody to log in to."""
        try:
            raw = Raw(self.proxy.imap_port, timeout=30)
        except OSError:
            return None
        self.addCleanup(raw.close)
        try:
            said = [raw.command(text)[1] for text in ("LOGIN alice secret", "SELECT INBOX")]
        except OSError:
            return None
        return raw if all(text.startswith(b"OK") for text in said) else None

    def test_at_any_moment(self):
        """Whatever was shown before the end is what is shown ever after."""
        messages = [from_bob("plain")] + [encrypted(from_bob("sealed %d" % number)) for number in range(14)]
        messages += [signed(from_bob("signed %d" % number)) for number in range(3)]
        messages += [encrypted(from_bob("others %d" % number), to=BOB) for number in range(2)]
        messages += [encrypted(from_bob("unsigned %d" % number), signer=None) for number in range(6)]
        self.begin_with(*messages)
        with self.imap() as client:
            for number in range(4):
                client.append("INBOX", None, None, corpus.header("own %d" % number) + b"\r\nmine\r\n")
        held, seen, count = self.server.mail(), {}, 0
        for number in range(ROUNDS):
            chance = random.Random(number)
            what = ("all", "vault", "all", "keepers", "all", "net", "all")[number % 7]
            rows = self.sync(chance, what)
            count += len(rows)
            for uid, view in rows.items():
                self.assertEqual(seen.setdefault(uid, view), view, "round %d, %s" % (number, what))
            if what == "all":
                self.proxy.start()
        after = self.views()
        self.assertEqual(len(after), len(held))
        self.assertEqual({uid: after[uid] for uid in seen}, seen)
        facts = self.facts()
        self.proxy.kill()
        self.proxy.start()
        self.assertEqual(self.facts(), facts)
        self.assertEqual(self.views(), after)
        # Every one was opened, and the server has what it had.
        self.assertEqual(sum(corpus.CANARY in view and b"encryption=openpgp" in VERDICT.search(view).group(0)
                             for view in after.values() if VERDICT.search(view)), 20)
        self.assertEqual(self.server.mail(), held)
        self.assertGreater(count, 0)

    def test_while_saving(self):
        """A message for which the program had its OK is there, sealed; there is none that was not sent."""
        self.begin_with()
        sent, accepted = 0, []
        for number in range(5):
            raw = wait_for(self.session, "a session")
            after = threading.Timer(random.Random(number).uniform(0.05, 0.4), self.kill_some, ["all"])
            after.start()
            said = b"OK"
            while said.startswith(b"OK"):
                message = corpus.header("m%d" % sent) + b"\r\n%d the %s\r\n" % (sent, corpus.CANARY)
                sent += 1
                try:
                    said = raw.command("APPEND INBOX", (message, ""))[1]
                except OSError:
                    said = b""
                if said.startswith(b"OK"):
                    accepted.append(message)
            after.join()
            self.proxy.start()
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.assertNotIn(corpus.CANARY, self.server.all_mail())
        views = list(self.views().values())
        self.assertGreater(len(accepted), 0)
        self.assertEqual([view for view in views if view in accepted], accepted)
        # Of each session the last one, whose answer was lost, may be there as well.
        self.assertLessEqual(len(views), len(accepted) + 5)


class Lost(Constant):
    def test_files_and_caches(self):
        messages = [from_bob("plain"), encrypted(from_bob("sealed")), signed(from_bob("signed")),
                    encrypted(from_bob("others"), to=BOB), encrypted(from_bob("unsigned"), signer=None),
                    inline(re.sub(rb"(?m)^(MIME-Version|Content-Type).*\r\n", b"", from_bob("inline")), "--encrypt",
                           "--recipient", ALICE)]
        self.begin_with(*messages)
        with self.imap() as client:
            client.append("INBOX", None, None, corpus.html_with_attachments())
        first, facts = self.views(), self.facts()
        count = self.agent.count()
        self.assertEqual(len(first), 7)
        # Its date would tell if one had been judged again.
        time.sleep(1.1)
        for name, lose in (("restart", self.restart), ("views.sqlite", self.lose_views),
                           ("clear", lambda: self.command("store", "clear")), ("clear and restart", self.clear_stopped),
                           ("kill", lambda: (self.proxy.kill(), self.proxy.start()))):
            for what in ("facts", "views"):
                with self.subTest(lost=name, what=what):
                    lose()
                    if what == "facts":
                        self.assertEqual(self.facts(), facts)
                    self.assertEqual(self.views(), first)
        # What was decided is kept with the session key: nobody's private key was wanted.
        self.assertEqual(self.agent.count(), count)
        self.assertEqual([content for _, content in self.server.mail()][:6], messages)

    def clear_stopped(self):
        self.proxy.stop()
        self.command("store", "clear")
        self.proxy.start()


class Keys(Constant):
    def test_another_key_for_the_same_address(self):
        """Bob has a new key, and it is the one that counts: what he signed with the old one stays as it was judged."""
        old, new = self.signer("old"), self.signer("new")
        self.alice().run("--yes", "--delete-keys", BOB)
        self.alice().take(old.export(BOB))
        self.certify(old.fingerprint(BOB))
        self.begin_with(self.sealed_by(old, "first"), self.sealed_by(new, "early"))
        first, facts = self.views(), self.facts()
        self.assertIn(b"signature=good; signer=bob@example.net; trust=full", verdict_of(first[1]))
        self.assertIn(b"signature=unknown-key", verdict_of(first[2]))
        self.alice().run("--yes", "--delete-keys", old.fingerprint(BOB))
        self.alice().take(new.export(BOB))
        self.certify(new.fingerprint(BOB))
        self.server.put(self.sealed_by(old, "late"), self.sealed_by(new, "second"))
        for lose in (lambda: None, self.restart, self.lose_views, lambda: self.command("store", "clear")):
            lose()
            self.assertEqual(self.facts()[:2], facts)
            after = self.views()
            self.assertEqual({uid: after[uid] for uid in (1, 2)}, first)
            self.assertIn(b"signature=unknown-key", verdict_of(after[3]))
            self.assertIn(b"signature=good; signer=bob@example.net; trust=full", verdict_of(after[4]))
        # Put there once more it is the same message, and has the same view.
        self.server.put(self.server.mail()[0][1])
        self.assertEqual(self.views()[5], first[1])

    def test_expired(self):
        """Keys that have expired since: what was read is read on as it was, with either side's key."""
        bob = self.signer("bob")
        self.alice().run("--yes", "--delete-keys", BOB)
        self.alice().take(bob.export(BOB))
        self.certify(bob.fingerprint(BOB))
        self.begin_with(self.sealed_by(bob, "first"), encrypted(from_bob("unsigned"), signer=None))
        with self.imap() as client:
            client.append("INBOX", None, None, corpus.text())
        first, facts = self.views(), self.facts()
        self.assertIn(b"signature=good", verdict_of(first[1]))
        late = self.sealed_by(bob, "late")
        for gpg, address in ((bob, BOB), (self.alice(), ALICE)):
            fingerprint = gpg.fingerprint(address)
            for which in ([], ["*"]):
                gpg.run("--quick-set-expire", fingerprint, "seconds=1", *which)
        self.alice().take(bob.export(BOB))
        wait_for(lambda: self.alice().run("--with-colons", "--list-keys").stdout.count(b"pub:e:") == 2, "their end")
        # What was saved is one's own for ever, also where it has not been seen before.
        self.server.put(late, b"X-Other: copy\r\n" + self.server.mail()[2][1])
        for lose in (lambda: None, self.restart, self.lose_views):
            lose()
            self.assertEqual(self.views()[5], corpus.text())
            self.assertEqual(self.facts()[:3], facts)
            after = self.views()
            self.assertEqual({uid: after[uid] for uid in (1, 2, 3)}, first)
            # What comes now is opened, and not called good.
            self.assertIn(corpus.CANARY, after[4])
            self.assertNotIn(b"signature=good", verdict_of(after[4]))
        # Nothing is sealed to a key that has expired, and nothing is saved plain instead.
        held = self.server.mail()
        self.assertRegex(self.raw().command("APPEND INBOX", (corpus.text(), ""))[1], rb"^NO ")
        self.assertEqual(self.server.mail(), held)
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_a_key_that_comes_later(self):
        """It changes nothing until the person asks; then the message is another one, which opens."""
        self.begin_with(from_bob("before"), encrypted(from_bob("late", "for %s" % corpus.WORD), to=CAROL),
                        from_bob("after"))
        first = self.views()
        self.assertIn(b"encryption=failed", verdict_of(first[2]))
        self.assertIn(b"BEGIN PGP MESSAGE", first[2])
        wait_for(lambda: self.places() == 3, "what is known of the mailbox to be kept")
        other = self.raw()
        other.ok("SELECT INBOX")
        other.ok("STORE 2 +FLAGS.SILENT (\\Answered own)")
        other.ok("FETCH 1:* (RFC822.SIZE)")
        self.alice().run("--import", data=harness.keys().export_secret(CAROL))
        self.restart_keepers()
        self.assertEqual(self.views(), first)
        self.assertIn("1 message", self.command("store", "reopen"))
        self.raw().ok("SELECT INBOX")
        # A session that was there all the while is told so, and may be the first to ask for the new one.
        told = other.ok("NOOP")
        self.assertIn(b"* 2 EXPUNGE", told)
        after = rows_of(other.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])"))
        self.assertEqual(set(after), {1, 3, 4})
        self.assertEqual((after[1], after[3]), (first[1], first[3]))
        self.assertIn(b"encryption=openpgp", verdict_of(after[4]))
        self.assertIn(corpus.CANARY, after[4])
        self.assertEqual(self.views(), after)
        wait_for(lambda: self.places() == 3, "what is known of the old UID to be forgotten")
        self.assertEqual(self.server.wire().count(b" COPY 2 "), 1)
        self.assertRegex(other.ok("FETCH 3 (FLAGS)")[0], rb"\\Answered.*own|own.*\\Answered")
        self.restart()
        self.lose_views()
        self.assertEqual(self.views(), after)

    def test_judging_again_fails(self):
        """Then there is the old one, and no copy of it; the next time it goes well."""
        self.begin_with(encrypted(from_bob("late"), to=CAROL))
        seen = self.views()
        wait_for(lambda: self.places() == 1, "what is known of the mailbox to be kept")
        self.alice().run("--import", data=harness.keys().export_secret(CAROL))
        self.assertIn("1 message", self.command("store", "reopen"))
        # The server copies nothing; or it keeps the old one.
        for fault in ("copy:1=NO [LIMIT] no", "store:1=NO [LIMIT] no"):
            with self.subTest(fault=fault):
                self.server.faults(fault)
                copies = self.server.wire().count(b" COPY ")
                self.assertIn(b"* 1 EXISTS", self.raw().ok("SELECT INBOX"))
                self.server.faults()
                self.assertEqual(self.server.wire().count(b" COPY "), copies + 1)
                raw = self.raw()
                raw.ok("EXAMINE INBOX")
                self.assertEqual(rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")), seen)
        self.raw().ok("SELECT INBOX")
        (uid, view), = self.views().items()
        self.assertNotIn(uid, seen)
        self.assertIn(corpus.CANARY, view)
        wait_for(lambda: self.places() == 1, "what is known of the others to be forgotten")

    def test_judging_again_is_broken_off(self):
        """A message may be there twice then, but is never gone; and what a UID has shown it goes on to show."""
        self.begin_with(*[encrypted(from_bob("late %d" % number), to=CAROL) for number in range(6)])
        seen = self.views()
        wait_for(lambda: self.places() == 6, "what is known of the mailbox to be kept")
        self.alice().run("--import", data=harness.keys().export_secret(CAROL))
        self.assertIn("6 messages", self.command("store", "reopen"))
        for number in range(5):
            raw = self.raw()
            after = threading.Timer(random.Random(number).uniform(0, 0.03), self.proxy.kill)
            after.start()
            try:
                raw.command("SELECT INBOX")
            except OSError:
                pass
            after.join()
            self.proxy.start()
            raw = self.raw()
            raw.ok("EXAMINE INBOX")
            for uid, view in rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")).items():
                self.assertEqual(seen.setdefault(uid, view), view)
        wait_for(lambda: all(corpus.CANARY in view for view in self.views().values()), "all to be opened")
        after = self.views()
        for uid, view in after.items():
            self.assertEqual(seen.setdefault(uid, view), view)
        for number in range(6):
            self.assertTrue(any(b"outer late %d\r\n" % number in view for view in after.values()), number)
        self.assertLessEqual(len(after), 6 + 5)

    def places(self):
        return json.loads(self.command("store", "show", "--json"))["accounts"][0]["places"]

    def restart_keepers(self):
        for pid in self.proxy.keepers():
            os.kill(pid, signal.SIGKILL)


class Known(Constant):
    """After COPY, MOVE and RENAME a message is known again, and no private key is used a second time."""

    def begin_opened(self, **options):
        self.begin_with(*[encrypted(from_bob("n%d" % number)) for number in range(4)], signed(from_bob("signed")),
                        **options)
        with self.imap() as client:
            client.append("INBOX", None, None, corpus.text())
            client.create("Other")
        self.first = self.views()
        self.used = self.agent.count()
        self.assertEqual(self.used, 5)

    def check(self, mailbox, *uids):
        """The mailbox holds what had these UIDs; the private key had nothing to do with it."""
        for lose in (lambda: None, self.restart, self.lose_views):
            lose()
            self.assertEqual(list(self.views(mailbox).values()), [self.first[uid] for uid in uids])
            self.assertEqual(self.agent.count(), self.used)

    def test_copy_and_move(self):
        self.begin_opened()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.ok("COPY 1,6 Other")
        raw.ok("UID COPY 5 INBOX")
        raw.ok("UID MOVE 2 Other")
        raw.ok("MOVE 2 Other")
        self.check("Other", 1, 6, 2, 3)
        self.check("INBOX", 1, 4, 5, 6, 5)

    def test_rename(self):
        self.begin_opened()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.ok("FETCH 1:* (RFC822.SIZE)")
        raw.ok("COPY 1:3 Other")
        raw.ok("RENAME Other Else")
        before = len(self.server.wire())
        raw.ok("SELECT Else")
        self.assertEqual(len(raw.ok("FETCH 1:* (RFC822.SIZE ENVELOPE)")), 3)
        self.assertNotIn(b"BODY.PEEK[]", self.server.wire()[before:])
        self.check("Else", 1, 2, 3)
        # A new mailbox of the old name is another one.
        self.raw().ok("CREATE Other")
        self.server.put(encrypted(from_bob("new")), mailbox="Other")
        new, = self.views("Other").values()
        self.assertIn(b"outer new", new)

    def test_rename_of_a_parent(self):
        """What is below it keeps what is known of it; nothing is fetched anew."""
        self.begin_opened()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.ok("FETCH 1:* (RFC822.SIZE)")
        for name in ("Other/below", "Other/below/more", "Others", "INBOX/below"):
            raw.ok("CREATE " + name)
            raw.ok("COPY 1:3 " + name)
        self.assertEqual(raw.ok("RENAME Other Else"), [])
        raw.ok("RENAME inbox Was")
        before = len(self.server.wire())
        for name in ("Else/below", "Else/below/more", "Others", "INBOX/below"):
            raw.ok("SELECT " + name)
            self.assertEqual(len(raw.ok("FETCH 1:* (RFC822.SIZE ENVELOPE)")), 3)
        self.assertNotIn(b"BODYSTRUCTURE", self.server.wire()[before:])

    def test_by_another_program(self):
        """What was copied behind privyseal's back is fetched once more, and not opened once more."""
        self.begin_opened()
        with self.server.client() as client:
            client.select()
            client.copy("1:6", "Other")
            client.rename("Other", "Else")
        self.check("Else", 1, 2, 3, 4, 5, 6)


class Named(Known):
    """A server that has names for contents (RFC 8474): where a name turns up again, nothing is fetched."""
    OBJECTID = {"capabilities": "LITERAL+ ENABLE UIDPLUS MOVE IDLE OBJECTID"}

    def begin_opened(self, **_):
        super().begin_opened(**self.OBJECTID)

    def fetched_while(self, work):
        """What it gives, and how many raw messages were fetched for it."""
        before = len(self.server.wire())
        return work(), self.server.wire()[before:].count(b"(UID BODY.PEEK[])")

    def facts(self, mailbox="INBOX"):
        return [re.sub(rb"^\* (\d+) FETCH \(UID \d+ ", rb"\1 ", row) for row in super().facts(mailbox)]

    def test_nothing_is_fetched(self):
        self.begin_opened()
        first, fetches = self.fetched_while(self.facts)
        self.assertEqual((len(first), fetches), (6, 0))
        for lose in (lambda: None, self.restart):
            lose()
            with self.server.client() as client:  # the same name, each time another mailbox
                client.select()
                client.copy("1:6", "Other")
                client.delete("Else")
                client.rename("Other", "Else")
                client.create("Other")
            self.assertEqual(self.fetched_while(lambda: self.facts("Else")), (first, 0))
        self.assertEqual(list(self.views("Else").values()), list(self.first.values()))
        self.assertEqual(self.agent.count(), self.used)

    def test_search_and_what_needs_no_view(self):
        """What was looked at and needs no view is known by its name, too."""
        self.begin_with(encrypted(from_bob("n")), from_bob("quotes", "-----BEGIN PGP MESSAGE----- is how it begins"),
                        **self.OBJECTID)
        raw = self.raw()
        raw.ok("CREATE Other")
        raw.ok("SELECT INBOX")
        self.assertIn(b"* SEARCH 1", raw.ok("SEARCH BODY " + corpus.WORD))
        with self.server.client() as client:
            client.select()
            client.copy("1:2", "Other")
        raw.ok("SELECT Other")
        self.assertEqual(self.fetched_while(lambda: raw.ok("SEARCH BODY " + corpus.WORD)[-1]), (b"* SEARCH 1", 0))
        self.assertEqual(self.fetched_while(lambda: len(raw.ok("FETCH 1:* " + FACTS))), (2, 0))
        self.assertEqual(self.agent.count(), 1)

    def test_a_server_that_lies(self):
        """Of two messages with one name, size and structure the one that was opened is shown, or the other; never a
        part of each in one answer. Where sizes differ, the name says nothing."""
        def called(message):
            return b"X-Email-Id: one\r\n" + message
        honest = called(signed(from_bob("honest")))
        changed = honest.replace(b"came in", b"ran out", 1)
        self.assertNotEqual(changed, honest)
        self.begin_with(honest, called(encrypted(from_bob("another"))), **self.OBJECTID)
        first, second = self.views().values()
        self.assertIn(b"signature=untrusted", verdict_of(first))
        self.assertIn(b"encryption=openpgp", verdict_of(second))
        self.server.put(changed)
        self.restart()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        shown, fetches = self.fetched_while(lambda: raw.ok("FETCH 3 (RFC822.SIZE BODY.PEEK[HEADER])")[0])
        self.assertEqual(fetches, 0)
        self.assertIn(VERDICT.search(first).group(0), shown)
        responses, result = raw.command("FETCH 3 (UID RFC822.SIZE ENVELOPE BODY.PEEK[])")
        self.assertNotIn(b"ran out", b"".join(responses))
        self.assertTrue(result.startswith(b"NO "), result)
        view, = rows_of(raw.ok("FETCH 3 (UID RFC822.SIZE BODY.PEEK[])")).values()
        self.assertIn(b"ran out", view)
        self.assertIn(b"signature=bad", verdict_of(view))


if __name__ == "__main__":
    unittest.main()
