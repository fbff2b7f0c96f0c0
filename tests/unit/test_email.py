"""Contract section 2: which text is an address, and in which form it identifies."""

import sys
import unicodedata
from collections.abc import Callable
from functools import cache

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from hypothesis import example, given, settings
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


ODD_ADDRESSES = [
    f"{local}@{domain}"
    for local in (
        *(f"{before}{sign}x" for before in ("", "a") for sign in "!#$%&'*+-/=?^_`{|}~"),
        *("7", "O'Brien", "ana+shop+2024", "x" * 64, "bounce=ana=example.com", "zoë", "用户", "δοκιμή", "अजय", "👍"),
    )
    for domain in ("Example.COM", "a.b.c.co.uk", "123.com", "b" * 63 + ".museum", "bücher.example", "例え.テスト")
]
NO_ADDRESSES = [
    None, 7, "", "ana", "ana@", "@example.com", "a@b@example.com", "ana@example..com", "ana@exa mple.com",
    "x" * 300 + "@example.com", "ana\x00@example.com", "ana@example.com\nbob", "Ana <ana@example.com>",
    "\ud800@example.com",
]  # fmt: skip


def test_an_address_identifies_trimmed_and_in_lower_case_and_what_is_no_address_is_none() -> None:
    for address in (*ODD_ADDRESSES, "ana@test", "José@example.com", "ana@BÜCHER.example"):
        assert normal_email(f" {address} ") == address.lower()
    assert [sent for sent in NO_ADDRESSES if normal_email(sent) is not None] == []
    for domain in {*SPECIAL_USE_DOMAIN_NAMES} - {"test"}:
        assert not USUAL.fullmatch(f"ana@example.{domain}"), "the library refuses it"


@cache
def letters_where(holds: Callable[[str], object]) -> list[str]:
    return list(filter(holds, map(chr, range(sys.maxunicode + 1))))


def is_composed(letter: str) -> bool:
    return unicodedata.decomposition(letter)[:1] not in ("", "<")


def is_cased(letter: str) -> bool:
    return letter != letter.lower()


# Any text, and denser where it matters: letters with two cases, marks that combine with them, and what is both.
any_letters = st.characters() | st.deferred(
    lambda: st.one_of([st.sampled_from(letters_where(each)) for each in (is_composed, is_cased, unicodedata.combining)])
)
parts = st.text(any_letters, min_size=1, max_size=6)
written_addresses = st.builds("{}@{}.com".format, parts, parts | st.just("example")) | st.text()


def check(address: str) -> None:
    normal = normal_email(address)
    if normal is not None:
        assert normal_email(normal) == normal, ascii(address)


@given(written_addresses)
@settings(max_examples=1_000, deadline=None)
@example("J\u030c@example.com")  # a small j with a caron is one letter, a capital one is two
@example("\u0130" * 40 + "@example.com")  # its lower case is two letters, and then there are too many
@example("a@\u0130" + "\u0130" * 20 + ".com")
@example("A\u03a3@\u03a3a.com")
@example("a" * 64 + "@example.com")
def test_the_form_of_a_form_is_itself(address: str) -> None:
    check(address)


def forms(letter: str) -> set[str]:
    apart = "".join(chr(int(part, 16)) for part in unicodedata.decomposition(letter).split() if part[0] != "<")
    written = {letter, unicodedata.normalize("NFD", letter), apart}
    cased = {change(form) for form in written for change in (str.upper, str.lower)}
    return written | cased | {form[:1].upper() + form[1:] for form in written}


def test_each_letter_of_unicode_that_has_parts_or_two_cases_has_one_form() -> None:
    for letter in letters_where(is_composed):
        for form in forms(letter):
            check(f"{form}a{form}@example.com")
    for letter in letters_where(is_cased):
        check(f"{letter}a{letter}@example.com")
        check(f"a@{letter}a.com")


def test_all_ways_to_write_an_address_name_one_user() -> None:
    written = ("J\u030c", "j\u030c", "\u01f0")  # a capital letter, a small one, and a composed one
    assert {normal_email(f"{each}@example.com") for each in written} == {"\u01f0@example.com"}
