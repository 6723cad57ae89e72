"""As test_wire, with mail that leaves by S/MIME: whatever fails, no byte of the plain text reaches the server."""
import unittest

import corpus
from harness import ALICE, BOB
import smime_people
from smime_people import ERIN, FRANK, REQUIRED
import test_wire


class Case(smime_people.Case, test_wire.Case):
    def begin(self, tls="none", timeout_percent=100, rules=REQUIRED, options="", account="", others=(BOB, ERIN, FRANK),
              **server_options):
        smime_people.Case.begin(self, rules=rules, account=account, options=options, timeout_percent=timeout_percent,
                                others=others, server={"tls": tls, **server_options})
        self.number = 0
        with self.proxy.client(login=False):
            pass

    def check_refused(self, told, code, enhanced):
        self.assertIsNotNone(told, "the client was told that all is well")
        self.assertEqual(told[0], code, told)
        self.assertIn(enhanced, told[1])
        self.assertEqual(self.server.mail(), [])
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def refused(self, recipients=(BOB,), code=550, enhanced=b"5.7.5"):
        """Nobody gets anything."""
        self.check_refused(self.failure(self.message(), recipients), code, enhanced)

    def refused_at_end(self, change, recipients=(BOB,), code=550, enhanced=b"5.7.5"):
        """The recipients are taken, then comes a change, and then the message is not."""
        with self.proxy.client() as client:
            client.mail(ALICE)
            for address in recipients:
                self.assertEqual(client.rcpt(address)[0], 250)
            change()
            told = client.data(self.message())
        self.check_refused(told, code, enhanced)


class Faults(Case, test_wire.Faults):
    """What the server does wrong; more of it in test_wire."""
    test_endless = test_unsolicited = test_in_mid_body = test_refused_to_begin_anew = test_stalled = None


class Clients(Case, test_wire.Clients):
    test_gone_between_two_copies = test_gone_after_the_dot = None


class Workers(Case, test_wire.Workers):
    test_keeper_killed_in_mid_job = test_gpg_killed_in_mid_job = test_dead_agent = None


if __name__ == "__main__":
    unittest.main()
