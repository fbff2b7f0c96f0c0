"""Contract section 2: an address has one form that identifies. Whoever looks for that form finds it again."""

import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain.email import normal_email

COMPOSED = [
    letter
    for letter in map(chr, range(sys.maxunicode + 1))
    if unicodedata.decomposition(letter) and not unicodedata.decomposition(letter).startswith("<")
]
CASED = [letter for letter in map(chr, range(sys.maxunicode + 1)) if letter != letter.lower()]
MARKS = [letter for letter in map(chr, range(sys.maxunicode + 1)) if unicodedata.combining(letter)]

# Any text, and denser where it matters: letters with two cases, marks that combine with them, and what is both.
letters = st.characters() | st.sampled_from(COMPOSED) | st.sampled_from(CASED) | st.sampled_from(MARKS)
parts = st.text(letters, min_size=1, max_size=6)
addresses = st.builds("{}@{}.com".format, parts, parts | st.just("example")) | st.text()


def check(address: str) -> None:
    normal = normal_email(address)
    if normal is not None:
        assert normal_email(normal) == normal, ascii(address)


@given(addresses)
@settings(max_examples=1_000, deadline=None)
@example("J\u030c@example.com")  # a small j with a caron is one letter, a capital one is two
@example("\u0130" * 40 + "@example.com")  # its lower case is two letters, and then there are too many
@example("a@\u0130" + "\u0130" * 20 + ".com")
@example("\u1e9e@example.com")
@example("\u03a3@example.com")
@example("A\u03a3@\u03a3a.com")
@example("\u212b@example.com")
@example("a@\u212b.com")
@example("\ufb03@example.com")
@example("a" * 64 + "@example.com")
def test_the_form_of_a_form_is_itself(address: str) -> None:
    check(address)


def forms(letter: str) -> set[str]:
    """The ways to write a letter: composed and in its parts, and each of them in other cases."""
    apart = "".join(chr(int(part, 16)) for part in unicodedata.decomposition(letter).split() if part[0] != "<")
    written = {letter, unicodedata.normalize("NFD", letter), apart}
    return written | {form.upper() for form in written} | {form.lower() for form in written} | {
        form[:1].upper() + form[1:] for form in written
    }  # fmt: skip


def test_each_letter_of_unicode_that_has_parts_has_one_form() -> None:
    for letter in COMPOSED:
        for form in forms(letter):
            check(f"{form}@example.com")
            check(f"a{form}a@example.com")


def test_each_letter_of_unicode_that_has_two_cases_has_one_form() -> None:
    for letter in CASED:
        check(f"{letter}@example.com")
        check(f"a{letter}a@example.com")
        check(f"a@{letter}a.com")


@pytest.mark.parametrize("written", ["J\u030c", "j\u030c", "\u01f0"], ids=ascii)
def test_all_ways_to_write_an_address_name_one_user(written: str) -> None:
    assert normal_email(f"{written}@example.com") == "\u01f0@example.com"
