"""A message of which some copies are delivered and some are not: a retry reaches the missing, and nobody twice.

To: Bob (key), Bcc: Carol (key, so a copy of her own), To: Dave (no key, so a signed copy). The client's own transaction
takes MAIL 1 and RCPT 1 to 3 at the server; the copies take MAIL 2 to 4, RCPT 4 to 6, DATA 1 to 3.
"""
import collections
import os
import signal
import smtplib
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, DAVE, World, wait_for

EVERYONE = [BOB, CAROL, DAVE]
POINTS = {"mail": lambda copy: 1 + copy, "rcpt": lambda copy: 3 + copy, "data": lambda copy: copy,
          "dot": lambda copy: copy}
ACTIONS = ("451 4.3.0 not now", "550 5.7.1 never", "cut")
SINGLE = [BOB]


class Retry(World):
    def begin(self):
        self.server = harness.RefServer(self)
        self.proxy = harness.Proxy(self, self.server, rules=harness.TRUSTING)
        self.number = 0
        self.warm()

    def warm(self):
        """The question what the server offers is over before faults are counted."""
        with self.proxy.client(login=False):
            pass

    def message(self, date="Fri, 20 Nov 2026 12:00:00 +0000", boundary="one", text="the text", number=None):
        if number is None:
            self.number += 1
        return corpus.lines(
            "From: Alice <%s>\nTo: %s, %s\nSubject: s\nDate: %s\nMessage-ID: <%d@example.org>\nMIME-Version: 1.0\n"
            "Content-Type: multipart/mixed; boundary=\"%s\"\n\n--%s\n\n%s\n--%s\n"
            "Content-Type: text/x-more\n\nmore\n--%s--\n" % (
                ALICE, BOB, DAVE, date, number or self.number, boundary, boundary, text, boundary, boundary))

    def delivered(self):
        """Who got the current message, and how often."""
        count = collections.Counter()
        for envelope, content in self.server.mail():
            if b"\r\nMessage-ID: <%d@example.org>\r\n" % self.number in content:
                self.assertNotIn(b"\r\nBcc:", content)
                for word in envelope["rcpt"]:
                    count[word[4:-1]] += 1
        return count

    def attempt(self, message, recipients, *faults):
        """The code that the client was told."""
        self.server.faults(*faults)
        client = self.proxy.client()
        try:
            client.mail(ALICE)
            for address in recipients:
                self.assertEqual(client.rcpt(address)[0], 250)
            code = client.data(message)[0]
            # Where the upstream is lost a 421 stands before the answer to this.
            client.docmd("QUIT")
            return code
        except smtplib.SMTPServerDisconnected:
            return 0
        finally:
            client.close()
            self.server.faults()

    def restart(self):
        self.proxy.kill()
        self.proxy.start()
        self.warm()

    def check_retry(self, point, copy, action, fewer, killed):
        message = self.message()
        code = self.attempt(message, EVERYONE, "%s:%d=%s" % (point, POINTS[point](copy), action))
        self.assertEqual(code, int(action[:3]) if action[:3].isdigit() else 451)
        first = self.delivered()
        missing = [address for address in EVERYONE if first[address] == 0]
        self.assertLessEqual(max(first.values()), 1)
        self.assertGreaterEqual(len(first), copy - 1)
        if action != "late":
            self.assertNotEqual(missing, [])
        if killed:
            self.restart()
        again = missing[:1] if fewer else EVERYONE
        self.assertEqual(self.attempt(message, again), 250)
        second = self.delivered()
        for address in EVERYONE:
            # What the server took without being able to say so may come twice (RFC 1047).
            in_doubt = action == "late" and address == [BOB, CAROL, DAVE][copy - 1]
            wanted = 1 if address in again or address in first else 0
            self.assertIn(second[address], (1, 2) if in_doubt else (wanted,))

    def check_all(self, copy, killed):
        self.begin()
        for point in POINTS:
            for action in ACTIONS + (("late",) if point == "dot" else ()):
                for fewer in (False, True):
                    if action == "late" and fewer:
                        continue
                    with self.subTest(point=point, action=action, fewer=fewer):
                        self.check_retry(point, copy, action, fewer, killed)

    def test_second_copy(self):
        self.check_all(2, killed=False)

    def test_third_copy(self):
        self.check_all(3, killed=False)

    def test_second_copy_killed_between(self):
        self.check_all(2, killed=True)

    def test_third_copy_killed_between(self):
        self.check_all(3, killed=True)

    def test_first_copy(self):
        self.begin()
        for point in POINTS:
            with self.subTest(point=point):
                self.check_retry(point, 1, "451 4.3.0 not now", fewer=False, killed=False)

    def test_several_failures_in_a_row(self):
        self.begin()
        message = self.message()
        self.assertEqual(self.attempt(message, EVERYONE, "dot:2=451 4.3.0 no", "dot:3=451 4.3.0 no"), 451)
        self.assertEqual(self.attempt(message, EVERYONE, "dot:2=451 4.3.0 no"), 451)
        self.assertEqual(sum(self.delivered().values()), 2)
        self.assertEqual(self.attempt(message, EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_killed_in_mid_submission(self):
        self.begin()
        for copy in (2, 3):
            with self.subTest(copy=copy):
                message = self.message()
                self.server.faults("data:%d=stall" % copy)
                before = self.server.wire().count(b"\r\nDATA\r\n")
                with harness.Raw(self.proxy.port) as raw:
                    raw.login()
                    raw.begin(EVERYONE)
                    raw.send(message + b".\r\n")
                    wait_for(lambda: self.server.wire().count(b"\r\nDATA\r\n") == before + copy, "the copy that stalls")
                    self.proxy.kill()
                self.server.faults()
                self.proxy.start()
                self.warm()
                self.assertEqual(sum(self.delivered().values()), copy - 1)
                self.assertEqual(self.attempt(message, EVERYONE), 250)
                self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_client_gone_between_copies(self):
        """The other copies are delivered without it, and its retry, in a fresh process, delivers none again."""
        self.begin()
        message = self.message()
        self.server.faults("data:2=stall")
        before = self.server.wire().count(b"\r\nDATA\r\n")
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.begin(EVERYONE)
            raw.send(message + b".\r\n")
            wait_for(lambda: self.server.wire().count(b"\r\nDATA\r\n") == before + 2, "the copy that stalls")
        wait_for(lambda: "client gone" in self.proxy.log(), "the proxy to notice")
        self.server.faults()
        self.restart()
        self.assertEqual(self.attempt(message, EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_client_gone_at_the_end(self):
        """Everything is delivered, but the 250 meets nobody: the retry is told 250 and delivers nothing."""
        self.begin()
        message = self.message()
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.begin(EVERYONE)
            os.kill(self.server.process.pid, signal.SIGSTOP)
            raw.send(message + b".\r\n")
            wait_for(lambda: "copy 3 of 3" in self.proxy.log(), "the sealing")
            os.kill(self.server.process.pid, signal.SIGCONT)
            wait_for(lambda: sum(self.delivered().values()) > 0, "the first copy")
        wait_for(lambda: sum(self.delivered().values()) == 3, "all copies")
        wait_for(lambda: "client: " in self.proxy.log(), "the proxy to notice")
        self.assertEqual(self.attempt(message, EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_the_same_with_new_date_and_boundary(self):
        self.begin()
        self.assertEqual(self.attempt(self.message(), EVERYONE, "dot:2=451 4.3.0 no"), 451)
        again = self.message(date="Fri, 20 Nov 2026 13:30:00 +0100", boundary="=_another", number=self.number)
        self.assertEqual(self.attempt(again, EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_edited_is_another(self):
        self.begin()
        self.assertEqual(self.attempt(self.message(), EVERYONE, "dot:2=451 4.3.0 no"), 451)
        self.assertEqual(self.delivered(), {BOB: 1, DAVE: 1})
        self.assertEqual(self.attempt(self.message(text="the teXt", number=self.number), EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 2, CAROL: 1, DAVE: 2})

    def test_another_message_id_is_another(self):
        self.begin()
        self.assertEqual(self.attempt(self.message(), EVERYONE, "dot:2=451 4.3.0 no"), 451)
        self.assertEqual(self.attempt(self.message(), EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_sent_again_on_purpose(self):
        """Who was told 250 and sends the same once more means it."""
        self.begin()
        message = self.message()
        for count in (1, 2):
            self.assertEqual(self.attempt(message, EVERYONE), 250)
            self.assertEqual(self.delivered(), {BOB: count, CAROL: count, DAVE: count})

    def test_one_recipient_refused_within_a_copy(self):
        """A recipient whom the server took at first and refuses at delivery is the only one who is missing."""
        self.begin()
        message = self.message().replace(b"To: %s" % BOB.encode(), b"Cc: %s\r\nTo: %s" % (CAROL.encode(), BOB.encode()))
        self.assertEqual(self.attempt(message, EVERYONE, "rcpt:5=451 4.2.1 later"), 451)
        first = self.delivered()
        self.assertEqual(len(first), 2)
        self.assertEqual(self.attempt(message, EVERYONE), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})

    def test_two_sessions_with_the_same_message(self):
        """Different recipients of one message in two submissions do not disturb each other."""
        self.begin()
        message = self.message()
        self.assertEqual(self.attempt(message, SINGLE), 250)
        self.assertEqual(self.attempt(message, [CAROL, DAVE], "dot:2=451 4.3.0 no"), 451)
        self.assertEqual(self.attempt(message, [CAROL, DAVE]), 250)
        self.assertEqual(self.delivered(), {BOB: 1, CAROL: 1, DAVE: 1})


if __name__ == "__main__":
    unittest.main()
