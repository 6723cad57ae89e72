"""A private key of S/MIME that is locked, on a token or in the store: UNAVAILABLE, and others are answered first."""
import os
import unittest

import corpus
import test_private_keys
import test_store_passphrase
from harness import wait_for
from smime_made import CBC, import_own, people, sealed, signed
from test_imap_first import VERDICT, from_bob
from test_imap_locked import set_agent
from test_imap_smime import Smime


class LockedToken(test_private_keys.Token):
    """One certificate's key is on a token whose PIN nobody gives, another's is in the store."""
    test_pin = None

    def test_others_are_answered_first(self):
        token = (self.files.path("alice.pem"), self.files.path("alice.key"))
        self.run_command("key", "import", "--token", "pkcs11:token=tests;id=%01")
        import_own(self.proxy.config, *people().alice_ec)
        self.write("pin", "999999")
        self.proxy.start()
        self.server.put(from_bob("m1"), sealed(from_bob("m2"), to=token), signed(from_bob("m3")),
                        sealed(from_bob("m4"), to=people().alice_ec), sealed(from_bob("m5"), to=token, cipher=CBC),
                        flags="(kept)")
        raw = self.raw()
        wait_for(lambda: "unlocking the keys of" in self.proxy.log(), "a PIN that is refused")
        raw.ok("SELECT INBOX")
        for items in ("UID FLAGS BODY.PEEK[]", "UID FLAGS ENVELOPE RFC822.SIZE"):
            responses, said = raw.command("FETCH 1:* (%s)" % items)
            self.assertRegex(said, rb"^NO \[UNAVAILABLE\]")
            rows = [row for row in responses if b"INPROGRESS" not in row]
            self.assertEqual([int(row.split()[1]) for row in rows], [1, 3, 4, 2, 5])
            for row in rows[3:]:
                self.assertRegex(row, rb"^\* \d FETCH \(UID \d FLAGS \(kept[^()]*\)\)$")
        self.assertRegex(raw.command("SEARCH BODY " + corpus.WORD)[1], rb"^NO \[UNAVAILABLE\]")
        self.assertEqual(self.logins(), 1)
        # It was not judged: with the right PIN it is shown as if it always had been.
        self.proxy.stop()
        self.write("pin", "123456")
        self.proxy.start()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 2 (RFC822.SIZE)")[1].startswith(b"OK"), "the token")
        rows = [row for row in raw.ok("FETCH 1:* (BODY.PEEK[])") if b"INPROGRESS" not in row]
        for row in rows[1:2] + rows[3:]:
            self.assertIn(b"encryption=smime", VERDICT.search(row).group(0))
            self.assertEqual(row.count(corpus.CANARY), 1)


class LockedStore(Smime):
    """All that is in the store, private keys too, is under a passphrase that nobody gives."""
    does, asked = test_store_passphrase.Passphrase.does, test_store_passphrase.Passphrase.asked
    says, passphrase = test_store_passphrase.Passphrase.says, test_store_passphrase.Passphrase.passphrase

    def test_others_are_answered_first(self):
        path = os.path.join(self.folder, "pinentry")
        with open(path, "w", encoding="ascii") as file:
            file.write(test_store_passphrase.PINENTRY % {"folder": self.folder})
        os.chmod(path, 0o700)
        set_agent(self.alice(has_key=False), "pinentry-program " + path)
        self.says(test_store_passphrase.FIRST)
        self.does("open")
        self.begin_with(from_bob("m1"), sealed(from_bob("m2")), from_bob("m3"), signed(from_bob("m4")))
        first = self.views()
        self.passphrase(passphrase=test_store_passphrase.FIRST)
        self.does("cancel")
        self.proxy.stop()
        self.alice().close()
        self.proxy.start()
        self.server.put(sealed(from_bob("m5"), cipher=CBC), from_bob("m6"))
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(self.asked, "a prompt")
        responses, said = raw.command("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])")
        self.assertRegex(said, rb"^NO \[UNAVAILABLE\]")
        rows = [row for row in responses if b"INPROGRESS" not in row]
        self.assertEqual([int(row.split()[1]) for row in rows], [1, 3, 6, 2, 4, 5])
        self.assertNotIn(b"BODY", b"".join(rows[3:]))
        self.assertRegex(raw.command("APPEND INBOX", (corpus.text(), ""))[1], rb"^NO \[UNAVAILABLE\]")
        self.assertNotIn(b"sings", self.server.wire())
        self.does("open")
        self.proxy.stop()
        self.proxy.start()
        raw = self.raw()
        raw.ok("SELECT INBOX")
        wait_for(lambda: raw.command("FETCH 1:* (RFC822.SIZE)")[1].startswith(b"OK"), "the keys")
        after = self.views()
        self.assertEqual({uid: after[uid] for uid in first}, first)
        self.check_verdict(after[5], signature="good", encryption="smime", integrity="ok")


if __name__ == "__main__":
    unittest.main()
