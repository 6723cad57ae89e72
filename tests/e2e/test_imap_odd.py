"""Servers that do what no known one does: leave messages out of their answers, or answer in another order than they
were asked. Nothing is lost in silence."""
import re
import subprocess
import unittest

import corpus
import harness
from harness import ALICE, BOB
from imap_harness import Case
from test_imap_first import from_bob
from twin import encrypted, inline


def sealed_inline(word):
    return inline(re.sub(rb"(?m)^(MIME-Version|Content-Type).*\r\n", b"", from_bob(word)), "--encrypt", "--recipient",
                  ALICE)


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
        """Neither FETCH nor SEARCH is answered in part as if that were all, whatever is asked for."""
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
            self.check_fetch(raw, "FETCH 1:3 " + items, "fetch:*=omit 2")
        self.server.faults()
        self.check_all_there(raw)
        # The view is known, and the server's items of it do not come.
        for command in ("FETCH 1:3 (FLAGS RFC822.SIZE)", "UID FETCH 1:3 (INTERNALDATE ENVELOPE)", "FETCH 1:3 (BODY[])"):
            self.check_fetch(raw, command, "fetch:*=omit 2")

    def check_fetch(self, raw, command, *faults, of_two=()):
        """The others are answered for; then the server's items of the second, if it gives them, and NO."""
        with self.subTest(command=command):
            self.server.faults(*faults)
            responses, said = raw.command(command)
            self.server.faults()
            self.assertEqual(self.numbers(responses), [1, 3] + [2] * len(of_two))
            self.assertEqual([row.replace(b"\\Recent", b"") for row in responses[2:]], list(of_two))
            self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)

    def test_content_alone(self):
        """What the message is, the server says; its bytes it leaves out."""
        raw = self.begin_three()
        self.server.faults("fetch:2=omit 2")
        responses, said = raw.command("SEARCH SUBJECT two")
        self.assertEqual(responses, [])
        self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
        self.server.faults()
        self.check_all_there(raw)

    def check_search(self, raw, *faults):
        for key in ("SUBJECT two", "NOT BODY x"):
            self.server.faults(*faults)
            responses, said = raw.command("SEARCH " + key)
            self.server.faults()
            self.assertEqual(responses, [])
            self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)

    def test_content_that_is_nil(self):
        """NIL of a message that is there: first while nothing is known of it, then while it is known to have a view."""
        raw = self.begin_three()
        self.check_search(raw, "fetch:*=nil 2")
        for _ in range(2):
            self.check_fetch(raw, "FETCH 1:3 (UID FLAGS BODY.PEEK[])", "fetch:*=nil 2",
                             of_two=[b"* 2 FETCH (UID 2 FLAGS ())"])
            self.check_fetch(raw, "UID FETCH 1:3 (BODY[])", "fetch:*=nil 2", of_two=[b"* 2 FETCH (UID 2)"])
            self.check_fetch(raw, "FETCH 1:3 (BODY.PEEK[1])", "fetch:*=nil 2")
            self.server.faults()
            self.assertEqual(self.numbers(raw.ok("FETCH 1:3 (RFC822.SIZE)")), [1, 2, 3])
            self.proxy.stop()
            self.proxy.start()
            raw = self.raw()
            raw.ok("SELECT INBOX")
        self.check_all_there(raw)

    def test_nothing_is_guessed_of_nil(self):
        """What says nothing of a message is no reason to pass it on as it came."""
        raw = self.begin_with(from_bob("one"), sealed_inline("two"), from_bob("three"))
        raw.ok("FETCH 1:3 (UID)")
        self.server.faults("fetch:1=nil 2")
        responses = raw.ok("FETCH 1:3 (BODY.PEEK[TEXT])")
        self.assertEqual(self.numbers(responses), [1, 2, 3])
        self.assertNotIn(b"BEGIN PGP", responses[1])
        self.assertIn(corpus.CANARY, responses[1])

    def test_nil_of_what_has_gone(self):
        """As Dovecot has it: NIL, and a reason in the tagged reply."""
        raw = self.begin_three()
        for command in ("FETCH 1:3 (RFC822.SIZE)", "FETCH 1:3 (BODY.PEEK[])", "UID FETCH 1:3 (FLAGS BODY[])"):
            with self.subTest(command=command):
                self.server.faults("fetch:*=gone 2")
                responses, said = raw.command(command)
                self.assertEqual(self.numbers(responses), [1, 3])
                self.assertTrue(said.startswith(b"OK [EXPUNGEISSUED]"), said)
                self.assertEqual(raw.ok("SEARCH SUBJECT t"), [b"* SEARCH 1 3"])
        self.server.faults()
        self.check_all_there(raw)
        # Its view is known, its body is not at hand any more.
        self.proxy.stop()
        self.proxy.start()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.server.faults("fetch:2=gone 2")
        responses, said = raw.command("FETCH 1:3 (BODY.PEEK[])")
        self.assertEqual(self.numbers(responses), [1, 3])
        self.assertTrue(said.startswith(b"OK [EXPUNGEISSUED]"), said)

    def test_it_goes_at_last(self):
        """Left out without a word; by the end of the command it has been expunged, and nothing is missing."""
        raw = self.begin_three()
        self.server.faults(*["fetch:%d=omit 2" % number for number in (1, 2, 3)], "fetch:4=expunge 2")
        responses, said = raw.command("UID FETCH 1:3 (FLAGS BODY.PEEK[])")
        self.assertEqual(self.numbers(responses), [1, 3])
        self.assertIn(b"* 2 EXPUNGE", responses)
        self.assertTrue(said.startswith(b"OK"), said)

    def test_part_of_an_answer(self):
        raw = self.begin_three()
        faults = ["fetch:*=omit 2", "fetch.end:*=* 2 FETCH (UID 2 RFC822.SIZE 99)"]
        self.check_search(raw, *faults)
        self.check_fetch(raw, "FETCH 1:3 (RFC822.SIZE)", *faults)
        self.server.faults()
        self.check_all_there(raw)

    def test_uids(self):
        """The server does not say the UID of one."""
        raw = self.begin_with(from_bob("one"), encrypted(from_bob("two")), from_bob("three"))
        for command in ("FETCH 1:3 (RFC822.SIZE)", "SEARCH SUBJECT two"):
            self.server.faults("fetch:*=omit 2")
            responses, said = raw.command(command)
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


class Pieces(Odd):
    """An answer in several responses (RFC 3501 7.4.2 speaks of one, and no more than that)."""
    commands = ("FETCH 1:6 (UID FLAGS RFC822.SIZE ENVELOPE)", "FETCH 1:6 (BODY.PEEK[])",
                "UID FETCH 1:6 (FLAGS BODYSTRUCTURE BODY.PEEK[1])", "FETCH 1:6 (INTERNALDATE BODY[HEADER])",
                "UID FETCH 1:6 (FLAGS RFC822.SIZE) (CHANGEDSINCE 1)", "FETCH 1:6 (RFC822.SIZE)")
    searches = ("SUBJECT t", "TEXT " + corpus.CANARY.decode(), "NOT BODY x", "LARGER 100 NOT SUBJECT two")

    def messages(self):
        plain = [from_bob(word) for word in ("one", "two", "three")]
        return [plain[0], encrypted(plain[1]), plain[2], encrypted(plain[0]), sealed_inline("two"), plain[1]]

    def told(self, raw):
        """For each command, what was said of each view, and of the others in whatever pieces."""
        result = []
        # First while nothing is known.
        searches = [raw.ok("SEARCH " + key) for key in self.searches]
        for command in self.commands:
            responses = raw.ok(command)
            responses = [re.sub(rb'INTERNALDATE "[^"]*"', b"", row) for row in responses]
            views = [row for row in responses if row.split()[1] in (b"2", b"4", b"5")]
            plain = [{word for row in responses if row.startswith(b"* %d " % number)
                      for word in re.sub(rb"^\* \d+ FETCH \(|\)$", b"", row).split()} for number in (1, 3, 6)]
            result.append((views, plain))
        return result, searches + [raw.ok("SEARCH " + key) for key in self.searches]

    def check(self, **options):
        self.begin(**options)
        self.alice().take(harness.keys().export(BOB))
        answers, messages = [], self.messages()
        for number, fault in enumerate((None, "split", "weave")):
            mailbox = "box%d" % number
            self.server.put(*messages, mailbox=mailbox)
            raw = self.raw()
            raw.ok("SELECT " + mailbox)
            self.server.faults(*([] if fault is None else ["fetch:*=" + fault]))
            answers.append(self.told(raw))
            self.server.faults()
        for fetches, searches in answers[1:]:
            self.assertEqual(searches, answers[0][1])
            for command, told, whole in zip(self.commands, fetches, answers[0][0]):
                self.assertEqual(told, whole, command)

    def test_together_they_are_one(self):
        self.check()

    def test_no_end_of_pieces(self):
        """Putting each to all that came before costs more than sending it: too many are as good as none."""
        raw = self.begin_with(encrypted(from_bob("one")), encrypted(from_bob("two")))
        for command in ("FETCH 1:2 (RFC822.SIZE)", "FETCH 1:2 (FLAGS RFC822.SIZE)"):
            self.server.faults("fetch:*=split", "fetch.each:*=raw " + "* 1 FETCH (UID 1)\\r\\n" * 20)
            responses, said = raw.command(command)
            self.assertEqual(said[:2], b"NO", responses)
            self.assertEqual([row.split()[1] for row in responses if b"RFC822.SIZE" in row], [b"2"])
            self.server.faults()
            self.assertEqual(len(raw.ok(command)), 2)

    def test_names_for_the_content(self):
        self.searches = ()
        self.check(capabilities="LITERAL+ ENABLE UIDPLUS MOVE IDLE CONDSTORE OBJECTID")


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
