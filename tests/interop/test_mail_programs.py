#!/usr/bin/python3
"""Mail programs before a Dovecot behind privyseal: each reads, searches where it can, files and saves what is partly
plain, partly sealed by its owner, partly sealed or signed by others; what they have got they do not fetch again."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import corpus  # noqa: E402
import imap_clients  # noqa: E402
from harness import ALICE, BOB, wait_for  # noqa: E402
from imap_dovecot import DovecotCase, read  # noqa: E402
from imap_harness import check, fetched, whole  # noqa: E402
from twin import encrypted, inline, mangled, signed  # noqa: E402

PIECE = 65536
# Only ever within a ciphertext.
SECRET = "Zaunkoenig"


def from_bob(name, text):
    return corpus.lines("From: Bob <%s>\nTo: Alice <%s>\nSubject: about %s\nDate: Fri, 20 Nov 2026 12:00:00 +0000\n"
                        "Message-ID: <%s@example.net>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n"
                        "%s\n" % (BOB, ALICE, name, name, text))


def flat(name, text):
    """Without fields of MIME, so that its body can be inline PGP."""
    return re.sub(rb"(?m)^(MIME-Version|Content-Type): .*\r\n", b"", from_bob(name, text))


def contents(paths):
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found.append(file.read())
    return found


def near(message):
    """As a program that keeps mail with bare line feeds holds it, without the field that mbsync marks it with."""
    return re.sub(rb"(?m)^X-TUID: .*\n", b"", message.replace(b"\r\n", b"\n"), count=1)


class Mix(DovecotCase):
    """Dovecot holds: plain mail (1, 2), what Bob sealed or signed (3 to 8), what Alice saved (9, 10)."""

    def begin_with_mix(self, **options):
        self.begin(**options)
        hidden = "the %s sings to %%d" % SECRET
        self.server.deliver("alice", "INBOX", [
            from_bob("plain", "nothing to hide"), corpus.html_with_attachments(),
            encrypted(from_bob("sealed", hidden % 3)), encrypted(from_bob("unsigned", hidden % 4), signer=None),
            encrypted(signed(from_bob("nested", hidden % 5)), signer=None), signed(from_bob("signed", "for all")),
            inline(flat("inline", hidden % 7), "--encrypt", "--recipient", ALICE),
            mangled(from_bob("exchange", hidden % 8))])
        self.saved = [from_bob("own", hidden % 9), corpus.built("page")]
        self.saved[1].set_content("see " + hidden % 10 + "\n")
        self.saved[1].add_alternative("<p>see <b>%s</b></p>\n" % (hidden % 10), subtype="html")
        self.saved[1] = self.saved[1].as_bytes()
        talk = self.talk()
        for name in (b"Archive", b"Drafts", b"Sent"):
            talk.command(b"CREATE " + name)
        # Dovecot gives UIDs to what was delivered before it gives any to what is saved.
        talk.command(b"SELECT INBOX")
        for message in self.saved:
            talk.append("INBOX", message)
        self.assert_is_hidden()
        self.rawlog.mark()

    def assert_is_hidden(self):
        self.assertNotIn(SECRET.encode(), self.held())
        # What is searched for is asked of the server, too: it has the plain messages.
        said = [line for line in self.rawlog.commands().splitlines() if b" SEARCH " not in line]
        self.assertNotIn(SECRET.encode(), b"\n".join(said))

    def views(self, mailbox=b"INBOX"):
        rows = read(self.talk(), mailbox)
        for _, size, view in rows:
            self.assertEqual(size, len(view))
        return [view for _, _, view in rows]

    def assert_are_opened(self, views):
        numbers = [number for number, view in enumerate(views, 1) if SECRET.encode() in view]
        self.assertEqual(numbers, [3, 4, 5, 7, 8, 9, 10], self.proxy.log())

    def assert_is_sealed(self, mailbox, name):
        """Dovecot has one message of this Message-ID in a mailbox, and can read nothing in it but its outer header."""
        talk = self.talk(direct=True)
        rows = [raw for _, _, raw in read(talk, mailbox)]
        self.assertTrue(rows and b"multipart/encrypted" in rows[-1], rows[-1:])
        self.assertNotIn(name.encode(), rows[-1].split(b"BEGIN PGP MESSAGE")[1])


class Chunks(DovecotCase):
    """As Thunderbird downloads: the size, then pieces of 64 kB until it is reached."""

    def test_chunks(self):
        self.begin()
        message = from_bob("big", "").replace(b"text/plain; charset=utf-8", b"application/octet-stream\r\n"
                                              b"Content-Transfer-Encoding: base64") + b"".join(
            os.urandom(57).hex().encode()[:76] + b"\r\n" for _ in range(1 << 20 >> 6))
        self.server.deliver("alice", "INBOX", [encrypted(message)])
        self.talk().append("INBOX", message)
        for number in (1, 2):
            with self.subTest(number=number):
                self.download(number, message)
        # Nor does another session, nor one after a restart, use the private key again.
        count = self.agent.count()
        self.proxy.stop()
        self.proxy.start()
        self.rawlog.mark()
        self.download(1, message, count=count)

    def download(self, number, message, count=None):
        self.rawlog.mark()
        count = self.agent.count() + 1 if count is None else count
        talk = self.talk()
        talk.command(b"SELECT INBOX")
        untagged, _ = talk.command(b"UID FETCH %d:%d (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Subject)])"
                                   % (number, number))
        size, got = int(re.search(rb"RFC822\.SIZE (\d+)", untagged[0]).group(1)), b""
        self.assertGreater(size, 1 << 20)
        while len(got) < size:
            untagged, _ = talk.command(b"UID FETCH %d (UID RFC822.SIZE BODY.PEEK[]<%d.%d>)" % (number, len(got), PIECE))
            match = re.match(rb"\* %d FETCH \(UID %d RFC822\.SIZE (\d+) BODY\[\]<(\d+)> \{(\d+)\}\r\n" % (
                number, number), untagged[0])
            self.assertEqual((int(match.group(1)), int(match.group(2))), (size, len(got)), untagged[0][:200])
            piece = untagged[0][match.end():-3]
            self.assertEqual(len(piece), min(PIECE, size - len(got)))
            self.assertEqual(len(piece), int(match.group(3)))
            if not got:
                # From here on no keeper is there, and none is wanted.
                self.kill_keepers()
            got += piece
        self.assertEqual(self.proxy.keepers(), [])
        (_, _, whole_view), = read(talk, numbers=b"%d" % number)
        self.assertTrue(got == whole_view)
        self.assertTrue(got.endswith(message.split(b"\r\n\r\n", 1)[1]))
        self.assertEqual(self.agent.count(), count)
        self.assertEqual(self.rawlog.bodies(), 1)

    def kill_keepers(self):
        for pid in self.proxy.keepers():
            os.kill(pid, 9)
        wait_for(lambda: not self.proxy.keepers(), "the end of the keepers")


class Programs(Mix):
    def test_mbsync(self):
        self.begin_with_mix()
        mbsync = imap_clients.Mbsync(self.folder, self.proxy.imap_port)
        mbsync.sync()
        views = self.views()
        self.assertEqual(sorted(map(near, contents(mbsync.local("INBOX")))), sorted(map(near, views)))
        self.assert_are_opened(views)
        # Up: a message, a flag, a deletion. Down: a flag.
        mbsync.put(from_bob("new", "a %s from below" % SECRET))
        sealed, plain = (next(path for path in mbsync.local("INBOX") if b"about %s\n" % name in contents([path])[0])
                         for name in (b"sealed", b"plain"))
        self.flag(sealed, "F")
        self.flag(plain, "T")
        direct = self.talk(direct=True)
        direct.command(b"SELECT INBOX")
        direct.command(b"STORE 9 +FLAGS.SILENT (\\Answered)")
        direct.command(b"UNSELECT")
        self.rawlog.mark()
        mbsync.sync()
        self.assert_is_hidden()
        self.assert_is_sealed(b"INBOX", SECRET)
        self.assertEqual(len(self.views()), 10)
        self.assertIn(b"a %s from below" % SECRET.encode(), self.views()[-1])
        direct.command(b"SELECT INBOX")
        flags = b"".join(direct.command(b"UID FETCH 1:* (FLAGS)")[0])
        self.assertRegex(flags, rb"UID 3 FLAGS \([^)]*\\Flagged")
        self.assertNotIn(b"UID 1 ", flags)
        own, = [path for path in mbsync.local("INBOX") if b"about own\n" in contents([path])[0]]
        self.assertIn("R", own.rsplit(",", 1)[1])
        self.assert_second_is_empty(mbsync)
        self.assertEqual(sorted(map(near, contents(mbsync.local("INBOX")))), sorted(map(near, self.views())))

    @staticmethod
    def flag(path, letter):
        """As a program that reads Maildirs does it."""
        folder, name = os.path.split(path)
        base, letters = name.split(":2,") if ":2," in name else (name, "")
        os.rename(path, os.path.join(os.path.dirname(folder), "cur", base + ":2," + "".join(sorted(letters + letter))))

    def assert_second_is_empty(self, program):
        """Nothing is downloaded, by the program or by privyseal, also not after a restart."""
        for is_new in (False, True):
            if is_new:
                self.restart(program)
            count = self.agent.count()
            self.rawlog.mark()
            program.sync()
            self.assertNotEqual(self.rawlog.commands(), b"")
            self.assertEqual(self.rawlog.downloads(), [])
            self.assertLess(self.rawlog.received(), 6000)
            self.assertEqual(self.agent.count(), count)

    def restart(self, program):
        """The program finds the proxy at its new port."""
        port = self.proxy.imap_port
        self.proxy.stop()
        self.proxy.start()
        with open(program.config, encoding="ascii") as file:
            text = file.read()
        with open(program.config, "w", encoding="ascii") as file:
            file.write(text.replace(str(port), str(self.proxy.imap_port)))

    def test_offlineimap(self):
        self.begin_with_mix()
        program = imap_clients.OfflineImap(self.folder, self.proxy.imap_port)
        program.sync()
        # It keeps mail with bare line feeds.
        views = self.views()
        self.assertEqual(sorted(near(content) for content in contents(program.local("INBOX"))),
                         sorted(map(near, views)))
        path = os.path.join(program.folder, "mail", "INBOX", "new", "1.local")
        with open(path, "wb") as file:
            file.write(near(from_bob("new", "a %s from below" % SECRET)))
        sealed = next(path for path in program.local("INBOX") if b"about sealed\n" in contents([path])[0])
        self.flag(sealed, "F")
        program.sync()
        self.assert_is_hidden()
        self.assert_is_sealed(b"INBOX", SECRET)
        self.assertIn(b"a %s from below" % SECRET.encode(), self.views()[-1])
        direct = self.talk(direct=True)
        direct.command(b"SELECT INBOX")
        self.assertIn(b"\\Flagged", direct.command(b"UID FETCH 3 (FLAGS)")[0][0])
        self.assert_second_is_empty(program)

    def test_imaplib(self):
        self.begin_with_mix()
        with self.proxy.imap() as client:
            self.assertEqual(check(client.select()), [b"10"])
            views = [whole(client, number) for number in range(1, 11)]
            self.assertEqual(views[8:], self.saved)
            self.assert_are_opened(views)
            self.assertEqual(check(client.search(None, "BODY", SECRET)), [b"3 4 5 7 8 9 10"])
            self.assertEqual(check(client.search(None, "NOT", "TEXT", SECRET)), [b"1 2 6"])
            self.assertEqual(check(client.uid("search", None, "OR", "SUBJECT", "plain", "BODY", '"to 9"')), [b"1 9"])
            self.assertEqual(check(client.search("UTF-8", "HEADER", "Message-ID", "<inline@example.net>")), [b"7"])
            self.assertEqual(check(client.search(None, "BODY", "PGP")), [b""])
            check(client.store("3", "+FLAGS", "\\Flagged"))
            check(client.copy("3,9", "Archive"))
            check(client.uid("MOVE", "4", "Archive"))
            said = check(client.append("Drafts", "\\Draft", None, from_bob("draft", "of a " + SECRET)))
            self.assertRegex(said[0], rb"APPENDUID")
            check(client.select("Archive"))
            self.assertEqual([whole(client, number) for number in (1, 2, 3)], [views[2], views[8], views[3]])
            self.assertEqual(check(client.search(None, "FLAGGED", "BODY", SECRET)), [b"1"])
            check(client.store("1", "+FLAGS", "\\Deleted"))
            self.assertEqual(check(client.expunge()), [b"1"])
            check(client.select("Drafts"))
            self.assertEqual(whole(client, 1), from_bob("draft", "of a " + SECRET))
        self.assert_is_hidden()
        self.assert_is_sealed(b"Drafts", "draft")
        with self.proxy.imap() as client:
            client.select()
            self.rawlog.mark()
            for text in ("(UID FLAGS RFC822.SIZE INTERNALDATE)", "(ENVELOPE BODYSTRUCTURE)"):
                self.assertEqual(len(fetched(client, "1:*", text)), 9)
            self.assertEqual(self.rawlog.downloads(), [])

    def test_curl(self):
        self.begin_with_mix()
        curl = imap_clients.Curl(self.folder, self.proxy.imap_port)
        views = self.views()
        self.assert_are_opened(views)
        for number, view in enumerate(views, 1):
            self.assertEqual(curl("INBOX;UID=%d" % number), view)
            self.assertEqual(curl("INBOX;MAILINDEX=%d" % number), view)
        self.assertEqual(curl("INBOX;UID=9;SECTION=TEXT"), self.saved[0].split(b"\r\n\r\n", 1)[1])
        self.assertEqual(curl("INBOX;UID=10;SECTION=1"), b"see the %s sings to 10\r\n" % SECRET.encode())
        self.assertEqual(curl("INBOX?BODY%20" + SECRET), b"* SEARCH 3 4 5 7 8 9 10\r\n")
        self.assertEqual(curl("INBOX", "-X", "UID SEARCH NOT BODY " + SECRET), b"* SEARCH 1 2 6\r\n")
        curl.save(self.saved[0], "Drafts")
        self.assertEqual(curl("Drafts;UID=1"), self.saved[0])
        self.assertIn(b"\\Flagged", curl("INBOX", "-X", "STORE 3 +FLAGS (\\Flagged)"))
        curl("INBOX", "-X", "COPY 3 Drafts")
        self.assertEqual(curl("Drafts;UID=2"), views[2])
        self.assert_is_hidden()
        self.assert_is_sealed(b"Drafts", SECRET)

    def test_neomutt(self):
        """It reads what is sealed, limits its list by a search on the server, moves one, and postpones a draft."""
        self.begin_with_mix()
        views = self.views()
        seen = imap_clients.neomutt(
            self.folder, self.proxy.imap_port,
            "<enter-command>set postponed==Drafts abort_unmodified=no editor=true askcc=no<enter>"
            "<limit>=b nothing-like-it<enter><limit>=b %s<enter><first-entry>READ<save-message>=Archive<enter>"
            "<mail>bob@example.net<enter>my draft<enter><postpone-message><limit>all<enter><quit>" % SECRET,
            self.proxy.certificate())
        self.assertIn(b"the %s sings to 3" % SECRET.encode(), seen)
        self.assertEqual(self.views(b"Archive"), [views[2]])
        self.assertEqual(self.views(), views[:2] + views[3:])
        draft, = self.views(b"Drafts")
        self.assertIn(b"Subject: my draft\r\n", draft)
        self.assertNotIn(b"Privyseal-Verdict", draft)
        self.assert_is_hidden()
        self.assert_is_sealed(b"Drafts", "my draft")
        self.assertIn(b"SEARCH", self.rawlog.commands().upper())


class Idling(Mix):
    def test_news(self):
        """What arrives sealed while a program waits is told at once, and shown."""
        self.begin_with_mix()
        with self.proxy.imap() as client:
            client.select()
            client.send(b"x IDLE\r\n")
            self.assertTrue(client.readline().startswith(b"+"))
            self.server.deliver("alice", "INBOX", [encrypted(from_bob("news", "a late " + SECRET))])
            while b"11 EXISTS" not in client.readline():
                pass
            client.send(b"DONE\r\n")
            while not client.readline().startswith(b"x OK"):
                pass
            self.assertIn(b"a late " + SECRET.encode(), whole(client, 11))


if __name__ == "__main__":
    unittest.main()
