"""What somebody may do to an export, and that verification names it; each beside the untouched log, which holds."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_log import FAKE_KEY, ORGANIZATION, Log, edited, made, rehashed
from shopfloor.domain.audit.canonical import canonical
from shopfloor.domain.audit.lines import checkpoint_line, end_line, header_line
from shopfloor.domain.audit.note import Checkpoint, NoteRefused, VerifierKey, read, sign
from shopfloor.domain.audit.verify import Report, verify

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
Lines = list[bytes]

# Twelve entries, a checkpoint after each fourth: line 0 is the header, 1-4 entries 0-3, 5 a checkpoint, 6-9, 10, 11-14,
# 15, and 16 the end.
HEADER, FIRST, THIRD, FIRST_NOTE, SIXTH, SECOND_NOTE, LAST, LAST_NOTE, END = 0, 1, 3, 5, 7, 10, 14, 15, 16


def changed(at: int, **fields: Any) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:at], edited(lines[at], **fields), *lines[at + 1 :]]


def changed_with_its_hash(at: int, **fields: Any) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:at], rehashed(edited(lines[at], **fields)), *lines[at + 1 :]]


def without(*at: int) -> Callable[[Lines], Lines]:
    return lambda lines: [line for number, line in enumerate(lines) if number not in at]


def swapped(one: int, two: int) -> Callable[[Lines], Lines]:
    def swap(lines: Lines) -> Lines:
        lines[one], lines[two] = lines[two], lines[one]
        return lines

    return swap


def renumbered(lines: Lines) -> Lines:
    """Places counted anew, as somebody would who covers up."""
    counted, number = [], 0
    for line in lines:
        if orjson.loads(line)["kind"] == "entry":
            counted.append(edited(line, index=number))
            number += 1
        else:
            counted.append(line)
    return counted


def recounted(lines: Lines) -> Lines:
    """The end told anew."""
    kinds = [orjson.loads(line)["kind"] for line in lines]
    return [*lines[:-1], end_line(kinds.count("entry"), kinds.count("checkpoint"))]


def then(*edits: Callable[[Lines], Lines]) -> Callable[[Lines], Lines]:
    def all_of_them(lines: Lines) -> Lines:
        for edit in edits:
            lines = edit(lines)
        return lines

    return all_of_them


def inserted(at: int, line: Callable[[Lines], bytes]) -> Callable[[Lines], Lines]:
    return lambda lines: [*lines[:at], line(lines), *lines[at:]]


def forged_entry(lines: Lines) -> bytes:
    """An entry of the right organization whose id lies between two others."""
    entry = orjson.loads(lines[THIRD])["entry"] | {"id": f"{orjson.loads(lines[THIRD])['entry']['id'][:-1]}f"}
    return rehashed(edited(lines[THIRD], entry=entry, origin=None))


def resigned(at: int, private: Ed25519PrivateKey = OTHER_KEY, **fields: Any) -> Callable[[Lines], Lines]:
    """The checkpoint with other contents, signed by somebody else's key under the log's name."""

    def sign_again(lines: Lines) -> Lines:
        old = read(orjson.loads(lines[at])["note"], made().key)
        lines[at] = checkpoint_line(sign(replace(old, **fields), private))
        return lines

    return sign_again


def note_edited(at: int, old: str, new: str) -> Callable[[Lines], Lines]:
    def edit(lines: Lines) -> Lines:
        note = orjson.loads(lines[at])["note"]
        assert old in note
        lines[at] = checkpoint_line(note.replace(old, new))
        return lines

    return edit


ELSEWHERE = f"{str(ORGANIZATION)[:-1]}1"
WITHOUT_SECOND = then(without(6, 7, 8, 9, SECOND_NOTE), renumbered, recounted)
ONE_MORE = then(inserted(END, lambda lines: edited(forged_entry(lines), index=12)), recounted)

# name: the edit, what verify says of it, and the place it names.
EDITS: dict[str, tuple[Callable[[Lines], Lines], str, int | None]] = {
    "another action": (changed(THIRD, entry__action="project.removed"), "changed", 2),
    "another actor": (changed(THIRD, entry__actor__id=str(ORGANIZATION)), "changed", 2),
    "another time": (changed(THIRD, entry__at="2020-01-01T00:00:00.000000Z"), "changed", 2),
    "another target": (changed(THIRD, entry__target__id="target-9"), "changed", 2),
    "another result": (changed(THIRD, entry__result="refused"), "changed", 2),
    "another value": (changed(THIRD, entry__after={"priority": 3}), "changed", 2),
    "a value less": (changed(THIRD, entry__after={}), "changed", 2),
    "a field more": (changed(THIRD, entry__note="hello"), "changed", 2),
    "a number as a text": (changed(THIRD, entry__after={"priority": "2"}), "changed", 2),
    "another request": (changed(THIRD, entry__origin__request="request-0002"), "changed", 2),
    "another address": (changed(THIRD, origin__address="198.51.100.1"), "changed", 2),
    "another program": (changed(THIRD, origin__agent="curl/8"), "changed", 2),
    "another salt": (changed(THIRD, origin__salt="00" * 32), "changed", 2),
    "a salt that is too short": (changed(THIRD, origin__salt="02"), "changed", 2),
    "an origin that was never": (changed(THIRD, origin={"salt": "", "address": "", "agent": ""}), "changed", 2),
    "another hash": (changed(THIRD, hash="00" * 32), "changed", 2),
    "an entry and its hash": (changed_with_its_hash(THIRD, entry__action="project.removed"), "changed", 0),
    "the last entry and its hash": (changed_with_its_hash(LAST, entry__after={"priority": 1}), "changed", 8),
    "another organization's entry": (changed_with_its_hash(THIRD, entry__organization=ELSEWHERE), "inserted", 2),
    "an entry taken out": (without(THIRD), "missing", 2),
    "the first entry taken out": (without(FIRST), "missing", 0),
    "an entry taken out and the rest counted anew": (then(without(THIRD), renumbered, recounted), "missing", 0),
    "a checkpoint's entries taken out with it": (WITHOUT_SECOND, "missing", 4),
    "an entry put in": (then(inserted(THIRD + 1, forged_entry), renumbered, recounted), "inserted", 0),
    "an entry put in twice": (inserted(THIRD + 1, lambda lines: lines[THIRD]), "inserted", 2),
    "an entry put in at the end": (ONE_MORE, "inserted", 12),
    "two entries in each other's place": (swapped(THIRD, THIRD + 1), "reordered", 2),
    "two entries exchanged and counted anew": (then(swapped(THIRD, THIRD + 1), renumbered), "reordered", 3),
    "two entries exchanged across a checkpoint": (then(swapped(4, 6), renumbered), "changed", 0),
    "an entry at the end": (swapped(FIRST, LAST), "reordered", 0),
    "the tail cut off": (lambda lines: lines[:9], "truncated", 7),
    "the tail cut off behind a checkpoint": (lambda lines: lines[:11], "truncated", 8),
    "the end alone cut off": (lambda lines: lines[:-1], "truncated", 12),
    "everything cut off": (lambda _: [], "truncated", 0),
    "half a line cut off": (lambda lines: [*lines[:-1], lines[-1][:-9]], "malformed", 12),
    "the last checkpoint and its entries cut out": (without(11, 12, 13, 14, LAST_NOTE), "truncated", 8),
    "the last checkpoint cut out": (without(LAST_NOTE), "inserted", 8),
    "a checkpoint in the middle cut out": (then(without(SECOND_NOTE), recounted), "missing", 4),
    "a checkpoint twice": (inserted(6, lambda lines: lines[FIRST_NOTE]), "reordered", 4),
    "two checkpoints exchanged": (swapped(FIRST_NOTE, SECOND_NOTE), "missing", 0),
    "a checkpoint too early": (swapped(4, FIRST_NOTE), "missing", 0),
    "lines after the end": (lambda lines: [*lines, lines[FIRST]], "inserted", None),
    "a checkpoint of another key": (resigned(FIRST_NOTE), "forged", 0),
    "a checkpoint of another key over another tree": (resigned(SECOND_NOTE, root=bytes(32)), "forged", 4),
    "a checkpoint of another log": (resigned(FIRST_NOTE, FAKE_KEY, origin="shopfloor/audit/other"), "forged", 0),
    "a checkpoint's size": (note_edited(SECOND_NOTE, "\n8\n", "\n9\n"), "forged", 4),
    "a checkpoint's time": (note_edited(SECOND_NOTE, "at 2026", "at 2025"), "forged", 4),
    "a checkpoint's predecessor": (note_edited(SECOND_NOTE, "after 4", "after 0"), "forged", 4),
    "a checkpoint without its signature": (note_edited(SECOND_NOTE, "— ", "- "), "forged", 4),
    "a checkpoint that is none": (changed(FIRST_NOTE, note="hello"), "forged", 0),
    "a checkpoint of no text": (changed(FIRST_NOTE, note=None), "forged", 0),
    "the header of another log": (changed(HEADER, origin="shopfloor/audit/other"), "malformed", None),
    "another format": (changed(HEADER, format="shopfloor-audit-2"), "malformed", None),
    "no header": (without(HEADER), "malformed", None),
    "a second header": (inserted(THIRD, lambda lines: lines[HEADER]), "malformed", None),
    "the end tells other numbers": (changed(END, entries=13), "truncated", 12),
    "a line that is no JSON": (inserted(THIRD, lambda _: b"hello\n"), "malformed", 2),
    "a line of another kind": (inserted(THIRD, lambda _: b'{"kind":"remark"}\n'), "malformed", None),
    "a list": (inserted(THIRD, lambda _: b"[]\n"), "malformed", 2),
    "an entry without its parts": (inserted(THIRD, lambda _: b'{"kind":"entry"}\n'), "malformed", 2),
    "spaces in a line": (lambda lines: [*lines[:3], lines[3].replace(b":", b": ", 1), *lines[4:]], "malformed", 2),
    "a name twice": (
        lambda lines: [*lines[:3], lines[3].replace(b'"kind":"entry"', b'"kind":"entry","kind":"entry"'), *lines[4:]],
        "malformed", 2,
    ),
    "a place that is no number": (changed(THIRD, index="2"), "malformed", 2),
    "a place that is true": (changed(FIRST, index=False), "malformed", 0),
}  # fmt: skip


def test_the_log_as_it_is_holds():
    """The positive control of everything below."""
    log = made()
    report = verify(log.whole(), log.key, against=log.outside)
    assert report == Report(entries=12, checkpoints=3, root=log.tree.root().hex())
    assert len(EDITS) >= 25


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_named_with_its_place(name: str):
    edit, wrong, place = EDITS[name]
    log = made()
    bad = verify(edit(log.whole()), log.key).bad
    assert bad is not None
    assert (bad.wrong, bad.index) == (wrong, place), bad
    assert bad.detail.endswith(".")


def test_the_id_of_a_changed_row_is_told():
    log = made()
    lines = log.whole()
    bad = verify(changed(THIRD, entry__action="x.y")(list(lines)), log.key).bad
    assert bad is not None
    assert (bad.line, bad.id) == (4, orjson.loads(lines[THIRD])["entry"]["id"])


def test_with_another_key_nothing_holds():
    log = made()
    bad = verify(log.whole(), VerifierKey(log.key.name, OTHER_KEY.public_key().public_bytes_raw())).bad
    assert bad is not None
    assert bad.wrong == "forged"


def test_an_erased_origin_leaves_the_log_whole():
    log = made()
    report = verify(changed(THIRD, origin=None)(log.whole()), log.key)
    assert (report.bad, report.erased) == (None, 1)


def test_a_log_that_was_put_back_looks_whole_but_not_beside_what_was_kept_outside():
    log, earlier = made(12), made(8)
    assert verify(earlier.whole(), log.key).bad is None
    bad = verify(earlier.whole(), log.key, against=log.outside).bad
    assert bad is not None
    assert (bad.wrong, bad.index) == ("rolled-back", 8)


def test_a_history_that_was_written_anew_with_the_stolen_key_differs_from_what_was_kept_outside():
    log, forged = made(12), made(4)
    for _ in range(8):
        forged.add("project.created")
    forged.sign()
    assert verify(forged.whole(), log.key).bad is None
    bad = verify(forged.whole(), log.key, against=log.outside).bad
    assert bad is not None
    assert (bad.wrong, bad.index) == ("rolled-back", 4)


def _put_back(size: int, to: int) -> Log:
    """A log that was put back, and goes on; `spare` keeps its ids and times later than what was lost."""
    log = made(size)
    for number in range(3):
        log.add(spare=20 + number)
    log.add("audit.restored", {"size": to, "root": "", "reason": "disk"}, spare=30)
    log.sign()
    return log


def test_a_restore_that_is_signed_explains_the_checkpoints_it_gave_up():
    lost, restored = made(16), _put_back(8, to=8)
    report = verify(restored.whole(), lost.key, against=lost.outside)
    assert report.bad is None
    assert report.given_up == 2
    assert [each.size for each in report.restores] == [8]


def test_a_restore_explains_no_checkpoint_from_before_it_nor_from_after_it():
    lost = made(16)
    too_late = _put_back(8, to=12)
    assert verify(too_late.whole(), lost.key, against=lost.outside).bad is not None
    later = Checkpoint(lost.key.name, 99, bytes(32), "2027-01-01T00:00:00.000000Z", 12)
    newer = [*lost.outside, checkpoint_line(sign(later, FAKE_KEY))]
    bad = verify(_put_back(8, to=8).whole(), lost.key, against=newer).bad
    assert bad is not None
    assert bad.wrong == "rolled-back"


def test_a_checkpoint_file_that_was_edited_is_no_witness():
    log = made()
    for lines in ([b"hello\n"], [log.outside[0].replace(b"after 0", b"after 1")], [canonical({"note": 7}) + b"\n"]):
        bad = verify(log.whole(), log.key, against=lines).bad
        assert bad is not None
        assert (bad.wrong, bad.line) == ("forged", 1)


@pytest.mark.parametrize("text", ["", "x", "a+b+c", "shopfloor/audit/x+00000000+AQ==", "name+" + "0" * 8 + "+\u20ac"])
def test_a_text_that_is_no_key_is_refused(text: str):
    with pytest.raises(NoteRefused, match="audit key"):
        VerifierKey.parse(text)


def test_a_key_reads_back_and_one_damaged_sign_is_noticed():
    key = made().key
    assert VerifierKey.parse(f" {key}\n") == key
    damaged = str(key)[:-3] + ("A" if str(key)[-3] != "A" else "B") + str(key)[-2:]
    with pytest.raises(NoteRefused):
        VerifierKey.parse(damaged)


def test_a_note_with_somebody_elses_signature_beside_ours_is_read():
    log = made()
    note = orjson.loads(log.outside[0])["note"]
    extra = base64.b64encode(b"xxxx" + bytes(64)).decode()
    assert read(f"{note}— witness.example.org {extra}\n", log.key).size == 4


LOG = made(24, every=5)
WHOLE = LOG.whole()


@settings(max_examples=400)
@given(st.data())
def test_whatever_is_edited_is_noticed(data: st.DataObject):
    """One line dropped, doubled, moved, or one of its bytes replaced; nothing of it passes but what changes nothing."""
    lines = list(WHOLE)
    at = data.draw(st.integers(0, len(lines) - 1))
    match data.draw(st.sampled_from(["drop", "double", "move", "byte", "cut"])):
        case "drop":
            del lines[at]
        case "double":
            lines.insert(data.draw(st.integers(0, len(lines))), lines[at])
        case "move":
            lines.insert(data.draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        case "byte":
            place = data.draw(st.integers(0, len(lines[at]) - 1))
            new = bytes([data.draw(st.integers(0, 255))])
            lines[at] = lines[at][:place] + new + lines[at][place + 1 :]
        case _:
            lines = b"".join(lines)[: data.draw(st.integers(0, len(b"".join(lines)) - 1))].splitlines(keepends=True)
    found = verify(lines, LOG.key, against=LOG.outside)
    assert (found.bad is None) == (lines == WHOLE or _only_the_header_key_differs(lines))


def _only_the_header_key_differs(lines: Lines) -> bool:
    """The key in the header is for people: nothing is checked with it."""
    try:
        told = orjson.loads(lines[0])
    except (IndexError, ValueError):
        return False
    same = {**orjson.loads(WHOLE[0]), "key": told.get("key")} == told and lines[0] == canonical(told) + b"\n"
    return same and lines[1:] == WHOLE[1:]


def test_the_header_holds_the_key_for_people():
    assert orjson.loads(header_line(LOG.key))["key"] == str(LOG.key)
