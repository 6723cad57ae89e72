"""What issuers have revoked, and what goes wrong while they are asked: no byte of the plain text leaves."""
import os
import signal
import sys
import threading
import unittest

import corpus
from harness import ALICE, BOB, wait_for
from smime_people import CURVE, ERIN, FRANK, revocation_list
import test_smime_wire

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
from test_revocation import Server  # noqa: E402


WHEN_POSSIBLE = 'rule "all" { encrypt = when-possible  sign = always  format = { smime } }'


class Revocation(test_smime_wire.Case):
    """The issuer's list is fetched from loopback, while a keeper seals."""

    def begin_asking(self, revocation, *revoked, **options):
        self.lists = Server()
        self.addCleanup(self.lists.end)
        self.asked, self.answers = threading.Event(), threading.Event()
        extensions = ("extendedKeyUsage=emailProtection", "crlDistributionPoints=URI:" + self.lists.url("/list"))
        for address in (ALICE, BOB, ERIN, FRANK):
            self.person(address, key=CURVE, extensions=extensions)
        content = revocation_list(self.authority, *[self.people[address] for address in revoked])

        def give(_body):
            self.asked.set()
            self.answers.wait(60)
            return 200, {}, content

        self.lists.page("/list", give)
        self.begin(options='revocation_hosts = "127.0.0.1"\nkeepers = 1', account="    revocation = " + revocation,
                   **options)

    def test_revoked(self):
        for revocation in ("soft", "hard"):
            with self.subTest(revocation=revocation):
                self.begin_asking(revocation, BOB, name="s-" + revocation)
                self.answers.set()
                self.refused(code=451, enhanced=b"4.7.5")
                # From now on it is known.
                self.refused()
                self.assertIsNone(self.failure(self.message(ERIN), [ERIN]))
                self.assertNotIn(corpus.CANARY, self.server.wire())
                self.proxy.stop()

    def test_when_possible(self):
        """Who is told to try again, and does, must not find the letter gone in clear."""
        self.begin_asking("soft", BOB, rules=WHEN_POSSIBLE)
        self.answers.set()
        self.refused(code=451, enhanced=b"4.7.5")
        for _ in range(2):
            told = self.failure(self.message(), [BOB])
            self.check_refused(told, 550, b"5.7.5")
            self.assertIn(b"key pin --not " + BOB.encode(), told[1])
        self.assertIsNone(self.failure(self.message(ERIN), [ERIN]))

    def test_one_of_several(self):
        self.begin_asking("soft", FRANK)
        self.answers.set()
        self.refused([BOB, ERIN, FRANK], code=451, enhanced=b"4.7.5")

    def test_nothing_to_be_learnt(self):
        for revocation in ("hard", "soft"):
            with self.subTest(revocation=revocation):
                self.begin_asking(revocation, name="s-" + revocation)
                self.lists.page("/list", lambda _body: (500, {}, b""))
                if revocation == "hard":
                    self.refused(code=451, enhanced=b"4.7.5")
                    self.refused(code=451, enhanced=b"4.7.5")
                else:
                    self.check_health()
                self.proxy.stop()

    def in_mid_seal(self, change, recipients=(BOB, FRANK), **options):
        """A keeper is at the first copy, waits for its issuer, and the plan stands; then comes a change."""
        self.begin_asking("hard", **options)
        told = []
        sender = threading.Thread(target=lambda: told.append(self.failure(self.message(), recipients)))
        sender.start()
        self.assertTrue(self.asked.wait(60))
        self.assertIn("copy 1 of %d" % len(recipients), self.proxy.log())
        change()
        self.answers.set()
        sender.join()
        return told[0]

    def test_keeper_killed(self):
        self.check_refused(self.in_mid_seal(lambda: os.kill(self.proxy.keepers()[0], signal.SIGKILL)), 451, b"4.3.0")
        self.check_health()

    def test_certificate_removed(self):
        told = self.in_mid_seal(lambda: os.remove(self.file_of(self.people[FRANK])))
        self.check_refused(told, 550, b"5.7.5")
        self.check_health()

    def test_own_certificate_removed(self):
        self.check_refused(self.in_mid_seal(lambda: os.remove(self.file_of(self.mine))), 550, b"5.7.5")

    def test_vault_killed(self):
        told = self.in_mid_seal(lambda: os.kill(self.proxy.workers()[0], signal.SIGKILL))
        self.assertTrue(told is None or told[0] == 451, told)
        self.assertEqual(self.server.recipients(), [] if told else [BOB, FRANK])
        self.assertNotIn(corpus.CANARY, self.server.wire())
        wait_for(lambda: self.failure(self.message()) is None, "another vault")

    def test_finder_killed(self):
        """What it was asked is not known, and must be."""
        told = self.in_mid_seal(lambda: os.kill(self.proxy.workers()[1], signal.SIGKILL))
        self.check_refused(told, 451, b"4.7.5")
        wait_for(lambda: self.failure(self.message()) is None, "another finder")


if __name__ == "__main__":
    unittest.main()
