"""An email address as an identity: contract, section 2."""

import re
from unicodedata import normalize

MAX_LENGTH = 254  # RFC 5321, section 4.5.3.1.3
MAX_ROUNDS = 5  # no character of Unicode takes more than three

# Nearly every address has this form. email-validator judges the rest: to import it makes the start slower.
USUAL = re.compile(
    r"(?=.{,64}\Z) [a-z0-9_+-]+ (\.[a-z0-9_+-]+)* @ ([a-z0-9]+ (-[a-z0-9]+)* \.)+"
    r"(?!(arpa|invalid|local|localhost|onion)\Z) [a-z]{2,}",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def normal_email(value: object) -> str | None:
    """Return the address in the one form that identifies a user: trimmed, in lower case. None if it is not an address.

    The normal form of a normal form is itself; otherwise one address could be two users.
    """
    if not isinstance(value, str) or len(value.strip()) > MAX_LENGTH:
        return None
    address = value.strip()
    return address.lower() if USUAL.fullmatch(address) else _unusual(address)


def _unusual(address: str) -> str | None:
    """Normalize until nothing changes: lower case can break Unicode's NFC form, which the library restores."""
    from email_validator import EmailNotValidError, validate_email

    for _ in range(MAX_ROUNDS):
        try:
            # test_environment only allows the top-level domain `test`.
            checked = validate_email(address, check_deliverability=False, test_environment=True)
        except EmailNotValidError:
            return None
        previous, address = address, normalize("NFC", checked.normalized.lower())
        if len(address) > MAX_LENGTH:
            return None
        if address == previous:
            return address
    return None
