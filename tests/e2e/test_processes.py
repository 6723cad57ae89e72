"""The family of processes: confined from the start, mended when one dies, gone when it is told to end."""
import contextlib
import os
import re
import signal
import subprocess
import unittest

import corpus
import harness
from harness import ALICE, BOB, World, wait_for


def status_of(pid, name):
    return re.search(r"^%s:\s*(\S+)" % name, harness.state_of(pid), re.M).group(1)


class Processes(World):
    def begin(self, **options):
        self.server = harness.RefServer(self)
        self.proxy = harness.Proxy(self, self.server, rules=harness.TRUSTING, **options)
        self.proxy.send(corpus.text(), [BOB])

    def check_mail(self):
        """Mail goes through again, after a while at most."""
        before = len(self.server.mail())

        def is_sent():
            try:
                self.proxy.send(corpus.text(), [BOB])
            except (OSError, AssertionError):
                return False
            return True
        wait_for(is_sent, "mail to go through again")
        self.assertGreater(len(self.server.mail()), before)
        self.assertNotIn(corpus.CANARY, self.server.wire())

    def test_confined(self):
        self.begin()
        vault, net = self.proxy.workers()
        keepers = self.proxy.keepers()
        self.assertNotEqual(keepers, [])
        for pid in [vault, net] + keepers:
            with self.subTest(process=harness.command_of(pid)):
                self.assertEqual(status_of(pid, "Seccomp"), "2")
                self.assertEqual(status_of(pid, "NoNewPrivs"), "1")
                for name in ("CapInh", "CapEff", "CapPrm"):
                    self.assertEqual(int(status_of(pid, name), 16), 0)
                with open("/proc/%d/limits" % pid, encoding="ascii") as file:
                    self.assertRegex(file.read(), r"Max core file size +0 +0")
        for pid in keepers:
            self.assertEqual(status_of(pid, "Threads"), "1")

    @unittest.skipUnless(os.getuid() == 0, "needs root to look into another process")
    def test_vault_is_out_of_reach(self):
        """Where several accounts are, no keeper comes to the socket at which the vault gives commands the private keys
        of all of them; nor does a finder that may open local sockets."""
        other = 'account "%s" {\n    login = "bob"\n    smtp = "smtp://127.0.0.1:1"\n}\n' % BOB
        local = 'directory "here" {\n    url = "ldapi://%2Fnowhere"\n    base = "dc=x"\n}\n'
        self.begin(options=other + local, listen='listen smtp {\n    at = "127.0.0.1:0"\n    accounts = "%s"\n}'
                   % ALICE)
        finder = self.proxy.workers()[1]
        keepers = self.proxy.keepers()
        self.assertNotEqual(keepers, [])
        self.assertTrue(os.path.exists(os.path.join(self.proxy.state, "run", "vault")))
        for pid in keepers + [finder]:
            with self.subTest(process=harness.command_of(pid)):
                with open("/proc/%d/mountinfo" % pid, encoding="utf-8") as file:
                    hidden = [line.split()[4] for line in file if " tmpfs " in line]
                self.assertIn(os.path.join(os.path.realpath(self.proxy.state), "run"), hidden)

    @unittest.skipUnless(os.getuid() == 0, "needs root to look into another process")
    def test_descriptors(self):
        """Each has open what it needs and no more: net no file of the state, the vault and keepers no TCP socket."""
        self.begin()
        vault, net = self.proxy.workers()

        def open_files(pid):
            folder = "/proc/%d/fd" % pid
            return [os.readlink(os.path.join(folder, number)) for number in os.listdir(folder)]
        with open("/proc/net/tcp", encoding="ascii") as file:
            tcp = {"socket:[%s]" % row.split()[9] for row in file.readlines()[1:]}
        self.assertTrue(any(self.proxy.state in name for name in open_files(vault)))
        self.assertFalse(any(self.proxy.state in name for name in open_files(net)))
        self.assertTrue(tcp & set(open_files(net)))
        for pid in [vault] + self.proxy.keepers():
            self.assertFalse(tcp & set(open_files(pid)))

    def check_killed(self, victims):
        for pid in victims:
            # A keeper whose net is gone may have ended by itself.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not any(pid in harness.descendants(self.proxy.process.pid)
                                 and "zombie" not in harness.state_of(pid)
                                 for pid in victims), "their end")
        self.check_mail()
        wait_for(lambda: len(self.proxy.workers()) == 2, "vault and net")

    def test_killed_net(self):
        self.begin()
        self.check_killed(self.proxy.workers()[1:])

    def test_killed_vault(self):
        self.begin()
        self.check_killed(self.proxy.workers()[:1])

    def test_killed_keepers(self):
        self.begin()
        self.check_killed(self.proxy.keepers())

    def test_killed_all_but_the_master(self):
        self.begin()
        self.check_killed(self.proxy.workers() + self.proxy.keepers())

    def test_killed_master_takes_all_with_it(self):
        self.begin()
        family = self.proxy.workers() + self.proxy.keepers()
        os.kill(self.proxy.process.pid, signal.SIGKILL)
        self.proxy.process.wait()
        for pid in family:
            wait_for(lambda pid=pid: not os.path.exists("/proc/%d" % pid) or "zombie" in harness.state_of(pid),
                     "the end of %d" % pid)
        self.proxy.process.stdout.close()
        self.proxy.start()
        self.check_mail()

    def test_agent_is_started(self):
        """Without an agent of hers in the home the master starts one, and ends it."""
        self.alice().close()
        self.begin()
        agent, = self.proxy.children("gpg-agent")
        self.check_mail()
        self.proxy.stop()
        self.assertFalse(os.path.exists("/proc/%d" % agent))

    def test_sigterm_leaves_nothing(self):
        self.begin()
        family = harness.descendants(self.proxy.process.pid)
        self.assertGreaterEqual(len(family), 3)
        with harness.Raw(self.proxy.port) as idle:
            idle.login()
            self.proxy.process.terminate()
            self.assertEqual(idle.replies_to_the_end(), [421])
        self.proxy.stop()
        self.assertEqual([pid for pid in family if os.path.exists("/proc/%d" % pid)
                          and harness.PRIVYSEAL in harness.command_of(pid)], [])
        self.assertNotIn("ended with status", self.proxy.log())

    def test_sigint_is_the_same(self):
        self.begin()
        self.proxy.process.send_signal(signal.SIGINT)
        self.proxy.stop()

    def test_state_is_private(self):
        self.begin()
        for folder, folders, files in os.walk(self.proxy.state):
            for name in folders + files:
                path = os.path.join(folder, name)
                if path != self.proxy.certificate():
                    self.assertEqual(os.lstat(path).st_mode & 0o077, 0, path)
        self.assertEqual(os.stat(self.proxy.state).st_mode & 0o777, 0o700)

    def test_no_plain_text_on_disk(self):
        self.begin()
        for folder, _, files in os.walk(self.folder):
            for name in files:
                path = os.path.join(folder, name)
                if not os.path.isfile(path):
                    continue
                with open(path, "rb") as file:
                    self.assertNotIn(corpus.CANARY, file.read(), path)

    def test_bad_configuration(self):
        """File, line, what was expected; exit 2; nothing started."""
        server = harness.RefServer(self)
        proxy = harness.Proxy(self, server, start=False)
        for line, text in (('rule "r" { encrypt = perhaps }', "perhaps"), ("frobnicate = 1", "frobnicate"),
                           ('account "%s" { smtp = "smtps://x" }' % ALICE, ALICE), ('listen smtp {', ""),
                           ('listen "smtp:x" { at = "127.0.0.1:0"  tls = perhaps }', "perhaps")):
            with self.subTest(line=line):
                with open(proxy.config, "w", encoding="utf-8") as file:
                    file.write(proxy.text + line + "\n")
                done = subprocess.run([harness.PRIVYSEAL, "serve", "--config", proxy.config], capture_output=True,
                                      timeout=30, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stdout, b"")
                message = done.stderr.decode()
                self.assertRegex(message, re.escape(proxy.config) + r":\d+: ")
                self.assertIn(text, message)
                self.assertFalse(os.path.exists(proxy.state))
        proxy.config += ".missing"
        done = subprocess.run([harness.PRIVYSEAL, "serve", "--config", proxy.config], capture_output=True, timeout=30,
                              check=False)
        self.assertEqual(done.returncode, 2)

    def test_port_in_use(self):
        self.begin()
        second = harness.Proxy(self, self.server, start=False,
                               listen='listen smtp { at = "127.0.0.1:%d" }' % self.proxy.port)
        done = subprocess.run([harness.PRIVYSEAL, "serve", "--config", second.config], capture_output=True, timeout=30,
                              check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"127.0.0.1 port %d" % self.proxy.port, done.stderr)
        self.check_mail()


if __name__ == "__main__":
    unittest.main()
