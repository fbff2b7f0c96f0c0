"""Contract section 2: which text is an address, and in which form it identifies."""

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from hypothesis import example, given
from hypothesis import strategies as st

from domain.email import USUAL, normal_email

letters = st.text("ab1AZ.-_+@ \u212a\u00e9!\"'", max_size=12)
labels = st.text("ab1-", min_size=1, max_size=8) | st.sampled_from(["xn--bcher-kva", "a--b", "x" * 64])
domains = st.lists(labels, max_size=3).map(".".join)
top_levels = st.sampled_from(["com", "es", "test", "c", "c1", *SPECIAL_USE_DOMAIN_NAMES])
addresses = st.builds("{}@{}.{}".format, letters, domains, top_levels)


def by_the_library(address: str) -> str | None:
    try:
        return validate_email(address, check_deliverability=False, test_environment=True).normalized.lower()
    except EmailNotValidError:
        return None


@given(addresses)
@example("ANA@Example.com")
@example("a@local")
@example("a@b.local")
@example("a@local.com")
@example("x" * 64 + "@example.com")
@example("\u212a@example.com")  # the Kelvin sign, whose lower case is k
@example("ana@example.com\n")
def test_an_address_is_what_the_library_says(address: str) -> None:
    trimmed = address.strip()
    assert normal_email(address) == by_the_library(trimmed)
    if USUAL.fullmatch(trimmed):
        assert by_the_library(trimmed) == trimmed.lower()


def test_the_usual_addresses_need_no_library() -> None:
    for address in ("ana@example.com", "Ana.Maria+shop_1@mail.example-shop.co.uk", "o-1@1and1.de"):
        assert USUAL.fullmatch(address)
        assert normal_email(f" {address} ") == address.lower()


def test_no_domain_that_the_library_refuses_is_usual() -> None:
    for domain in SPECIAL_USE_DOMAIN_NAMES:
        assert domain == "test" or not USUAL.fullmatch(f"ana@example.{domain}")
