"""What a person has said of a key lies in a record that is damaged: mail waits until the person has looked at it."""
import os
import smtplib
import sqlite3
import subprocess
import unittest

import harness
from harness import ALICE, BOB, CAROL
from test_autocrypt import Case, Person, is_encrypted, letter

RULES = 'rule "all" { encrypt = when-possible  sign = never  trust = unverified }'


class Damaged(Case):
    def command(self, *words, status=0, data=None):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.alice_there.proxy.config], input=data,
                              capture_output=True, check=False, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        return (done.stdout + done.stderr).decode()

    def damage(self, length="length(sealed) - 1"):
        """Each record loses its last byte, or whatever is left by `length`."""
        self.alice_there.proxy.stop()
        store = sqlite3.connect(os.path.join(self.alice_there.proxy.state, "store", "durable.sqlite"))
        with store:
            store.execute("UPDATE peer SET sealed = substr(sealed, 1, %s)" % length)
        store.close()
        self.alice_there.proxy.start()

    def test_a_key_that_was_ruled_out(self):
        alice = self.alice_there = Person(self, ALICE, rules=RULES)
        for address in (BOB, CAROL):
            alice.home.take(harness.keys().export(address))
        self.assertTrue(is_encrypted(alice.send(letter(ALICE, BOB), BOB)[BOB]))
        self.command("key", "pin", "--not", BOB, harness.keys().fingerprint(BOB), "--yes")
        self.assertFalse(is_encrypted(alice.send(letter(ALICE, BOB, 2), BOB)[BOB]))
        self.assertNotIn("damaged", self.command("check", "--offline"))
        self.damage()
        before = len(alice.smtp.mail())
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
            alice.send(letter(ALICE, BOB, 3), BOB)
        code, text = caught.exception.recipients[BOB]
        self.assertEqual(code, 451)
        self.assertIn(b"key pin --forget " + BOB.encode(), text)
        self.assertEqual(len(alice.smtp.mail()), before)
        # Mail for others goes on.
        self.assertTrue(is_encrypted(alice.send(letter(ALICE, CAROL, 4), CAROL)[CAROL]))
        self.assertIn("key pin --forget " + BOB, self.command("why", BOB, status=1))
        self.command("why", CAROL)
        self.assertIn("key pin --forget " + BOB, self.command("seal", data=letter(ALICE, BOB, 5), status=3))
        said = self.command("check", "--offline", status=1)
        self.assertIn("key pin --forget " + BOB, said)
        self.assertNotIn("forget " + CAROL, said)
        # Nothing is written over it.
        self.command("key", "pin", BOB, harness.keys().fingerprint(BOB), "--yes", status=3)
        self.command("key", "pin", "--forget", BOB, status=1)
        self.command("key", "pin", "--forget", BOB, "--yes")
        self.assertTrue(is_encrypted(alice.send(letter(ALICE, BOB, 6), BOB)[BOB]))
        self.assertNotIn("damaged", self.command("check", "--offline"))
        self.command("key", "pin", "--forget", "nobody@example.org", "--yes", status=1)

    def test_a_signature_by_it(self):
        """It is fully valid by the web of trust, and Alice has said that it is not Bob's."""
        alice = self.alice_there = Person(self, ALICE, "autocrypt = off", rules=RULES)
        bob = Person(self, BOB, "autocrypt = off")
        fingerprint = harness.keys().fingerprint(BOB)
        alice.home.take(harness.keys().export(BOB))
        alice.home.run("--yes", "--quick-lsign-key", fingerprint)
        alice.home.run("--check-trustdb")
        letters = [bob.send(letter(BOB, ALICE, number), ALICE)[ALICE] for number in range(4)]
        self.assertIn(b"signature=good", alice.receive(letters[0])[-1])
        self.command("key", "pin", "--not", BOB, fingerprint, "--yes")
        self.assertIn(b"signature=untrusted", alice.receive(letters[1])[-1])
        self.damage()
        self.assertIn(b"signature=untrusted", alice.receive(letters[2])[-1])
        self.assertIn("signature=untrusted", self.command("open", "--report", data=letters[2], status=1))
        self.command("key", "pin", "--forget", BOB, "--yes")
        self.assertIn(b"signature=good", alice.receive(letters[3])[-1])

    def test_of_somebody_without_a_key(self):
        alice = self.alice_there = Person(self, ALICE, rules=RULES)
        self.assertFalse(is_encrypted(alice.send(letter(ALICE, BOB), BOB)[BOB]))
        self.damage("3")
        with self.assertRaises(smtplib.SMTPRecipientsRefused):
            alice.send(letter(ALICE, BOB, 2), BOB)
        self.assertIn("of whom there is no key here", self.command("check", "--offline", status=1))
        self.command("key", "pin", "--forget", BOB, "--yes")
        self.assertFalse(is_encrypted(alice.send(letter(ALICE, BOB, 3), BOB)[BOB]))


if __name__ == "__main__":
    unittest.main()
