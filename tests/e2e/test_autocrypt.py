"""Autocrypt level 1: two people who did nothing but write to each other encrypt, and nobody is fooled into it twice."""
import base64
import email
import json
import os
import re
import subprocess
import time
import unittest

import harness
from harness import ALICE, BOB, CAROL, World, wait_for
from imap_harness import RefImap, check, fetched

DEFAULT_RULES = ""


def letter(sender, to, number=1, extra="", text="Hello"):
    return ("From: <%s>\r\nTo: %s\r\nSubject: letter %d\r\nMessage-ID: <%d.%s>\r\nDate: %s\r\n%s\r\n%s\r\n" % (
        sender, to, number, number, sender, email.utils.formatdate(), extra, text)).encode()


def field_of(message, name=b"Autocrypt"):
    """The values of the header's fields of this name, unfolded."""
    header = message.split(b"\r\n\r\n")[0] + b"\r\n"
    return [re.sub(rb"\r\n[ \t]", b"", value) for value in
            re.findall(rb"^%s:[ ]*((?:.*\r\n)(?:[ \t].*\r\n)*)" % name, header, re.M | re.I)]


def key_of(value):
    return base64.b64decode(re.sub(rb"\s", b"", value.split(b"keydata=")[1]))


class Person:
    """Somebody with a mail server, a key and a proxy of their own."""

    def __init__(self, world, address, account="", rules=DEFAULT_RULES, has_key=True, options=""):
        self.world, self.address = world, address
        self.home = harness.Gpg(os.path.join(world.folder, "g%d" % world.count()))
        world.add(self.home.close)
        if has_key:
            self.home.take(harness.keys().export_secret(address), own=True)
        self.smtp = harness.RefServer(world, name="s%d" % world.count())
        self.mailbox = RefImap(world, name="i%d" % world.count())
        self.proxy = harness.Proxy(world, self.smtp, imap=self.mailbox, rules=rules, account=account, options=options,
                                   start=False)
        text = self.proxy.text.replace('account "%s"' % ALICE, 'account "%s"' % address)
        text = text.replace(world.alice().home, self.home.home)
        with open(self.proxy.config, "w", encoding="utf-8") as file:
            file.write(text)
        self.proxy.start()

    def send(self, message, *to):
        """Gives what arrived at the server, by recipient."""
        before = len(self.smtp.mail())
        self.world.assertEqual(self.proxy.send(message, list(to), sender=self.address), {})
        copies = {}
        for envelope, content in self.smtp.mail()[before:]:
            for word in envelope["rcpt"]:
                copies[re.search(r"<([^>]*)>", word).group(1)] = content
        return copies

    def receive(self, *messages, mailbox="INBOX"):
        """Puts mail into the mailbox and reads all of it, as a mail program does."""
        self.mailbox.put(*messages, mailbox=mailbox)
        return self.read(mailbox)

    def read(self, mailbox="INBOX"):
        with self.proxy.imap() as client:
            check(client.select(mailbox))
            return [literals[0] for _, _, literals in fetched(client, "1:*", "(BODY.PEEK[])")]


def is_encrypted(message):
    return b"-----BEGIN PGP MESSAGE" in message


class Case(World):
    def encrypted(self, sender, to):
        """A copy for `to`, if it left encrypted. What mail told is kept while it is shown: nobody waits for that."""
        copy = sender.send(letter(sender.address, to, 2, text="secret of " + sender.address.split("@")[0]), to)[to]
        return copy if is_encrypted(copy) else None


class Exchange(Case):
    def test_from_clear_to_encrypted_both_ways(self):
        """Neither has the other's key, and no command is given."""
        alice, bob = Person(self, ALICE), Person(self, BOB)
        first = alice.send(letter(ALICE, BOB), BOB)[BOB]
        self.assertFalse(is_encrypted(first))
        [value] = field_of(first)
        self.assertIn(b"addr=" + ALICE.encode() + b";", value)
        self.assertIn(b"prefer-encrypt=mutual;", value)
        bob.receive(first)
        answer = wait_for(lambda: self.encrypted(bob, ALICE), "Bob's proxy to have taken note")
        self.assertEqual(len(field_of(answer)), 1)
        [shown] = alice.receive(answer)
        self.assertIn(b"secret of bob", shown)
        self.assertIn(b"encryption=openpgp", shown)
        second = wait_for(lambda: self.encrypted(alice, BOB), "Alice's proxy to have taken note")
        shown = bob.receive(second)[-1]
        self.assertIn(b"secret of alice", shown)


class Found(Case):
    """`key find` tells what mail has told, and neither asks anybody nor imports for that."""

    def find(self, person, *words, status=0):
        done = subprocess.run([harness.PRIVYSEAL, "key", "find", BOB, *words, "--config", person.proxy.config],
                              capture_output=True, check=False, timeout=60)
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        return done.stdout.decode()

    def heard(self, alice, message):
        alice.receive(message)
        why = [harness.PRIVYSEAL, "key", "find", BOB, "--json", "--config", alice.proxy.config]
        wait_for(lambda: subprocess.run(why, capture_output=True, check=False).returncode == 0, "the vault to know")
        return json.loads(self.find(alice, "--json"))

    def test_what_the_record_has(self):
        alice, bob = Person(self, ALICE), Person(self, BOB)
        fingerprint = harness.keys().fingerprint(BOB)
        self.assertEqual(self.find(alice, status=2), "")
        [row] = self.heard(alice, bob.send(letter(BOB, ALICE), ALICE)[ALICE])
        self.assertLess(abs(row.pop("heard") - time.time()), 600)
        self.assertRegex(row.pop("reason"), r"^last sent \d{4}-\d\d-\d\d.*; they prefer encryption: used where")
        self.assertEqual(row, {"source": "autocrypt", "directory": "", "state": "found", "kind": "OpenPGP",
                               "trust": "seen", "until": "", "name": fingerprint})
        [_, line] = self.find(alice).splitlines()
        self.assertRegex(line, r"^autocrypt +found +OpenPGP +seen +%s +last sent .*they prefer" % fingerprint)
        self.assertNotIn(fingerprint.encode(), alice.home.run("--list-keys").stdout)
        with open(alice.proxy.config, encoding="utf-8") as file:
            text = file.read()
        with open(alice.proxy.config, "w", encoding="utf-8") as file:
            file.write(text + 'sources = { wkd, autocrypt }\nwkd { domains = "elsewhere.example" }\n')
        rows = json.loads(self.find(alice, "--json"))
        self.assertEqual([(row["source"], row["state"]) for row in rows],
                         [("autocrypt", "found"), ("wkd", "not asked")])
        # Who does not listen to mail is not told of it.
        with open(alice.proxy.config, "w", encoding="utf-8") as file:
            file.write(text + 'sources = { wkd }\nwkd { domains = "elsewhere.example" }\n')
        self.assertEqual([row["source"] for row in json.loads(self.find(alice, "--json", status=1))], ["wkd"])

    def test_gossip(self):
        """Others' word of her key, and none of her own."""
        alice = Person(self, ALICE)
        carol = Person(self, CAROL, rules='rule "all" { encrypt = required  sign = always  trust = unverified }')
        carol.home.take(harness.keys().export(ALICE))
        carol.home.take(harness.keys().export(BOB))
        message = carol.send(letter(CAROL, "%s, %s" % (ALICE, BOB)), ALICE, BOB)[ALICE]
        [row] = self.heard(alice, message)
        self.assertEqual((row["source"], row["trust"], row["name"]),
                         ("gossip", "seen", harness.keys().fingerprint(BOB)))
        self.assertIn("in others' mail of", row["reason"])


class Rotated(Case):
    """A new own key reaches those who have the old one with her next mail, and takes no stronger word's place."""

    def command(self, person, *words):
        done = subprocess.run([harness.PRIVYSEAL, *words, "--config", person.proxy.config], capture_output=True,
                              check=False, timeout=60, start_new_session=True)
        self.assertEqual(done.returncode, 0, (words, done.stderr))
        return done.stdout.decode()

    def sealed_to(self, sender, to, home):
        """To which of her own keys (fingerprint) mail of the sender is sealed, and that mail."""
        copy = wait_for(lambda: self.encrypted(sender, to), "the key of " + to)
        ids = home.key_ids_of(copy[copy.index(b"-----BEGIN PGP"):])
        listing = home.run("--with-colons", "--list-secret-keys").stdout.decode()
        for block in listing.split("sec:")[1:]:
            if set(re.findall(r"^ssb:(?:[^:]*:){3}([0-9A-F]+):", block, re.M)) & ids:
                return re.search(r"^fpr:+([0-9A-F]+):", block, re.M).group(1), copy
        raise AssertionError(ids)

    def test_both_kinds_of_correspondents_get_the_new_key(self):
        alice, bob, carol = [Person(self, address) for address in (ALICE, BOB, CAROL)]
        old = alice.home.fingerprint(ALICE)
        carol.home.take(alice.home.export(old))
        self.command(carol, "key", "pin", "--yes", ALICE, old)
        first = alice.send(letter(ALICE, "%s, %s" % (BOB, CAROL)), BOB, CAROL)
        for person in (bob, carol):
            person.receive(first[person.address])
            self.assertEqual(self.sealed_to(person, ALICE, alice.home)[0], old)
        new = json.loads(self.command(alice, "key", "rotate", "--no-passphrase", "--json"))["new"]
        second = alice.send(letter(ALICE, "%s, %s" % (BOB, CAROL), 3), BOB, CAROL)
        [value] = field_of(second[BOB])
        self.assertIn(new[-16:].encode(), alice.home.run("--list-packets", data=key_of(value)).stdout)
        for person in (bob, carol):
            self.assertIn(b"letter 3", person.receive(second[person.address])[-1])
        wait_for(lambda: self.sealed_to(bob, ALICE, alice.home)[0] == new, "the new key")
        # What she pinned stays, and what is sealed to it is read; the new one is known, for when the old one is gone.
        wait_for(lambda: new in self.command(carol, "why", ALICE, "--json"), "the word of the new key")
        fingerprint, copy = self.sealed_to(carol, ALICE, alice.home)
        self.assertEqual(fingerprint, old)
        self.assertIn(b"secret of carol", alice.receive(copy)[-1])
        self.command(alice, "key", "revoke", "--yes", "--reason", "superseded", old)
        carol.home.take(alice.home.export(old))  # as key refresh has it
        fingerprint, copy = self.sealed_to(carol, ALICE, alice.home)
        self.assertEqual(fingerprint, new)
        self.assertIn(b"secret of carol", alice.receive(copy)[-1])


class Outgoing(Case):
    def test_the_words_of_the_configuration(self):
        alice = Person(self, ALICE, "autocrypt = nopreference")
        [value] = field_of(alice.send(letter(ALICE, BOB), BOB)[BOB])
        self.assertNotIn(b"prefer-encrypt", value)
        home = harness.Gpg(os.path.join(self.folder, "x"))
        self.add(home.close)
        home.take(key_of(value))
        self.assertEqual(home.fingerprint(ALICE), alice.home.fingerprint(ALICE))

    def test_off(self):
        alice = Person(self, ALICE, "autocrypt = off")
        message = letter(ALICE, BOB)
        copy = alice.send(message, BOB)[BOB]
        self.assertEqual(field_of(copy), [])
        self.assertIn(b"Hello", copy)

    def test_a_program_with_its_own(self):
        """Its field is its own business, and stays byte for byte; privyseal's would fight with it."""
        alice = Person(self, ALICE, rules='rule "all" { encrypt = never  sign = never }')
        key = base64.b64encode(harness.keys().run("--export", CAROL).stdout).decode()
        message = letter(ALICE, BOB, extra="Autocrypt: addr=%s; keydata=%s\r\n" % (ALICE, key))
        self.assertEqual(alice.send(message, BOB)[BOB], message)

    def test_gossip(self):
        """To and Cc learn each other's keys inside, and of Bcc nobody learns."""
        alice = Person(self, ALICE, rules=harness.TRUSTING)
        bob = Person(self, BOB)
        for address in (BOB, CAROL):
            alice.home.take(harness.keys().export(address))
        copies = alice.send(letter(ALICE, "%s\r\nCc: %s" % (BOB, CAROL), text="to both"), BOB, CAROL)
        self.assertTrue(is_encrypted(copies[BOB]))
        self.assertEqual(field_of(copies[BOB], b"Autocrypt-Gossip"), [])
        bob.receive(copies[BOB])
        copy = wait_for(lambda: self.reply(bob, copies[BOB]), "Bob's proxy to have heard of Carol")
        self.assertTrue(is_encrypted(copy))
        blind = alice.send(letter(ALICE, BOB, 3), BOB, CAROL)
        inner = harness.keys().run("--decrypt", data=blind[BOB][blind[BOB].index(b"-----BEGIN"):]).stdout
        self.assertNotIn(b"Autocrypt-Gossip", inner)

    def reply(self, bob, answered):
        """Bob answers all: gossip is enough for an answer to encrypted mail."""
        message = letter(BOB, "%s, %s" % (ALICE, CAROL), 4, "In-Reply-To: <1.%s>\r\n" % ALICE)
        try:
            copy = bob.send(message, ALICE, CAROL)[CAROL]
        except Exception:
            return None
        return copy if is_encrypted(copy) else None


class Incoming(Case):
    def test_junk_tells_nothing(self):
        alice, bob = Person(self, ALICE), Person(self, BOB)
        first = alice.send(letter(ALICE, BOB), BOB)[BOB]
        bob.receive(first, mailbox="Junk")
        key = base64.b64encode(harness.keys().run("--export", CAROL).stdout).decode()
        field = "Autocrypt: addr=%s; prefer-encrypt=mutual; keydata=%s\r\n" % (CAROL, key)
        bob.receive(letter(CAROL, BOB, extra=field))
        wait_for(lambda: self.encrypted(bob, CAROL), "Bob's proxy to have taken note of what is no junk")
        self.assertFalse(is_encrypted(bob.send(letter(BOB, ALICE), ALICE)[ALICE]))

    def test_a_forged_from_blocks_nobody(self):
        """A stranger tells another key in Bob's name: mail goes on, encrypted to the one or the other, and Bob's next
        mail mends it."""
        alice, bob = Person(self, ALICE), Person(self, BOB)
        genuine = bob.send(letter(BOB, ALICE), ALICE)[ALICE]
        forged = letter(BOB, ALICE, 5, "Autocrypt: addr=%s; prefer-encrypt=mutual; keydata=%s\r\n" % (
            BOB, base64.b64encode(harness.keys().run("--export", CAROL).stdout).decode()))
        alice.receive(genuine)
        wait_for(lambda: is_encrypted(alice.send(letter(ALICE, BOB), BOB)[BOB]), "Alice's proxy to have taken note")
        alice.receive(forged)
        for number in range(3):
            self.assertTrue(is_encrypted(alice.send(letter(ALICE, BOB, 6 + number), BOB)[BOB]))
        alice.receive(bob.send(letter(BOB, ALICE, 9), ALICE)[ALICE])
        ids = harness.keys().encryption_key_ids(BOB)
        wait_for(lambda: ids & keys_of(alice.send(letter(ALICE, BOB, 10), BOB)[BOB]), "Bob's own key")


def keys_of(message):
    done = harness.keys().run("--list-only", "--decrypt", data=message[message.index(b"-----BEGIN"):], check=False)
    return set(re.findall(r"ENC_TO ([0-9A-F]{16})", done.stderr.decode()))


if __name__ == "__main__":
    unittest.main()
