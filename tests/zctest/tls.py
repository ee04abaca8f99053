"""A certificate authority for one run of the tests, and how client programs are told to trust it."""

import subprocess
from pathlib import Path

# Buckets that tests reach as names before `localhost`. Not a wildcard: some clients take none of a single label.
BUCKETS = ["boto3-bucket", "boto3-versions", "boto3-listing", "no-such-bucket-here", "cli-bucket", "rclone-bucket", "restic-bucket", "js-clients"]
NAMES = ["localhost", *(f"{bucket}.localhost" for bucket in BUCKETS)]


class Certificates:
    """An authority and a certificate of it for loopback, in PEM files."""

    def __init__(self, place: Path):
        place.mkdir(parents=True, exist_ok=True)
        self.authority, self.certificate, self.key = (place / name for name in ("authority.pem", "certificate.pem", "key.pem"))
        authority_key, request, extensions = (place / name for name in ("authority-key.pem", "request.pem", "extensions"))
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl(
            "req", "-x509", *new, "-keyout", str(authority_key), "-out", str(self.authority), "-days", "2",
            "-subj", "/CN=an authority of tests", "-addext", "keyUsage=critical,keyCertSign",
        )
        openssl("req", *new, "-keyout", str(self.key), "-out", str(request), "-subj", "/CN=localhost")
        names = ",".join([*(f"DNS:{name}" for name in NAMES), "IP:127.0.0.1"])
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
        openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.authority), "-CAkey", str(authority_key), "-CAcreateserial",
            "-days", "2", "-extfile", str(extensions), "-out", str(self.certificate),
        )
        self.key.chmod(0o600)

    def arguments(self) -> list[str]:
        """The appliance's."""
        return ["--tls-cert", str(self.certificate), "--tls-key", str(self.key)]

    def environment(self) -> dict[str, str]:
        """By which each client program is told of an authority."""
        path = str(self.authority)
        names = ["AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "RCLONE_CA_CERT", "RESTIC_CACERT", "SSL_CERT_FILE"]
        return dict.fromkeys(names, path)


def openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"


def hosts() -> str:
    """A hosts file in which the names lead to loopback."""
    return "127.0.0.1 " + " ".join(NAMES) + "\n"


if __name__ == "__main__":
    print(hosts(), end="")
