"""An account that has a certificate and no OpenPGP key at all: it sends, saves, reads and locks as any other."""
import os
import unittest

import corpus
import harness
from harness import ALICE, BOB, Gpg, wait_for
from imap_harness import Raw, RefImap, check, fetched, whole
import smime_people
from smime_people import ERIN
from test_imap_constant import rows_of
from test_imap_first import VERDICT, from_bob
import test_imap_locked
from test_store_keys import UNAVAILABLE
import test_store_passphrase
from test_store_passphrase import FIRST

STRANGER = "grace@example.edu"


class Case(smime_people.Case):
    does, asked = test_imap_locked.Locked.does, test_imap_locked.Locked.asked
    says, set_pinentry = test_store_passphrase.Passphrase.says, test_store_passphrase.Passphrase.set_pinentry

    def alice(self):
        """Her GnuPG home is empty."""
        if self._alice is None:
            self._alice = Gpg(os.path.join(self.folder, "a"))
            self.add(self._alice.close)
        return self._alice

    def begin(self, rules=harness.TRUSTING, **options):
        self.imap_server = RefImap(self)
        super().begin(rules, imap=self.imap_server, **options)

    def imap(self):
        return self.proxy.imap()

    def restart(self):
        self.proxy.stop()
        self.proxy.start()

    def from_bob(self, kind):
        """What Bob's program signed and encrypted."""
        message, bob = from_bob(kind), self.people[BOB]
        fields, content = message.split(b"Content-Type:", 1)
        signed = self.authority.run("cms", "-sign", "-binary", "-signer", bob.certificate, "-inkey", bob.key,
                                    data=b"Content-Type:" + content)
        sealed = self.authority.run("cms", "-encrypt", "-binary", "-aes-256-cbc", self.mine.certificate, data=signed)
        return fields.replace(b"MIME-Version: 1.0\r\n", b"") + sealed.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Sending(Case):
    def test_sealed_or_signed(self):
        self.begin()
        for address in (BOB, ERIN):
            message = corpus.html_with_attachments().replace(b"Bob <%s>" % BOB.encode(), address.encode())
            (_, content), = self.arrived(message, [address])
            self.check_sealed(message, content, self.people[address])
            self.check_sealed(message, content, self.mine)
        self.assertNotIn(corpus.CANARY, self.server.wire())
        (_, content), = self.arrived(corpus.html_with_attachments(), [STRANGER])
        self.check_signed(corpus.html_with_attachments(), content)


class Saving(Case):
    def check_content(self, messages):
        with self.imap() as client:
            client.select(readonly=True)
            for number, (kind, message) in enumerate(messages, 1):
                with self.subTest(kind=kind):
                    (_, text, literals), = fetched(client, str(number),
                                                   "(RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[TEXT])")
                    self.assertIn(b"RFC822.SIZE %d " % len(message), text)
                    self.assertTrue(b"".join(literals) == message, "%s is another" % kind)
                    self.assertTrue(whole(client, number) == message, "%s is another" % kind)

    def test_every_kind_comes_back(self):
        """The server holds ciphertext, which any program with the key reads as ordinary S/MIME."""
        self.begin(key=("rsa:2048",))
        messages = [each for each in corpus.all_messages() if each[0] != "big"] + [("draft", corpus.header(
            "draft", extra="Bcc: Carol <carol@example.com>\nX-odd_Name:no blank\nFCC: imap://alice/Sent\n") +
            b"\r\nhi \r\n")]
        with self.imap() as client:
            for kind, message in messages:
                with self.subTest(kind=kind):
                    self.assertRegex(check(client.append("INBOX", None, None, message))[0], rb"APPENDUID \d+ \d+")
        self.assertNotIn(corpus.CANARY, self.imap_server.wire())
        for word in (b"carol", b"odd_Name", b"FCC"):
            self.assertNotIn(word, self.imap_server.mail()[-1][1])
        self.check_content(messages)
        self.restart()
        self.check_content(messages)
        for (kind, message), (_, content) in zip(messages, self.imap_server.mail()):
            with self.subTest(kind=kind):
                self.assertEqual(self.named(content), {ALICE})
                _, _, inner = self.opened(content, self.mine)
                corpus.check_same(self, message, inner if inner.get_content_type() != "message/rfc822" else
                                  inner.get_payload(0))

    def named(self, content):
        return {address for address, person in self.people.items() if person.is_named_in(content)}


class Reading(Case):
    def begin_reading(self):
        self.begin()
        self.imap_server.put(self.from_bob("first"), from_bob("plain"))

    def views(self):
        with self.imap() as client:
            client.select(readonly=True)
            return [whole(client, number) for number in (1, 2)]

    def test_views(self):
        self.begin_reading()
        first, plain = self.views()
        self.assertIn(corpus.CANARY, first)
        verdict = VERDICT.search(first).group(0)
        for word in (b"signature=good", b"signer=" + BOB.encode(), b"trust=full", b"encryption=smime",
                     b"integrity=ok"):
            self.assertIn(word, verdict)
        self.assertEqual(plain, from_bob("plain"))
        self.restart()
        self.assertEqual(self.views(), [first, plain])
        self.run_command("store", "clear")
        self.assertEqual(self.views(), [first, plain])


class Locked(Case):
    """The store, in which the private key lies, has a passphrase."""

    def begin_locked(self):
        self.set_pinentry()
        self.begin()
        self.imap_server.put(self.from_bob("first"), from_bob("plain"))
        self.run_command("store", "passphrase", passphrase=FIRST)

    def start_anew(self):
        self.proxy.stop()
        self.alice().close()
        self.proxy.start()

    def raw(self):
        raw = Raw(self.proxy.imap_port)
        self.addCleanup(raw.close)
        raw.login().ok("SELECT INBOX")
        return raw

    def refused(self):
        """Neither sent nor saved."""
        before = len(self.server.mail())
        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual(client.rcpt(BOB)[0], 250)
            code, text = client.data(corpus.text())
        self.assertEqual((code, text[:5]), (451, b"4.7.0"))
        self.assertEqual(len(self.server.mail()), before)
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_asked_at_login(self):
        self.begin_locked()
        raw, wire = self.raw(), len(self.imap_server.wire())
        first = rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])"))
        self.assertIn(corpus.CANARY, first[1])
        self.does("wait")
        self.start_anew()
        raw = self.raw()
        wait_for(self.asked, "a prompt")
        rows, said = raw.command("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")
        self.assertRegex(said, UNAVAILABLE)
        self.assertEqual(list(rows_of(row for row in rows if b"BODY" in row)), [2])
        self.assertRegex(raw.command("APPEND INBOX", (corpus.text(), ""))[1], rb"^NO ")
        self.assertNotIn(corpus.CANARY, self.imap_server.wire()[wire:].replace(from_bob("plain"), b""))
        self.assertEqual(len(self.imap_server.mail()), 2)
        self.refused()
        self.does("open")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the keys")
        self.assertEqual(rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")), first)
        raw.ok("APPEND INBOX", (corpus.text(), ""))
        self.assertEqual(rows_of(raw.ok("FETCH 3 (UID RFC822.SIZE BODY.PEEK[])"))[3], corpus.text())
        (_, content), = self.arrived(corpus.text(), [BOB])
        self.check_sealed(corpus.text(), content, self.people[BOB])
        self.assertEqual(len(self.asked()), 1)

    def test_who_only_sends(self):
        """A login at the listener for sending asks, too."""
        self.begin_locked()
        self.does("cancel")
        self.start_anew()
        self.refused()
        wait_for(lambda: "unlocking the keys of" in self.proxy.log(), "the end of the prompt")
        self.refused()
        self.assertEqual(len(self.asked()), 1)
        self.does("open")
        self.start_anew()
        wait_for(lambda: self.told()[0] == 250, "the key")
        self.check_sealed(corpus.text(), self.server.mail()[0][1], self.people[BOB])

    def told(self):
        with self.proxy.client() as client:
            client.mail(ALICE)
            client.rcpt(BOB)
            return client.data(corpus.text())


if __name__ == "__main__":
    unittest.main()
