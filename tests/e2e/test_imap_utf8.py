"""UTF8=ACCEPT (RFC 6855): names, strings and header fields in UTF-8, beside sessions that know nothing of it."""
import unittest

import corpus
from harness import ALICE, BOB
from imap_harness import Case

CAPABILITIES = "LITERAL+ ENABLE UIDPLUS MOVE IDLE UTF8=ACCEPT"
HEADER = ("Subject: Grüße %s\r\nFrom: Jürgen <" + BOB + ">\r\nTo: Alice <" + ALICE + ">\r\n"
          "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n")
PART = "Content-Type: text/plain; charset=utf-8%s\r\nContent-Transfer-Encoding: 8bit\r\n"
FACTS = "(UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])"


def plain(kind):
    return (HEADER % kind + PART % "" + "\r\nSchöne %s\r\n" % corpus.WORD).encode()


class Utf8(Case):
    def setUp(self):
        super().setUp()
        self.begin(capabilities=CAPABILITIES)

    def enabled(self):
        raw = self.raw()
        self.assertEqual(raw.ok("ENABLE UTF8=ACCEPT"), [b"* ENABLED UTF8=ACCEPT"])
        return raw

    def sealed(self, kind):
        """Sealed by somebody else, with fields in UTF-8 outside and inside."""
        inner = PART % '; protected-headers="v1"' + HEADER.split("To:")[0] % kind + "\r\nSchöne %s\r\n" % corpus.CANARY
        cipher = self.alice().run("--armor", "--trust-model", "always", "--encrypt", "--recipient", ALICE,
                                  data=inner.encode()).stdout
        return (HEADER % "outside" + "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\";\r\n"
                " boundary=\"enc\"\r\n\r\n--enc\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
                "--enc\r\nContent-Type: application/octet-stream\r\n\r\n").encode() + \
            b"\r\n".join(cipher.splitlines()) + b"\r\n--enc--\r\n"

    @staticmethod
    def append(raw, mailbox, message):
        raw.send(('u APPEND "%s" (\\Flagged) UTF8 (~{%d+}\r\n' % (mailbox, len(message))).encode() + message + b")\r\n")
        return raw.answer("u")

    def test_what_is_saved(self):
        """Sealed, sent on in the way it came, and shown as it was; not a byte of it on the wire."""
        raw = self.enabled()
        raw.ok('CREATE "Entwürfe"')
        message = plain("innen")
        responses, said = self.append(raw, "Entwürfe", message)
        self.assertEqual((responses, said[:13]), ([], b"OK [APPENDUID"))
        self.assertIn(b" (\\Flagged) UTF8 (~{", self.server.wire())
        self.assertNotIn(corpus.WORD.encode(), self.server.wire())
        (_, held), = self.server.mail("Entw&APw-rfe")
        self.assertIn("From: Jürgen".encode(), held)
        raw.ok('SELECT "Entwürfe"')
        responses = raw.ok("FETCH 1 (FLAGS ENVELOPE BODY.PEEK[])")
        self.assertTrue(responses[0].endswith(b"{%d}\r\n%s)" % (len(message), message)), responses)
        self.assertIn("Grüße innen".encode(), responses[0].split(b"BODY[")[0])
        self.assertIn(b"\\Flagged", responses[0])

    def test_names(self):
        """What is known of a mailbox is known by either form of its name, after COPY and RENAME, too."""
        raw, other = self.enabled(), self.raw()
        self.server.put(self.sealed("eins"), self.sealed("zwei"))
        raw.ok('CREATE "Grüße & 日本語"')
        raw.ok("SELECT INBOX")
        first = raw.ok("FETCH 1:2 " + FACTS)
        raw.ok('COPY 1:2 "Grüße & 日本語"')
        before = len(self.server.wire())
        other.ok('SELECT "Gr&APwA3w-e &- &ZeVnLIqe-"')
        self.assertEqual(other.ok("FETCH 1:2 (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])")[0][:40],
                         first[0][:40])
        other.ok("CLOSE")
        raw.ok("CLOSE")
        raw.ok('RENAME "Grüße & 日本語" "Ärger"')
        self.assertIn('* LIST (\\HasNoChildren) "/" '.encode(), b"".join(raw.ok('LIST "" "*"')))
        other.ok('SELECT "&AMQ-rger"')
        self.assertEqual(len(other.ok("FETCH 1:2 (RFC822.SIZE ENVELOPE)")), 2)
        other.ok("COPY 1 INBOX")
        other.ok('CREATE "&AOQ-"')
        other.ok('COPY 1:2 "&AOQ-"')
        raw.ok('SELECT "ä"')
        self.assertEqual(len(raw.ok("FETCH 1:2 (RFC822.SIZE ENVELOPE)")), 2)
        self.assertNotIn(b"BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS", self.server.wire()[before:])
        self.assertNotIn(b"BODY.PEEK[])", self.server.wire()[before:])

    def test_views_are_the_same(self):
        """A view does not depend on what a session has enabled: its header is in UTF-8 where the inner one is."""
        self.server.put(self.sealed("innen"), plain("offen"))
        answers = []
        for raw in (self.raw(), self.enabled(), self.raw()):
            raw.ok("SELECT INBOX")
            answers.append(raw.ok("FETCH 1:2 " + FACTS))
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])
        envelope, whole = answers[0][0].split(b" BODYSTRUCTURE ")
        self.assertIn("Grüße innen".encode(), envelope)
        self.assertIn("Jürgen".encode(), envelope)
        self.assertIn("\r\nSubject: Grüße innen\r\n".encode(), whole)

    def test_searching(self):
        """Strings are in UTF-8, for plain messages and views alike; another charset cannot be asked for then."""
        self.server.put(self.sealed("innen"), plain("offen"), b"Subject: other\r\n\r\n")
        raw, other = self.enabled(), self.raw()
        for session, charset in ((raw, ""), (other, "CHARSET UTF-8 ")):
            session.ok("SELECT INBOX")
            session.ok("FETCH 1:* (RFC822.SIZE)")
            for keys, found in (('SUBJECT "Grüße"', b" 1 2"), ('SUBJECT "Grüße innen"', b" 1"),
                                ('BODY "Schöne"', b" 1 2"), ('NOT FROM "Jürgen"', b" 3"), ('TEXT "schönere"', b"")):
                self.assertEqual(session.ok("SEARCH " + charset + keys), [b"* SEARCH" + found], keys)
        # Also where no word of it would be asked of the server.
        self.server.put(self.sealed("allein"), mailbox="Only")
        raw.ok("SELECT Only")
        raw.ok("FETCH 1 (RFC822.SIZE)")
        self.assertEqual(raw.ok('SEARCH SUBJECT "Grüße"'), [b"* SEARCH 1"])
        for keys in ('CHARSET UTF-8 SUBJECT "Grüße"', "CHARSET UTF-8 SEEN", "CHARSET US-ASCII ALL"):
            self.assertTrue(raw.command("SEARCH " + keys)[1].startswith(b"BAD "), keys)


if __name__ == "__main__":
    unittest.main()
