"""What APPEND refuses, and that a refusal stores nothing and leaves the session in step."""
import os
import re
import shutil
import unittest

import corpus
from imap_harness import Case


class Refusals(Case):
    """Nothing of a refused command may reach the server, whatever the command holds besides."""

    def refuse(self, raw, status, *arguments):
        """One command; each argument but the first is a literal or the text after it, {n+} throughout."""
        before = len(self.server.wire())
        line = b"x APPEND " + b"".join(
            piece if isinstance(piece, bytes) else b"{%d+}\r\n%s" % (len(piece[0]), piece[0]) for piece in arguments)
        raw.send(line + b"\r\n")
        responses, said = raw.answer("x")
        self.assertTrue(said.startswith(status), (arguments, said))
        self.assertEqual(responses, [])
        raw.ok("NOOP")
        self.assertNotIn(b"APPEND", self.server.wire()[before:])
        self.assertEqual(self.server.mail(), [])

    def refuse_all(self, raw):
        message = corpus.text()
        for status, arguments in (
                (b"BAD", (b"INBOX",)), (b"BAD", (b"INBOX ()",)), (b"BAD", (b'INBOX "a quoted message"',)),
                (b"BAD", (b"INBOX atom",)), (b"BAD", (b"INBOX ", (message,), b" more")),
                (b"BAD", (b"INBOX (\\Seen", (message,), b")")), (b"BAD", (b"(INBOX) ", (message,))),
                (b"BAD", (b"INBOX CATENATE (TEXT ", (message,), b")")), (b"BAD", (b"INBOX UTF8 (", (message,), b")")),
                (b"BAD", (b"INBOX  ", (message,)))):
            self.refuse(raw, status, *arguments)

    def test_syntax(self):
        self.begin()
        raw = self.raw()
        self.refuse_all(raw)
        # With one of them nothing of the others is stored.
        message = corpus.text()
        for status, bad in ((b"NO", b""), (b"NO", b"a\0b")):
            self.refuse(raw, status, b"INBOX ", (bad,))
            self.refuse(raw, status, b"INBOX ", (message,), b" ", (bad,), b" ", (message,))
        self.assertIn(b"APPENDUID", raw.command("APPEND INBOX", (message, ""))[1])

    def test_syntax_where_all_passes(self):
        self.begin(account="    append = plain")
        self.refuse_all(self.raw())

    def test_binary_literals(self):
        """They belong to extensions that the client was not shown."""
        self.begin()
        raw, message = self.raw(), corpus.text()
        for text in (b"x APPEND INBOX ~{%d+}\r\n%s\r\n", b"x APPEND INBOX UTF8 (~{%d+}\r\n%s)\r\n"):
            raw.send(text % (len(message), message))
            self.assertTrue(raw.answer("x")[1].startswith(b"BAD"))
            raw.ok("NOOP")
        raw.send(b"x APPEND INBOX ~{%d}\r\n" % len(message))
        self.assertTrue(raw.answer("x")[1].startswith(b"BAD"))
        raw.ok("NOOP")
        self.assertEqual(self.server.mail(), [])

    def test_utf8_where_it_is_shown(self):
        """What is sealed is ASCII and goes as an ordinary literal."""
        self.begin(capabilities="IMAP4rev1 UIDPLUS LITERAL+ ENABLE UTF8=ACCEPT")
        raw, message = self.raw(), corpus.utf8()
        raw.ok("ENABLE UTF8=ACCEPT")
        raw.send(b"x APPEND INBOX (\\Seen) UTF8 (~{%d+}\r\n%s)\r\n" % (len(message), message))
        self.assertIn(b"APPENDUID", raw.answer("x")[1])
        raw.ok("SELECT INBOX")
        self.assertTrue(raw.ok("FETCH 1 BODY.PEEK[]")[0].endswith(message + b")"))
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_several_where_the_server_takes_one(self):
        """It would read the second message as commands."""
        for number, account in enumerate(("", "    append = plain")):
            with self.subTest(account=account):
                self.begin(account=account, capabilities="IMAP4rev1 UIDPLUS LITERAL+", name="i%d" % number)
                raw, message = self.raw(), b"Subject: x\r\n\r\nz CREATE Smuggled\r\n"
                self.refuse(raw, b"BAD", b"INBOX ", (message,), b" ", (message,))
                self.assertIn(b"APPENDUID", raw.command("APPEND INBOX", (message, ""))[1])
                self.assertFalse([row for row in raw.ok('LIST "" "*"') if b"Smuggled" in row])

    def test_too_many(self):
        self.begin()
        raw, message = self.raw(), (b"Subject: x\r\n\r\n",)
        raw.send(b"x APPEND INBOX" + b" {%d+}\r\n%s" % (len(message[0]), message[0]) * 70 + b"\r\n")
        self.assertRegex(raw.answer("x")[1], rb"^(NO|BAD)")
        raw.ok("NOOP")
        self.assertEqual(self.server.mail(), [])
        said = raw.command("APPEND {5+}\r\nINBOX", *[(message[0], "")] * 63)[1]
        self.assertRegex(said, rb"OK \[APPENDUID \d+ 1[,:](?:.*,)?63\]")

    def test_limit_of_the_server(self):
        self.begin(capabilities="IMAP4rev1 UIDPLUS LITERAL+ APPENDLIMIT=100000")
        raw = self.raw()
        offered = re.search(rb"APPENDLIMIT=(\d+)", b" ".join(raw.ok("CAPABILITY")))
        limit = int(offered.group(1))
        self.assertLess(limit, 100000)
        message = corpus.header("limit") + b"\r\n" + os.urandom(limit).hex().encode()
        self.assertIn(b"APPENDUID", raw.command("APPEND INBOX", (message[:limit], ""))[1])
        self.assertTrue(raw.command("APPEND INBOX", (message[:limit + 1], ""))[1].startswith(b"NO [TOOBIG]"))
        raw.ok("NOOP")
        (_, stored), = self.server.mail()
        self.assertLessEqual(len(stored), 100000)

    def test_without_a_key(self):
        self.begin()
        self.proxy.stop()
        shutil.rmtree(os.path.join(self.alice().home, "private-keys-v1.d"))
        for name in ("pubring.kbx", "trustdb.gpg"):
            os.remove(os.path.join(self.alice().home, name))
        self.proxy.start()
        raw = self.raw()
        for literal in (corpus.text(), b"x"):
            said = raw.command("APPEND INBOX", (literal, ""))[1]
            self.assertRegex(said, rb"^NO .*privyseal key make")
        raw.ok("NOOP")
        self.assertNotIn(b"APPEND", self.server.wire())

    def test_what_the_server_says_comes_through(self):
        self.begin()
        raw, message = self.raw(), corpus.text()
        raw.ok("SELECT INBOX")
        responses, said = raw.command("APPEND INBOX", (message, ""))
        self.assertIn(b"* 1 EXISTS", responses)
        self.assertRegex(said, rb"^OK \[APPENDUID \d+ 1\]")
        self.assertTrue(raw.command("APPEND Nowhere", (message, ""))[1].startswith(b"NO [TRYCREATE]"))
        self.server.faults("append:1=NO [OVERQUOTA] full")
        self.assertEqual(raw.command("APPEND INBOX", (message, ""))[1], b"NO [OVERQUOTA] full")
        self.assertEqual(len(self.server.mail()), 1)
        self.assertNotIn(corpus.CANARY, self.server.wire())


if __name__ == "__main__":
    unittest.main()
