"""A reply to mail that came encrypted leaves encrypted, or does not leave (design 1.1.1)."""
import os
import smtplib
import sqlite3
import subprocess
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, DAVE, World
from imap_harness import RefImap, check, fetched
from test_imap_first import from_bob
from test_wire import describe
from twin import encrypted, signed

RULE = 'rule "all" { encrypt = when-possible  sign = when-possible  trust = unverified %s }'


def reply(to, answered, number=1, references=""):
    """A letter of Alice's that quotes what was secret. `answered` is a field's value, or empty."""
    extra = "In-Reply-To: %s\n" % answered if answered else ""
    extra += "References: %s\n" % references if references else ""
    return corpus.header("re%d" % number, extra=extra).replace(BOB.encode(), to.encode()) + (
        b"\r\n> the %s came in\r\nyes\r\n" % corpus.CANARY)


class Case(World):
    def begin(self, *messages, rules=RULE % "", **options):
        """A proxy for both, and `messages` in the mailbox."""
        self.smtp, self.mailbox = harness.RefServer(self), RefImap(self)
        self.proxy = harness.Proxy(self, self.smtp, imap=self.mailbox, rules=rules, **options)
        if messages:
            self.mailbox.put(*messages)

    def read(self):
        with self.proxy.imap() as client:
            check(client.select())
            return [literals[0] for _, _, literals in fetched(client, "1:*", "(BODY.PEEK[])")]

    def refuse(self, message, recipients, code=550, *words):
        """Nothing of it reaches the server, and the client reads why."""
        before = len(self.smtp.mail())
        try:
            self.proxy.send(message, recipients)
        except smtplib.SMTPException as error:
            said, text = describe(error)
        else:
            self.fail("it was sent")
        self.assertEqual(said, code, text)
        for word in words:
            self.assertIn(word.encode(), text)
        self.assertEqual(len(self.smtp.mail()), before)
        self.assertNotIn(corpus.CANARY, self.smtp.wire())

    def refuse_reply(self, message, recipients=(DAVE,), *words):
        self.refuse(message, list(recipients), 550, "5.7.5", DAVE, "this is a reply to an encrypted message", *words)

    def sent(self, message, recipients):
        """What arrived, in order."""
        before = len(self.smtp.mail())
        self.assertEqual(self.proxy.send(message, recipients), {})
        return [corpus.Opened(content) for _, content in self.smtp.mail()[before:]]

    def check_sent(self, message, recipients, is_encrypted):
        copies = self.sent(message, recipients)
        self.assertTrue(copies)
        for copy in copies:
            self.assertEqual(copy.is_encrypted, is_encrypted)


class Replies(Case):
    def test_refused_without_a_key(self):
        self.begin(encrypted(from_bob("one")))
        self.assertIn(corpus.CANARY, self.read()[0])
        self.refuse_reply(reply(DAVE, "<one@example.net>"), (DAVE,), "key import")
        self.refuse_reply(reply(DAVE, "", references="<zero@example.net>\n <one@exam\n ple.net> <three@example.net>"))
        self.refuse_reply(reply(DAVE, "your message of Monday <one@example.net> (thanks)"))
        # Who has a key gets it only if all can.
        self.refuse_reply(reply(BOB, "<one@example.net>"), (BOB, DAVE))
        self.assertEqual(self.smtp.mail(), [])

    def test_encrypted_with_a_key(self):
        self.begin(encrypted(from_bob("one")))
        self.read()
        self.check_sent(reply(BOB, "<one@example.net>"), [BOB, CAROL], True)
        self.assertNotIn(corpus.CANARY, self.smtp.wire())

    def test_others_as_before(self):
        self.begin(encrypted(from_bob("one")), from_bob("plain"), signed(from_bob("signed")))
        self.read()
        for number, answered in enumerate(("", "<plain@example.net>", "<signed@example.net>", "<un@known>", "<one@>")):
            with self.subTest(answered=answered):
                self.check_sent(reply(DAVE, answered, number), [DAVE], False)
        self.check_sent(reply(BOB, "", 9), [BOB], True)

    def test_what_is_not_opened_is_not_known(self):
        """Nobody has read it, or nobody could."""
        stranger = encrypted(from_bob("theirs"), to=CAROL)
        self.begin(encrypted(from_bob("one")), stranger)
        self.check_sent(reply(DAVE, "<one@example.net>"), [DAVE], False)
        self.read()
        self.check_sent(reply(DAVE, "<theirs@example.net>", 2), [DAVE], False)

    def test_own_copies_do_not_count(self):
        """What was saved to Sent or Drafts was encrypted to be kept; that says nothing of how it was sent."""
        self.begin()
        with self.proxy.imap() as client:
            check(client.append("INBOX", None, None, reply(BOB, "", 7)))
        self.assertIn(b"<re7@example.org>", self.read()[0])
        self.assertEqual(corpus.Opened(self.mailbox.mail()[0][1]).kind, "multipart/encrypted")
        self.check_sent(reply(DAVE, "<re7@example.org>"), [DAVE], False)

    def test_the_protected_id_counts(self):
        """A message of privyseal's own making; its Message-ID was changed on the way."""
        self.begin()
        # Sealed to Bob and to the sender: Alice can read it, and it is no own copy.
        sealed = self.sent(reply(BOB, "", 5), [BOB])[0].content.replace(b"<re5@", b"<other@", 1)
        self.mailbox.put(sealed)
        self.assertIn(b"<re5@example.org>", self.read()[0])
        self.refuse_reply(reply(DAVE, "<re5@example.org>"))
        self.check_sent(reply(DAVE, "<other@example.org>", 2), [DAVE], False)


class Rules(Case):
    def test_as_rule(self):
        self.begin(encrypted(from_bob("one")), rules=RULE % "replies = as-rule")
        self.read()
        self.check_sent(reply(DAVE, "<one@example.net>"), [DAVE], False)
        self.check_sent(reply(BOB, "<one@example.net>", 2), [BOB], True)

    def test_no_rule(self):
        self.begin(encrypted(from_bob("one")), rules="")
        self.read()
        self.refuse_reply(reply(DAVE, "<one@example.net>"), (DAVE,), "default")

    def test_never(self):
        """Who says never has said so of replies, too; but beside a reply that must be encrypted nothing goes plain."""
        self.begin(encrypted(from_bob("one")), rules='rule "d" { to = "%s"  encrypt = never  sign = never }\n' % DAVE +
                   RULE % "")
        self.read()
        self.check_sent(reply(DAVE, "<one@example.net>"), [DAVE], False)
        self.proxy.stop()
        os.truncate(self.smtp.wire_file, 0)
        self.proxy.start()
        self.refuse(reply(BOB, "<one@example.net>", 2), [BOB, DAVE], 550, "5.7.1", DAVE,
                    "this is a reply to an encrypted message")

    def test_asking_for_less(self):
        self.begin(encrypted(from_bob("one")), rules=RULE % "may_ask_less = yes")
        self.read()
        self.refuse_reply(reply(DAVE, "<one@example.net>"))
        self.check_sent(b"Privyseal: encrypt=never\r\n" + reply(DAVE, "<one@example.net>", 2), [DAVE], False)


class Store(Case):
    def run_command(self, *words, status=0, data=None):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], capture_output=True,
                              check=False, input=data, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, status, done.stdout.decode() + done.stderr.decode())
        self.assertNotIn(b"runtime error", done.stderr)
        return done

    def test_kept_for_good(self):
        self.begin(encrypted(from_bob("one")))
        self.read()
        self.proxy.kill()
        self.proxy.start()
        self.refuse_reply(reply(DAVE, "<one@example.net>"))
        self.run_command("store", "clear")
        self.refuse_reply(reply(DAVE, "<one@example.net>"))
        self.proxy.stop()
        self.run_command("store", "clear", ALICE)
        self.proxy.start()
        self.refuse_reply(reply(DAVE, "<one@example.net>"))
        with open(os.path.join(self.proxy.state, "store", "durable.sqlite"), "rb") as file:
            self.assertNotIn(b"one@example.net", file.read())

    def test_no_answer_is_no_leave(self):
        """A store that cannot say whether it is one: nothing is sent, for now."""
        self.begin(encrypted(from_bob("one")))
        self.read()
        self.proxy.stop()
        with sqlite3.connect(os.path.join(self.proxy.state, "store", "durable.sqlite")) as database:
            database.execute("ALTER TABLE encrypted RENAME TO other")
        database.close()
        self.proxy.start()
        for answered in ("<one@example.net>", "<un@known>"):
            self.refuse(reply(BOB, answered), [BOB], 451)
            self.refuse(reply(DAVE, answered), [DAVE], 451)
        self.run_command("seal", data=reply(DAVE, "<un@known>"), status=3)
        self.check_sent(reply(DAVE, ""), [DAVE], False)

    def test_seal_does_the_same(self):
        """`privyseal seal`, while serve runs and while it does not; another account's mail does not count."""
        carol = 'account "%s" { login = "carol"  smtp = "%s" }\n'
        self.smtp, self.mailbox = harness.RefServer(self), RefImap(self)
        self.proxy = harness.Proxy(self, self.smtp, imap=self.mailbox, listen='\n'.join(
            'listen %s { at = "127.0.0.1:0"  accounts = "%s" }' % (name, ALICE) for name in ("smtp", "imap")),
                                   rules=carol % (CAROL, self.smtp.url()) + RULE % "")
        self.mailbox.put(encrypted(from_bob("one")))
        answer, other = reply(DAVE, "<one@example.net>"), reply(DAVE, "<two@example.net>")
        self.assertIn(corpus.CANARY, self.run_command("seal", "--account", ALICE, data=answer).stdout)
        self.read()
        for is_running in (True, False):
            if not is_running:
                self.proxy.stop()
            done = self.run_command("seal", "--account", ALICE, data=answer, status=1)
            self.assertEqual(done.stdout, b"")
            self.assertIn(b"this is a reply to an encrypted message", done.stderr)
            self.assertIn(corpus.CANARY, self.run_command("seal", "--account", ALICE, data=other).stdout)
            self.assertIn(corpus.CANARY, self.run_command("seal", "--account", CAROL, data=answer).stdout)
            sealed = self.run_command("seal", "--account", ALICE, "--to", BOB, data=answer).stdout
            self.assertTrue(corpus.Opened(sealed).is_encrypted)
        os.rename(os.path.join(self.proxy.state, "store"), os.path.join(self.proxy.state, "gone"))
        self.assertIn(corpus.CANARY, self.run_command("seal", "--account", ALICE, data=answer).stdout)
        self.proxy.start()


if __name__ == "__main__":
    unittest.main()
