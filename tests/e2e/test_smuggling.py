"""One message from the client is never two at the server, however its line ends lie (design 1.1.9).

Each variant stands between an innocent body and a second envelope that would deliver to a victim, if either side took
it for the end of data. Every combination of proxy (refusing, repairing) and server (strict, or ending lines at a bare
LF as real ones did) is tried.
"""
import unittest

import corpus
import harness
from harness import ALICE, BOB, DAVE, World

VICTIM = "victim@example.net"
PIECES = {"LF.LF": b"\n.\n", "LF.CRLF": b"\n.\r\n", "CRLF.LF": b"\r\n.\n", "CR.CR": b"\r.\r", "CR.CRLF": b"\r.\r\n",
          "CRLF.CR": b"\r\n.\r", "CR.LF": b"\r.\n", "LF.CR": b"\n.\r", "CRCRLF.CRLF": b"\r\r\n.\r\r\n",
          "CR CRLF.CRCR": b"\r\r\n.\r\r", "CRLF.CRCRLF": b"\r\n.\r\r\n", "CRLF.NUL CRLF": b"\r\n.\0\r\n",
          "CRLF NUL.CRLF": b"\r\n\0.\r\n", "CRLF.CR NUL LF": b"\r\n.\r\0\n", "CR NUL LF.CRLF": b"\r\0\n.\r\n",
          "NUL LF.LF": b"\0\n.\n", "LFCR.LFCR": b"\n\r.\n\r", "LFLF.LFLF": b"\n\n.\n\n", "CRLF.LFCR": b"\r\n.\n\r",
          "CR.CR NUL": b"\r.\r\0", "LF.NUL LF": b"\n.\0\n", "VT": b"\x0b.\x0b", "FF": b"\x0c.\x0c",
          "NEL": b"\xc2\x85.\xc2\x85", "LS": b"\xe2\x80\xa8.\xe2\x80\xa8", "CRLF..CRLF": b"\r\n..\r\n",
          "CRLF. CRLF": b"\r\n. \r\n", "CRLF.LF.CRLF": b"\r\n.\n.\r\n."}
CONTROL_FREE = ("VT", "FF", "NEL", "LS", "CRLF..CRLF", "CRLF. CRLF")
ATTACK = b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\nFrom: boss\r\n\r\nsmuggled\r\n" % (ALICE.encode(), VICTIM.encode())
HEAD = corpus.lines("From: Alice <%s>\nTo: Bob <%s>, Dave <%s>\nSubject: s\nMIME-Version: 1.0\n"
                    "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" % (ALICE, BOB, DAVE))
PLAIN = 'rule "all" { encrypt = never  sign = never }'


class Smuggling(World):
    def begin(self, repair, lenient, rules=PLAIN):
        self.server = harness.RefServer(self, name="s%d" % self.count(), lenient=lenient)
        self.proxy = harness.Proxy(self, self.server, rules=rules,
                                   options="bare_line_ends = %s" % ("repair" if repair else "refuse"))

    def check_server(self, most):
        """At most so many messages are there, none for the victim, and no command of the attack was ever obeyed."""
        self.assertLessEqual(len(self.server.mail()), most)
        self.assertNotIn(VICTIM, self.server.recipients())
        for _, content in self.server.mail():
            self.assertNotIn(b"\0", content)
            self.assertNotIn(b"\n", content.replace(b"\r\n", b""))
            self.assertNotIn(b"\r", content.replace(b"\r\n", b""))

    def send(self, piece, chunks):
        """The codes of all replies from the end of data on; if the proxy is right, the attack is part of a message."""
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.begin([DAVE])
            for chunk in chunks(HEAD + b"innocent" + piece + ATTACK + b".\r\n"):
                raw.send(chunk)
            raw.send(b"QUIT\r\n")
            return raw.replies_to_the_end()

    def whole(self, data):
        return [data]

    def check_variants(self, repair, lenient, rules=PLAIN):
        self.begin(repair, lenient, rules)
        count = 0
        for name, piece in PIECES.items():
            with self.subTest(variant=name):
                codes = self.send(piece, self.whole)
                accepted = repair or name in CONTROL_FREE
                self.assertEqual(codes, [250 if accepted else 550, 221])
                count += 1 if accepted else 0
                self.assertEqual(len(self.server.mail()), count)
                self.check_server(count)

    def test_refusing(self):
        for lenient in (False, True):
            with self.subTest(lenient=lenient):
                self.check_variants(repair=False, lenient=lenient)

    def test_repairing(self):
        for lenient in (False, True):
            with self.subTest(lenient=lenient):
                self.check_variants(repair=True, lenient=lenient)

    def test_repairing_signed(self):
        self.check_variants(repair=True, lenient=True, rules='rule "all" { encrypt = never  sign = always }')

    def test_split_at_each_byte(self):
        """The same answers when the pieces come in two segments, cut at each byte around the end."""
        for repair in (False, True):
            self.begin(repair, lenient=True)
            count = 0
            for name, piece in PIECES.items():
                start = len(HEAD) + len(b"innocent")
                for at in range(start, start + len(piece) + 1):
                    with self.subTest(repair=repair, variant=name, at=at - start):
                        with harness.Raw(self.proxy.port) as raw:
                            raw.login()
                            raw.begin([DAVE])
                            data = HEAD + b"innocent" + piece + ATTACK + b".\r\n"
                            raw.send(data[:at])
                            raw.send(data[at:])
                            raw.send(b"QUIT\r\n")
                            codes = raw.replies_to_the_end()
                        accepted = repair or name in CONTROL_FREE
                        self.assertEqual(codes, [250 if accepted else 550, 221])
                        count += 1 if accepted else 0
            self.assertEqual(len(self.server.mail()), count)
            self.check_server(count)

    def test_one_byte_at_a_time(self):
        self.begin(repair=False, lenient=True)
        codes = self.send(b"\n.\r\n", lambda data: [data[i:i + 1] for i in range(len(data))])
        self.assertEqual(codes, [550, 221])
        self.check_server(0)

    def test_true_end_ends(self):
        """CRLF.CRLF is the end wherever it is cut: what follows are commands, obeyed in the open."""
        self.begin(repair=False, lenient=False)
        data = HEAD + b"innocent\r\n.\r\n"
        for at in range(len(data) - 6, len(data) + 1):
            with self.subTest(at=len(data) - at), harness.Raw(self.proxy.port) as raw:
                raw.login()
                raw.begin([DAVE])
                raw.send(data[:at])
                raw.send(data[at:] + b"NOOP\r\nQUIT\r\n")
                self.assertEqual(raw.replies_to_the_end(), [250, 250, 221])
        self.assertEqual(len(self.server.mail()), 7)

    def test_dot_first(self):
        """An end of data right behind DATA is an empty message, which has no header and is refused."""
        self.begin(repair=False, lenient=False)
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.begin([DAVE])
            raw.send(b".\r\nQUIT\r\n")
            self.assertEqual(raw.replies_to_the_end(), [550, 221])
        self.assertEqual(self.server.mail(), [])

    def test_bare_line_ends_in_commands(self):
        """A bare LF or CR ends no command."""
        self.begin(repair=True, lenient=True)
        for end in (b"\n", b"\r", b"\r\r\n"):
            with self.subTest(end=end), harness.Raw(self.proxy.port) as raw:
                raw.login()
                raw.send(b"MAIL FROM:<%s>" % ALICE.encode() + end + b"RCPT TO:<%s>" % VICTIM.encode() + end +
                         b"\r\nRSET\r\nQUIT\r\n")
                codes = raw.replies_to_the_end()
                self.assertEqual(codes[-2:], [250, 221])
                self.assertTrue(all(code >= 500 for code in codes[:-2]), codes)
        self.assertNotIn(VICTIM.encode(), self.server.wire())

    def bdat(self, data, sizes):
        """Sends the message in chunks; the codes of their replies, and what a NOOP behind them got."""
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            for text in ("MAIL FROM:<%s>" % ALICE, "RCPT TO:<%s>" % DAVE):
                self.assertEqual(raw.command(text)[0], 250)
            codes, at = [], 0
            for size in sizes:
                raw.send(b"BDAT %d\r\n" % size + data[at:at + size])
                codes.append(raw.reply()[0])
                at += size
            raw.send(b"BDAT %d LAST\r\n" % (len(data) - at) + data[at:] + b"NOOP\r\nQUIT\r\n")
            return codes + raw.replies_to_the_end()

    def test_bdat(self):
        """Chunks have a length: dots mean nothing in them, and bare line ends are refused or repaired as in DATA."""
        for repair in (False, True):
            self.begin(repair, lenient=True)
            count = 0
            for name, piece in list(PIECES.items()) + [("CRLF.CRLF", b"\r\n.\r\n")]:
                data = HEAD + b"innocent" + piece + ATTACK
                at = len(HEAD) + 8
                for sizes in ([], [at], [at, 1], [at, 2, 1]):
                    with self.subTest(repair=repair, variant=name, sizes=sizes):
                        codes = self.bdat(data, sizes)
                        accepted = repair or name in CONTROL_FREE + ("CRLF.CRLF",)
                        self.assertEqual(codes, [250] * len(sizes) + [250 if accepted else 550, 250, 221])
                        count += 1 if accepted else 0
                        self.check_server(count)
            self.assertEqual(len(self.server.mail()), count)

    def test_bdat_content(self):
        self.begin(repair=False, lenient=False)
        data = HEAD + b".\r\n..\r\n.dot\r\nlast line without an end"
        self.assertEqual(self.bdat(data, [1, 10, 0, 40]), [250, 250, 250, 250, 250, 250, 221])
        (_, content), = self.server.mail()
        self.assertEqual(harness.without_autocrypt(content), data + b"\r\n")

    def test_bdat_out_of_order(self):
        """A chunk that is refused is skipped by its length, so that its bytes are no commands; DATA does not go on
        where BDAT began."""
        self.begin(repair=False, lenient=True)
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.send(b"BDAT %d LAST\r\n" % len(ATTACK) + ATTACK)
            self.assertEqual(raw.reply()[0] // 100, 5)
            self.assertEqual(raw.command("NOOP")[0], 250)
            for text in ("MAIL FROM:<%s>" % ALICE, "RCPT TO:<%s>" % DAVE):
                self.assertEqual(raw.command(text)[0], 250)
            raw.send(b"BDAT %d\r\n" % len(HEAD) + HEAD)
            self.assertEqual(raw.reply()[0], 250)
            self.assertEqual(raw.command("DATA")[0], 503)
            self.assertEqual(raw.command("RSET")[0], 250)
            self.assertEqual(raw.command("BDAT x LAST")[0] // 100, 5)
        self.check_server(0)


if __name__ == "__main__":
    unittest.main()
