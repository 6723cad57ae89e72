"""Mail programs that read and file mail over IMAP: curl, mbsync, neomutt, offlineimap.

Each is given a port on loopback and logs in as Alice; a program that does not succeed raises AssertionError with what
it said. (Python's imaplib is in harness.py.)
"""
import os
import subprocess

LIMIT_S = 120


def run(*command, folder=None, **options):
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False, cwd=folder, **options)
    if done.returncode != 0:
        said = (done.stdout[-2000:] + done.stderr[-2000:]).decode(errors="replace")
        raise AssertionError("%s ended with %d: %s" % (command[0], done.returncode, said))
    return done.stdout


class Curl:
    def __init__(self, folder, port):
        self.folder, self.url = folder, "imap://127.0.0.1:%d/" % port

    def __call__(self, what, *options):
        return run("curl", "--silent", "--show-error", "--user", "alice:secret", *options, self.url + what)

    def save(self, message, mailbox="INBOX"):
        path = os.path.join(self.folder, "upload.eml")
        with open(path, "wb") as file:
            file.write(message)
        return self(mailbox, "--upload-file", path)


def maildir(folder):
    """Paths of the messages below a folder of maildirs."""
    return sorted(os.path.join(root, name) for root, _, names in os.walk(folder) for name in names
                  if os.path.basename(root) in ("cur", "new"))


MBSYNC = """
IMAPAccount a
Host 127.0.0.1
Port %(port)d
User alice
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account a

MaildirStore near
Path %(folder)s/
Inbox %(folder)s/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
Sync All
CopyArrivalDate yes
SyncState *
"""


class Mbsync:
    """Two ways, all mailboxes."""

    def __init__(self, folder, port):
        self.folder = os.path.join(folder, "mbsync")
        os.makedirs(self.folder)
        self.config = self.folder + "rc"
        with open(self.config, "w", encoding="ascii") as file:
            file.write(MBSYNC % {"port": port, "folder": self.folder})

    def sync(self):
        run("mbsync", "--config", self.config, "--all")

    def local(self, mailbox):
        return maildir(os.path.join(self.folder, mailbox))

    def put(self, message, mailbox="INBOX"):
        with open(os.path.join(self.folder, mailbox, "new", "1.local"), "wb") as file:
            file.write(message.replace(b"\r\n", b"\n"))


OFFLINEIMAP = """
[general]
metadata = %(folder)s/state
accounts = a
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %(folder)s/mail
[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = %(port)d
remoteuser = alice
remotepass = secret
auth_mechanisms = PLAIN
ssl = no
starttls = no
"""


class OfflineImap:
    def __init__(self, folder, port):
        self.folder = os.path.join(folder, "offlineimap")
        os.makedirs(self.folder)
        self.config = self.folder + "rc"
        with open(self.config, "w", encoding="ascii") as file:
            file.write(OFFLINEIMAP % {"port": port, "folder": self.folder})

    def sync(self):
        run("offlineimap", "-c", self.config, "-o", "-u", "quiet", env=dict(os.environ, HOME=self.folder))

    def local(self, mailbox):
        return maildir(os.path.join(self.folder, "mail", mailbox))


def neomutt(folder, port, keys, certificate=""):
    """Opens INBOX on a terminal of its own, under TLS if it is offered, and types. READ in the keys pipes the message
    away; what was read comes back."""
    rc, read = os.path.join(folder, "neomuttrc"), os.path.join(folder, "neomutt.read")
    with open(rc, "w", encoding="ascii") as file:
        file.write("\n".join(["set imap_user=alice", "set imap_pass=secret", "set ssl_force_tls=no",
                              "set folder=imap://127.0.0.1:%d/" % port, "set header_cache=", "set message_cachedir=",
                              "set wait_key=no", "set confirmappend=no", "set delete=yes", "set quit=yes",
                              "set pager_stop", "set certificate_file=" + certificate, ""]))
    command = "neomutt -n -F %s -f imap://127.0.0.1:%d/INBOX -e 'push \"%s\"'" % (
        rc, port, keys.replace("READ", "<pipe-message>tee %s<enter>" % read))
    run("script", "--quiet", "--return", "--command", command, "/dev/null", stdin=subprocess.DEVNULL,
        env=dict(os.environ, TERM="vt100", HOME=folder))
    if not os.path.exists(read):
        return b""
    with open(read, "rb") as file:
        return file.read()
