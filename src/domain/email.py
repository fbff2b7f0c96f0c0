"""An email address as an identity: contract section 2."""

import re

MAX_LENGTH = 254  # RFC 5321, section 4.5.3.1.3

# Nearly every address is of this form, in which there is nothing to doubt. The rest, email-validator judges, whose
# import makes the start slower. tests/unit/test_email.py compares the two.
USUAL = re.compile(
    r"(?=.{,64}\Z) [a-z0-9_+-]+ (\.[a-z0-9_+-]+)* @ ([a-z0-9]+ (-[a-z0-9]+)* \.)+"
    r"(?!(arpa|invalid|local|localhost|onion)\Z) [a-z]{2,}",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def normal_email(value: object) -> str | None:
    """The address in the form that identifies: trimmed, lower case. None when it is no address."""
    if not isinstance(value, str) or len(value.strip()) > MAX_LENGTH:
        return None
    address = value.strip()
    return address.lower() if USUAL.fullmatch(address) else _doubtful(address)


def _doubtful(address: str) -> str | None:
    from email_validator import EmailNotValidError, validate_email

    try:
        # test_environment only admits the top-level domain `test`.
        checked = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return checked.normalized.lower()
