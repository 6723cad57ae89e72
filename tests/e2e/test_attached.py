"""A correspondent's next key comes with mail that the key before has signed, and with no other mail."""
import json
import os
import subprocess
import unittest

import harness
from harness import ALICE, BOB, CAROL, Gpg, World, wait_for
from imap_harness import RefImap, check, fetched


class Attached(World):
    def setUp(self):
        super().setUp()
        self.alice().take(harness.keys().export(BOB))
        self.mailbox = RefImap(self)
        self.proxy = harness.Proxy(self, None, imap=self.mailbox)
        self.bob = self.person(harness.keys().export_secret(BOB))
        self.old = self.bob.fingerprint(BOB)

    def person(self, secret=None):
        home = Gpg(os.path.join(self.folder, "g%d" % self.count()))
        self.add(home.close)
        if secret:
            home.take(secret, own=True)
        return home

    def command(self, *words, status=0, data=None):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], input=data,
                              capture_output=True, check=False, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        return done.stdout.decode()

    def letter(self, home, signer, key, sender=BOB):
        content = (b"Content-Type: multipart/mixed; boundary=\"in\"\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\n"
                   b"my next key\r\n--in\r\nContent-Type: application/pgp-keys\r\n\r\n" +
                   key.replace(b"\n", b"\r\n") + b"\r\n--in--\r\n")
        head = b"From: <%s>\r\nTo: <%s>\r\nSubject: key\r\nMIME-Version: 1.0\r\n" % (sender.encode(), ALICE.encode())
        if signer is None:
            return head + content
        signature = home.run("--armor", "--local-user", signer, "--detach-sign", data=content).stdout
        return (head + b"Content-Type: multipart/signed; micalg=pgp-sha512; boundary=\"sig\";\r\n"
                b" protocol=\"application/pgp-signature\"\r\n\r\n--sig\r\n" + content + b"\r\n--sig\r\n"
                b"Content-Type: application/pgp-signature\r\n\r\n" + signature.replace(b"\n", b"\r\n") +
                b"\r\n--sig--\r\n")

    def read(self, *messages):
        self.mailbox.put(*messages)
        with self.proxy.imap() as client:
            check(client.select("INBOX"))
            return [literals[0] for _, _, literals in fetched(client, "1:*", "(BODY.PEEK[])")]

    def known(self):
        return self.alice().run("--with-colons", "--list-keys").stdout.decode()

    def words(self):
        return json.dumps(json.loads(self.command("why", BOB, "--json")))

    def choice(self):
        key = json.loads(self.command("why", BOB, "--json"))["key"]
        return key["fingerprint"], key["source"]

    def revocation(self):
        """The old key, revoked by its owner."""
        home = self.person(harness.keys().export_secret(BOB))
        home.take(harness.keys().revocation(self.old))
        return home.export(self.old)

    def test_next_key(self):
        self.command("key", "pin", "--yes", BOB, self.old)
        other = self.person()
        new = other.make(BOB)
        key = other.export(new)
        shown, = self.read(self.letter(self.bob, self.old, key))
        self.assertIn(b"signature=good", shown)
        wait_for(lambda: '"mail"' in self.words(), "the word of that mail")
        self.assertEqual(self.choice(), (self.old, "person"))
        # What is pinned stays so until it can no longer be used.
        self.alice().take(self.revocation())
        self.assertEqual(self.choice(), (new, "mail"))

    def test_opened_by_command(self):
        self.command("key", "pin", "--yes", BOB, self.old)
        other = self.person()
        new = other.make(BOB)
        self.command("open", "--report", data=self.letter(self.bob, self.old, other.export(new)))
        self.alice().take(self.revocation())
        self.assertEqual(self.choice(), (new, "mail"))

    def test_no_other_mail(self):
        """Nothing is taken of unsigned, untrusted, changed or somebody else's mail, nor a key of another address."""
        other = self.person()
        new, stranger = other.make(BOB), other.make("eve@example.net")
        key = other.export(new)
        untrusted = self.letter(self.bob, self.old, key)
        shown = self.read(untrusted, self.letter(None, None, key))
        self.assertIn(b"signature=untrusted", shown[0])
        self.command("key", "pin", "--yes", BOB, self.old)
        bad = self.letter(self.bob, self.old, key).replace(b"my next key", b"my text key")
        unknown = self.letter(other, new, key)
        mismatch = self.letter(self.bob, self.old, key, sender=CAROL)
        odd = self.letter(self.bob, self.old, other.export(stranger))
        shown = self.read(bad, unknown, mismatch, odd)
        for text, word in zip(shown[2:], (b"bad", b"unknown-key", b"mismatch", b"good")):
            self.assertIn(b"signature=" + word, text)
        self.assertNotIn(new, self.known())
        self.assertNotIn(stranger, self.known())


if __name__ == "__main__":
    unittest.main()
