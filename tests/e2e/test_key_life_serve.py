"""The life of one's own key while privyseal serves: what is kept opens on, what is revoked is used no more at once."""
import json
import os
import re
import smtplib
import unittest

import corpus
import harness
from harness import ALICE, BOB, World, wait_for
from test_imap_first import from_bob
from test_imap_locked import LOCKED
from test_store_keys import Asked, Keys
from twin import encrypted

LETTER = corpus.lines("From: Alice <%s>\nTo: <%s>\nSubject: a matter of state\nMessage-ID: <n%%d@example.org>\n"
                      "Date: Fri, 20 Nov 2026 12:00:00 +0000\n\nthe text\n" % (ALICE, BOB))


class Rotated(Keys):
    def rotate(self, *words):
        said = self.run_command("key", "rotate", "--no-passphrase", "--json", *words)
        done = json.loads(said[:said.rindex("}") + 1])
        return done["old"], done["new"]

    def subkeys(self, fingerprint):
        listing = self.alice().run("--with-colons", "--list-keys", fingerprint).stdout.decode()
        return set(re.findall(r"^sub:(?:[^:]*:){3}([0-9A-F]+):", listing, re.M))

    def readers(self):
        """Whose key the store's keys are wrapped to; serve does not run afterwards."""
        self.proxy.stop()
        return self.alice().key_ids_of(self.row()[1])

    def rotated(self, *words):
        self.begin_with(encrypted(from_bob("one")), from_bob("plain"))
        first = self.views()
        self.wrapped()
        old, new = self.rotate(*words)
        # Nothing but the old key opens the store, until somebody logs in.
        said = self.run_command("key", "delete", "--secret", "--yes", old, status=1)
        self.assertIn("wrapped to " + old, said)
        self.server.put(encrypted(from_bob("two"), to=old))
        seen = self.views()
        self.assertEqual(seen[1], first[1])
        self.assertIn(b"signature=untrusted", seen[3])
        self.assertIn(b"encryption=openpgp", seen[3])
        self.wrapped(2)
        with self.imap() as client:
            client.append("INBOX", None, None, LETTER % 1)
        return old, new, seen, self.views()

    def check_follows(self, *words):
        old, new, _, whole = self.rotated(*words)
        subkeys = self.subkeys(new)
        self.assertEqual(self.readers(), subkeys)
        # What was saved since is sealed to the new key alone.
        sealed = self.server_copy(4)
        self.assertEqual(self.alice().key_ids_of(sealed), subkeys)
        self.proxy.start()
        self.assertEqual(self.views(), whole)
        self.assertIn("wrapped to the own key " + new, self.checked())
        self.run_command("key", "delete", "--secret", "--yes", old)
        self.assertEqual(self.views(), whole)

    def server_copy(self, number):
        """The armour of a message as the server holds it."""
        client = harness.imap_client(self.server.port)
        with client:
            client.select("INBOX")
            raw = client.fetch(str(number), "(BODY.PEEK[])")[1][0][1]
        return re.search(rb"-----BEGIN PGP MESSAGE-----.*?-----END PGP MESSAGE-----", raw, re.S).group(0)

    def test_store_follows(self):
        self.check_follows()

    def test_store_follows_when_the_old_one_is_revoked(self):
        self.check_follows("--revoke-old", "--yes")


class RevokedLocked(Asked):
    def test_revoked_key_is_asked_for_and_reads(self):
        """At login, like any other: what was sealed to it before is read."""
        self.begin_locked("open")
        wait_for(lambda: self.raw().command("SELECT INBOX")[1].startswith(b"OK"), "a session")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        first = self.views()
        self.wrapped()
        home = self.alice()
        fingerprint = home.fingerprint(LOCKED)
        path = os.path.join(home.home, "openpgp-revocs.d", fingerprint + ".rev")
        self.server.put(encrypted(from_bob("late"), to=fingerprint))
        self.run_command("key", "revoke", fingerprint, "--yes", "--certificate", path)
        prompts = len(self.asked())
        self.forget()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        self.assertEqual(len(self.asked()), prompts + 1)
        seen = self.views()
        self.assertEqual({uid: seen[uid] for uid in first}, first)
        self.assertIn(b"encryption=openpgp", seen[4])


class Revoked(World):
    def command(self, proxy, *words, status=0):
        return Keys.run_command(self, *words, proxy=proxy, status=status)

    def test_revoked_is_used_no_more_at_once(self):
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, rules='rule "all" { encrypt = never  sign = always }')
        proxy.send(LETTER % 1, [BOB])
        (_, sent), = server.mail()
        self.assertIn(b"multipart/signed", sent)
        self.command(proxy, "key", "revoke", "--yes", "--reason", "compromised")
        with self.assertRaises(smtplib.SMTPResponseException) as refused:
            proxy.send(LETTER % 2, [BOB])
        self.assertEqual(refused.exception.smtp_code // 100, 5)
        self.assertEqual(len(server.mail()), 1)
        self.command(proxy, "key", "make", "--no-passphrase", "--name", "Alice")
        proxy.send(LETTER % 3, [BOB])
        self.assertIn(b"multipart/signed", server.mail()[1][1])

    def test_end_is_told_in_the_log(self):
        gpg = self.alice()
        fingerprint = gpg.fingerprint(ALICE)
        gpg.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-set-expire", fingerprint, "10d")
        proxy = harness.Proxy(self, harness.RefServer(self))
        line = wait_for(lambda: re.search("warning: .*%s expires .*" % fingerprint, proxy.log()), "a word").group(0)
        self.assertIn("privyseal key renew " + fingerprint, line)
        self.command(proxy, "key", "renew")
        proxy.stop()
        os.unlink(proxy.log_file)
        proxy.start()
        proxy.send(LETTER % 1, [BOB])
        proxy.stop()
        self.assertNotIn("expires", proxy.log())


def load_tests(loader, tests, pattern):
    """Those of the classes that are only used here are run where they stand."""
    del tests, pattern
    cases = ((Rotated, "test_store_follows"), (RevokedLocked, "test_revoked"), (Revoked, "test_"))
    return unittest.TestSuite(case(name) for case, prefix in cases for name in loader.getTestCaseNames(case)
                              if name.startswith(prefix))


if __name__ == "__main__":
    unittest.main()
