"""The reference IMAP server by itself: what real clients make of it, and that its faults come when they are ordered."""
import email
import imaplib
import os
import re
import ssl
import threading
import time
import unittest

import corpus
from harness import World
from imap_clients import Curl, Mbsync, OfflineImap, neomutt
from imap_harness import Raw, RefImap, check, fetched, whole

DIGEST = (b"From: \"Doe, John\" <john@example.org>, (who) friends: a@example.net, B <b@[192.0.2.1]>;\r\n"
          b"To: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\nSubject: a\r\n folded subject\r\n"
          b"Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <d@example.org>\r\nMIME-Version: 1.0\r\n"
          b"Content-Type: multipart/mixed; boundary=\"b 1\"\r\n\r\npreamble\r\n--b 1\r\n"
          b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: inline\r\n\r\none\r\ntwo\r\n--b 1\r\n"
          b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n"
          b"\r\n--c\r\n\r\nalpha\r\n--c\r\nContent-Type: text/html\r\n\r\nbeta\r\n--c--\r\n\r\n--b 1--\r\nepilogue\r\n")


class Honest(World):
    def setUp(self):
        super().setUp()
        self.server = RefImap(self)

    def raw(self):
        raw = Raw(self.server.port)
        self.addCleanup(raw.close)
        return raw.login()

    def test_messages_come_back(self):
        messages = [message for _, message in corpus.all_messages()]
        self.server.put(*messages)
        with self.server.client() as client:
            self.assertEqual(client.select(), ("OK", [str(len(messages)).encode()]))
            for number, message in enumerate(messages, 1):
                self.assertEqual(whole(client, number), message)
                (_, text, (head, body)), = fetched(client, str(number), "(RFC822.SIZE RFC822.HEADER RFC822.TEXT)")
                self.assertEqual(head + body, message)
                self.assertIn(b"RFC822.SIZE %d " % len(message), text)
        self.assertEqual([content for _, content in self.server.mail()], messages)

    def test_sections(self):
        self.server.put(DIGEST)
        sections = {"HEADER": DIGEST[:DIGEST.index(b"preamble")], "TEXT": DIGEST[DIGEST.index(b"preamble"):],
                    "1": b"one\r\ntwo", "1.MIME": b"Content-Type: text/plain; charset=utf-8\r\n"
                                                  b"Content-Disposition: inline\r\n\r\n",
                    "2.HEADER": b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n",
                    "2.1": b"alpha", "2.2": b"beta", "2.2.MIME": b"Content-Type: text/html\r\n\r\n",
                    "2.TEXT": b"--c\r\n\r\nalpha\r\n--c\r\nContent-Type: text/html\r\n\r\nbeta\r\n--c--\r\n",
                    "HEADER.FIELDS (SUBJECT X)": b"Subject: a\r\n folded subject\r\n\r\n",
                    "2.HEADER.FIELDS.NOT (content-type)": b"Subject: inner\r\n\r\n"}
        with self.server.client() as client:
            client.select()
            for section, content in sections.items():
                with self.subTest(section=section):
                    self.assertEqual(fetched(client, "1", "(BODY.PEEK[%s])" % section)[0][2], [content])
                    self.assertEqual(fetched(client, "1", "(BODY.PEEK[%s]<1.3>)" % section)[0][2], [content[1:4]])
            self.assertIn(b"BODY[3] NIL", fetched(client, "1", "(BODY.PEEK[3])")[0][1])
            self.assertNotIn(b"\\Seen", fetched(client, "1", "(FLAGS)")[0][1])
            self.assertIn(b"\\Seen", fetched(client, "1", "(BODY[1])")[0][1])

    def test_structure_and_envelope(self):
        self.server.put(DIGEST)
        raw = self.raw()
        raw.ok("SELECT INBOX")
        responses = raw.ok("FETCH 1 (ENVELOPE)")
        self.assertIn(
            b'("Fri, 20 Nov 2026 12:00:00 +0000" "a folded subject" (("Doe, John" NIL "john" "example.org")'
            b'(NIL NIL "friends" NIL)(NIL NIL "a" "example.net")("B" NIL "b" "[192.0.2.1]")(NIL NIL NIL NIL)) ',
            responses[0])
        self.assertTrue(responses[0].endswith(b'(("=?utf-8?q?J=C3=B6rg?=" NIL "joerg" "example.org")) NIL NIL NIL '
                                              b'"<d@example.org>"))'), responses[0])
        text = raw.ok("FETCH 1 (BODYSTRUCTURE)")[0]
        self.assertIn(b'(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 8 1 NIL ("inline" NIL) NIL NIL)', text)
        self.assertIn(b'(("TEXT" "PLAIN" NIL NIL NIL "7bit" 5 0 NIL NIL NIL NIL)("text" "html" NIL NIL NIL "7bit" 4 0 '
                      b'NIL NIL NIL NIL) "alternative" ("boundary" "c") NIL NIL NIL)', text)
        self.assertTrue(text.endswith(b' "mixed" ("boundary" "b 1") NIL NIL NIL))'), text)

    def test_mailboxes(self):
        with self.server.client() as client:
            check(client.create("a/b"))
            check(client.create("Sent"))
            check(client.subscribe("a/b"))
            self.assertEqual(client.lsub()[1], [b'(\\HasNoChildren) "/" "a/b"'])
            self.assertIn(b'(\\HasNoChildren \\Sent) "/" "Sent"', client.list()[1])
            self.assertEqual(client.list('""', "%")[1][1], b'(\\HasChildren) "/" "a"')
            self.server.put(DIGEST, mailbox="a/b")
            check(client.rename("a", "c"))
            self.assertEqual(client.status("c/b", "(MESSAGES)")[1], [b'"c/b" (MESSAGES 1)'])
            self.assertEqual(client.delete("c")[0], "NO")
            check(client.delete("c/b"))
            self.assertEqual(client.select("c/b")[0], "NO")

    def test_flags_copies_moves(self):
        self.server.put(*[b"Subject: %d\r\n\r\n%d\r\n" % (i, i) for i in range(1, 6)])
        with self.server.client() as client:
            check(client.create("Other"))
            client.select()
            check(client.store("2:3", "+FLAGS", "(\\Flagged word)"))
            self.assertEqual(client.search(None, "FLAGGED", "KEYWORD", "word")[1], [b"2 3"])
            check(client.store("2", "FLAGS", "(\\Deleted)"))
            self.assertIn(b"COPYUID", check(client.copy("1,3", "Other"))[0])
            client.uid("MOVE", "5", "Other")
            self.assertEqual(client.response("EXPUNGE")[1], [b"5"])
            self.assertEqual(check(client.expunge()), [b"2"])
            self.assertEqual([uid for uid, _ in self.server.mail()], [1, 3, 4])
            self.assertEqual(len(self.server.mail("Other")), 3)
        self.server.restart()
        with self.server.client() as client:
            client.select()
            self.assertEqual(client.search(None, "FLAGGED")[1], [b"2"])
            self.assertEqual(fetched(client, "3", "(UID)")[0][1], b"3 (UID 4)")
            self.assertEqual(client.status("INBOX", "(UIDNEXT)")[1], [b'"INBOX" (UIDNEXT 6)'])

    def test_search(self):
        letter = "From: %s@example.org\nSubject: %s\nDate: %s 2026 00:00:00 +0000\n\nbody %s\n"
        self.server.put(corpus.lines(letter % ("a", "alpha", "Thu, 1 Jan", "one")),
                        corpus.lines(letter % ("b", "beta", "Fri, 2 Jan", "two")))
        with self.server.client() as client:
            client.select()
            for criteria, found in (("ALL", b"1 2"), ("FROM a@", b"1"), ("NOT SUBJECT ALPHA", b"2"), ("BODY two", b"2"),
                                    ("OR SUBJECT alpha BODY two", b"1 2"), ("TEXT \"body\" UID 2", b"2"),
                                    ("(SUBJECT beta) 1:2 UNSEEN", b"2"), ("SENTBEFORE 2-Jan-2026", b"1"),
                                    ("SENTON 2-Jan-2026", b"2"), ("SINCE 1-Jan-2020 LARGER 10 SMALLER 10000", b"1 2"),
                                    ("HEADER Subject \"\"", b"1 2"), ("UNKEYWORD x NEW", b"1 2")):
                with self.subTest(criteria=criteria):
                    self.assertEqual(client.search(None, criteria)[1], [found])
            with self.assertRaises(imaplib.IMAP4.error):
                client.search(None, "NONSENSE 1")

    def test_another_connection(self):
        self.server.put(DIGEST, DIGEST)
        one, two = self.raw(), self.raw()
        one.ok("SELECT INBOX")
        two.ok("SELECT INBOX")
        one.send("i IDLE\r\n")
        self.assertEqual(one.line(), b"+ idling")
        begun = time.monotonic()
        two.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.assertTrue(one.line().startswith(b"* 1 FETCH (FLAGS (\\Deleted"))
        two.ok("EXPUNGE")
        self.assertEqual(one.line(), b"* 1 EXPUNGE")
        self.assertLess(time.monotonic() - begun, 1)
        self.server.put(DIGEST)
        self.assertRegex(one.line(), rb"\* \d RECENT")
        self.assertEqual(one.line(), b"* 2 EXISTS")
        one.send("DONE\r\n")
        self.assertEqual(one.answer("i")[1], b"OK Idled")
        # What has gone is not told while numbers are in use (RFC 3501 section 7.4.1).
        two.ok("UID STORE 2 +FLAGS (\\Deleted)")
        two.ok("EXPUNGE")
        self.assertEqual(one.command("FETCH 1 (UID)")[1][:22], b"NO [EXPUNGEISSUED] Som")
        self.assertIn(b"* 1 EXPUNGE", one.ok("NOOP"))

    def test_modseq(self):
        self.server.put(DIGEST, DIGEST)
        raw = self.raw()
        highest = int(re.search(rb"HIGHESTMODSEQ (\d+)", b"".join(raw.ok("SELECT INBOX (CONDSTORE)"))).group(1))
        raw.ok("STORE 2 +FLAGS (\\Flagged)")
        responses = raw.ok("FETCH 1:* (FLAGS) (CHANGEDSINCE %d)" % highest)
        self.assertEqual(len(responses), 1)
        self.assertRegex(responses[0], rb"\* 2 FETCH .*MODSEQ \(%d\)" % (highest + 1))
        responses, said = raw.command("STORE 1:2 (UNCHANGEDSINCE %d) +FLAGS (x)" % highest)
        self.assertIn(b"[MODIFIED 2]", said)
        self.assertEqual(len(responses), 1)

    def test_append_forms(self):
        raw = self.raw()
        self.assertIn(b"APPENDUID", raw.command("APPEND INBOX (\\Seen x) \"01-Jan-2026 10:00:00 +0100\"",
                                                (b"a: b\r\n\r\nc\r\n", ""))[1])
        raw.send("p APPEND INBOX {6+}\r\nx: y\r\n {6+}\r\nz: y\r\n\r\n")
        self.assertIn(b"APPENDUID", raw.answer("p")[1])
        raw.ok("SELECT INBOX")
        self.assertIn(b'"01-Jan-2026 09:00:00 +0000"', raw.ok("FETCH 1 INTERNALDATE")[0])
        self.assertIn(b"\\Seen x", raw.ok("FETCH 1 FLAGS")[0])
        self.assertEqual(len(self.server.mail()), 3)
        self.assertIn(b"TRYCREATE", raw.command("APPEND Nowhere", (b"a: b\r\n", ""))[1])
        self.assertIn(b"BAD", raw.command("APPEND INBOX nonsense")[1])

    def test_login(self):
        for text in ("LOGIN alice wrong", "LOGIN bob secret", "AUTHENTICATE PLAIN AGFsaWNlAHdyb25n"):
            with Raw(self.server.port) as raw:
                self.assertIn(b"NO [AUTHENTICATIONFAILED]", raw.command(text)[1])
                self.assertIn(b"BAD", raw.command("SELECT INBOX")[1])
        with Raw(self.server.port) as raw:
            self.assertIn(b"OK [CAPABILITY", raw.command("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==")[1])
        with Raw(self.server.port) as raw:
            raw.send("a AUTHENTICATE PLAIN\r\n")
            self.assertEqual(raw.line(), b"+ ")
            raw.send("AGFsaWNlAHNlY3JldA==\r\n")
            self.assertIn(b"OK", raw.answer("a")[1])


class Tls(World):
    def test_starttls(self):
        server = RefImap(self, tls="starttls")
        context = ssl.create_default_context(cafile=server.certificate)
        raw = Raw(server.port)
        self.addCleanup(raw.close)
        self.assertIn(b"STARTTLS LOGINDISABLED", raw.greeting)
        self.assertIn(b"NO", raw.command("LOGIN alice secret")[1])
        raw.start_tls(context)
        raw.login()
        self.assertIn(b"LOGIN alice secret", server.wire())

    def test_implicit(self):
        server = RefImap(self, tls="implicit")
        raw = Raw(server.port, greeting=False)
        self.addCleanup(raw.close)
        raw.secure(ssl.create_default_context(cafile=server.certificate))
        self.assertIn(b"AUTH=PLAIN", raw.line())
        raw.login()


class Faults(World):
    def setUp(self):
        super().setUp()
        self.server = RefImap(self)
        self.server.put(DIGEST, DIGEST, DIGEST)

    def raw(self, **options):
        raw = Raw(self.server.port, **options)
        self.addCleanup(raw.close)
        return raw

    def selected(self):
        raw = self.raw().login()
        raw.ok("SELECT INBOX")
        return raw

    def test_before_login(self):
        for fault, greeting in (("greeting:*=preauth", b"* PREAUTH"), ("greeting:*=bye away", b"* BYE away"),
                                ("connect:*=cut", b""), ("greeting:*=only x\\r\\n", b"x"),
                                ("greeting:*=garbage", b"what?"), ("offer:*=+XYZ -IDLE", b"* OK")):
            with self.subTest(fault=fault):
                self.server.faults(fault)
                raw = self.raw()
                self.assertEqual(raw.greeting[:len(greeting)], greeting)
        self.assertIn(b" XYZ]", raw.greeting)
        self.assertNotIn(b"IDLE", raw.greeting)
        self.assertIn(b"BAD", raw.login().command("IDLE")[1])

    def test_in_responses(self):
        for fault, check_it in (
                ("fetch:*=NO no", lambda said: said == ([], b"NO no")),
                ("fetch:*=* 1 EXPUNGE", lambda said: said[0][0] == b"* 1 EXPUNGE"),
                ("fetch.each:1=* 9 EXISTS", lambda said: said[0][1] == b"* 9 EXISTS"),
                ("fetch.each:*=bye", lambda said: said[0][-1] == b"* BYE Closing" and said[1] == b""),
                ("fetch.end:*=cut", lambda said: len(said[0]) == 3 and said[1] == b""),
                ("fetch:*=late", lambda said: said[1] == b""),
                ("literal:2=lie 5", lambda said: b"{5}\r\n" in said[0][1]),
                ("literal:1=cut", lambda said: said[1] == b""),
                ("connect:*=slow", lambda said: len(said[0]) == 3),
                ("fetch.each:1=raw \\x41\\\\\\r\\n", lambda said: said[0][1] == b"A\\")):
            with self.subTest(fault=fault):
                self.server.faults(fault)
                raw = self.selected()
                self.assertTrue(check_it(raw.command("FETCH 1:3 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")), fault)

    def test_changes_by_another(self):
        self.server.faults("fetch.each:1=expunge 2", "noop:1=arrive", "fetch.each:2=flag 1 \\Flagged")
        raw = self.selected()
        responses, said = raw.command("FETCH 1:3 (UID)")
        self.assertEqual([response[:9] for response in responses], [b"* 1 FETCH", b"* 3 FETCH", b"* 1 FETCH"])
        self.assertIn(b"\\Flagged", responses[2])
        self.assertIn(b"EXPUNGEISSUED", said)
        responses = raw.ok("NOOP")
        self.assertIn(b"* 2 EXPUNGE", responses)
        self.assertIn(b"* 3 EXISTS", responses)
        self.assertEqual(len(self.server.mail()), 3)

    def test_in_append(self):
        self.server.faults("continue:*=NO [OVERQUOTA] full")
        raw = self.raw().login()
        self.assertEqual(raw.command("APPEND INBOX", (b"x: y\r\n\r\n", ""))[1], b"NO [OVERQUOTA] full")
        self.server.faults("body:4=cut")
        self.assertEqual(raw.command("APPEND INBOX", (b"x: y\r\n\r\n", ""))[1], b"")
        self.server.faults()
        self.assertEqual(len(self.server.mail()), 3)

    def test_without_end(self):
        for action in ("endless", "flood"):
            self.server.faults("noop:*=" + action)
            raw = self.raw().login()
            raw.send("x NOOP\r\n")
            self.assertEqual(len(raw.take(1 << 20)), 1 << 20)
            raw.close()

    def test_injected(self):
        server = RefImap(self, name="j", tls="starttls")
        server.faults("starttls:*=inject")
        raw = Raw(server.port)
        self.addCleanup(raw.close)
        raw.send("a STARTTLS\r\n")
        self.assertTrue(raw.line().startswith(b"a OK"))
        self.assertIn(b"X-INJECTED", raw.line())

    def test_stall(self):
        self.server.faults("noop:*=stall")
        raw = self.raw(timeout=1).login()
        with self.assertRaises(TimeoutError):
            raw.command("NOOP")
        self.selected().ok("FETCH 1 (UID)")


class Clients(World):
    """Mail programs that know nothing of this server."""

    def setUp(self):
        super().setUp()
        self.server = RefImap(self)

    def test_curl(self):
        curl = Curl(self.folder, self.server.port)
        curl.save(DIGEST)
        self.assertEqual(curl("INBOX;UID=1"), DIGEST)
        self.assertEqual(curl("INBOX;UID=1;SECTION=2.1"), b"alpha")
        self.assertIn(b"* SEARCH 1", curl("INBOX?SUBJECT%20folded"))

    def test_mbsync(self):
        messages = [message for kind, message in corpus.all_messages() if kind != "big"]
        self.server.put(*messages)
        self.server.put(DIGEST, mailbox="Archive/2026", flags="(\\Seen \\Flagged)")
        mbsync = Mbsync(self.folder, self.server.port)
        mbsync.sync()
        self.assertEqual(len(mbsync.local("INBOX")), len(messages))
        (path,) = mbsync.local("Archive/2026")
        self.assertTrue(path.endswith(":2,FS"))
        # Two ways: a new message, another's flag, and one that goes.
        mbsync.put(b"From: a@example.org\r\nSubject: local\r\n\r\nwritten here\r\n")
        os.rename(path, path.replace(":2,FS", ":2,RS"))
        with self.server.client() as client:
            client.select()
            client.store("1", "+FLAGS", "\\Deleted")
            client.expunge()
        mbsync.sync()
        self.assertEqual(len(mbsync.local("INBOX")), len(messages))
        self.assertIn(b"Subject: local", self.server.mail()[-1][1])
        with self.server.client() as client:
            client.select("Archive/2026")
            self.assertIn(b"\\Seen \\Answered", fetched(client, "1", "(FLAGS)")[0][1])
        before = self.server.wire()
        mbsync.sync()
        self.assertNotIn(b"BODY", self.server.wire()[len(before):])

    def test_offlineimap(self):
        self.server.put(DIGEST, corpus.text())
        offlineimap = OfflineImap(self.folder, self.server.port)
        offlineimap.sync()
        self.assertEqual(len(offlineimap.local("INBOX")), 2)

    def test_neomutt(self):
        self.server.put(DIGEST, corpus.text())
        neomutt(self.folder, self.server.port, "<last-entry><flag-message><copy-message>=Copies<enter>y<quit>")
        with self.server.client() as client:
            client.select()
            self.assertEqual(client.search(None, "FLAGGED")[1], [b"2"])
        self.assertEqual(self.server.mail("Copies")[0][1], corpus.text())

    def test_many_at_once(self):
        self.server.put(*[DIGEST] * 20)
        problems = []

        def work(number):
            try:
                with self.server.client() as client:
                    client.select()
                    for _ in range(10):
                        check(client.store(str(number + 1), "+FLAGS", "k%d" % number))
                        # What others do to flags is told in between.
                        for _, _, contents in fetched(client, "1:20", "(BODY.PEEK[])"):
                            if contents not in ([], [DIGEST]):
                                raise AssertionError("wrong content")
                        check(client.append("INBOX", None, None, DIGEST))
            except (AssertionError, imaplib.IMAP4.error, OSError, ValueError) as error:
                problems.append(error)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(len(self.server.mail()), 100)
        self.assertEqual(email.message_from_bytes(self.server.mail()[99][1])["Message-ID"], "<d@example.org>")


if __name__ == "__main__":
    unittest.main()
