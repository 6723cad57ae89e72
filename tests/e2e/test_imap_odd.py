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
        # from then on.
        for fault in ("fetch:1=omit 2", "fetch:*=omit 2"):
            for key in ("TEXT x", "SUBJECT two", "LARGER 10", "NOT BODY x", "OR SUBJECT one FLAGGED"):
                with self.subTest(fault=fault, key=key):
                    self.server.faults(fault)
                    responses, said = raw.command("SEARCH " + key)
                    self.assertEqual(responses, [])
                    self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
        # A FETCH asks once more.
        for items in ("(RFC822.SIZE)", "(BODY.PEEK[HEADER])", "(BODY.PEEK[])"):
            with self.subTest(items=items):
                self.server.faults("fetch:*=omit 2")
                responses, said = raw.command("FETCH 1:3 " + items)
                self.assertEqual(self.numbers(responses), [1, 3])
                self.assertTrue(said.startswith(b"OK") and b"EXPUNGEISSUED" not in said, said)
        self.server.faults()
        self.check_all_there(raw)

    def test_content_alone(self):
        """What the message is, the server says; its bytes it leaves out."""
        raw = self.begin_three()
        self.server.faults("fetch:2=omit 2")
        responses, said = raw.command("SEARCH SUBJECT two")
        self.assertEqual(responses, [])
        self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
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


class Order(Odd):
    """The server carries out the second of two commands first (RFC 3501 5.5 allows it)."""
    first = {"FETCH 1:3 (BODY.PEEK[])": "fetch", "FETCH 1:3 (FLAGS)": "fetch", "NOOP": "noop",
             "STATUS INBOX (MESSAGES)": "status", "STORE 1 +FLAGS (x)": "store", "LIST \"\" *": "list"}
    second = [*first, "UID FETCH 2 (BODY.PEEK[])", "SEARCH SUBJECT x"]

    def begin_plain(self):
        self.messages = [from_bob(word) for word in ("one", "two", "three")]
        raw = self.begin_with(*self.messages)
        self.assertEqual(len(raw.ok("FETCH 1:3 (RFC822.SIZE)")), 3)
        return raw

    def ask(self, raw, *commands):
        """Sends commands at once; what was said untagged, and how each ended."""
        raw.send("".join("o%d %s\r\n" % item for item in enumerate(commands)))
        ends, untagged = {}, []
        while len(ends) < len(commands):
            response = raw.response()
            self.assertTrue(response, (commands, untagged, ends))
            if response.startswith(b"*"):
                untagged.append(response)
            else:
                ends[int(response[1:2])] = response[3:]
        return untagged, [ends[number] for number in range(len(commands))]

    def test_nothing_is_lost(self):
        raw = self.begin_plain()
        for first, verb in self.first.items():
            for second in self.second:
                with self.subTest(first=first, second=second):
                    # What is alone at the server has nothing behind it: then NOOP comes first.
                    commands = [first, "NOOP", second] if second.startswith("SEARCH") else [first, second]
                    self.server.faults(*([] if verb == "noop" and commands[1] == "NOOP" else
                                         ["%s:1=behind" % verb]))
                    untagged, ends = self.ask(raw, *commands)
                    self.assertTrue(all(end.startswith(b"OK") for end in ends), ends)
                    for number, message in enumerate(self.messages, 1):
                        wanted = ("FETCH 1:3 (BODY" in first) + (second.startswith("FETCH 1:3 (BODY")) + \
                                 (number == 2 and second.startswith("UID FETCH"))
                        self.assertEqual(sum(row.startswith(b"* %d FETCH" % number) and message in row
                                             for row in untagged), wanted)
                    for word, command in ((b"* STATUS", "STATUS"), (b"* LIST", "LIST"), (b"* SEARCH", "SEARCH")):
                        self.assertEqual(sum(row.startswith(word) for row in untagged),
                                         sum(text.startswith(command) for text in commands))

    def check_withheld(self, raw, fault, numbers, secret):
        """What a number stands for now has not been looked at: no content, and no OK; asked again it is there."""
        self.server.faults(fault)
        untagged, ends = self.ask(raw, "NOOP", "FETCH %s (BODY.PEEK[])" % numbers, "FETCH 2 (RFC822.SIZE)")
        self.server.faults()
        self.assertEqual([end[:2] for end in ends[:2]], [b"OK", b"NO"], ends)
        self.assertFalse([row for row in untagged if secret in row], untagged)
        self.assertTrue(any(corpus.CANARY in row or secret in row
                            for row in raw.ok("FETCH %s (BODY.PEEK[])" % numbers)))

    def test_numbers_that_change_before_it_is_carried_out(self):
        raw = self.begin_plain()
        self.server.put(encrypted(from_bob("four")))
        raw.ok("NOOP")
        raw.ok("FETCH 4 (UID)")
        self.check_withheld(raw, "noop:1=expunge 1", "3", b"BEGIN PGP")

    def test_mail_that_comes_before_it_is_carried_out(self):
        self.check_withheld(self.begin_plain(), "noop:1=arrive", "1:*", b"by another")


if __name__ == "__main__":
    unittest.main()
