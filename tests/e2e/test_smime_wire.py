"""As test_wire, with mail that leaves by S/MIME: whatever fails, no byte of the plain text reaches the server."""
import os
import signal
import sys
import threading
import unittest

import corpus
import harness
from harness import ALICE, BOB, wait_for
import smime_people
from smime_people import CURVE, ERIN, FRANK, REQUIRED, dated, revocation_list
from test_smime import Authority
import test_wire

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
from test_revocation import Server  # noqa: E402

WHEN_POSSIBLE = 'rule "all" { encrypt = when-possible  sign = always  format = { smime } }'


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


class Recipients(Case):
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


class Account(Case):
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
        self.begin()
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
        """A keeper that starts later and cannot read them does nothing: without them nobody would have a certificate."""
        self.begin(options="keepers = 1", rules=WHEN_POSSIBLE)
        os.rename(self.authority.certificate, self.authority.certificate + ".old")
        for pid in self.proxy.keepers():
            os.kill(pid, signal.SIGKILL)
        self.refused(code=451, enhanced=b"4.3.0")
        os.rename(self.authority.certificate + ".old", self.authority.certificate)
        wait_for(lambda: self.failure(self.message()) is None, "a keeper")
        self.opened(self.server.mail()[0][1], self.people[BOB])


class Revocation(Case):
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
