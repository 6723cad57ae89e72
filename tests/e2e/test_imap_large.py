"""Messages whose structure is larger than what is kept of a view: each is shown in one way or another, and so are those
beside it."""
import re
import subprocess
import unittest

import corpus
import harness
from harness import ALICE, BOB
from imap_harness import Case, check, fetched, imaplib, whole
from test_imap_first import VERDICT, from_bob
from twin import encrypted, signed

# ENVELOPE and BODYSTRUCTURE come in one line.
imaplib._MAXLINE = 64 << 20  # pylint: disable=protected-access


def with_parameters(count, size=1000000):
    """A message of so many parts with a long parameter each."""
    header = ("From: Bob <%s>\r\nTo: %s\r\nSubject: large\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
              "Message-ID: <large@example.net>\r\nMIME-Version: 1.0\r\n" % (BOB, ALICE)).encode()
    value = b"\r\n".join(b' x*%d="%s";' % (row, b"v" * 900) for row in range(size // 915))
    part = b"--b\r\nContent-Type: text/plain; charset=utf-8;\r\n" + value + b' y="z"\r\n\r\n%s\r\n'
    return (header + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' +
            b"".join(part % corpus.CANARY for _ in range(count)) + b"--b--\r\n")


class Large(Case):
    def begin_with(self, *messages):
        self.begin()
        self.alice().take(harness.keys().export(BOB))
        self.server.put(from_bob("before"), *messages, encrypted(from_bob("after")))

    def check_all(self, count):
        """Everything that is asked of all of them is answered, and agrees; what each view is."""
        raw = self.raw()
        raw.ok("SELECT INBOX")
        rows = [row for row in raw.ok("FETCH 1:* (RFC822.SIZE)") if b" FETCH " in row]
        sizes = [int(re.search(rb"RFC822.SIZE (\d+)", row).group(1)) for row in rows]
        self.assertEqual(len(sizes), count)
        for items in ("(ENVELOPE)", "(BODYSTRUCTURE)", "FULL", "(UID BODY.PEEK[HEADER])"):
            rows = [row for row in raw.ok("FETCH 1:* " + items) if b" FETCH " in row]
            self.assertEqual([int(row.split()[1]) for row in rows], [*range(1, count + 1)])
        with self.imap() as client:
            client.select(readonly=True)
            views = [literals[0] for _, _, literals in fetched(client, "1:*", "(BODY.PEEK[])")]
        self.assertEqual([len(view) for view in views], sizes)
        self.assertIn(corpus.CANARY, views[0])
        self.assertIn(corpus.CANARY, views[-1])
        return raw, views

    def check_constant(self, views):
        """Restarted, and made again from the decision alone."""
        subprocess.run([harness.PRIVYSEAL, "store", "clear", "--config", self.proxy.config], check=True,
                       capture_output=True, timeout=60, start_new_session=True)
        self.proxy.stop()
        self.proxy.start()
        self.assertEqual(self.check_all(len(views))[1], views)

    def part(self, raw, number, structure):
        """BODY[n] has the octets that BODYSTRUCTURE says."""
        sizes = [int(octets) for octets in re.findall(rb'"text" "plain" .*? NIL NIL "7bit" (\d+) \d+', structure)]
        self.assertEqual(len(sizes), 12)
        for index, size in ((1, sizes[0]), (12, sizes[-1])):
            row, = raw.ok("FETCH %d (BODY.PEEK[%d])" % (number, index))
            self.assertIn(b"BODY[%d] {%d}\r\n" % (index, size), row)

    def test_what_is_in_it_is_too_large(self):
        message = encrypted(with_parameters(20))
        self.begin_with(message)
        raw, views = self.check_all(3)
        self.assertIn(b"encryption=failed", VERDICT.search(views[1]).group(0))
        self.assertTrue(views[1].endswith(message))
        row, = raw.ok("FETCH 2 (BODYSTRUCTURE)")
        self.assertIn(b'"encrypted"', row)
        self.assertEqual(raw.ok("SEARCH TEXT " + corpus.CANARY.decode()), [b"* SEARCH 1 3"])
        self.check_constant(views)

    def test_itself_is_too_large(self):
        """Signed, so that there is a verdict and a record."""
        message = signed(with_parameters(24))
        self.begin_with(message)
        raw, views = self.check_all(3)
        self.assertIn(b"signature=untrusted", VERDICT.search(views[1]).group(0))
        self.assertTrue(views[1].endswith(message.split(b"\r\n\r\n", 1)[1]))
        row, = raw.ok("FETCH 2 (BODYSTRUCTURE)")
        self.assertLess(len(row), 10000)
        self.check_constant(views)

    def test_ones_own(self):
        message = with_parameters(12)
        self.begin()
        with self.imap() as client:
            check(client.append("INBOX", None, None, message))
            client.select()
            self.assertEqual(whole(client, 1), message)
        self.assertNotIn(corpus.CANARY, self.server.all_mail())
        raw = self.raw()
        raw.ok("SELECT INBOX")
        structure, = raw.ok("FETCH 1 (BODYSTRUCTURE)")
        self.part(raw, 1, structure)

    def test_plain(self):
        """Nothing is kept of it; anybody can send one, and it must not keep others from being read."""
        message = with_parameters(24)
        self.begin_with(message)
        _, views = self.check_all(3)
        self.assertEqual(views[1], message)


if __name__ == "__main__":
    unittest.main()
