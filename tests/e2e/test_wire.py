"""Whatever fails, no byte of the plain text reaches the server, nobody gets a message twice, the client hears of it.

The canary stands in the body, in the subject and in an attachment's name. The server records every byte it is sent.
"""
import base64
import os
import signal
import smtplib
import subprocess
import threading
import unittest

import corpus
import harness
from harness import ALICE, BOB, CAROL, World, wait_for

PASSWORD_LINE = base64.b64encode(b"\0alice\0secret")
REJECTS = ("421 4.3.2 closing", "451 4.3.0 not now", "550 5.7.1 never", "garbage")
POINTS = ("banner", "ehlo", "auth", "mail", "rcpt", "data", "dot")
"""Two copies: one for To, one for Bcc."""
TWO = 'rule "all" { encrypt = required  sign = always  trust = unverified }'


def describe(error):
    """(code, text) of what smtplib raised; code 0: the connection ended."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return list(error.recipients.values())[0]
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code, error.smtp_error
    return 0, str(error).encode()


class Case(World):
    def begin(self, tls="none", timeout_percent=100, rules=harness.TRUSTING, options="", **server_options):
        self.server = harness.RefServer(self, tls=tls, **server_options)
        self.proxy = harness.Proxy(self, self.server, rules=rules, timeout_percent=timeout_percent, options=options)
        self.number = 0
        # What the server offers is asked for once, and remembered: faults are then the session's alone.
        with self.proxy.client(login=False):
            pass

    def message(self, to=BOB):
        self.number += 1
        return corpus.html_with_attachments().replace(
            b"<html@", b"<%d@" % self.number).replace(BOB.encode(), to.encode())

    def failure(self, message, recipients=(BOB,)):
        """What the client was told; None if it was told that all is well."""
        try:
            refused = self.proxy.send(message, list(recipients))
        except smtplib.SMTPException as error:
            code, text = describe(error)
            self.assertNotIn(b"timed out", text)
            return code, text
        return list(refused.values())[0] if refused else None

    def check_fault(self, *faults, may_succeed=False, may_be_delivered=False):
        """Sends under a fault; gives back what the client was told."""
        before = len(self.server.mail())
        self.server.faults(*faults)
        told = self.failure(self.message())
        self.server.faults()
        delivered = len(self.server.mail()) - before
        self.assertNotIn(corpus.CANARY, self.server.wire())
        if told is None:
            self.assertTrue(may_succeed, "the client was told that all is well")
            # A server that answers before its time has the message a moment later.
            harness.wait_for(lambda: len(self.server.mail()) - before == 1, "the message at the server")
        else:
            self.assertIn(told[0] // 100, (0, 4, 5))
            self.assertLessEqual(delivered, 1 if may_be_delivered else 0)
        return told

    def check_health(self):
        """After all that, ordinary mail goes through."""
        before = len(self.server.mail())
        self.assertIsNone(self.failure(self.message()))
        self.assertEqual(len(self.server.mail()), before + 1)
        self.assertNotIn(corpus.CANARY, self.server.wire())


class Faults(Case):
    def test_rejected(self):
        self.begin()
        for point in POINTS:
            for action in REJECTS:
                with self.subTest(point=point, action=action):
                    code, text = self.check_fault("%s:*=%s" % (point, action))
                    if point in ("mail", "rcpt", "dot") and action[:3] in ("451", "550"):
                        self.assertEqual(code, int(action[:3]))
                        self.assertIn(action[10:].encode(), text)
                    if action[:3] in ("421", "451") and point in POINTS[3:]:
                        self.assertIn(code, (0, int(action[:3]), 421, 451))
        self.check_health()

    def test_cut(self):
        self.begin()
        for point in ("connect",) + POINTS:
            with self.subTest(point=point):
                code, _ = self.check_fault("%s:*=cut" % point)
                self.assertIn(code, (0, 421, 451, 454))
        for at in (0, 1, 100, 1000, 2500):
            with self.subTest(body=at):
                code, _ = self.check_fault("body:%d=cut" % at)
                self.assertEqual(code, 451)
        self.check_health()

    def test_late(self):
        """The server has the message, but the line is cut before it says so: 451, whatever happens next."""
        self.begin()
        code, _ = self.check_fault("dot:*=late", may_be_delivered=True)
        self.assertEqual(code, 451)
        self.assertEqual(len(self.server.mail()), 1)
        self.assertIn("RFC 1047", self.proxy.log())
        self.check_health()

    def test_endless(self):
        self.begin()
        for point in POINTS + ("rset",):
            with self.subTest(point=point):
                self.check_fault("%s:*=endless" % point, may_succeed=point == "rset")
        self.check_health()

    def test_unsolicited(self):
        self.begin()
        for point in ("connect",) + POINTS:
            with self.subTest(point=point):
                self.check_fault("%s:*=unsolicited" % point, may_succeed=point in ("connect", "banner", "dot"),
                                 may_be_delivered=point == "dot")
        self.check_health()

    def test_in_mid_body(self):
        self.begin()
        for action in REJECTS + ("endless", "unsolicited"):
            with self.subTest(action=action):
                self.check_fault("body:2000=%s" % action, may_succeed=action == "unsolicited",
                                 may_be_delivered=action == "unsolicited")
        self.check_health()

    def test_refused_to_begin_anew(self):
        """A server that keeps the opened transaction and its recipients gets no copy in it: it would reach them all."""
        self.begin(rules=TWO)
        for count, fault in enumerate(("rset:1=451 4.3.0 not now", "rset:1=502 5.5.1 what"), 1):
            with self.subTest(fault=fault):
                message = self.message()
                self.server.faults(fault)
                self.assertIsNotNone(self.failure(message, [BOB, CAROL]))
                self.server.faults()
                self.assertIsNone(self.failure(message, [BOB, CAROL]))
                self.assertEqual(self.server.recipients(), [BOB] * count + [CAROL] * count)
                self.assertEqual({len(envelope["rcpt"]) for envelope, _ in self.server.mail()}, {1})

    def test_stalled(self):
        self.begin(timeout_percent=1)
        for point in POINTS:
            with self.subTest(point=point):
                code, _ = self.check_fault("%s:*=stall" % point)
                self.assertIn(code, (0, 421, 451, 454))
        self.check_fault("body:1000=stall")
        self.check_health()


class StartTls(Case):
    def check_secret(self, *faults, may_succeed=False):
        before = len(self.server.wire())
        told = self.check_fault(*faults, may_succeed=may_succeed)
        if told is not None:
            self.assertNotIn(PASSWORD_LINE, self.server.wire()[before:])
            self.assertIn(told[0], (0, 421, 451, 454))

    def test_wrong(self):
        self.begin(tls="starttls")
        for action in REJECTS + ("cut", "endless"):
            with self.subTest(action=action):
                self.check_secret("starttls:*=" + action)
        with self.subTest(action="missing"):
            self.check_secret("missing:*=it")
        self.assertNotIn(b"AUTH", self.server.wire())
        with self.subTest(action="inject"):
            self.check_secret("starttls:*=inject", may_succeed=True)
        with self.subTest(action="unsolicited"):
            self.check_secret("starttls:*=unsolicited")
        self.check_health()

    def test_stalled(self):
        self.begin(tls="starttls", timeout_percent=1)
        self.check_secret("starttls:*=stall")
        self.check_health()

    def test_implicit(self):
        self.begin(tls="implicit")
        for action in ("cut", "garbage", "550 5.0.0 no"):
            with self.subTest(action=action):
                self.check_secret("connect:*=" + action)
        self.check_health()


class Workers(Case):
    def test_stopped_keeper(self):
        self.begin(options="job_timeout = 2\nkeepers = 1")
        self.check_health()
        pid, = self.proxy.keepers()
        os.kill(pid, signal.SIGSTOP)
        code, text = self.check_fault()
        self.assertEqual(code, 451)
        self.assertIn(b"4.3.0", text)
        wait_for(lambda: pid not in self.proxy.keepers(), "the end of the stopped keeper")
        self.check_health()

    def killed_in_mid_job(self, choose):
        self.begin(options="keepers = 1")
        self.check_health()
        message = corpus.big()
        told = []
        sender = threading.Thread(target=lambda: told.append(self.failure(message)))
        sender.start()
        victim = wait_for(lambda: choose(self), "a worker at its job")
        os.kill(victim, signal.SIGKILL)
        sender.join()
        self.assertEqual(told[0][0], 451)
        self.assertIn(b"4.3.0", told[0][1])
        self.assertEqual(len(self.server.mail()), 1)
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.check_health()

    def gpg_at_work(self):
        for keeper in self.proxy.keepers():
            for child in harness.descendants(keeper):
                if "--encrypt" in harness.command_of(child):
                    return keeper, child
        return None

    def test_keeper_killed_in_mid_job(self):
        self.killed_in_mid_job(lambda case: (case.gpg_at_work() or (None, None))[0])

    def test_gpg_killed_in_mid_job(self):
        self.killed_in_mid_job(lambda case: (case.gpg_at_work() or (None, None))[1])

    def test_dead_agent(self):
        self.begin()
        self.check_health()
        for pid in self.proxy.children("gpg-agent"):
            os.kill(pid, signal.SIGKILL)
        self.alice().close()
        code, _ = self.check_fault()
        self.assertIn(code, (451, 550))

    def test_full_disk(self):
        """No record can be written: of two copies none leaves."""
        self.server = harness.RefServer(self)
        self.number = 0
        self.proxy = harness.Proxy(self, self.server, rules=TWO, start=False)
        store = os.path.join(self.proxy.state, "store")
        os.makedirs(store, 0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", store], capture_output=True,
                                 check=False)
        if mounted.returncode != 0:
            self.skipTest("no disk can be made to be filled: %s" % mounted.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", "--lazy", store], check=True)
        os.chmod(self.proxy.state, 0o700)
        self.proxy.start()
        # The vault makes its files first.
        shown = [harness.PRIVYSEAL, "store", "show", "--config", self.proxy.config]
        wait_for(lambda: subprocess.run(shown, capture_output=True, check=False).returncode == 0, "the store")
        filler = os.path.join(store, "filler")
        with self.assertRaises(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        message = self.message()
        code, text = self.failure(message, [BOB, CAROL])
        self.assertIn(code, (451, 452))
        self.assertIn(b"4.3.", text)
        self.assertEqual(self.server.recipients(), [])
        self.assertNotIn(corpus.CANARY, self.server.wire())
        os.remove(filler)
        self.assertIsNone(self.failure(message, [BOB, CAROL]))
        self.assertEqual(self.server.recipients(), [BOB, CAROL])

    def test_killed_vault(self):
        self.begin(rules=TWO)
        message = self.message()
        with self.proxy.client() as client:
            client.mail(ALICE)
            for address in (BOB, CAROL):
                self.assertEqual(client.rcpt(address)[0], 250)
            os.kill(self.proxy.workers()[0], signal.SIGKILL)
            code, _ = client.data(message)
        self.assertIn(code, (250, 451))
        self.assertEqual(self.server.recipients(), [BOB, CAROL] if code == 250 else [])
        wait_for(lambda: self.failure(message, [BOB, CAROL]) is None, "another vault")
        self.assertEqual(set(self.server.recipients()), {BOB, CAROL})


class Keys(Case):
    def refused(self, key):
        """A recipient whose key cannot be used, under a rule that requires encryption."""
        self.begin(rules=harness.REQUIRED)
        self.alice().take(key)
        with self.proxy.client() as client:
            client.mail(ALICE)
            code, text = client.rcpt("eve@example.net")
        self.assertEqual(code, 550)
        self.assertIn(b"5.7.5", text)
        self.assertIn(b"eve@example.net", text)
        self.assertNotIn(b"RCPT TO:<eve", self.server.wire())

    def test_expired(self):
        gpg = harness.Gpg(os.path.join(self.folder, "e"))
        self.add(gpg.close)
        gpg.make("eve@example.net", at="20200101T000000", life="1y")
        self.refused(gpg.export("eve@example.net"))

    def test_revoked(self):
        gpg = harness.Gpg(os.path.join(self.folder, "e"))
        self.add(gpg.close)
        fingerprint = gpg.make("eve@example.net")
        gpg.take(gpg.revocation(fingerprint))
        self.refused(gpg.export("eve@example.net"))

    def test_revoked_between_rcpt_and_data(self):
        """The plan is made from the ring as it is at the end of the message."""
        gpg = harness.Gpg(os.path.join(self.folder, "e"))
        self.add(gpg.close)
        fingerprint = gpg.make("eve@example.net")
        self.begin(rules=harness.REQUIRED)
        self.alice().take(gpg.export("eve@example.net"))
        with self.proxy.client() as client:
            client.mail(ALICE)
            self.assertEqual(client.rcpt("eve@example.net")[0], 250)
            gpg.take(gpg.revocation(fingerprint))
            self.alice().take(gpg.export("eve@example.net"))
            code, text = client.data(self.message("eve@example.net"))
        self.assertEqual(code, 550)
        self.assertIn(b"5.7.5", text)
        self.assertEqual(self.server.mail(), [])


class Clients(Case):
    def test_gone_in_mid_data(self):
        self.begin()
        message = self.message()
        for part in (0, 10, len(message) // 2, len(message)):
            with self.subTest(part=part), harness.Raw(self.proxy.port) as raw:
                raw.login()
                raw.begin([BOB])
                raw.send(message[:part])
        self.assertEqual(self.server.mail(), [])
        self.check_health()
        self.assertEqual(len(self.server.mail()), 1)

    def test_gone_after_the_dot(self):
        """The server is slow, the client gives up and comes again: one copy."""
        self.begin()
        message = self.message()
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.begin([BOB])
            os.kill(self.server.process.pid, signal.SIGSTOP)
            raw.send(message + b".\r\n")
            wait_for(lambda: "copy 1 of 1" in self.proxy.log(), "the sealing")
        wait_for(lambda: "client gone" in self.proxy.log(), "the proxy to notice")
        os.kill(self.server.process.pid, signal.SIGCONT)
        self.assertIsNone(self.failure(message))
        self.assertEqual(self.server.recipients(), [BOB])
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_gone_between_two_copies(self):
        """What the server began to accept is finished without the client; its retry finds everybody served."""
        self.begin(rules=TWO)
        message = self.message()
        for _ in range(3):
            with harness.Raw(self.proxy.port) as raw:
                raw.login()
                raw.begin([BOB, CAROL])
                raw.send(message + b".\r\n")
                wait_for(lambda: self.server.recipients() != [], "the first copy")
        self.assertIsNone(self.failure(message, [BOB, CAROL]))
        self.assertEqual(set(self.server.recipients()), {BOB, CAROL})

    def test_sigterm_in_mid_submission(self):
        self.begin()
        message = self.message()
        with harness.Raw(self.proxy.port) as raw:
            raw.login()
            raw.begin([BOB])
            raw.send(message[:1000])
            with harness.Raw(self.proxy.port) as idle:
                self.proxy.process.terminate()
                self.assertEqual(idle.reply()[0], 421)
            raw.send(message[1000:] + b".\r\n")
            code, _ = raw.reply()
            self.assertEqual(code, 250)
        self.proxy.stop()
        self.assertEqual(self.server.recipients(), [BOB])
        self.assertNotIn(corpus.CANARY, self.server.wire())


if __name__ == "__main__":
    unittest.main()
