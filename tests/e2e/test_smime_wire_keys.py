"""Certificates and keys that cannot be used, or are gone when they are needed: no byte of the plain text leaves."""
import os
import signal
import unittest

import corpus
from harness import ALICE, BOB, wait_for
import smime_people
from smime_people import CURVE, ERIN, FRANK, dated
from test_smime import Authority
import test_smime_wire

WHEN_POSSIBLE = 'rule "all" { encrypt = when-possible  sign = always  format = { smime } }'


class Recipients(test_smime_wire.Case):
    """Certificates that nothing can be sealed to."""

    def test_none(self):
        self.begin(others=())
        self.refused()
        self.assertNotIn(b"RCPT TO", self.server.wire())

    def test_not_valid_now(self):
        for address, begin, end in ((ERIN, -20, -1), (FRANK, 1, 20)):
            dated(self.person(address, key=CURVE), begin, end)
        self.begin(others=())
        self.learn(ERIN, FRANK)
        for address in (ERIN, FRANK):
            self.refused([address])

    def test_of_a_stranger(self):
        self.people[ERIN] = smime_people.Person(Authority(self.folder, "elsewhere"), ERIN, key=CURVE)
        self.begin()
        self.refused([ERIN])
        # With those whose certificates are sound she refuses nobody but herself.
        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual([client.rcpt(address)[0] for address in (BOB, ERIN)], [250, 550])

    def test_not_for_encryption(self):
        self.person(ERIN, key=("rsa:2048",), extensions=("keyUsage=digitalSignature",))
        self.begin()
        self.refused([ERIN])

    def test_removed_or_damaged_after_rcpt(self):
        self.begin()
        path = self.file_of(self.people[BOB])
        whole = smime_people.read(path)

        def put(data):
            with open(path + ".new", "wb") as file:
                file.write(data)
            os.rename(path + ".new", path)

        for change in (lambda: os.remove(path), lambda: put(whole[:len(whole) // 2]), lambda: put(b""),
                       lambda: put(os.urandom(2000)), lambda: put(smime_people.read(self.people[ERIN].certificate))):
            self.refused_at_end(change)
            self.refused()
            put(whole)
        self.check_health()


class Account(test_smime_wire.Case):
    """What the account itself lacks."""

    def test_private_key_gone(self):
        """The file says that the store has it, and the store does not."""
        self.begin()
        path = self.file_of(self.mine)
        text = smime_people.read(path)
        self.run_command("key", "delete", "--yes", "--secret", self.mine.fingerprint)
        with open(path, "wb") as file:
            file.write(text)
        self.refused()
        self.import_mine()
        self.check_health()

    def test_own_certificate_gone(self):
        self.begin()
        self.check_health()
        before = self.server.mail()
        self.server.mail = lambda: []
        self.refused_at_end(lambda: os.remove(self.file_of(self.mine)))
        del self.server.mail
        self.assertEqual(self.server.mail(), before)

    def test_folder_gone(self):
        self.begin(rules=WHEN_POSSIBLE)
        folder = os.path.dirname(self.file_of(self.mine))

        def replace():
            os.rename(folder, folder + ".old")
            with open(folder, "w", encoding="ascii"):
                pass

        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual(client.rcpt(BOB)[0], 250)
            replace()
            code, text = client.data(self.message())
        self.assertIn(code, (451, 550), text)
        told = self.failure(self.message())
        self.assertIn(told[0], (451, 550), told)
        self.assertEqual(self.server.mail(), [])
        self.assertNotIn(corpus.CANARY, self.server.wire())
        os.remove(folder)
        os.rename(folder + ".old", folder)
        wait_for(lambda: self.failure(self.message()) is None, "the folder")

    def test_anchors_gone(self):
        """A keeper that starts later does nothing: without them nobody would have a certificate."""
        self.begin(options="keepers = 1", rules=WHEN_POSSIBLE)
        os.rename(self.authority.certificate, self.authority.certificate + ".old")
        for pid in self.proxy.keepers():
            os.kill(pid, signal.SIGKILL)
        self.refused(code=451, enhanced=b"4.3.0")
        os.rename(self.authority.certificate + ".old", self.authority.certificate)
        wait_for(lambda: self.failure(self.message()) is None, "a keeper")
        self.opened(self.server.mail()[0][1], self.people[BOB])


if __name__ == "__main__":
    unittest.main()
