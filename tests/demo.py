#!/usr/bin/python3
"""make demo: real mail through privyseal to the reference servers, with what the mail program saw beside what they held."""
import base64
import email
import email.message
import email.policy
import imaplib
import os
import shutil
import subprocess
import sys
import textwrap
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "e2e"))
import harness  # noqa: E402
import imap_harness  # noqa: E402
from harness import ALICE, BOB, CAROL, DAVE  # noqa: E402
from test_smime import Authority  # noqa: E402

WIDTH = 76
# She has a certificate, and no OpenPGP key.
ERIN = "erin@example.edu"


def say(text=""):
    print(text, flush=True)


def side_by_side(left_title, left, right_title, right, lines=22):
    """Two texts in two columns, or below each other where the terminal is narrow; long ones cut with a mark."""
    def column(title, text):
        rows = [title, "-" * WIDTH]
        for row in text.decode(errors="replace").splitlines():
            rows += textwrap.wrap(row, WIDTH, drop_whitespace=False) or [""]
        return rows[:lines] + (["  ... %d more lines" % (len(rows) - lines)] if len(rows) > lines else [])
    first, second = column(left_title, left), column(right_title, right)
    if shutil.get_terminal_size((2 * WIDTH + 3, 24)).columns < 2 * WIDTH + 3:
        say("\n".join([*first, "", *second, ""]))
        return
    for i in range(max(len(first), len(second))):
        say("%-*s | %s" % (WIDTH, first[i] if i < len(first) else "", second[i] if i < len(second) else ""))
    say()


def letter(subject, recipients, text):
    message = email.message.EmailMessage(policy=email.policy.SMTP)
    message["From"] = "Alice Liddell <%s>" % ALICE
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject
    message["Date"] = "Fri, 20 Nov 2026 12:00:00 +0000"
    message["Message-ID"] = "<%s@example.org>" % subject.replace(" ", "-").replace("'", "")
    message.set_content(text)
    return message


def show_sealed(server, proxy):
    say("1. Alice writes to Bob. Her mail program speaks plain SMTP to privyseal; there is a key for Bob.\n")
    message = letter("The queen's move", [BOB], "Dear Bob,\n\nmeet me at the rabbit hole at four. Nobody else must know.\n\nAlice\n")
    message.add_attachment(b"a map, in ink\n", maintype="text", subtype="x-map", filename="rabbit-hole.map")
    proxy.send(message.as_bytes(), [BOB])
    held = server.mail()[-1][1]
    side_by_side("What Alice's mail program sent", message.as_bytes(), "What the server holds", held)
    outer = email.message_from_bytes(held, policy=email.policy.default)
    plain, status = harness.keys().decrypt(outer.get_payload(1).get_payload(decode=True))
    good = [row for row in status.splitlines() if "GOODSIG" in row]
    say("Bob opens it with plain gpg (%s):\n" % (good[0] if good else "NO GOOD SIGNATURE"))
    say(textwrap.indent(plain.decode(), "    "))
    view = subprocess.run([harness.PRIVYSEAL, "open", "--config", proxy.config, "--report"], input=held, capture_output=True,
                          check=False)
    say("Alice's own key opens the copy too. privyseal open --report says:\n\n    %s\n" % view.stdout.decode().strip())


def import_certificates(proxy, authority):
    """Alice's own with its key, and Erin's; gives Erin's back."""
    erin = authority.issue(ERIN, "erin")
    for words in (("--own", *authority.issue(ALICE, "alice")), (erin[0],)):
        subprocess.run([harness.PRIVYSEAL, "key", "import", *words, "--config", proxy.config], check=True,
                       capture_output=True)
    return erin


def show_both_formats(server, proxy, authority, erin):
    say("2. Alice writes to Bob, who has an OpenPGP key, and to Erin, who has a certificate: one message, "
        "two standards.\n")
    count = len(server.mail())
    message = letter("Croquet", [BOB, ERIN], "Dear both,\n\nbring your own flamingo.\n\nAlice\n")
    proxy.send(message.as_bytes(), [BOB, ERIN])
    held = {envelope["rcpt"][0]: message for envelope, message in server.mail()[count:]}
    pgp = next(message for rcpt, message in held.items() if BOB in rcpt)
    smime = next(message for rcpt, message in held.items() if ERIN in rcpt)
    side_by_side("What the server holds for Bob", pgp, "What the server holds for Erin", smime, 14)
    inner = authority.run("cms", "-decrypt", "-recip", erin[0], "-inkey", erin[1], data=smime)
    opened = authority.run("cms", "-verify", "-CAfile", authority.certificate, data=inner)
    say("Erin opens and verifies hers with plain openssl:\n")
    say(textwrap.indent(opened.decode(), "    "))


def show_refused(proxy):
    say("3. Alice writes to Dave at a partner's, where the rule requires encryption. There is no key for Dave.\n")
    try:
        proxy.send(letter("Secret", [DAVE], "for your eyes only\n").as_bytes(), [DAVE])
        say("    it was accepted, which must not be")
        sys.exit(1)
    except harness.smtplib.SMTPRecipientsRefused as refused:
        for address, (code, text) in refused.recipients.items():
            reply = "%s: %d %s" % (address, code, text.decode())
            say(textwrap.indent(textwrap.fill(reply, WIDTH), "    ") + "\n")


def show_plain(server, proxy):
    say("4. Alice writes to a mailing list, where the rule says: never encrypt, but sign.\n")
    proxy.send(letter("Opening hours", ["all@lists.example.org"], "Dear all,\n\nthe tea party is at six.\n\nAlice\n").as_bytes(),
               ["all@lists.example.org"])
    say(textwrap.indent(server.mail()[-1][1].decode(), "    "))


def show_read(mailbox, proxy, delivered):
    say("5. Alice reads by IMAP. What stands in her mailbox is the letter to Bob, of which she gets a copy.\n")
    mailbox.put(delivered)
    with proxy.imap() as client:
        client.select("INBOX")
        view = imap_harness.whole(client, 1)
        size = imap_harness.check(client.fetch("1", "(RFC822.SIZE)"))[0].decode()
        side_by_side("What Alice's mail program sees", view, "What the server holds", mailbox.mail()[0][1], 26)
        say("Its size, as told before and as it is: %s and %d bytes\n" % (size.split()[2].rstrip(")"), len(view)))
        for word in ("RABBIT HOLE", "white rabbit"):
            found = imap_harness.check(client.search(None, "BODY", '"%s"' % word))[0].decode()
            say("SEARCH BODY \"%s\": %s" % (word, "message " + found if found else "nothing"))
    say()


def show_draft(mailbox, proxy):
    say("6. Alice saves a draft. Her mail program gets back what it saved; the server holds ciphertext.\n")
    draft = letter("An unfinished letter", [BOB], "Dear Bob,\n\nI have been thinking about\n").as_bytes()
    draft = draft.replace(b"Subject:", b"Bcc: Carol <carol@example.com>\r\nX-Mail-Program: of some kind\r\nSubject:", 1)
    with proxy.imap() as client:
        imap_harness.check(client.create("Drafts"))
        imap_harness.check(client.append("Drafts", "(\\Draft)", imaplib.Time2Internaldate(1790000000), draft))
        client.select("Drafts")
        again = imap_harness.whole(client, 1)
    side_by_side("What comes back", again, "What the server holds", mailbox.mail("Drafts")[0][1])
    say("The draft came back %s.\n" % ("byte for byte" if again == draft else "CHANGED"))
    return again == draft


def why(proxy, address):
    done = subprocess.run([harness.PRIVYSEAL, "why", "--config", proxy.config, address], capture_output=True, check=False)
    return textwrap.indent(done.stdout.decode(), "    ")


def show_found(server, mailbox, proxy):
    say("7. Carol writes to Alice. Nobody has imported her key; her mail program speaks Autocrypt. Alice reads, and answers.\n")
    key = base64.b64encode(harness.keys().run("--export", CAROL).stdout).decode()
    mailbox.put(("From: Carol <%s>\r\nTo: %s\r\nSubject: Jam tomorrow\r\nDate: Fri, 20 Nov 2026 13:00:00 +0000\r\n"
                 "Autocrypt: addr=%s; prefer-encrypt=mutual; keydata=\r\n %s\r\n\r\nWill you have some?\r\n"
                 % (CAROL, ALICE, CAROL, "\r\n ".join(textwrap.wrap(key, 72)))).encode())
    with proxy.imap() as client:
        client.select("INBOX")
        imap_harness.whole(client, 2)
    answer = letter("Jam yesterday", [CAROL], "Dear Carol,\n\nbut never jam today.\n\nAlice\n")

    def is_encrypted():
        proxy.send(answer.as_bytes(), [CAROL])
        return b"-----BEGIN PGP MESSAGE-----" in server.mail()[-1][1]
    harness.wait_for(is_encrypted, "Carol's key to be taken note of")
    side_by_side("What Alice's mail program sent", answer.as_bytes(), "What the server holds", server.mail()[-1][1], 14)
    say("privyseal why %s:\n" % CAROL)
    say(why(proxy, CAROL))


class Demo(harness.World):
    def runTest(self):
        server = harness.RefServer(self, tls="starttls")
        mailbox = imap_harness.RefImap(self, tls="starttls")
        authority = Authority(self.folder, "Demo CA")
        account = '    smime_ca = "%s"' % authority.certificate
        proxy = harness.Proxy(self, server, imap=mailbox, account=account, rules='\n'.join([
            'rule "lists" { to = "*@lists.example.org"  encrypt = never  sign = always }',
            'rule "partners" { to = "*@example.edu"  encrypt = required }',
            'rule "everyone" { encrypt = when-possible  sign = always  trust = unverified }']))
        for port, url in ((proxy.port, server.url()), (proxy.imap_port, mailbox.url())):
            say("privyseal listens at 127.0.0.1:%d and speaks to %s (STARTTLS, certificate checked)." % (port, url))
        say()
        erin = import_certificates(proxy, authority)
        show_sealed(server, proxy)
        show_both_formats(server, proxy, authority, erin)
        show_refused(proxy)
        show_plain(server, proxy)
        show_read(mailbox, proxy, server.mail()[0][1])
        self.assertTrue(show_draft(mailbox, proxy))
        show_found(server, mailbox, proxy)
        for words in (b"rabbit hole", b"flamingo", b"thinking about", b"unfinished letter",
                      b"never jam today"):
            leaks = (server.wire() + mailbox.wire()).count(words)
            say("How often \"%s\" stands in all that the servers ever received (TLS taken off): %d" %
                (words.decode(), leaks))
            self.assertEqual(leaks, 0)


if __name__ == "__main__":
    result = unittest.TextTestRunner(stream=open(os.devnull, "w", encoding="utf-8")).run(unittest.TestSuite([Demo()]))
    for _, trace in result.failures + result.errors:
        say(trace)
    sys.exit(0 if result.wasSuccessful() else 1)
