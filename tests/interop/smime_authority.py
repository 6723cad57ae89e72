"""A certification authority of openssl's for the tests of S/MIME: a root, an issuer between, and whom a test adds."""
import base64
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
import rsa_keys  # noqa: E402

KEYS = {"rsa2048": "RSA:2048", "rsa3072": "RSA:3072", "rsa4096": "RSA:4096", "p256": "EC:P-256", "p384": "EC:P-384"}
ISSUER = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"


class Failed(Exception):
    """A tool cannot do it."""


def run(*argv, stdin=b"", check=True, **more):
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=120, **more)
    if check and done.returncode != 0:
        raise Failed("%s: %s" % (" ".join(argv), done.stderr.decode(errors="replace")[-2000:]))
    return done


class Authority:
    def __init__(self, home):
        self.home = home
        self.issue("root", "EC:P-256", None, ISSUER)
        self.issue("middle", "EC:P-256", "root", ISSUER)

    def path(self, name):
        return os.path.join(self.home, name)

    def issue(self, name, kind, issuer, extensions):
        """Key and certificate; `issuer` None: by itself."""
        algorithm, size = kind.split(":")
        if algorithm == "RSA":
            rsa_keys.put(self.path(name + ".key"), int(size))
        else:
            run("openssl", "genpkey", "-algorithm", algorithm, "-pkeyopt", "ec_paramgen_curve:" + size, "-out",
                self.path(name + ".key"))
        with open(self.path(name + ".ext"), "w", encoding="ascii") as file:
            file.write("subjectKeyIdentifier=hash\n" + extensions)
        run("openssl", "req", "-new", "-key", self.path(name + ".key"), "-subj", "/CN=Test " + name, "-out",
            self.path(name + ".csr"))
        by = ["-signkey", self.path(name + ".key")] if issuer is None else [
            "-CA", self.path(issuer + ".pem"), "-CAkey", self.path(issuer + ".key"), "-CAcreateserial"]
        run("openssl", "x509", "-req", "-in", self.path(name + ".csr"), "-days", "365", "-sha256", "-extfile",
            self.path(name + ".ext"), "-out", self.path(name + ".pem"), *by)

    def pkcs12(self, name):
        """With ciphers that openssl, gpgsm and NSS read."""
        path = self.path(name + ".p12")
        if not os.path.exists(path):
            run("openssl", "pkcs12", "-export", "-inkey", self.path(name + ".key"), "-in", self.path(name + ".pem"),
                "-name", name, "-certfile", self.path("middle.pem"), "-certpbe", "PBE-SHA1-3DES", "-keypbe",
                "PBE-SHA1-3DES", "-macalg", "sha1", "-passout", "pass:pw", "-out", path)
        return path

    def sign(self, entity, *options, by="bob"):
        """S/MIME as openssl writes it, with CRLF."""
        return run("openssl", "cms", "-sign", "-binary", "-crlfeol", "-signer", self.path(by + ".pem"), "-inkey",
                   self.path(by + ".key"), "-certfile", self.path("middle.pem"), *options, stdin=entity).stdout

    def encrypt(self, entity, cipher, to, *options):
        der = run("openssl", "cms", "-encrypt", "-binary", "-outform", "DER", "-" + cipher, *options,
                  *sum((("-recip", self.path(name + ".pem"), *more) for name, *more in to), ()), stdin=entity).stdout
        return leaf(der)


def leaf(der):
    """No program needs to be told what it is."""
    return (b"Content-Type: application/pkcs7-mime; name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
            re.sub(rb"(.{64})", rb"\1\r\n", base64.b64encode(der)) + b"\r\n")
