"""Amazon's certificate authorities, out of the bundle that botocore brings: `make roots` writes them to src/.

Every endpoint of AWS chains to one of them: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ats-certs.html
and https://www.amazontrust.com/repository/. A function that reads these five instead of all 127 answers its first
request sooner: docs/performance.md.
"""

import re
import sys
from pathlib import Path

import botocore

FILE = Path(__file__).parent.parent / "src" / "amazon-roots.pem"
BUNDLE = Path(botocore.__file__).with_name("cacert.pem")
NAMES = (
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
)
CERTIFICATE = re.compile(
    r'^# Label: "(?P<name>.+)"\n(?:#.*\n)*(?P<pem>-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n)',
    re.MULTILINE,
)


def amazon_roots() -> str:
    """Return the certificates in PEM, each after its name. Raise KeyError if the bundle lacks one of NAMES."""
    bundle = {found["name"]: found["pem"] for found in CERTIFICATE.finditer(BUNDLE.read_text())}
    return "\n".join(f"# {name}\n{bundle[name]}" for name in NAMES)


def main() -> int:
    FILE.write_text(amazon_roots())
    return 0


if __name__ == "__main__":
    sys.exit(main())
