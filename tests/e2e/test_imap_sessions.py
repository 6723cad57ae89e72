"""What a mail program meets in a session: the order of answers, what others do meanwhile, a server that is lost or can
do little, mailboxes that are made anew, keys that are out of reach."""
import os
import re
import signal
import time
import unittest

import corpus
import harness
from harness import BOB, wait_for
from imap_harness import Case, check, fetched, whole
from test_imap_first import VERDICT, from_bob
from twin import encrypted, signed


class Mixed(Case):
    """A mailbox of plain, sealed and signed mail."""
    COUNT = 9

    def begin(self, **options):
        super().begin(**options)
        self.alice().take(harness.keys().export(BOB))
        kinds = (lambda message: message, encrypted, signed)
        self.server.put(*[kinds[number % 3](from_bob("n%d" % number)) for number in range(self.COUNT)])


class Order(Mixed):
    def test_pipelined(self):
        """Each command is answered once, in the order in which they came, however long each takes."""
        self.begin()
        raw = self.raw()
        commands = ["SELECT INBOX", "FETCH 2 (BODY.PEEK[])", "NOOP", "FETCH 1,4 (BODY.PEEK[])",
                    "FETCH 1:* (RFC822.SIZE)", "SEARCH BODY " + corpus.WORD, "STORE 2 +FLAGS (\\Flagged)",
                    "FETCH 2 (FLAGS)", "STATUS INBOX (UNSEEN)", "SEARCH FLAGGED", "COPY 2 INBOX", "NOOP",
                    "FETCH 10 (BODY.PEEK[HEADER])", "UID FETCH 1:* (ENVELOPE)", "CAPABILITY", "UNSELECT",
                    "SELECT INBOX", "FETCH 5 (BODY.PEEK[TEXT])", "CLOSE", "LOGOUT"]
        raw.send("".join("c%d %s\r\n" % item for item in enumerate(commands)))
        answers = []
        for response in raw.to_the_end():
            if re.match(rb"c\d+ ", response):
                answers.append(response)
        self.assertEqual([row.split(b" ")[:2] for row in answers],
                         [[b"c%d" % number, b"OK"] for number in range(len(commands))], answers)

    def test_pipelined_answers_are_right(self):
        self.begin()
        raw = self.raw()
        raw.send("a SELECT INBOX\r\nb STORE 1:3 +FLAGS.SILENT (x)\r\nc SEARCH KEYWORD x\r\n"
                 "d STORE 1:3 -FLAGS.SILENT (x)\r\ne SEARCH KEYWORD x\r\nf FETCH 2 (BODY.PEEK[TEXT])\r\n")
        raw.answer("a")
        raw.answer("b")
        self.assertEqual([row for row in raw.answer("c")[0] if b"SEARCH" in row], [b"* SEARCH 1 2 3"])
        raw.answer("d")
        self.assertEqual([row for row in raw.answer("e")[0] if b"SEARCH" in row], [b"* SEARCH"])
        self.assertIn(corpus.CANARY, raw.answer("f")[0][-1])

    def test_items(self):
        """UID comes first, then each item that was asked for, once; sections in the order asked."""
        self.begin()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        for number in (1, 2, 3):
            response = raw.ok("UID FETCH %d (BODY.PEEK[1] INTERNALDATE RFC822.SIZE FLAGS ENVELOPE BODY.PEEK[]<0.5>)" %
                              number)[0]
            self.assertTrue(response.startswith(b"* %d FETCH (UID %d " % (number, number)))
            for word in (b"BODY[1] {", b"INTERNALDATE ", b"RFC822.SIZE ", b"FLAGS (", b"ENVELOPE (", b"BODY[]<0> {5}"):
                self.assertEqual(response.count(word), 1, response)
            self.assertLess(response.index(b"BODY[1] {"), response.index(b"BODY[]<0> {5}"))

    def test_two_clients_at_once(self):
        """Both want what has not been opened yet; it is opened once, and both get the same."""
        self.begin(options="keepers = 2")
        raws = [self.raw() for _ in range(6)]
        for raw in raws:
            raw.ok("EXAMINE INBOX")
        for raw in raws:
            raw.send("x FETCH 1:* (BODY.PEEK[])\r\n")
        answers = [raw.answer("x") for raw in raws]
        for responses, said in answers:
            self.assertTrue(said.startswith(b"OK"), said)
            bodies = [row for row in responses if b"FETCH" in row]
            self.assertEqual(len(bodies), self.COUNT)
            self.assertEqual(bodies, [row for row in answers[0][0] if b"FETCH" in row])


class Meanwhile(Mixed):
    def test_server_lost_in_idle(self):
        self.begin()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.send("i IDLE\r\n")
        raw.line()
        begun = time.monotonic()
        self.server.close()
        self.assertTrue(raw.line().startswith(b"* BYE"))
        self.assertLess(time.monotonic() - begun, 2)
        self.assertEqual(raw.line(), b"")
        self.server.start()
        self.raw().ok("SELECT INBOX")

    def test_server_lost_between_commands(self):
        self.begin()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.server.restart()
        self.assertTrue(raw.line().startswith(b"* BYE"))
        with self.imap() as client:
            client.select()
            self.assertIn(corpus.CANARY, whole(client, 2))

    def test_gone_while_it_is_opened(self):
        """What another expunges before it could be opened is left out, and nothing else is shown in its place."""
        self.begin()
        self.server.faults("fetch.each:4=expunge 2", "fetch.each:7=expunge 5", "fetch.each:12=expunge 8")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        responses, said = raw.command("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        self.server.faults()
        self.assertRegex(said, rb"^(OK|NO)")
        seen = 0
        for response in responses:
            match = re.search(rb"UID (\d+).*Subject: outer n(\d+)", response, re.S)
            if match:
                self.assertEqual(int(match.group(1)), int(match.group(2)) + 1)
                seen += 1
        self.assertGreaterEqual(seen, self.COUNT - 3)
        told = raw.ok("NOOP")
        gone = sum(b"EXPUNGE" in row and b"ISSUED" not in row for row in responses + told)
        self.assertEqual(gone, self.COUNT - len(self.server.mail()))
        self.assertEqual(len(raw.ok("FETCH 1:* (UID)")), len(self.server.mail()))

    def test_new_mail_within_a_command(self):
        self.begin()
        self.server.faults("fetch.each:3=arrive", "noop:*=arrive")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        raw.ok("FETCH 1:* (RFC822.SIZE)")
        raw.ok("NOOP")
        self.server.faults()
        raw.ok("NOOP")
        rows = raw.ok("FETCH 1:* (UID RFC822.SIZE)")
        self.assertEqual(len(rows), len(self.server.mail()))

    def test_flags_that_another_sets(self):
        self.begin()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        with self.server.client() as client:
            client.select()
            client.store("2", "+FLAGS", "(\\Flagged word)")
        self.assertTrue([row for row in raw.ok("NOOP") if row.startswith(b"* 2 FETCH") and b"\\Flagged" in row])
        self.assertIn(b"\\Flagged", raw.ok("FETCH 2 (FLAGS RFC822.SIZE)")[0])

    def test_changed_since(self):
        """Evaluated by the server; MODSEQ is the server's."""
        self.begin()
        raw = self.raw()
        highest = int(re.search(rb"HIGHESTMODSEQ (\d+)", b"".join(raw.ok("SELECT INBOX (CONDSTORE)"))).group(1))
        raw.ok("FETCH 1:* (RFC822.SIZE)")
        raw.ok("STORE 2,4 +FLAGS.SILENT (\\Flagged)")
        rows = raw.ok("FETCH 1:* (UID RFC822.SIZE) (CHANGEDSINCE %d)" % highest)
        self.assertEqual([row.split(b" ")[1] for row in rows if b"RFC822.SIZE" in row], [b"2", b"4"])
        for row in rows:
            self.assertRegex(row, rb"MODSEQ \(\d+\)")
        _, said = raw.command("STORE 2,5 (UNCHANGEDSINCE %d) +FLAGS (y)" % highest)
        self.assertIn(b"[MODIFIED 2]", said)


class Mailboxes(Mixed):
    def test_made_anew_under_its_name(self):
        """Another UIDVALIDITY: UIDs mean other messages, and nothing of the old ones is shown."""
        self.begin()
        other = corpus.html_with_attachments()
        with self.imap() as client:
            check(client.create("Box"))
            for number in range(3):
                check(client.append("Box", None, None, corpus.text().replace(corpus.CANARY, b"OLD%d" % number)))
            client.select("Box")
            self.assertIn(b"OLD1", whole(client, 2))
            check(client.select("INBOX"))
            check(client.delete("Box"))
            check(client.create("Box"))
            for number in range(3):
                check(client.append("Box", None, None, other if number == 1 else
                                    corpus.text().replace(corpus.CANARY, b"NEW%d" % number)))
            client.select("Box")
            self.assertIn(b"NEW0", whole(client, 1))
            self.assertEqual(whole(client, 2), other)
            self.assertEqual(client.search(None, "BODY", "OLD1")[1], [b""])
            self.assertEqual(client.search(None, "BODY", "NEW2")[1], [b"3"])
        with self.server.client() as client:
            check(client.select("INBOX"))
            client.delete("Box")
            client.create("Box")
        self.server.put(from_bob("plain"), mailbox="Box")
        with self.imap() as client:
            client.select("Box")
            self.assertEqual(whole(client, 1), from_bob("plain"))

    def test_renamed_with_those_below(self):
        self.begin()
        with self.imap() as client:
            check(client.create("a/b"))
            check(client.append("a/b", None, None, corpus.text()))
            client.select("a/b")
            whole(client, 1)
            check(client.rename("a", "c"))
            check(client.select("c/b"))
            self.assertEqual(whole(client, 1), corpus.text())
            self.assertEqual(client.search(None, "BODY", corpus.WORD)[1], [b"1"])

    def test_names_of_all_kinds(self):
        self.begin()
        raw, before = self.raw(), len(self.server.wire())
        for name in (b"Entw&APw-rfe", b"a b", b"q\\\"uote", b"{5}", b"per%cent", b"am&-per", b"NIL", b"inbox/below"):
            with self.subTest(name=name):
                quoted = b'"' + name.replace(b"\\\"", b"\\\\\\\"") + b'"'
                raw.ok(b"CREATE " + quoted)
                self.assertIn(b"APPENDUID", raw.command(b"APPEND " + quoted, (corpus.text(), ""))[1])
                raw.ok(b"SELECT " + quoted)
                self.assertTrue(raw.ok("FETCH 1 (BODY.PEEK[])")[0].endswith(corpus.text() + b")"))
                raw.ok(b"STATUS " + quoted + b" (MESSAGES UIDNEXT)")
        self.assertNotIn(corpus.CANARY, self.server.wire()[before:])


class LittleServers(Mixed):
    def test_bare_imap4rev1(self):
        self.begin(capabilities="")
        with self.imap() as client:
            self.assertNotIn("IDLE", client.capabilities)
            check(client.append("INBOX", None, None, corpus.text()))
            client.select()
            self.assertEqual(whole(client, self.COUNT + 1), corpus.text())
            self.assertIn(corpus.CANARY, whole(client, 2))
            check(client.copy("2", "INBOX"))
            self.assertIn(corpus.CANARY, whole(client, self.COUNT + 2))
            self.assertEqual(client.search(None, "SUBJECT", '"outer n1"')[1], [b"2 %d" % (self.COUNT + 2)])
            client.store("1:3", "+FLAGS", "\\Deleted")
            client.expunge()
            self.assertIn(b"outer n4", whole(client, 2))
        raw = self.raw()
        self.assertRegex(raw.command("IDLE")[1], rb"^BAD")

    def test_several_appended_where_only_one_can_be(self):
        self.begin(capabilities="UIDPLUS LITERAL+")
        raw = self.raw()
        _, said = raw.command("APPEND INBOX", (corpus.text(), ""), (corpus.text(), ""))
        self.assertRegex(said, rb"^(BAD|NO)")
        self.assertEqual(len(self.server.mail()), self.COUNT)


class Keys(Mixed):
    def test_dead_agent(self):
        """All that needs no key is answered; the rest is NO [UNAVAILABLE], never an empty or a raw body."""
        self.begin()
        self.proxy.stop()
        self.proxy.start()
        for pid in self.proxy.children("gpg-agent"):
            os.kill(pid, signal.SIGKILL)
        self.alice().close()
        hidden = os.path.join(self.alice().home, "private-keys-v1.d")
        os.rename(hidden, hidden + ".away")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        responses, said = raw.command("FETCH 1:* (UID FLAGS BODY.PEEK[])")
        bodies = {int(row.split(b" ")[1]): row for row in responses if b"BODY[]" in row}
        self.assertIn(1, bodies)
        for number in (2, 5, 8):
            if number in bodies:
                # With no key it is shown as it came.
                self.assertIn(b"encryption=failed", bodies[number])
            else:
                self.assertTrue(said.startswith(b"NO [UNAVAILABLE]"), said)
        os.rename(hidden + ".away", hidden)

    def test_a_key_that_is_not_there(self):
        """It is shown as it came, with a verdict; all failures look alike."""
        self.begin()
        self.server.put(encrypted(from_bob("carols"), to=harness.CAROL))
        with self.imap() as client:
            client.select()
            view = whole(client, self.COUNT + 1)
            self.assertIn(b"encryption=failed", VERDICT.search(view).group(0))
            self.assertIn(b"BEGIN PGP MESSAGE", view)


class Ends(Mixed):
    def test_sigterm(self):
        """Who is idle is told BYE; who is served is served first."""
        self.begin()
        idle, busy = self.raw(), self.raw()
        idle.ok("SELECT INBOX")
        busy.ok("SELECT INBOX")
        busy.send("x FETCH 1:* (BODY.PEEK[])\r\n")
        wait_for(lambda: b"BODY.PEEK[1]" in self.server.wire(), "the command to have begun")
        self.proxy.process.terminate()
        self.assertTrue(idle.to_the_end()[0].startswith(b"* BYE"))
        responses, said = busy.answer("x")
        if said:
            self.assertEqual(sum(b"BODY[]" in row for row in responses), self.COUNT)
        else:
            self.assertTrue(responses[-1].startswith(b"* BYE"), responses[-1])
        self.proxy.stop()

    def test_many_sessions(self):
        self.begin()
        raws = [self.raw() for _ in range(30)]
        for raw in raws:
            raw.ok("SELECT INBOX")
            raw.send("i IDLE\r\n")
        for raw in raws:
            raw.line()
        self.server.put(from_bob("news"))
        for raw in raws:
            lines = [raw.line(), raw.line()]
            self.assertTrue([line for line in lines if line.endswith(b"EXISTS")], lines)
            raw.close()
        with self.imap() as client:
            client.noop()


if __name__ == "__main__":
    unittest.main()
