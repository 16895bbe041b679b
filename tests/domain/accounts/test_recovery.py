"""Recovery codes: long enough, easy to read, nothing stored that shows one."""

from __future__ import annotations

import re

from shopfloor.base.ids import new_id
from shopfloor.domain.accounts import recovery


def test_ten_codes_of_120_bits_each_different():
    codes = recovery.mint() + recovery.mint()
    assert len(set(codes)) == 20
    assert all(re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}", code) for code in codes)


def test_small_letters_spaces_and_misread_signs_are_the_same_code(sealer):
    user_id = new_id()
    same = {
        recovery.fingerprint(sealer, user_id, text)
        for text in ("0123-4567-89AB-CDEF-GHJ1-0000", "0123456789abcdefghjlO0o0", "0123 4567 89AB CDEF GHJI 0000")
    }
    assert len(same) == 1


def test_a_code_is_worth_nothing_for_another_person(sealer):
    code = recovery.mint()[0]
    assert recovery.fingerprint(sealer, new_id(), code) != recovery.fingerprint(sealer, new_id(), code)
