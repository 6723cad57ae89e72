"""The life of one's own key: made with a backup, lost and recovered, renewed, rotated, revoked, deleted.

Other programs (gpg, sq) read what is written; questions are answered on a terminal.
"""
import json
import os
import re
import shutil
import stat
import subprocess
import time
import unittest

import terminal
import test_cli
from harness import Gpg, wait_for
from test_cli import MESSAGE, CommandLine, Person

FIRST, SECOND, WRONG = "through the looking glass", "queen & 100% hearts", "jabberwocky"
ALICE = "alice@example.org"


class Owner(Person):
    """A person whose secrets come by descriptor, or who sits at a terminal."""

    def run(self, *words, fds=(), **more):
        words, held = list(words), []
        for option, value in dict(fds).items():
            reading, writing = os.pipe()
            os.write(writing, value.encode() + b"\n")
            os.close(writing)
            held.append(reading)
            words += ["--" + option, str(reading)]
        try:
            return super().run(*words, pass_fds=held, **more)
        finally:
            for descriptor in held:
                os.close(descriptor)

    def at_terminal(self, *words, answers=(), status=0, on_shown=None):
        """Each answer is given when a question stands there; all that was said."""
        said, code = terminal.run([test_cli.PROGRAM, *words, "--config", self.config], answers=answers,
                                  environment={"HOME": self.folder}, on_shown=on_shown)
        if code != status:
            raise AssertionError("%s: status %d\n%s" % (words, code, said))
        return said

    @property
    def home(self):
        return os.path.join(self.folder, "s", "keys", self.address, "gnupg")

    def state(self):
        return {entry["fingerprint"]: entry for entry in self.json("key", "list")}

    def open(self, sealed, status=0):
        return self.run("open", data=sealed, status=status)[0]


class Life(CommandLine):
    def setUp(self):
        super().setUp()
        shutil.rmtree(self.alice.folder)
        self.alice = Owner(self.root, ALICE, test_cli.RULES)
        self.backup = os.path.join(self.root, "alice.backup")

    def no_agent_is_left(self):
        """gpgconf does not wait for the end of those that it ends."""
        wait_for(lambda: not test_cli.words_with(self.root), "the agents' end")

    def make(self, *words, **fds):
        return self.alice.json("key", "make", "--name", "Alice", *words,
                               fds={name.replace("_", "-"): value for name, value in fds.items()})

    def open_key(self):
        return self.make("--no-passphrase")["fingerprint"]

    def seal(self):
        return self.alice.run("seal", "--from", ALICE, "--to", ALICE, data=MESSAGE)[0]

    def stranger(self, *files):
        """Another program's home with these keys."""
        gpg = Gpg(os.path.join(self.root, "g%d" % len(os.listdir(self.root))))
        self.addCleanup(gpg.close)
        for file in files:
            gpg.take(file.encode() if isinstance(file, str) else file)
        return gpg

    def lose_home(self):
        subprocess.run(["gpgconf", "--homedir", self.alice.home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.alice.home)

    # made and recovered

    def test_a_lost_home_comes_back(self):
        """Old mail is read with what the backup brought, and the key is one's own again."""
        made = self.make("--backup", self.backup, passphrase_fd=FIRST)
        self.assertEqual(stat.S_IMODE(os.stat(self.backup).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(made["revocation"]).st_mode), 0o600)
        self.assertTrue(made["revocation"].startswith(self.alice.home + "/"))
        with open(made["revocation"], encoding="ascii") as file:
            revocation = file.read()
        # Sealed by somebody else.
        gpg = self.stranger(self.alice.key())
        sealed = gpg.run("--trust-model", "always", "--armor", "-r", made["fingerprint"], "--encrypt", data=b"old mail")
        self.lose_home()
        self.assertEqual(self.alice.json("key", "list"), [])
        with open(self.backup, encoding="utf-8") as file:
            text = file.read()
        for secret in (FIRST, "100%"):
            self.assertNotIn(secret, text)
        # Nobody is asked without a terminal; a file cannot say whose it is.
        self.assertIn("--own", self.alice.run("key", "import", self.backup, status=1)[1])
        self.assertEqual(self.alice.json("key", "list"), [])
        self.alice.at_terminal("key", "import", self.backup, answers=["no"], status=1)
        said = self.alice.at_terminal("key", "import", self.backup, answers=["yes"])
        self.assertIn("yours", said)
        entry = self.alice.state()[made["fingerprint"]]
        self.assertEqual((entry["trust"], entry["secret"]), ("own", True))
        with open(made["revocation"], encoding="ascii") as file:
            self.assertEqual(file.read(), revocation)
        self.assertEqual(stat.S_IMODE(os.stat(made["revocation"]).st_mode), 0o600)
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        done = own.run("--pinentry-mode", "loopback", "--passphrase", FIRST, "--decrypt", data=sealed.stdout)
        self.assertEqual(done.stdout, b"old mail")
        trust = own.run("--export-ownertrust").stdout.decode()
        self.assertIn(made["fingerprint"] + ":6:", trust)

    def test_others_read_the_backup(self):
        made = self.make("--backup", self.backup, "--no-passphrase", backup_passphrase_fd=SECOND)
        gpg = self.stranger()
        self.assertIn("IMPORT_RES 1", gpg.run("--import", self.backup).stderr.decode())
        self.assertIn(made["fingerprint"], gpg.run("--with-colons", "--list-secret-keys").stdout.decode())
        sign = ["--pinentry-mode", "loopback", "--clearsign", "--passphrase"]
        self.assertNotEqual(gpg.run(*sign, WRONG, data=b"x", check=False).returncode, 0)
        self.assertIn(b"BEGIN PGP SIGNATURE", gpg.run(*sign, SECOND, data=b"x").stdout)
        seen = subprocess.run(["sq", "inspect", self.backup], capture_output=True, check=True).stdout.decode()
        self.assertIn(made["fingerprint"], seen)
        self.assertEqual(seen.count("Secret key: Encrypted"), 2)
        # As many rounds as there can be, whatever the agent here is set to.
        packets = gpg.run("--list-packets", self.backup).stdout.decode()
        self.assertEqual(set(re.findall(r"protect count: (\d+)", packets)), {"65011712"})

    def test_one_passphrase_asked_at_the_terminal(self):
        said = self.alice.at_terminal("key", "make", "--backup", self.backup, answers=[FIRST, WRONG, FIRST, FIRST])
        self.assertIn("not the same", said)
        self.assertIn("revocation certificate", said)
        self.assertNotIn(FIRST, said)
        gpg = self.stranger()
        gpg.run("--import", self.backup)
        gpg.run("--pinentry-mode", "loopback", "--passphrase", FIRST, "--clearsign", data=b"x")

    def test_a_backup_that_cannot_be_written_makes_no_key(self):
        with open(self.backup, "w", encoding="ascii") as file:
            file.write("mine")
        for path in (self.backup, os.path.join(self.root, "no", "folder")):
            self.alice.run("key", "make", "--no-passphrase", "--backup", path, fds={"backup-passphrase-fd": SECOND},
                           status=1 if path == self.backup else 3)
        self.alice.run("key", "make", "--no-passphrase", "--backup", self.backup + ".2", status=1)
        self.assertEqual(self.alice.json("key", "list"), [])
        self.assertEqual(sorted(os.listdir(self.root)), ["alice", "alice.backup"])
        with open(self.backup, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_another_one_only_if_it_is_meant(self):
        first = self.open_key()
        self.assertIn("the own key %s already" % first, self.alice.run("key", "make", "--no-passphrase", status=1)[1])
        self.assertEqual(set(self.alice.state()), {first})
        self.alice.run("key", "make", "--no-passphrase", "--another")
        self.assertEqual(len(self.alice.state()), 2)

    def test_a_backup_later(self):
        fingerprint = self.open_key()
        self.alice.run("key", "backup", "--output", self.backup, fds={"passphrase-fd": SECOND})
        self.alice.run("key", "backup", "--output", self.backup, fds={"passphrase-fd": SECOND}, status=1)
        self.lose_home()
        self.alice.run("key", "import", "--own", self.backup)
        self.assertEqual(self.alice.state()[fingerprint]["trust"], "own")
        # Now it has that passphrase, and another is refused.
        said = self.alice.run("key", "backup", fds={"passphrase-fd": WRONG}, status=1)
        self.assertIn("not the passphrase", said[1])
        self.assertEqual(said[0], "")
        self.assertIn("PRIVATE KEY", self.alice.run("key", "backup", ALICE, fds={"passphrase-fd": SECOND})[0])

    def test_a_backup_does_not_overrule_what_was_said_since(self):
        """Of whom she trusts to certify, what the backup says counts only where she has said nothing."""
        people = [Owner(self.root, "%s@example.net" % name, test_cli.RULES) for name in ("bob", "carol")]
        self.make("--no-passphrase")
        bob, carol = [person.make_key() for person in people]
        for person in people:
            self.alice.run("key", "import", data=person.key())
        self.alice.run("key", "trust", bob, "full")
        self.alice.run("key", "trust", carol, "marginal")
        self.alice.run("key", "backup", "--output", self.backup, fds={"passphrase-fd": SECOND})
        self.alice.run("key", "trust", bob, "never")
        self.alice.run("key", "import", "--own", self.backup)
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        self.assertEqual(self.trusts(own), {bob: "3", carol: "4"})
        # Where nothing was said, it counts; also of keys that are not here yet.
        self.lose_home()
        self.alice.run("key", "import", "--own", self.backup)
        self.assertEqual(self.trusts(own), {bob: "5", carol: "4"})

    @staticmethod
    def trusts(gpg):
        """How far the owners of keys that are not one's own are trusted."""
        found = re.findall(r"(?m)^([0-9A-F]+):([2-5]):$", gpg.run("--export-ownertrust").stdout.decode())
        return dict(found)

    def test_damaged_backups_bring_nothing(self):
        self.make("--backup", self.backup, "--no-passphrase", backup_passphrase_fd=SECOND)
        with open(self.backup, encoding="utf-8") as file:
            text = file.read()
        self.lose_home()
        for damaged in (text[:100], text.partition("-----BEGIN PGP PRIVATE")[0], text.replace("Key: ", "Key: x")):
            self.alice.run("key", "import", "--own", data=damaged, status=1)
            self.assertEqual(self.alice.json("key", "list"), [])

    # renewed

    def test_renewed_after_it_had_expired(self):
        fingerprint = self.make("--no-passphrase", "--expires", "10d")["fingerprint"]
        soon = self.alice.run("check", "--offline")[0]
        self.assertRegex(soon, r"warning .*%s expires .*privyseal key renew" % fingerprint)
        later = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 20 * 86400))
        self.assertRegex(self.alice.run("check", "--offline", "--at", later, status=1)[0],
                         r"BAD .*%s has expired .*privyseal key renew" % fingerprint)
        renewed = self.alice.json("key", "renew", "--expires", "6m")
        self.assertAlmostEqual(renewed["expires"], time.time() + 180 * 86400, delta=100)
        entry = self.alice.state()[fingerprint]
        self.assertEqual({entry["expires"], entry["encrypt_until"], entry["sign_until"]}, {renewed["expires"]})
        self.assertNotIn("warning", re.sub(r".*(landlock|certificate).*", "", self.alice.run("check", "--offline")[0]))
        listing = self.stranger(self.alice.key()).run("--with-colons", "--list-keys").stdout.decode()
        self.assertEqual(set(re.findall(r"^[ps]ub:(?:[^:]*:){5}(\d*):", listing, re.M)), {str(renewed["expires"])})
        self.alice.run("key", "renew", "--expires", "soon", status=2)
        self.assertIn("expires never", self.alice.run("key", "renew", fingerprint, "--expires", "never")[0])

    def test_renewed_with_its_passphrase(self):
        fingerprint = self.make("--expires", "10d", passphrase_fd=FIRST)["fingerprint"]
        before = self.alice.state()[fingerprint]["expires"]
        self.assertIn("passphrase", self.alice.run("key", "renew", fds={"passphrase-fd": WRONG}, status=1)[1])
        self.assertEqual(self.alice.state()[fingerprint]["expires"], before)
        self.alice.run("key", "renew", fds={"passphrase-fd": FIRST})
        self.assertGreater(self.alice.state()[fingerprint]["expires"], before)

    # rotated

    def test_rotated(self):
        old = self.open_key()
        sealed = self.seal()
        before = self.alice.run("key", "export", old)[0]
        statement = os.path.join(self.root, "statement")
        done = self.alice.json("key", "rotate", "--statement", statement, "--backup", self.backup,
                               fds={"passphrase-fd": SECOND})
        new = done["new"]
        self.assertEqual(done["old"], old)
        entries = self.alice.state()
        self.assertEqual({entries[each]["trust"] for each in (old, new)}, {"own"})
        self.assertFalse(entries[old]["revoked"])
        self.assertEqual(entries[old]["user_id"], entries[new]["user_id"])
        self.assertGreater(entries[new]["created"], entries[old]["created"])
        why = self.alice.run("why", ALICE)[0]
        self.assertIn(new, why.replace(" ", ""))
        # What was sealed to the old one is read, and what is sealed now is sealed to the new one.
        self.assertIn("the secret text", self.alice.open(sealed))
        gpg = self.stranger(before, self.alice.run("key", "export", new)[0], self.alice.run("key", "export", old)[0])
        verified = gpg.run("--verify", statement).stderr.decode()
        self.assertEqual(set(re.findall(r"VALIDSIG ([0-9A-F]+)", verified)), {old, new})
        with open(statement, encoding="utf-8") as file:
            text = file.read().replace(" ", "")
        self.assertIn("Oldkey:" + old, text)
        self.assertIn("Newkey:" + new, text)
        # Whoever has certified the old one trusts the new one, if the old one's owner is trusted to certify.
        for each, by in ((old, new), (new, old)):
            signatures = gpg.run("--with-colons", "--check-signatures", each).stdout.decode()
            self.assertRegex(signatures, r"(?m)^sig:!:(?:[^:]*:){2}%s:" % by[-16:])
        # The backup is of the new one.
        self.assertIn(new, self.stranger().run("--status-fd", "1", "--import", self.backup).stdout.decode())

    def test_rotated_is_told_to_who_pinned_the_old_one(self):
        """The pinned key's certification makes the new one no more trusted; that it is there, `why` tells."""
        old = self.open_key()
        bob = Owner(self.root, "bob@example.org", test_cli.RULES)
        bob.run("key", "make", "--no-passphrase", "--name", "Bob")
        bob.run("key", "import", data=self.alice.run("key", "export", old)[0].encode())
        bob.run("key", "pin", "--yes", ALICE, old)
        impostor = Gpg(os.path.join(self.root, "impostor"))
        self.addCleanup(impostor.close)
        impostor.make(ALICE)
        bob.run("key", "import", data=impostor.export(ALICE))
        new = self.alice.json("key", "rotate", "--no-passphrase")["new"]

        def why():
            answer = json.loads(bob.run("why", ALICE, "--json")[0])
            return answer["key"]["fingerprint"], answer["successor"]
        self.assertEqual(why(), (old, None))
        bob.run("key", "import", "--keep-signatures", data=self.alice.run("key", "export", new)[0].encode())
        self.assertEqual(why(), (old, new))
        self.assertEqual(bob.state()[new]["trust"], "unverified")
        said = bob.run("why", ALICE)[0]
        self.assertIn("is certified by the key that you pinned", said)
        self.assertIn("privyseal key pin %s %s" % (ALICE, new), said)
        bob.run("key", "pin", "--yes", ALICE, new)
        self.assertEqual(why(), (new, None))

    def test_rotated_and_the_old_one_revoked(self):
        old = self.make(passphrase_fd=FIRST)["fingerprint"]
        gpg = self.stranger(self.alice.key())
        sealed = gpg.run("--trust-model", "always", "--armor", "-r", old, "--encrypt", data=b"old mail").stdout
        words = ["key", "rotate", "--revoke-old", "--no-passphrase"]
        self.assertIn("yes", self.alice.run(*words, fds={"old-passphrase-fd": FIRST}, status=1)[1])
        said = self.alice.run(*words, "--yes", fds={"old-passphrase-fd": WRONG}, status=1)[1]
        self.assertIn("nothing is changed", said)
        self.assertEqual([entry["revoked"] for entry in self.alice.state().values()], [False])
        done = self.alice.json(*words, "--yes", fds={"old-passphrase-fd": FIRST})
        new = done["new"]
        self.assertTrue(self.alice.state()[old]["revoked"])
        packets = gpg.run("--list-packets", data=self.alice.run("key", "export", old)[0].encode()).stdout.decode()
        self.assertIn("revocation reason 0x01 (superseded by %s)" % new, packets)
        gpg.take(self.alice.run("key", "export", new)[0].encode())
        verified = gpg.run("--verify", data=done["statement"].encode(), check=False).stderr.decode()
        self.assertEqual(set(re.findall(r"VALIDSIG ([0-9A-F]+)", verified)), {old, new})
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        read = own.run("--pinentry-mode", "loopback", "--passphrase", FIRST, "--decrypt", data=sealed)
        self.assertEqual(read.stdout, b"old mail")
        self.assertIn("privyseal key make", self.alice.run("key", "rotate", old, "--no-passphrase", status=1)[1])

    def test_a_new_key_has_the_names_of_the_account_alone(self):
        """Whoever had another address on the old key is not told by the new one that it is still theirs."""
        old = self.open_key()
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        own.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-uid", old, "Alice <alice@left.example>")
        said, _ = self.alice.run("key", "rotate", "--no-passphrase")
        self.assertIn("for other addresses than the account's are not on the new one", said)
        names = {entry["fingerprint"]: set() for entry in self.alice.json("key", "list")}
        for entry in self.alice.json("key", "list"):
            names[entry["fingerprint"]].add(entry["user_id"])
        self.assertEqual(len(names.pop(old)), 2)
        self.assertEqual(list(names.values()), [{"Alice <%s>" % ALICE}])

    def test_rotated_at_the_terminal(self):
        self.make(passphrase_fd=FIRST)
        said = self.alice.at_terminal("key", "rotate", "--revoke-old", "--no-passphrase", answers=["no"], status=1)
        self.assertIn("nothing was changed", said)
        self.assertEqual(len(self.alice.state()), 1)

    # revoked

    def test_revoked_after_asking(self):
        fingerprint = self.open_key()
        gpg = self.stranger(self.alice.key())
        self.assertIn("yes", self.alice.run("key", "revoke", status=1)[1])
        self.alice.at_terminal("key", "revoke", answers=["no"], status=1)
        self.assertFalse(self.alice.state()[fingerprint]["revoked"])
        said = self.alice.at_terminal("key", "revoke", "--reason", "compromised", answers=["yes"])
        self.assertIn("privyseal key publish", said)
        self.assertIn("privyseal key make", said)
        self.assertTrue(self.alice.state()[fingerprint]["revoked"])
        self.alice.run("seal", "--from", ALICE, "--to", ALICE, data=MESSAGE, status=1)
        exported = self.alice.run("key", "export", fingerprint)[0]
        gpg.take(exported.encode())
        self.assertRegex(gpg.run("--with-colons", "--list-keys").stdout.decode(), "(?m)^pub:r:")
        self.assertIn("reason 0x02", gpg.run("--list-packets", data=exported.encode()).stdout.decode())
        path = os.path.join(self.root, "revoked.asc")
        with open(path, "w", encoding="ascii") as file:
            file.write(exported)
        seen = subprocess.run(["sq", "inspect", path], capture_output=True, check=True).stdout.decode()
        self.assertIn("Revoked:", seen)
        self.assertIn("revoked already", self.alice.run("key", "revoke", fingerprint, "--yes", status=1)[1])
        self.assertIn("for good", self.alice.run("key", "renew", fingerprint, status=1)[1])
        # One that takes its place may have the very same name.
        self.assertNotEqual(self.open_key(), fingerprint)
        self.seal()

    def test_revoked_by_the_certificate(self):
        """The passphrase is lost, or all of the secret key; gpg takes the certificate, too."""
        made = self.make(passphrase_fd=FIRST)
        with open(made["revocation"], "rb") as file:
            gpg = self.stranger(self.alice.key(), file.read().replace(b":-----BEGIN", b"-----BEGIN"))
        self.assertRegex(gpg.run("--with-colons", "--list-keys").stdout.decode(), "(?m)^pub:r:")
        said = self.alice.run("key", "revoke", "--yes", fds={"passphrase-fd": WRONG}, status=1)[1]
        command = re.search(r"privyseal (key revoke \S+ --certificate \S+?)`", said).group(1)
        self.alice.run(*command.split(), "--yes", "--reason", "retired", status=2)
        self.alice.run("key", "revoke", made["fingerprint"], "--yes", "--certificate", self.alice.config, status=1)
        self.assertFalse(self.alice.state()[made["fingerprint"]]["revoked"])
        self.alice.run(*command.split(), "--yes")
        self.assertTrue(self.alice.state()[made["fingerprint"]]["revoked"])

    def test_one_name_revoked(self):
        fingerprint = self.open_key()
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        own.run("--pinentry-mode", "loopback", "--passphrase", "", "--quick-add-uid", fingerprint, "A <a@example.net>")
        self.assertIn("no user ID", self.alice.run("key", "revoke", "--user-id", "b@example.net", "--yes", status=1)[1])
        self.alice.run("key", "revoke", fingerprint, "--user-id", "a@example.net", status=1)
        self.alice.run("key", "revoke", fingerprint, "--user-id", "a@example.net", "--yes")
        states = {entry["address"]: entry["revoked"] for entry in self.alice.json("key", "list")}
        self.assertEqual(states, {ALICE: False, "a@example.net": True})
        self.assertIn("the last", self.alice.run("key", "revoke", "--user-id", ALICE, "--yes", status=1)[1])
        self.seal()

    def test_rotation_that_is_declined_half_way_says_what_stands(self):
        """The new key's passphrase is asked for once more for the statement, and nobody is there to give it."""
        old = self.open_key()
        with open(os.path.join(self.alice.home, "gpg-agent.conf"), "a", encoding="ascii") as file:
            file.write("max-cache-ttl 0\ndefault-cache-ttl 0\npinentry-program /bin/false\n")
        subprocess.run(["gpgconf", "--homedir", self.alice.home, "--kill", "gpg-agent"], check=True)
        statement = os.path.join(self.root, "statement")
        for words in ((), ("--backup", self.backup)):
            _, said = self.alice.run("key", "rotate", "--revoke-old", "--yes", "--statement", statement, *words,
                                     fds={"passphrase-fd": FIRST}, status=3)
            entries = self.alice.state()
            (new,) = set(entries) - {old}
            self.assertIn("The new key %s is there, and in use. The old one stays as it was, for reading; it is not "
                          "revoked\n" % new, said)
            self.assertFalse(entries[old]["revoked"])
            self.assertIn("no statement", said)
            self.assertFalse(os.path.exists(statement))
            self.assertNotIn("certify each other", said)
            self.assertIn("`privyseal key backup --output FILE %s` writes" % new if not words else
                          "backup is in %s; keep that of the old one" % self.backup, said)
            self.assertEqual(os.path.exists(self.backup), bool(words))
            self.assertIn("key delete --secret %s\n" % new, said)
            self.alice.run("key", "delete", "--secret", "--yes", new)
        self.assertIn(new, self.stranger().run("--status-fd", "1", "--import", self.backup).stdout.decode())

    def test_a_primary_key_that_is_kept_elsewhere_is_not_said_to_want_a_passphrase(self):
        fingerprint = self.open_key()
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        (grip,) = re.findall(r"(?m)^sec:(?:.*\n)(?:fpr:.*\n)grp:+([0-9A-F]+):",
                             own.run("--with-colons", "--with-keygrip", "--list-secret-keys").stdout.decode())
        os.unlink(os.path.join(self.alice.home, "private-keys-v1.d", grip + ".key"))
        for words in (("rotate", "--no-passphrase"), ("renew",), ("revoke", "--yes")):
            said = self.alice.run("key", *words, status=1)[1]
            self.assertIn("the secret part of the primary key of %s is kept elsewhere" % fingerprint, said)
            self.assertNotIn("passphrase", said)
        self.assertEqual(set(self.alice.state()), {fingerprint})

    def test_both_backups_are_needed_after_a_rotation(self):
        old = self.make("--backup", self.backup, "--no-passphrase", backup_passphrase_fd=SECOND)["fingerprint"]
        sealed = self.seal()
        said, _ = self.alice.run("key", "rotate", "--no-passphrase", "--backup", self.backup + ".2",
                                 fds={"backup-passphrase-fd": SECOND})
        self.assertIn("Keep the backup of the old key, too", said)
        (new,) = set(self.alice.state()) - {old}
        for first, second in ((".2", ""), ("", ".2")):
            self.lose_home()
            self.alice.run("key", "import", "--own", self.backup + first)
            self.alice.run("key", "import", "--own", self.backup + second)
            self.assertEqual({entry["trust"] for entry in self.alice.state().values()}, {"own"})
            self.assertEqual(self.alice.json("why", ALICE)["key"]["fingerprint"], new)
        own = Gpg(self.alice.home)
        self.addCleanup(own.close)
        done = own.run("--pinentry-mode", "loopback", "--passphrase", SECOND, "--list-packets", data=sealed.encode())
        self.assertIn("literal data packet", done.stdout.decode())

    # what is not one's own, and what goes

    def test_only_own_keys_have_a_life(self):
        bob = Person(self.root, "bob@example.org")
        his = bob.make_key()
        self.assertIn("privyseal key make", self.alice.run("key", "renew", status=1)[1])
        self.open_key()
        self.alice.run("key", "import", data=bob.key())
        for word in ("renew", "rotate", "revoke", "backup"):
            self.assertIn("not a key of your own", self.alice.run("key", word, his, status=1)[1])
            self.alice.run("key", word, his, his, status=2)

    def test_deleted_after_asking(self):
        fingerprint = self.open_key()
        said = self.alice.at_terminal("key", "delete", "--secret", fingerprint, answers=["no"], status=1)
        self.assertIn("backup", said)
        self.assertEqual(len(self.alice.state()), 1)
        self.alice.at_terminal("key", "delete", "--secret", fingerprint, answers=["yes"])
        self.assertEqual(self.alice.state(), {})


def load_tests(loader, tests, pattern):
    """Those of the base class are run where they stand."""
    del tests, pattern
    names = [name for name in loader.getTestCaseNames(Life) if name in vars(Life)]
    return unittest.TestSuite(Life(name) for name in names)


if __name__ == "__main__":
    unittest.main()
