"""RSA keys for tests. To make one takes up to seconds, so a run of the tests makes each but once: the first key that a
program asks for is the same file as the first one of any other program, and so on. Within a program all differ."""
import collections
import os
import shutil
import subprocess
import tempfile
import unittest

_GIVEN = collections.Counter()
_OWN = []


def _folder():
    """That of the run (run.py names it), or one of the program's own if it runs alone."""
    if "RSA_KEYS" in os.environ:
        return os.environ["RSA_KEYS"]
    if not _OWN:
        _OWN.append(tempfile.mkdtemp(prefix="pv"))
        unittest.addModuleCleanup(lambda: shutil.rmtree(_OWN.pop(), ignore_errors=True))
    return _OWN[0]


def put(path, bits=2048):
    """Writes the next key that this program has not had yet, in PEM."""
    number = _GIVEN[bits]
    _GIVEN[bits] += 1
    made = os.path.join(_folder(), "rsa%d-%d.pem" % (bits, number))
    if not os.path.exists(made):
        handle, new = tempfile.mkstemp(dir=os.path.dirname(made))
        os.close(handle)
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:%d" % bits,
                        "-out", new],
                       check=True, capture_output=True)
        try:
            os.link(new, made)
        except FileExistsError:
            pass  # another program was quicker
        os.unlink(new)
    shutil.copyfile(made, path)
    os.chmod(path, 0o600)
