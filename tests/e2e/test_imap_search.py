"""SEARCH through the IMAP proxy: words that stand in sealed mail alone are found, and nothing else is said than a
server would; what cannot be searched wholly is not answered in part."""
import re
import subprocess
import unittest

import harness
from dovecot import Dovecot, DovecotTest, Talk
from harness import ALICE, BOB
from imap_harness import Case
from twin import encrypted

WORD = "quicksilver"


def message(subject, text, charset="utf-8", sender=BOB):
    header = "From: Bob <%s>\r\nTo: %s\r\nSubject: %s\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n" % (
        sender, ALICE, subject)
    header += "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=%s\r\n" % charset
    return header.encode() + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + text.encode(charset) + b"\r\n"


def numbers(untagged):
    line, = [text for text in untagged if text.startswith(b"* SEARCH")]
    return [int(number) for number in line.split()[2:] if number.isdigit()]


class Searching(DovecotTest, harness.World):
    """One mailbox: plain, sealed by others, sealed by oneself, in turns."""

    def begin_with(self, *messages, options=""):
        self.dovecot = Dovecot()
        self.add(self.dovecot.close)
        self.alice().take(harness.keys().export(BOB))
        self.proxy = harness.Proxy(self, None, imap=self.dovecot, options=options)
        with Talk(self.dovecot.port, "alice", "secret") as direct, Talk(self.proxy.imap_port, "alice", "secret") as own:
            for kind, content in messages:
                if kind == "own":
                    own.append("INBOX", content)
                else:
                    direct.append("INBOX", encrypted(content) if kind == "sealed" else content)
        talk = Talk(self.proxy.imap_port, "alice", "secret")
        self.addCleanup(talk.close)
        talk.command(b"SELECT INBOX")
        return talk

    def three(self, text=WORD + " and more"):
        return self.begin_with(("plain", message("one", "nothing")), ("sealed", message("two", text)),
                               ("own", message("three", text.upper())), ("plain", message("four", text)),
                               ("plain", message("five", "nothing either")))

    def find(self, talk, search):
        return numbers(talk.command(b"SEARCH " + search)[0])

    def test_words_in_all_kinds(self):
        talk = self.three()
        self.assertEqual(self.find(talk, b"BODY " + WORD.encode()), [2, 3, 4])
        self.assertEqual(self.find(talk, b"NOT BODY " + WORD.encode()), [1, 5])
        self.assertEqual(self.find(talk, b"OR SUBJECT three BODY nothing"), [1, 3, 5])
        self.assertEqual(self.find(talk, b"2:4 NOT 3 TEXT " + WORD.encode()), [2, 4])
        self.assertEqual(self.find(talk, b"BODY encrypted"), [])
        self.assertEqual(self.find(talk, b"BODY PGP"), [])
        talk.command(b"STORE 3:4 +FLAGS.SILENT (\\Flagged)")
        self.assertEqual(self.find(talk, b"FLAGGED BODY " + WORD.encode()), [3, 4])
        self.assertEqual(self.find(talk, b"OR FLAGGED NOT (UNDELETED BODY %s)" % WORD.encode()), [1, 3, 4, 5])
        # It is not in what the server was given.
        with Talk(self.dovecot.port, "alice", "secret") as direct:
            direct.command(b"SELECT INBOX")
            self.assertEqual(self.find(direct, b"BODY " + WORD.encode()), [4])

    def test_uids_and_extended_answers(self):
        talk = self.three()
        talk.command(b"STORE 1 +FLAGS.SILENT (\\Deleted)")
        talk.command(b"EXPUNGE")
        self.assertEqual(self.find(talk, b"BODY " + WORD.encode()), [1, 2, 3])
        self.assertEqual(numbers(talk.command(b"UID SEARCH BODY " + WORD.encode())[0]), [2, 3, 4])
        untagged, _ = talk.command(b"UID SEARCH RETURN (MIN MAX COUNT ALL) BODY " + WORD.encode())
        self.assertEqual(untagged, [b'* ESEARCH (TAG "t%d") UID MIN 2 MAX 4 ALL 2:4 COUNT 3\r\n' % talk.number])
        untagged, _ = talk.command(b"SEARCH RETURN (COUNT) BODY nowhere-at-all")
        self.assertEqual(untagged, [b'* ESEARCH (TAG "t%d") COUNT 0\r\n' % talk.number])

    def test_the_saved_result(self):
        talk = self.three()
        untagged, _ = talk.command(b"UID SEARCH RETURN (SAVE) BODY " + WORD.encode())
        self.assertEqual(untagged, [])
        self.assertEqual(self.find(talk, b"$"), [2, 3, 4])
        self.assertEqual(self.find(talk, b"$ SUBJECT three"), [3])
        untagged, _ = talk.command(b"FETCH $ (UID)")
        self.assertEqual(untagged, [b"* %d FETCH (UID %d)\r\n" % (n, n) for n in (2, 3, 4)])
        talk.command(b"SEARCH RETURN (SAVE MIN) BODY " + WORD.encode())
        self.assertEqual(self.find(talk, b"$"), [2])
        talk.command(b"SEARCH RETURN (SAVE) BODY nowhere-at-all")
        self.assertEqual(self.find(talk, b"$"), [])

    def test_mod_sequences(self):
        talk = self.three()
        talk.command(b"ENABLE CONDSTORE")
        untagged, _ = talk.command(b"STORE 3 +FLAGS (\\Flagged)")
        highest = int(re.search(rb"MODSEQ \((\d+)\)", untagged[0]).group(1))
        untagged, _ = talk.command(b"SEARCH MODSEQ 1 BODY " + WORD.encode())
        self.assertEqual(untagged, [b"* SEARCH 2 3 4 (MODSEQ %d)\r\n" % highest])
        untagged, _ = talk.command(b"SEARCH MODSEQ %d BODY %s" % (highest, WORD.encode()))
        self.assertEqual(untagged, [b"* SEARCH 3 (MODSEQ %d)\r\n" % highest])
        untagged, _ = talk.command(b"SEARCH MODSEQ %d BODY %s" % (highest + 1, WORD.encode()))
        self.assertEqual(untagged, [b"* SEARCH\r\n"])

    def test_charsets(self):
        talk = self.begin_with(*[("sealed", message("in " + charset, text, charset)) for charset, text in (
            ("utf-8", "Grüße"), ("iso-8859-1", "Grüße"), ("windows-1252", "Grüße"), ("koi8-r", "привет"),
            ("iso-2022-jp", "日本語"))])
        for charset in ("utf-8", "iso-8859-1", "windows-1252"):
            data = "GRÜßE".encode(charset)
            with self.subTest(charset=charset):
                self.assertEqual(self.find(talk, b"CHARSET %s BODY {%d+}\r\n%s" % (charset.encode(), len(data), data)),
                                 [1, 2, 3])
        for word, number in (("ПРИВЕТ", 4), ("日本", 5)):
            data = word.encode()
            self.assertEqual(self.find(talk, b"CHARSET UTF-8 BODY {%d+}\r\n%s" % (len(data), data)), [number])
        _, tagged = talk.command(b"SEARCH CHARSET x-unheard-of BODY x", check=False)
        self.assertTrue(tagged.startswith(b"NO [BADCHARSET"), tagged)
        _, tagged = talk.command(b"SEARCH BODY {1+}\r\n\xff", check=False)
        self.assertTrue(tagged.startswith(b"BAD"), tagged)

    def test_what_cannot_be_asked(self):
        talk = self.three()
        for search, answer in ((b"X-GM-RAW has:attachment", b"NO [CANNOT]"), (b"FUZZY BODY x", b"NO [CANNOT]"),
                               (b"NOT", b"BAD"), (b"()", b"BAD"), (b"XYZZY", b"BAD"), (b"BODY x)", b"BAD"),
                               (b"RETURN (PARTIAL 1:2) ALL", b"BAD"), (b"NOT " * 5000 + b"SEEN", b"NO [LIMIT]")):
            _, tagged = talk.command(b"SEARCH " + search, check=False)
            self.assertTrue(tagged.startswith(answer), (search[:50], tagged))
        self.assertEqual(self.find(talk, b"BODY " + WORD.encode()), [2, 3, 4])

    def test_texts_that_were_dropped_are_made_again(self):
        talk = self.three()
        self.assertEqual(self.find(talk, b"BODY " + WORD.encode()), [2, 3, 4])
        subprocess.run([harness.PRIVYSEAL, "store", "clear", "--config", self.proxy.config], check=True,
                       capture_output=True, timeout=60)
        # The views themselves are in memory still.
        self.assertEqual(self.find(talk, b"BODY " + WORD.encode()), [2, 3, 4])
        self.assertEqual(self.find(talk, b"NOT SUBJECT three"), [1, 2, 4, 5])


class Server(Case):
    """What comes of a search when the server does not do its part."""

    def begin_with(self, count=4):
        """Messages sealed and plain by turns."""
        self.begin()
        self.alice().take(harness.keys().export(BOB))
        sealed, plain = encrypted(message("sealed", WORD)), message("plain", WORD)
        self.server.put(*[sealed if i % 2 else plain for i in range(1, count + 1)])
        return self.select()

    def select(self):
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.ok("SEARCH BODY " + WORD)
        return raw

    def test_refused(self):
        raw = self.begin_with()
        for at in (1, 2):
            self.server.faults("search:%d=NO [INUSE] later" % at)
            self.assertEqual(raw.command("SEARCH UNSEEN BODY " + WORD), ([], b"NO [INUSE] later"))
        self.server.faults()
        self.assertEqual(raw.ok("SEARCH UNSEEN BODY " + WORD), [b"* SEARCH 1 2 3 4"])

    def test_answers_that_are_none(self):
        self.begin_with().close()
        for text in ("* SEARCH x", "* SEARCH 1x", "* SEARCH -1", "* SEARCH (MODSEQ)", "* SEARCH (MODSEQ 1",
                     "* SEARCH 1,2", "* SEARCH 99999999999"):
            with self.subTest(text=text):
                raw = self.select()
                self.server.faults("search:1=" + text)
                responses, said = raw.command("SEARCH BODY " + WORD)
                self.assertTrue(responses[-1].startswith(b"* BYE"), responses)
                self.assertEqual(said, b"")
                raw.close()
                self.server.faults()

    def test_odd_answers(self):
        raw = self.begin_with()
        # None at all, one in two, numbers that were not asked about, a blank at the end.
        self.server.faults("search:1=* SEARCH ", "search:2=* SEARCH 77 0 4294967295")
        self.assertEqual(raw.ok("SEARCH UNSEEN NOT BODY absent"), [b"* SEARCH 1 2 3 4"])
        self.server.faults("search:1=* 5 EXISTS")
        self.assertEqual(sorted(raw.ok("SEARCH BODY " + WORD)), [b"* 5 EXISTS", b"* SEARCH 1 2 3 4"])

    def test_numbers_that_change_meanwhile(self):
        """No server may say EXPUNGE while it searches; one that does gets no wrong answer out of us."""
        raw = self.begin_with()
        self.server.faults("search:1=* 1 EXPUNGE")
        responses, said = raw.command("SEARCH BODY " + WORD)
        self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), (responses, said))

    def test_nothing_of_it_is_asked_of_the_server_in_vain(self):
        raw = self.begin_with()
        before = len(self.server.wire())
        raw.ok("SEARCH BODY " + WORD)
        asked = re.findall(rb"^\S+ (.*)\r\n", self.server.wire()[before:], re.M)
        self.assertEqual(asked, [b"SEARCH 2,4 (BODY %s)" % WORD.encode()])
        before = len(self.server.wire())
        raw.ok("SEARCH UNSEEN")
        self.assertEqual(re.findall(rb"^\S+ (.*)\r\n", self.server.wire()[before:], re.M), [b"SEARCH UNSEEN"])

    def test_many_ranges_go_in_several_commands(self):
        raw = self.begin_with(1400)
        wire = self.server.wire()
        self.assertEqual(raw.ok("SEARCH UNSEEN BODY " + WORD), raw.ok("SEARCH ALL"))
        self.assertLess(max(len(line) for line in self.server.wire()[len(wire):].split(b"\r\n")), 8000)


if __name__ == "__main__":
    unittest.main()
