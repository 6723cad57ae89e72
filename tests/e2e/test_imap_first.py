"""Mail through the IMAP proxy: saved sealed, read back exactly; what others sealed is opened; the rest is untouched."""
import os
import re
import time
import unittest

import corpus
import harness
import imap_harness
from harness import ALICE, BOB, wait_for
from imap_clients import Curl, Mbsync, OfflineImap, neomutt
from imap_harness import Case, check, fetched, whole
from twin import encrypted, signed

VERDICT = re.compile(rb"^Privyseal-Verdict: (?:[^\r\n]|\r\n[ \t])*\r\n", re.M)


def from_bob(kind, text="the %s came in" % corpus.WORD):
    return corpus.lines("From: Bob <%s>\nTo: Alice <%s>\nSubject: outer %s\nDate: Fri, 20 Nov 2026 12:00:00 +0000\n"
                        "Message-ID: <%s@example.net>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
                        "%s\n" % (BOB, ALICE, kind, kind, text))


class Saving(Case):
    """What a mail program saves comes back as it was; the server holds ciphertext."""

    def test_every_kind_comes_back(self):
        self.begin()
        messages = corpus.all_messages()
        with self.imap() as client:
            for kind, message in messages:
                with self.subTest(kind=kind):
                    said = check(client.append("INBOX", "(\\Seen kept)", '"01-Jan-2026 10:00:00 +0100"', message))
                    self.assertRegex(said[0], rb"APPENDUID \d+ \d+")
            self.assertNotIn(corpus.CANARY, self.server.wire())
            client.select()
            self.check_content(client, messages)
        self.assertEqual(len(self.server.mail()), len(messages))
        for _, content in self.server.mail():
            self.assertEqual(corpus.Opened(content).kind, "multipart/encrypted")
        self.assertNotIn(corpus.CANARY, self.server.all_mail())
        # Also after a restart, and for who asks for all at once.
        self.proxy.stop()
        self.proxy.start()
        with self.imap() as client:
            client.select(readonly=True)
            self.check_content(client, messages)
            bodies = [literals[0] for _, _, literals in fetched(client, "1:*", "(BODY.PEEK[])")]
            self.assertEqual(bodies, [message for _, message in messages])

    def check_content(self, client, messages):
        for number, (kind, message) in enumerate(messages, 1):
            with self.subTest(kind=kind):
                (_, text, literals), = fetched(client, str(number),
                                               "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[TEXT])")
                self.assertIn(b"RFC822.SIZE %d " % len(message), text)
                self.assertIn(b'INTERNALDATE "01-Jan-2026 09:00:00 +0000"', text)
                self.assertIn(b"\\Seen kept", text)
                self.assertTrue(b"".join(literals) == message, "%s is another" % kind)
                self.assertTrue(whole(client, number) == message, "%s is another" % kind)

    def test_bcc_and_odd_fields_are_kept(self):
        self.begin()
        message = corpus.header("draft", extra="Bcc: Carol <carol@example.com>\nX-Mozilla-Draft-Info: internal/draft;\n"
                                               " vcard=0\nX-odd_Name:no blank\nFCC: imap://alice/Sent\n")
        message += b"\r\nhi \r\n"
        with self.imap() as client:
            check(client.create("Drafts"))
            check(client.append("Drafts", "\\Draft", None, message))
            client.select("Drafts")
            self.assertEqual(whole(client, 1), message)
        for word in (b"carol", b"Mozilla", b"odd_Name", b"FCC"):
            self.assertNotIn(word, self.server.mail("Drafts")[0][1])

    def test_another_device_reads_it_with_gpg(self):
        self.begin()
        with self.imap() as client:
            check(client.append("INBOX", None, None, corpus.html_with_attachments()))
        opened = corpus.Opened(self.server.mail()[0][1]).decrypt()
        self.assertIn("GOODSIG", opened.status)
        self.assertEqual(harness.keys().key_ids_of(opened.outer.get_payload(1).get_payload(decode=True)) -
                         harness.keys().encryption_key_ids(ALICE), set())
        self.assertIn(corpus.CANARY, opened.plain)

    def test_forms_of_append(self):
        self.begin()
        raw, message = self.raw(), corpus.text()
        self.assertIn(b"APPENDUID", raw.command("APPEND INBOX", (message, ""))[1])
        self.assertIn(b"APPENDUID", raw.command('APPEND "INBOX" () "01-Jan-2026 10:00:00 +0100"', (message, ""))[1])
        raw.send(b"p APPEND inbox (\\Flagged) {%d+}\r\n%s\r\nq NOOP\r\n" % (len(message), message))
        self.assertIn(b"APPENDUID", raw.answer("p")[1])
        self.assertTrue(raw.answer("q")[1].startswith(b"OK"))
        said = raw.command("APPEND INBOX", (message, ' (\\Draft) "01-Jan-2026 10:00:00 +0100"'), (message, ""))[1]
        self.assertRegex(said, rb"OK \[APPENDUID \d+ 4[:,]5\]")
        raw.ok("SELECT INBOX")
        for number in range(1, 6):
            response = raw.ok("FETCH %d (FLAGS BODY.PEEK[])" % number)[0]
            self.assertTrue(response.endswith(b"BODY[] {%d}\r\n%s)" % (len(message), message)), response)
        self.assertIn(b"\\Draft", raw.ok("FETCH 5 FLAGS")[0])
        self.assertIn(b"TRYCREATE", raw.command("APPEND Nowhere", (message, ""))[1])
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_plain_if_asked(self):
        self.begin(account="    append = plain")
        with self.imap() as client:
            check(client.append("INBOX", None, None, corpus.text()))
        self.assertEqual([content for _, content in self.server.mail()], [corpus.text()])


class Reading(Case):
    def begin_with(self, *messages, **options):
        self.begin(**options)
        self.alice().take(harness.keys().export(BOB))
        self.server.put(*messages)

    def test_plain_mail_is_untouched(self):
        messages = [message for _, message in corpus.all_messages() if b"multipart/signed" not in message]
        self.begin_with(*messages)
        items = ("(FLAGS UID INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)", "(BODY.PEEK[])", "FULL",
                 "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[TEXT]<3.50>)",
                 "(RFC822)")
        through, direct = self.raw(), self.raw(port=self.server.port)
        for raw in (through, direct):
            raw.ok("EXAMINE INBOX")
        for item in items:
            self.assertEqual(through.ok("FETCH 1:* " + item), direct.ok("FETCH 1:* " + item))
            self.assertEqual(through.ok("UID FETCH 2:3 " + item), direct.ok("UID FETCH 2:3 " + item))
        self.assertEqual(through.ok("SEARCH SUBJECT " + corpus.WORD), direct.ok("SEARCH SUBJECT " + corpus.WORD))

    def test_sealed_mail_is_shown(self):
        self.begin_with(from_bob("plain"), encrypted(from_bob("sealed")), signed(from_bob("signed")))
        with self.imap() as client:
            client.select()
            self.assertEqual(whole(client, 1), from_bob("plain"))
            for number, words in ((2, (b"encryption=openpgp", b"signature=")),
                                  (3, (b"encryption=none", b"signature="))):
                view = whole(client, number)
                verdict = VERDICT.search(view).group(0)
                for word in words:
                    self.assertIn(word, verdict)
                self.assertIn(b"\r\n\r\nthe %s came in\r\n" % corpus.CANARY, view)
                self.assertNotIn(b"BEGIN PGP", view.split(b"signature.asc")[0])
                (_, text, literals), = fetched(client, str(number),
                                               "(RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[TEXT])")
                self.assertEqual(b"".join(literals), view)
                self.assertIn(b"RFC822.SIZE %d " % len(view), text)
            self.assertEqual(client.search(None, "BODY", corpus.WORD)[1], [b"1 2 3"])
            self.assertEqual(client.search(None, "NOT", "BODY", corpus.WORD)[1], [b""])
            self.assertEqual(client.search(None, "BODY", '"BEGIN PGP MESSAGE"')[1], [b""])

    def test_download_in_chunks(self):
        """As Thunderbird does it: the size, then pieces until it is reached."""
        self.begin()
        message = corpus.built("chunks")
        message.set_content("x\n")
        message.add_attachment(os.urandom(700000), maintype="application", subtype="octet-stream", filename="x.bin")
        message = message.as_bytes()
        with self.imap() as client:
            check(client.append("INBOX", None, None, message))
            client.select()
            (_, text, _), = fetched(client, "1", "(UID RFC822.SIZE FLAGS)")
            size, got = int(re.search(rb"RFC822.SIZE (\d+)", text).group(1)), b""
            self.assertEqual(size, len(message))
            while len(got) < size:
                (_, text, (piece,)), = fetched(client, "1", "(UID BODY.PEEK[]<%d.65536>)" % len(got), uid=True)
                self.assertIn(b"BODY[]<%d>" % len(got), text)
                self.assertEqual(len(piece), min(65536, size - len(got)))
                got += piece
            self.assertTrue(got == message)

    def test_seen_and_flags_are_the_servers(self):
        self.begin_with(encrypted(from_bob("sealed")), from_bob("plain"))
        with self.imap() as client:
            client.select()
            for number in ("1", "2"):
                self.assertNotIn(b"\\Seen", fetched(client, number, "(FLAGS BODY.PEEK[])")[0][1])
                self.assertNotIn(b"\\Seen", fetched(client, number, "(FLAGS)")[0][1])
                self.assertIn(b"\\Seen", b"".join(text for _, text, _ in fetched(client, number, "(BODY[1])")) +
                              fetched(client, number, "(FLAGS)")[0][1])
            check(client.store("1", "+FLAGS", "\\Flagged"))
            self.assertEqual(client.search(None, "FLAGGED", "BODY", corpus.WORD)[1], [b"1"])
            self.assertEqual(client.search(None, "OR", "FLAGGED", "NOT", "SEEN")[1], [b"1"])
        with self.server.client() as client:
            client.select()
            self.assertEqual(client.search(None, "SEEN")[1], [b"1 2"])
            client.store("1:2", "-FLAGS", "\\Seen")
        with self.imap() as client:
            client.select(readonly=True)
            fetched(client, "1:2", "(BODY[])")
            self.assertEqual(client.search(None, "SEEN")[1], [b""])

    def test_copies_are_known_again(self):
        """After COPY, MOVE and RENAME nothing is fetched or decrypted a second time."""
        self.begin_with(*[encrypted(from_bob("n%d" % number)) for number in range(3)])
        with self.imap() as client:
            check(client.create("Other"))
            client.select()
            views = [whole(client, number) for number in (1, 2, 3)]
            sizes = [text for _, text, _ in fetched(client, "1:3", "(RFC822.SIZE ENVELOPE)")]
            self.assertIn(b"COPYUID", check(client.copy("1:2", "Other"))[0])
            check(client.uid("MOVE", "3", "Other"))
            check(client.rename("Other", "Renamed"))
            before = len(self.server.wire())
            client.select("Renamed")
            self.assertEqual([text for _, text, _ in fetched(client, "1:3", "(RFC822.SIZE ENVELOPE)")], sizes)
            self.assertNotIn(b"BODY", self.server.wire()[before:])
            self.assertEqual([whole(client, number) for number in (1, 2, 3)], views)

    def test_views_are_constant(self):
        """Over sessions, restarts, sudden ends, and changes of keys."""
        self.begin_with(encrypted(from_bob("sealed")), signed(from_bob("signed")), encrypted(from_bob("bobs"), to=BOB))

        def views():
            with self.imap() as client:
                client.select()
                return [whole(client, number) for number in (1, 2, 3)]
        first = views()
        self.assertEqual(views(), first)
        self.proxy.kill()
        self.proxy.start()
        self.assertEqual(views(), first)
        self.alice().run("--yes", "--delete-keys", BOB)
        self.proxy.stop()
        self.proxy.start()
        self.assertEqual(views(), first)

    def test_idle_and_another_client(self):
        self.begin_with(from_bob("plain"), encrypted(from_bob("sealed")))
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.send("i IDLE\r\n")
        self.assertTrue(raw.line().startswith(b"+"))
        begun = time.monotonic()
        with self.server.client() as client:
            client.select()
            client.store("1", "+FLAGS.SILENT", "\\Deleted")
            client.expunge()
        self.server.put(encrypted(from_bob("second")))
        lines = []
        while not lines or b"EXISTS" not in lines[-1]:
            lines.append(raw.line())
        self.assertLess(time.monotonic() - begun, 2)
        self.assertIn(b"* 1 EXPUNGE", lines)
        self.assertEqual(lines[-1], b"* 2 EXISTS")
        raw.send("DONE\r\n")
        self.assertTrue(raw.answer("i")[1].startswith(b"OK"))
        subjects = [response for response in raw.ok("FETCH 1:2 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])")]
        self.assertIn(b"outer sealed", subjects[0])
        self.assertIn(b"outer second", subjects[1])


class Syncing(Case):
    def test_second_sync_fetches_nothing(self):
        self.begin()
        self.server.put(*[encrypted(from_bob("n%d" % number)) if number % 3 == 0 else from_bob("n%d" % number)
                          for number in range(30)])
        with self.imap() as client:
            # Twice: \Recent is the first session's alone.
            client.select()
            client.select()
            first = fetched(client, "1:*", "(UID FLAGS RFC822.SIZE INTERNALDATE)")
            envelopes = fetched(client, "1:*", "(ENVELOPE BODYSTRUCTURE)")
        before = len(self.server.wire())
        with self.imap() as client:
            client.select()
            self.assertEqual(fetched(client, "1:*", "(UID FLAGS RFC822.SIZE INTERNALDATE)"), first)
            self.assertEqual(fetched(client, "1:*", "(ENVELOPE BODYSTRUCTURE)"), envelopes)
        self.assertNotIn(b"BODY.PEEK", self.server.wire()[before:])
        self.assertNotIn(b"BODY[", self.server.wire()[before:])

    def test_while_another_expunges(self):
        """Numbers shift between and within commands; each view stays with its UID."""
        self.begin()
        self.server.put(*[encrypted(from_bob("n%d" % number)) for number in range(12)])
        self.server.faults("fetch.each:2=expunge 4", "fetch.each:5=expunge 1", "noop:1=expunge 3",
                           "fetch.each:9=arrive")
        with self.imap() as client:
            client.select()
            for _ in range(6):
                try:
                    client.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
                except imap_harness.imaplib.IMAP4.error:
                    pass
                client.noop()
            self.server.faults()
            client.noop()
            rows = [(int(re.search(rb"UID (\d+)", text).group(1)), literals[0])
                    for _, text, literals in fetched(client, "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")]
        held = {uid for uid, _ in self.server.mail()}
        self.assertEqual({uid for uid, _ in rows}, held)
        for uid, subject in rows:
            self.assertIn(b"outer n%d" % (uid - 1) if uid <= 12 else b"arrived", subject)

    def test_looks_ahead(self):
        """What the next messages are is asked together with the content of those before, and of more each time."""
        self.begin()
        self.server.put(*[from_bob("n%d" % number) for number in range(200)])
        with self.imap() as client:
            client.select()
            rows = fetched(client, "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        self.assertEqual([literals for _, _, literals in rows],
                         [[b"Subject: outer n%d\r\n\r\n" % number] for number in range(200)])
        asked = [line.split(b" ", 2)[2].split(b" ")[0] for line in self.server.wire().splitlines()
                 if b"BODYSTRUCTURE" in line]
        self.assertEqual(asked, [b"1:32", b"33:160", b"161:200"])

    def test_looks_ahead_while_it_answers(self):
        self.begin()
        self.server.put(*[from_bob("n%d" % number) for number in range(100)])
        self.server.faults("literal:%d=stall" % (2 * 32 + 1))  # each answer to the question what it is has two
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.send(b"f FETCH 1:* (BODY.PEEK[TEXT])\r\n")
        harness.wait_for(lambda: self.server.wire().count(b"BODYSTRUCTURE") == 2, "a question about those to come")

    def test_looks_ahead_while_another_expunges(self):
        """As above, by number and by UID, with views between plain messages."""
        self.begin()
        sealed = encrypted(from_bob("sealed"))
        contents = [sealed if number % 7 == 3 else from_bob("n%d" % number) for number in range(200)]
        self.server.put(*contents)
        with self.imap() as client:
            for uid in (False, True):
                client.select()
                numbers = [int(number) for number in client.search(None, "ALL")[1][0].split()]
                self.server.faults("fetch.each:40=expunge %d" % (len(numbers) - 20), "fetch.each:100=expunge 3",
                                   "fetch.each:170=expunge 30", "fetch.end:2=arrive", "fetch.end:4=expunge 1")
                try:
                    rows = fetched(client, "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", uid)
                except AssertionError:  # NO: what is gone cannot be had
                    rows = []
                self.server.faults()
                client.noop()
                rows += fetched(client, "1:*", "(UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", uid)
                for _, text, literals in rows:
                    at = int(re.search(rb"UID (\d+)", text).group(1))
                    said = b"arrived" if at > 200 else b"sealed" if at % 7 == 4 else b"outer n%d\r" % (at - 1)
                    self.assertIn(said, literals[0])
                held = [at for at, _ in self.server.mail()]
                self.assertEqual([int(re.search(rb"UID (\d+)", text).group(1)) for _, text, _ in rows][-len(held):],
                                 held)


class Programs(Case):
    def test_curl(self):
        self.begin()
        curl = Curl(self.folder, self.proxy.imap_port)
        message = corpus.html_with_attachments()
        curl.save(message)
        self.assertNotIn(corpus.CANARY, self.server.all_mail())
        self.assertEqual(curl("INBOX;UID=1"), message)
        self.assertIn(b"sings", curl("INBOX;UID=1;SECTION=1"))
        self.assertIn(b"* SEARCH 1", curl("INBOX?BODY%20" + corpus.WORD))

    def test_mbsync(self):
        self.begin()
        self.server.put(from_bob("plain"), encrypted(from_bob("sealed")))
        mbsync = Mbsync(self.folder, self.proxy.imap_port)
        mbsync.sync()
        self.assertEqual(len(mbsync.local("INBOX")), 2)
        contents = []
        for path in mbsync.local("INBOX"):
            with open(path, "rb") as file:
                contents.append(file.read())
        self.assertEqual(sum(corpus.CANARY in content for content in contents), 2)
        mbsync.put(corpus.text())
        mbsync.sync()
        self.assertEqual(len(self.server.mail()), 3)
        self.assertNotIn(corpus.CANARY, self.server.mail()[2][1])
        with self.imap() as client:
            client.select()
            # mbsync may add a field of its own to what it uploads.
            self.assertIn(b"Dear Bob,\r\n\r\nthe " + corpus.CANARY, whole(client, 3))
        before = len(self.server.wire())
        mbsync.sync()
        self.assertNotIn(b"BODY", self.server.wire()[before:])

    def test_offlineimap(self):
        self.begin()
        self.server.put(from_bob("plain"), encrypted(from_bob("sealed")))
        offlineimap = OfflineImap(self.folder, self.proxy.imap_port)
        offlineimap.sync()
        self.assertEqual(len(offlineimap.local("INBOX")), 2)
        for path in offlineimap.local("INBOX"):
            with open(path, "rb") as file:
                self.assertIn(corpus.CANARY, file.read())

    def test_neomutt(self):
        self.begin()
        self.server.put(from_bob("plain"), encrypted(from_bob("sealed", "PEACOCK came in")))
        keys = "<last-entry>READ<flag-message><copy-message>=Copies<enter>y<quit>"
        self.assertIn(b"PEACOCK", neomutt(self.folder, self.proxy.imap_port, keys, self.proxy.certificate()))
        wait_for(lambda: os.path.isdir(os.path.join(self.server.store, "Copies")) and self.server.mail("Copies"),
                 "the copy")
        self.assertNotIn(b"PEACOCK", self.server.all_mail())


if __name__ == "__main__":
    unittest.main()
