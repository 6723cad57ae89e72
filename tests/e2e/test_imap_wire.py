"""However an APPEND fails, no byte of the plain text reaches the server, and the mail program is told NO.

The canary stands in the body, in the subject and in an attachment's name; the server records every byte it is sent.
"""
import os
import signal
import subprocess
import threading
import unittest

import corpus
import harness
from harness import wait_for
from imap_harness import Case, Raw, check, imaplib, whole


class Wire(Case):
    number = 0

    def message(self):
        self.number += 1
        return corpus.html_with_attachments().replace(b"<html@", b"<%d@" % self.number)

    def append(self, message=None):
        """What the client is told: OK, NO, BAD, or "" if the connection ended."""
        try:
            # What never ends does so at a limit of bytes, which takes a busy machine its time.
            with self.proxy.imap(timeout=240) as client:
                answer = client.append("INBOX", None, None, message or self.message())
                return answer[0], answer[1][0]
        except imaplib.IMAP4.error as error:
            return "", str(error).encode()
        except OSError as error:
            return "", str(error).encode()

    def check_fault(self, *faults, is_stored=False):
        before = len(self.server.mail())
        self.server.faults(*faults)
        status, text = self.append()
        self.server.faults()
        self.assertNotEqual(status, "OK", text)
        self.assertNotIn(b"timed out", text)
        self.assertNotIn(corpus.CANARY, self.server.wire())
        if not is_stored:
            self.assertEqual(len(self.server.mail()), before)
        return status, text

    def check_health(self):
        before = len(self.server.mail())
        status, text = self.append()
        self.assertEqual(status, "OK", text)
        self.assertEqual(len(self.server.mail()), before + 1)
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.assertNotIn(corpus.CANARY, self.server.all_mail())


class Servers(Wire):
    """With a server that takes literals at once."""
    capabilities = None
    before_literal = "append"

    def begin(self, **options):
        super().begin(capabilities=self.capabilities, **options)

    def test_refused(self):
        self.begin()
        for point in (self.before_literal, "append.end"):
            for said in ("NO [OVERQUOTA] it is full", "NO no", "BAD what"):
                with self.subTest(point=point, said=said):
                    _, text = self.check_fault("%s:*=%s" % (point, said), is_stored=point == "append.end")
                    if said.startswith("NO [") and point != "append.end":
                        self.assertIn(b"OVERQUOTA", text)
        self.check_health()

    def test_cut(self):
        self.begin()
        for fault in ("append:*=cut", self.before_literal + ":*=cut", "append.end:*=cut", "append:*=late",
                      "append:*=bye", self.before_literal + ":*=bye", "body:0=cut", "body:1=cut",
                      "body:700=cut", "body:2000=cut", "login:*=cut", "greeting:*=cut", "connect:*=cut"):
            with self.subTest(fault=fault):
                self.check_fault(fault, is_stored=fault in ("append.end:*=cut", "append:*=late"))
        self.check_health()

    def test_stalled(self):
        self.begin(timeout_percent=1)
        for fault in ("append:*=stall", self.before_literal + ":*=stall", "append.end:*=stall",
                      "body:700=stall"):
            with self.subTest(fault=fault):
                self.check_fault(fault, is_stored=fault == "append.end:*=stall")
        self.check_health()

    def test_lies(self):
        self.begin()
        for fault in (self.before_literal + ":*=garbage", self.before_literal + ":*=endless", "append:*=garbage",
                      "append:*=endless", "append:*=only P9999 OK done\\r\\n"):
            with self.subTest(fault=fault):
                self.check_fault(fault, is_stored=True)
        # A continuation that nobody asked for lets nothing out that is not sealed.
        for fault in ("append:*=raw + go on\\r\\n", self.before_literal + ":*=raw + go on\\r\\n+ go on\\r\\n",
                      "append:*=* 5 EXISTS"):
            self.server.faults(fault)
            self.append()
            self.assertNotIn(corpus.CANARY, self.server.wire())
        self.server.faults()
        self.check_health()

    def test_starttls(self):
        self.begin(tls="starttls")
        for fault in ("starttls:*=BAD no", "starttls:*=NO no", "starttls:*=cut", "starttls:*=garbage",
                      "starttls:*=endless", "offer:*=-STARTTLS", "offer:*=-STARTTLS -LOGINDISABLED +AUTH=PLAIN"):
            with self.subTest(fault=fault):
                before = len(self.server.wire())
                self.server.faults(fault)
                status, _ = self.append()
                self.server.faults()
                self.assertNotEqual(status, "OK")
                self.assertNotIn(b"secret", self.server.wire()[before:])
                self.assertNotIn(corpus.CANARY, self.server.wire())
        # What is injected in clear is thrown away.
        self.server.faults("starttls:*=inject")
        self.check_health()


class WaitingServers(Servers):
    """With one that says when a literal may come."""
    capabilities = "UIDPLUS IDLE"
    before_literal = "continue"

    def test_the_client_need_not_wait(self):
        self.begin()
        raw, message = self.raw(), self.message()
        raw.send(b"a APPEND INBOX {%d+}\r\n%s\r\nb NOOP\r\n" % (len(message), message))
        self.assertTrue(raw.answer("a")[1].startswith(b"OK"))
        self.assertTrue(raw.answer("b")[1].startswith(b"OK"))
        self.assertNotIn(corpus.CANARY, self.server.wire())


class Workers(Wire):
    def test_stopped_keeper(self):
        self.begin(options="job_timeout = 2\nkeepers = 1")
        # In a session whose login has no more to do: it would wait for the keeper first.
        with self.proxy.imap() as client:
            wait_for(lambda: "wrapped to the OpenPGP key" in self.proxy.log(), "the store's keys")
            self.assertEqual(client.append("INBOX", None, None, self.message())[0], "OK")
            pids = self.proxy.keepers()
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            self.assertEqual(client.append("INBOX", None, None, self.message())[0], "NO")
        self.assertNotIn(corpus.CANARY, self.server.wire())
        wait_for(lambda: set(pids) - set(self.proxy.keepers()), "the end of the stopped keeper")
        for pid in set(pids) & set(self.proxy.keepers()):
            os.kill(pid, signal.SIGCONT)
        self.check_health()

    def killed_in_mid_job(self, index):
        """0: the keeper, 1: its gpg."""
        self.begin(options="keepers = 1")
        self.check_health()
        told, message = [], corpus.big()
        sender = threading.Thread(target=lambda: told.append(self.append(message)))
        sender.start()
        victim = wait_for(lambda: (self.gpg_at_work() or (None, None))[index], "a worker at its job")
        os.kill(victim, signal.SIGKILL)
        sender.join()
        self.assertEqual(told[0][0], "NO", told)
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
        self.killed_in_mid_job(0)

    def test_gpg_killed_in_mid_job(self):
        self.killed_in_mid_job(1)

    def test_killed_vault(self):
        self.begin()
        self.check_health()
        os.kill(self.proxy.workers()[0], signal.SIGKILL)
        status, _ = self.append()
        self.assertIn(status, ("OK", "NO", ""))
        self.assertNotIn(corpus.CANARY, self.server.wire())
        wait_for(lambda: self.append()[0] == "OK", "another vault")
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_without_a_key(self):
        """Nothing to seal to: NO, with the way out."""
        gpg = harness.Gpg(os.path.join(self.folder, "empty"))
        self.add(gpg.close)
        self._alice = gpg
        self.begin()
        status, text = self.append()
        self.assertEqual(status, "NO")
        self.assertIn(b"privyseal key make", text)
        self.assertEqual(self.server.mail(), [])
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_expired_own_key(self):
        gpg = harness.Gpg(os.path.join(self.folder, "old"))
        self.add(gpg.close)
        gpg.make(harness.ALICE, at="20200101T000000", life="1y")
        self._alice = gpg
        self.begin()
        self.check_fault()

    def test_full_disk(self):
        """The vault can write nothing: what is saved is sealed all the same, or it is refused."""
        self.begin(options="")
        self.proxy.stop()
        store = os.path.join(self.proxy.state, "store")
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "none", store], capture_output=True,
                                 check=False)
        if mounted.returncode != 0:
            self.skipTest("no disk can be made to be filled: %s" % mounted.stderr.decode().strip())
        self.addCleanup(subprocess.run, ["umount", "--lazy", store], check=True)
        self.proxy.start()
        self.check_health()
        with self.assertRaises(OSError), open(os.path.join(store, "filler"), "wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        self.append()
        self.assertNotIn(corpus.CANARY, self.server.wire())
        os.remove(os.path.join(store, "filler"))
        self.check_health()


class Clients(Wire):
    def test_gone_in_mid_literal(self):
        self.begin()
        message = self.message()
        for part in (0, 10, len(message) // 2, len(message) - 1):
            with self.subTest(part=part), Raw(self.proxy.imap_port) as raw:
                raw.login()
                raw.send(b"a APPEND INBOX {%d+}\r\n" % len(message) + message[:part])
        self.check_health()
        self.assertEqual(len(self.server.mail()), 1)

    def test_gone_after_the_literal(self):
        self.begin()
        for _ in range(3):
            message = self.message()
            with Raw(self.proxy.imap_port) as raw:
                raw.login()
                raw.send(b"a APPEND INBOX {%d+}\r\n%s\r\n" % (len(message), message))
        self.check_health()

    def test_one_of_many_fails(self):
        """MULTIAPPEND is all or nothing."""
        self.begin()
        self.server.faults("append:*=NO [OVERQUOTA] full")
        raw = self.raw()
        _, said = raw.command("APPEND INBOX", (self.message(), ""), (self.message(), ""))
        self.assertTrue(said.startswith(b"NO [OVERQUOTA]"), said)
        self.server.faults()
        self.assertEqual(self.server.mail(), [])
        _, said = raw.command("APPEND INBOX", (self.message(), " nonsense"), (self.message(), ""))
        self.assertTrue(said.startswith(b"BAD"), said)
        self.assertEqual(self.server.mail(), [])
        raw.ok("APPEND INBOX", (self.message(), ""), (self.message(), ""))
        self.assertEqual(len(self.server.mail()), 2)
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_what_cannot_be_sealed(self):
        """NUL, bare line ends, no header: NO or sealed, never plain."""
        self.begin()
        for content in (b"From: a@example.org\r\n\r\n\0" + corpus.CANARY, corpus.CANARY, b"\r\n" + corpus.CANARY,
                        b"Subject: " + corpus.CANARY + b"\n\nbare\n", b"x\r" + corpus.CANARY,
                        b"Subject: " + corpus.CANARY * 1000 + b"\r\n\r\n",
                        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 20000 + corpus.CANARY):
            with self.subTest(content=content[:40]):
                raw = self.raw()
                raw.command("APPEND INBOX", (content, ""))
                self.assertNotIn(corpus.CANARY, self.server.wire())
        self.check_health()

    def test_sigterm_in_mid_append(self):
        self.begin()
        message = self.message()
        raw = self.raw()
        raw.send(b"a APPEND INBOX {%d+}\r\n" % len(message) + message[:1000])
        self.proxy.process.terminate()
        try:
            raw.send(message[1000:] + b"\r\n")
            raw.to_the_end()
        except OSError:
            pass
        self.proxy.stop()
        self.assertNotIn(corpus.CANARY, self.server.wire())


class Sequels(Wire):
    def test_copies_stay_sealed(self):
        """COPY and MOVE carry the server's own bytes, and what is read is never written back."""
        self.begin()
        with self.imap() as client:
            check(client.append("INBOX", None, None, self.message()))
            check(client.create("Other"))
            client.select()
            whole(client, 1)
            check(client.copy("1", "Other"))
            check(client.uid("MOVE", "1", "Other"))
            client.search(None, "SUBJECT", "html")
        self.assertEqual(len(self.server.mail("Other")), 2)
        self.assertNotIn(corpus.CANARY, self.server.wire())
        self.assertNotIn(corpus.CANARY, self.server.all_mail())

    def test_search_words_of_views_stay_here(self):
        """The server is asked for a word, as it must be for its plain mail; it is never sent content."""
        self.begin()
        with self.imap() as client:
            check(client.append("INBOX", None, None, self.message()))
            client.select()
            self.assertEqual(client.search(None, "TEXT", '"sings"')[1], [b"1"])
        self.assertNotIn(corpus.CANARY, self.server.wire())


if __name__ == "__main__":
    unittest.main()
