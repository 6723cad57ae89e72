"""What the tests of mail that leaves by S/MIME share: people with certificates, a proxy that knows them, and openssl,
which knows nothing of privyseal, to open what arrives."""
import datetime
import os
import re
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import corpus
import harness
from harness import ALICE, BOB
from test_smime import Authority

# With a certificate and no OpenPGP key.
ERIN, FRANK = "erin@example.net", "frank@example.net"
CURVE = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")
REQUIRED = 'rule "all" { encrypt = required  sign = always  format = { smime } }'
PASSPHRASE = "correct horse"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def der_of(content):
    """The CMS object of a message, or of one part of it."""
    return corpus.read(content).get_payload(decode=True)


class Person:
    """A certificate and its key."""

    def __init__(self, authority, address, key=("rsa:2048",), **options):
        self.authority, self.address = authority, address
        self.certificate, self.key = authority.issue(address, address.split("@")[0], key=key, **options)
        serial = authority.run("x509", "-in", self.certificate, "-noout", "-serial").decode().strip().split("=")[1]
        # As it names the certificate in every CMS object that is for it.
        self.serial = bytes.fromhex(serial)
        text = authority.run("x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256").decode()
        self.fingerprint = text.split("=")[1].strip().replace(":", "")

    def pkcs12(self):
        path = self.key.replace(".key", ".p12")
        self.authority.run("pkcs12", "-export", "-inkey", self.key, "-in", self.certificate, "-certfile",
                           self.authority.certificate, "-passout", "pass:" + PASSPHRASE, "-out", path)
        return path

    def is_named_in(self, content):
        return self.serial in der_of(content)

    def decrypt(self, content):
        return self.authority.run("cms", "-decrypt", "-recip", self.certificate, "-inkey", self.key, data=content)


def dated(person, begin, end):
    """The certificate of a person, issued for another time (days from now)."""
    old = x509.load_pem_x509_certificate(read(person.certificate))
    now = datetime.datetime.utcnow()
    made = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), old.serial_number,
                                   now + datetime.timedelta(days=begin), now + datetime.timedelta(days=end))
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    made = made.sign(serialization.load_pem_private_key(read(person.authority.key), None), hashes.SHA256())
    with open(person.certificate, "wb") as file:
        file.write(made.public_bytes(serialization.Encoding.PEM))


def revocation_list(authority, *revoked):
    """What `authority` would say of these people."""
    now, day = datetime.datetime.utcnow(), datetime.timedelta(days=1)
    issuer = x509.load_pem_x509_certificate(read(authority.certificate))
    made = x509.CertificateRevocationListBuilder(issuer.subject, now - day, now + day)
    for person in revoked:
        made = made.add_revoked_certificate(x509.RevokedCertificateBuilder(
            int.from_bytes(person.serial, "big"), now - day).build())
    key = serialization.load_pem_private_key(read(authority.key), None)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Case(harness.World):
    """Alice has a certificate; Bob, whose OpenPGP key she has too, Erin and Frank have theirs."""

    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder, "ca")
        self.people = {}

    def person(self, address, **options):
        if address not in self.people:
            self.people[address] = Person(self.authority, address, **options)
        return self.people[address]

    def begin(self, rules=REQUIRED, account="", others=(BOB, ERIN, FRANK), key=CURVE, start=True, imap=None,
              **options):
        self.mine = self.person(ALICE, key=key)
        self.server = harness.RefServer(self, **options.pop("server", {}))
        self.proxy = harness.Proxy(self, self.server, rules=rules, start=False, imap=imap, account=(
            '    smime_ca = "%s"\n%s' % (self.authority.certificate, account)), **options)
        self.import_mine()
        self.learn(*others)
        if start:
            self.proxy.start()

    def run_command(self, *words, status=0, data=None, passphrase=None):
        read, write = os.pipe()
        if passphrase is not None:
            os.write(write, passphrase.encode() + b"\n")
            words += ("--passphrase-fd", str(read))
        os.close(write)
        try:
            done = subprocess.run([harness.PRIVYSEAL, *words, "--config", self.proxy.config], input=data,
                                  capture_output=True, check=False, timeout=60, start_new_session=True,
                                  pass_fds=(read,))
        finally:
            os.close(read)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def import_mine(self):
        self.run_command("key", "import", "--own", self.mine.pkcs12(), passphrase=PASSPHRASE)

    def learn(self, *addresses):
        paths = [self.person(address, key=CURVE).certificate for address in addresses]
        if paths:
            self.run_command("key", "import", *paths)

    def file_of(self, person):
        """Where privyseal keeps a certificate."""
        return os.path.join(self.proxy.state, "keys", ALICE, "certificates", person.fingerprint + ".pem")

    def verified(self, entity, signer=None):
        """What a signature by Alice covers, detached or not, as openssl checks it."""
        path = os.path.join(self.folder, "signer")
        fields, content = entity.split(b"\r\n\r\n", 1)
        # Which lies inside of what is encrypted, and which openssl takes without the fields before it.
        is_binary = b"Content-Transfer-Encoding: binary" in fields
        text = self.authority.run("cms", "-verify", "-CAfile", self.authority.certificate, "-signer", path,
                                  *(["-binary", "-inform", "DER"] if is_binary else []),
                                  data=content if is_binary else entity)
        with open(path, encoding="ascii") as file:
            told = self.authority.run("x509", "-noout", "-fingerprint", "-sha256", data=file.read().encode())
        self.assertIn((signer or self.mine).fingerprint, told.decode().replace(":", ""))
        return text

    def opened(self, content, person):
        """The message that lies in an encrypted and signed copy; what is around it gives nothing away."""
        self.assertNotIn(corpus.CANARY, content)
        outer = corpus.read(content)
        self.assertEqual(outer.get_content_type(), "application/pkcs7-mime")
        self.assertEqual(outer["Subject"], "[...]")
        self.assertIn(outer.get_param("smime-type"), ("enveloped-data", "authEnveloped-data"))
        signed = person.decrypt(content)
        return outer, signed, corpus.read(self.verified(signed))

    def check_sealed(self, message, content, person):
        """`content` is `message`, encrypted to `person`, signed by Alice, with its header protected."""
        outer, signed, inner = self.opened(content, person)
        self.assertNotIn(b"Privyseal", signed)
        self.assertEqual(inner.get_param("hp"), "cipher")
        hidden = dict(value.split(": ", 1) for value in corpus.unfolded(inner, "HP-Outer"))
        self.assertEqual(hidden["Subject"], "[...]")
        for name in ("From", "To", "Date", "Message-ID"):
            self.assertEqual(str(outer[name]), str(inner[name]))
        corpus.check_same(self, message, inner)
        return outer

    def check_signed(self, message, content):
        """`content` is `message` signed in clear by Alice."""
        outer, inner = corpus.read(content), corpus.read(self.verified(content))
        self.assertEqual(inner.get_param("hp"), "clear")
        self.assertEqual(str(outer["Subject"]), str(inner["Subject"]))
        corpus.check_same(self, message, inner)
        return outer

    def algorithms(self, content):
        """What openssl says of the outermost layer."""
        return self.authority.run("cms", "-cmsout", "-print", "-noout", data=content).decode()

    def arrived(self, message, recipients):
        """The copies: (set of recipients, content) of each."""
        before = len(self.server.mail())
        self.proxy.send(message, list(recipients))
        return [(frozenset(re.search(r"<([^>]*)>", word).group(1) for word in envelope["rcpt"]), content)
                for envelope, content in self.server.mail()[before:]]

