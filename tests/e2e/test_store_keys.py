"""The store's keys of an account: wrapped to its own OpenPGP key, and nothing of its mail opens without that key."""
import glob
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import unittest

import corpus
import harness
from harness import ALICE, BOB, Gpg, wait_for
from imap_harness import Case
from test_imap_constant import FACTS, rows_of
from test_imap_first import VERDICT, from_bob
import test_imap_locked
from test_imap_locked import LOCKED, PASSPHRASE, set_agent
from twin import encrypted

UNAVAILABLE = rb"^NO \[UNAVAILABLE\]"


class Keys(Case):
    def begin_with(self, *messages, **options):
        self.alice().take(harness.keys().export(BOB))
        self.begin(**options)
        self.server.put(*messages)

    def run_command(self, *words, proxy=None, status=0, data=None):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", (proxy or self.proxy).config], input=data,
                              capture_output=True, check=False, timeout=60, start_new_session=True)
        text = done.stdout.decode() + done.stderr.decode()
        self.assertEqual(done.returncode, status, text)
        return text

    def checked(self, proxy=None):
        """What `check` says of the store's keys of Alice."""
        done = subprocess.run([harness.PRIVYSEAL, "check", "--offline", "--config", (proxy or self.proxy).config],
                              capture_output=True, check=False, timeout=60, start_new_session=True)
        line, = [line for line in done.stdout.decode().splitlines()
                 if ALICE in line and ("the store" in line or "nothing is kept" in line)]
        return line

    def wrapped(self, times=1, proxy=None):
        log = (proxy or self.proxy).log
        wait_for(lambda: log().count(": wrapped to the OpenPGP key") >= times, "keys that are wrapped")
        return log().count(": wrapped to the OpenPGP key")

    def row(self, proxy=None):
        """How the keys lie in the file: the kind and the bytes. Only while no vault runs."""
        path = os.path.join((proxy or self.proxy).state, "store", "durable.sqlite")
        with sqlite3.connect("file:%s?immutable=1" % path, uri=True) as database:
            return database.execute("SELECT wrap, wrapped FROM account").fetchone()

    def store_bytes(self):
        found = b""
        for path in glob.glob(os.path.join(self.proxy.state, "store", "*sqlite*")):
            with open(path, "rb") as file:
                found += file.read()
        return found

    def views(self, proxy=None):
        raw = self.raw(port=(proxy or self.proxy).imap_port)
        raw.ok("SELECT INBOX")
        return rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])"))

    def twin_proxy(self, home):
        """Another proxy with a copy of all that this one has kept, and another GnuPG home."""
        other = harness.Proxy(self, None, rules=harness.TRUSTING, imap=self.server, start=False)
        shutil.copytree(self.proxy.state, other.state,
                        ignore=lambda folder, _: ["vault"] if folder.endswith("run") else [])
        with open(other.config, "w", encoding="utf-8") as file:
            file.write(other.text.replace(self.alice().home, home.home))
        return other


class Copied(Keys):
    def test_a_copy_of_the_folder_opens_nothing(self):
        """With the 0600 file, and without the key: neither read nor harmed; who has the key reads on."""
        self.begin_with(encrypted(from_bob("secret")), from_bob("plain"))
        first = self.views()
        self.wrapped()
        self.assertIn("wrapped to the own key", self.checked())
        self.proxy.stop()
        self.assertEqual(self.row()[0], 3)
        self.assertIn(b"BEGIN PGP MESSAGE", self.row()[1])
        thief = Gpg(os.path.join(self.folder, "t"))
        self.add(thief.close)
        thief.make(ALICE)
        thief.run("--import-ownertrust", data=(thief.fingerprint(ALICE) + ":6:\n").encode())
        copy = self.twin_proxy(thief)
        self.assertTrue(os.path.exists(os.path.join(copy.state, "store", "key")))
        line = self.checked(copy)
        self.assertIn("BAD", line)
        self.assertIn("the store is locked", line)
        self.assertIn(self.alice().fingerprint(ALICE), line)
        self.assertIn("store clear --all", line)
        self.assertIn(ALICE, self.run_command("store", "show", proxy=copy))
        self.assertNotIn(corpus.CANARY.decode(),
                         self.run_command("open", proxy=copy, data=self.server.mail()[0][1], status=1))
        copy.start()
        raw = self.raw(port=copy.imap_port)
        raw.ok("SELECT INBOX")
        for _ in range(2):
            rows, said = raw.command("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")
            self.assertRegex(said, UNAVAILABLE)
            self.assertEqual(list(rows_of(row for row in rows if b"BODY" in row)), [2])
            self.assertNotIn(first[1], b"".join(rows))
            self.assertRegex(raw.command("SEARCH BODY " + corpus.WORD)[1], UNAVAILABLE)
        wait_for(lambda: "does not open them" in copy.log(), "words about it")
        self.assertIn("store clear --all", copy.log())
        raw.close()
        copy.stop()
        self.assertEqual(self.row(copy), self.row())
        # The key comes back: all is as it was.
        self.proxy.start()
        self.assertEqual(self.views(), first)
        self.proxy.stop()
        # A fresh start, which only a person orders.
        self.run_command("store", "clear", "--all", "--yes", proxy=copy)
        copy.start()
        after = self.views(copy)
        self.assertIn(b"encryption=failed", VERDICT.search(after[1]).group(0))
        self.wrapped(proxy=copy)
        self.assertIn("wrapped to the own key " + thief.fingerprint(ALICE), self.checked(copy))
        copy.stop()
        self.proxy.start()

    def test_no_old_form_is_left(self):
        """What lay sealed under the file's key is gone when it is wrapped."""
        home = self.alice()
        trust = home.run("--export-ownertrust").stdout
        home.run("--import-ownertrust", data=trust.replace(b":6:", b":2:"))
        self.begin_with(encrypted(from_bob("secret")))
        first = self.views()
        self.assertIn("make an own key", self.checked())
        self.proxy.stop()
        kind, sealed = self.row()
        self.assertEqual(kind, 1)
        self.assertIn(sealed, self.store_bytes())
        home.run("--import-ownertrust", data=trust)
        self.proxy.start()
        self.assertEqual(self.views(), first)
        self.wrapped()
        wait_for(lambda: sealed not in self.store_bytes(), "the end of the old form")
        self.proxy.stop()
        self.assertNotIn(sealed, self.store_bytes())
        self.proxy.start()
        self.assertEqual(self.views(), first)

    def test_another_subkey(self):
        """When the key that others encrypt to is another one, the keys are wrapped to that."""
        self.begin_with(encrypted(from_bob("secret")))
        first = self.views()
        self.wrapped()
        self.proxy.stop()
        before = self.alice().key_ids_of(self.row()[1])
        self.proxy.start()
        self.assertEqual(self.views(), first)
        self.alice().run("--passphrase", "", "--pinentry-mode", "loopback", "--quick-add-key",
                         self.alice().fingerprint(ALICE), "cv25519", "encr", "0")
        self.assertEqual(self.views(), first)
        self.wrapped(2)
        self.proxy.stop()
        self.assertTrue(self.alice().key_ids_of(self.row()[1]) - before)
        self.proxy.start()
        self.assertEqual(self.views(), first)

    def test_vault_killed(self):
        """Within a session: nobody notices, and no byte changes."""
        self.begin_with(encrypted(from_bob("one")), from_bob("plain"), encrypted(from_bob("two")))
        first = self.views()
        self.wrapped()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        facts = raw.ok("FETCH 1:* " + FACTS)
        vault, net = self.proxy.workers()
        for number in range(3):
            os.kill(vault, signal.SIGKILL)
            self.server.put(encrypted(from_bob("late%d" % number)))
            raw.ok("NOOP")
            self.assertEqual([row for row in raw.ok("FETCH 1:3 " + FACTS) if b"INPROGRESS" not in row], facts)
            found = [row for row in raw.ok("SEARCH BODY " + corpus.WORD) if row.startswith(b"* SEARCH")]
            self.assertEqual(found, [b"* SEARCH 1 2 3" + b"".join(b" %d" % n for n in range(4, 5 + number))])
            self.assertEqual({uid: view for uid, view in self.views().items() if uid <= 3}, first)
            vault, = wait_for(lambda old=vault: [pid for pid in self.proxy.workers() if pid not in (net, old)],
                              "another vault")

    def test_credential(self):
        """With a systemd credential no OpenPGP key is wanted; without it nothing opens."""
        folder = os.path.join(self.folder, "cred")
        os.makedirs(folder)
        with open(os.path.join(folder, "privyseal.store"), "wb") as file:
            file.write(os.urandom(48))
        self.addCleanup(os.environ.pop, "CREDENTIALS_DIRECTORY", None)
        os.environ["CREDENTIALS_DIRECTORY"] = folder
        self.begin_with(encrypted(from_bob("secret")))
        first = self.views()
        self.assertIn("sealed with the credential", self.checked())
        self.proxy.stop()
        self.assertEqual(self.row()[0], 2)
        del os.environ["CREDENTIALS_DIRECTORY"]
        self.proxy.start()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.assertRegex(raw.command("FETCH 1:* (UID BODY.PEEK[])")[1], UNAVAILABLE)
        wait_for(lambda: "sealed with a credential that is not here" in self.proxy.log(), "words about it")
        self.proxy.stop()
        os.environ["CREDENTIALS_DIRECTORY"] = folder
        self.proxy.start()
        self.assertEqual(self.views(), first)
        self.proxy.stop()
        self.assertEqual(self.row()[0], 2)
        self.proxy.start()


class Asked(Keys):
    """Alice's only key has a passphrase."""

    set_pinentry, does = test_imap_locked.Locked.set_pinentry, test_imap_locked.Locked.does
    asked, wait_for_prompt = test_imap_locked.Locked.asked, test_imap_locked.Locked.wait_for_prompt

    def begin_locked(self, does):
        home = self.alice()
        set_agent(home)
        home.run("--yes", "--delete-secret-and-public-key", home.fingerprint(ALICE))
        secret = ["--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
        home.run(*secret, "--quick-gen-key", "<%s>" % LOCKED, "ed25519", "default", "0")
        home.run(*secret, "--quick-add-key", home.fingerprint(LOCKED), "cv25519", "encr", "0")
        to = home.fingerprint(LOCKED)
        # The address is not Alice's first: other tests encrypt to that.
        harness.keys().take(home.export(LOCKED))
        self.set_pinentry(home)
        self.does(does)
        self.begin_with(encrypted(from_bob("m1"), to=to), from_bob("m2"), encrypted(from_bob("m3"), to=to),
                        account='    also = { "%s" }' % LOCKED)

    def forget(self):
        """The agent begins anew and knows no passphrase."""
        self.proxy.stop()
        self.alice().close()
        self.proxy.start()

    def test_locked_at_the_start(self):
        """One prompt for mail and store; until it is answered plain mail is read, and then all of it, without a new
        login."""
        self.begin_locked("open")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        first = self.views()
        self.wrapped()
        self.assertEqual(len(self.asked()), 1)
        self.does("wait")
        self.forget()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: len(self.asked()) == 2, "a prompt")
        for _ in range(3):
            rows, said = raw.command("FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[])")
            self.assertRegex(said, UNAVAILABLE)
            rows = [row for row in rows if b"INPROGRESS" not in row]
            self.assertEqual([int(row.split()[1]) for row in rows], [2, 1, 3])
            self.assertIn(first[2], rows[0])
            for row in rows[1:]:
                self.assertEqual(re.sub(rb"UID \d|FLAGS \([^)]*\)", b"", row).split()[3:], [b"(", b")"])
            self.assertRegex(raw.command("SEARCH BODY " + corpus.WORD)[1], UNAVAILABLE)
        self.assertEqual(raw.ok("SEARCH ALL")[-1], b"* SEARCH 1 2 3")
        self.does("open")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        self.assertEqual(rows_of(raw.ok("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")), first)
        self.assertEqual(raw.ok("SEARCH BODY " + corpus.WORD)[-1], b"* SEARCH 1 2 3")
        self.assertEqual(self.views(), first)
        self.assertEqual(len(self.asked()), 2)
        # A vault that dies asks nobody: the agent knows the passphrase.
        os.kill(self.proxy.workers()[0], signal.SIGKILL)
        self.assertEqual(self.views(), first)
        self.assertEqual(len(self.asked()), 2)

    def test_declined(self):
        """Nothing is wrapped while the key is locked, and nothing is asked twice; what is wrapped stays so."""
        self.begin_locked("cancel")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        self.wait_for_prompt()
        wait_for(lambda: "unlocking the keys of" in self.proxy.log(), "the end of the prompt")
        self.assertRegex(raw.command("FETCH 1 (BODY.PEEK[])")[1], UNAVAILABLE)
        self.assertNotIn("wrapped to", self.proxy.log())
        self.assertIn("lie in a file", self.checked())
        raw.close()
        self.does("open")
        self.forget()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        first = self.views()
        self.wrapped()
        prompts = len(self.asked())
        self.does("cancel")
        self.forget()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: len(self.asked()) > prompts, "a prompt")
        for _ in range(3):
            self.assertRegex(raw.command("FETCH 1 (BODY.PEEK[])")[1], UNAVAILABLE)
        self.assertEqual(len(self.asked()), prompts + 1)
        self.assertIn("wrapped to the own key", self.checked())
        self.does("open")
        self.forget()
        wait_for(lambda: self.raw().command("SELECT INBOX")[1].startswith(b"OK"), "a session")
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the key")
        self.assertEqual(self.views(), first)


if __name__ == "__main__":
    unittest.main()
