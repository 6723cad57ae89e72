"""What mail tells while a message is on its way, or while nobody can look: no copy leaves in clear for that."""
import base64
import json
import os
import re
import smtplib
import socket
import subprocess
import unittest

import harness
from harness import ALICE, BOB, CAROL, wait_for
from test_autocrypt import Case, Person, is_encrypted, keys_of, letter


class Late(Case):
    def setUp(self):
        super().setUp()
        self.bob = Person(self, BOB)
        self.genuine = self.bob.send(letter(BOB, ALICE), ALICE)[ALICE]
        self.forged = letter(BOB, ALICE, 5, "Autocrypt: addr=%s; prefer-encrypt=mutual; keydata=%s\r\n" % (
            BOB, base64.b64encode(harness.keys().run("--export", CAROL).stdout).decode()))

    def told(self, alice):
        """The key that mail has told last of Bob, by its fingerprint. Without Autocrypt `why` imports nothing."""
        path = alice.proxy.config + ".told"
        with open(alice.proxy.config, encoding="utf-8") as file, open(path, "w", encoding="utf-8") as other:
            other.write(re.sub(r"(?m)^sources = .*$", "", file.read()) + "\nsources = { \"wkd\" }\n")
        os.chmod(path, 0o600)
        done = subprocess.run([harness.PRIVYSEAL, "why", BOB, "--json", "--config", path],
                              stdout=subprocess.PIPE, check=False)
        return ((json.loads(done.stdout).get("peer") or {}).get("autocrypt") or {}).get("fingerprint")

    def hear(self, alice, message, address):
        """Alice reads the message, and her vault knows that this is the key now."""
        alice.receive(message)
        fingerprint = harness.keys().fingerprint(address)
        wait_for(lambda: self.told(alice) == fingerprint, "Alice's vault to have taken note")

    def begin(self, alice, number):
        client = alice.proxy.client()
        self.add(client.close)
        self.assertEqual(client.mail(ALICE)[0], 250)
        return client, letter(ALICE, BOB, number, text="secret")

    def lock(self, alice):
        """Whoever would write to the ring waits until this is called."""
        path = os.path.join(alice.home.home, "pubring.kbx.lock")
        with open(path, "x", encoding="ascii") as file:
            file.write("%10d\n%s\n" % (os.getpid(), socket.gethostname()))
        return lambda: os.remove(path)

    def assert_nothing_in_clear(self, alice):
        self.assertNotIn(b"secret", alice.smtp.wire())

    def test_another_key_between_recipient_and_message(self):
        """It counts from the next message on."""
        alice = Person(self, ALICE)
        self.hear(alice, self.genuine, BOB)
        self.assertTrue(is_encrypted(alice.send(letter(ALICE, BOB, 2, text="secret"), BOB)[BOB]))
        client, message = self.begin(alice, 3)
        self.assertEqual(client.rcpt(BOB)[0], 250)
        self.hear(alice, self.forged, CAROL)
        self.assertEqual(client.data(message)[0], 250)
        self.assertTrue(harness.keys().encryption_key_ids(BOB) & keys_of(alice.smtp.mail()[-1][1]))
        self.assertTrue(harness.keys().encryption_key_ids(CAROL) &
                        keys_of(alice.send(letter(ALICE, BOB, 4, text="secret"), BOB)[BOB]))
        self.assert_nothing_in_clear(alice)

    def test_another_key_while_the_first_is_imported(self):
        """What the record says when the recipient is answered is what counts."""
        alice = Person(self, ALICE)
        self.hear(alice, self.genuine, BOB)
        unlock = self.lock(alice)
        client, message = self.begin(alice, 2)
        client.putcmd("rcpt", "TO:<%s>" % BOB)
        wait_for(lambda: [pid for keeper in alice.proxy.keepers() for pid in harness.descendants(keeper)
                          if "--import" in harness.command_of(pid) and "--dry-run" not in harness.command_of(pid)],
                 "the import to wait")
        self.hear(alice, self.forged, CAROL)
        unlock()
        self.assertEqual(client.getreply()[0], 250)
        self.assertEqual(client.data(message)[0], 250)
        self.assertTrue(is_encrypted(alice.smtp.mail()[-1][1]))
        self.assert_nothing_in_clear(alice)

    def test_a_keeper_that_hangs(self):
        """There is a key, and it cannot be imported now."""
        alice = Person(self, ALICE, options="job_timeout = 3")
        self.hear(alice, self.genuine, BOB)
        unlock = self.lock(alice)
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
            alice.send(letter(ALICE, BOB, 2, text="secret"), BOB)
        self.assertEqual(caught.exception.recipients[BOB][0], 451)
        unlock()
        self.assertTrue(is_encrypted(alice.send(letter(ALICE, BOB, 3, text="secret"), BOB)[BOB]))
        self.assert_nothing_in_clear(alice)


if __name__ == "__main__":
    unittest.main()
