"""Servers that do what no known one does: leave messages out of their answers, or answer in another order than they
were asked. Nothing is lost in silence."""
import subprocess
import unittest

import corpus
import harness
from harness import BOB
from imap_harness import Case
from test_imap_first import from_bob
from twin import encrypted


class Odd(Case):
    def begin_with(self, *messages):
        self.begin()
        self.alice().take(harness.keys().export(BOB))
        self.server.put(*messages)
        raw = self.raw()
        raw.ok("SELECT INBOX")
        return raw


class LeftOut(Odd):
    """A message that the server leaves out of the FETCHes by which it is looked at."""

    def begin_three(self):
        raw = self.begin_with(from_bob("one"), encrypted(from_bob("two")), from_bob("three"))
        raw.ok("FETCH 1:3 (UID)")
        return raw

    def numbers(self, responses):
        return [int(response.split()[1]) for response in responses if b" FETCH " in response]

    def check_all_there(self, raw):
        self.assertEqual(self.numbers(raw.ok("FETCH 1:3 (RFC822.SIZE)")), [1, 2, 3])
        self.assertEqual(raw.ok("SEARCH TEXT " + corpus.CANARY.decode()), [b"* SEARCH 1 2 3"])

    def test_without_a_word(self):
        """It is missing from the client's FETCH, which says no more of it than the server did; a SEARCH cannot be
        answered in part, whatever it asks for."""
        raw = self.begin_three()
        # When it is asked what the message is (later the others are known, and the first question is for it alone), and
        # when its content is fetched.
        for fault in ("fetch:1=omit 2", "fetch:2=omit 2"):
            for key in ("TEXT x", "SUBJECT two", "LARGER 10", "NOT BODY x", "OR SUBJECT one FLAGGED"):
                with self.subTest(fault=fault, key=key):
                    self.server.faults(fault)
                    responses, said = raw.command("SEARCH " + key)
                    self.assertEqual(responses, [])
                    self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
            for items in ("(RFC822.SIZE)", "(BODY.PEEK[HEADER])", "(BODY.PEEK[])"):
                with self.subTest(fault=fault, items=items):
                    self.server.faults(fault)
                    responses, said = raw.command("FETCH 1:3 " + items)
                    self.assertEqual(self.numbers(responses), [1, 3])
                    self.assertTrue(said.startswith(b"OK") and b"EXPUNGEISSUED" not in said, said)
        self.server.faults()
        self.check_all_there(raw)

    def test_content_that_is_nil(self):
        raw = self.begin_three()
        self.server.faults("fetch:2=omit 2", "fetch.end:2=* 2 FETCH (UID 2 BODY[] NIL)")
        responses, said = raw.command("SEARCH SUBJECT two")
        self.assertEqual(responses, [])
        self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
        self.server.faults()
        self.check_all_there(raw)

    def test_for_the_text_alone(self):
        """The view is known, its text is not kept any more."""
        raw = self.begin_three()
        self.check_all_there(raw)
        subprocess.run([harness.PRIVYSEAL, "store", "clear", "--config", self.proxy.config], check=True,
                       capture_output=True, timeout=60, start_new_session=True)
        self.server.faults("fetch:*=omit 2")
        responses, said = raw.command("SEARCH BODY x")
        self.assertEqual(responses, [])
        self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
        self.server.faults()
        self.check_all_there(raw)

    def test_expunged_by_another(self):
        """The server says why: the others are all that there is."""
        raw = self.begin_three()
        self.server.faults("fetch:1=expunge 2")
        self.assertEqual(raw.command("SEARCH SUBJECT t")[0], [b"* SEARCH 1 3"])


if __name__ == "__main__":
    unittest.main()
