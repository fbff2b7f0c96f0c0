"""An email address as an identity: contract section 2."""

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH = 254  # RFC 5321, section 4.5.3.1.3


def normal_email(value: object) -> str | None:
    """The address in the form that identifies: trimmed, lower case. None when it is no address."""
    if not isinstance(value, str) or len(value.strip()) > MAX_LENGTH:
        return None
    try:
        # test_environment only admits the top-level domain `test`.
        checked = validate_email(value.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return checked.normalized.lower()
