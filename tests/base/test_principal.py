"""What a principal may do, and where: in the organization, in single projects, within a key's limit."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from shopfloor.base.errors import PermissionDenied
from shopfloor.base.principal import Principal

ORGANIZATION, SHOP, BANK = uuid4(), uuid4(), uuid4()


def _principal(everywhere: str = "", within: dict[UUID, str] | None = None, only: set[UUID] | None = None) -> Principal:
    return Principal(
        "user", uuid4(), ORGANIZATION, frozenset(everywhere.split()),
        None if only is None else frozenset(only),
        project_permissions={place: frozenset(held.split()) for place, held in (within or {}).items()},
    )  # fmt: skip


def test_a_permission_of_the_organization_holds_in_every_project():
    somebody = _principal("job.read")
    assert somebody.allows("job.read")
    assert somebody.allows("job.read", SHOP)
    assert somebody.projects_where("job.read") is None
    assert not somebody.allows("job.submit", SHOP)


def test_a_permission_in_a_project_holds_there_alone():
    somebody = _principal("job.read", within={SHOP: "job.submit"})
    assert somebody.allows("job.submit", SHOP)
    assert not somebody.allows("job.submit", BANK)
    assert not somebody.allows("job.submit")
    assert somebody.allows_somewhere("job.submit")
    assert somebody.projects_where("job.submit") == {SHOP}
    assert not somebody.allows_somewhere("job.cancel")
    assert somebody.projects_where("job.cancel") == frozenset()


def test_a_key_bound_to_projects_passes_nowhere_else_whatever_it_holds():
    bound = _principal("job.read", within={SHOP: "job.submit", BANK: "job.submit"}, only={BANK})
    assert bound.projects_where("job.read") == {BANK}
    assert bound.projects_where("job.submit") == {BANK}
    assert not bound.allows("job.read", SHOP)
    assert not bound.allows("job.submit", SHOP)
    assert bound.allows("job.submit", BANK)


def test_a_key_bound_to_projects_without_a_right_in_them_may_it_nowhere():
    bound = _principal("", within={SHOP: "job.submit"}, only={BANK})
    assert not bound.allows_somewhere("job.submit")


def test_the_refusal_names_the_permission_the_project_and_who_gives_it():
    with pytest.raises(PermissionDenied, match=r"'job\.cancel' is missing.*owner or admin") as refused:
        _principal("job.read").require("job.cancel", SHOP)
    assert refused.value.facts == {"permission": "job.cancel", "project_id": str(SHOP)}
