"""Every route that changes something leaves an entry of who did it, in the audit trail, or says here why not."""

from __future__ import annotations

import psycopg
import pytest

from security.api.routes import ATTACKED, OPERATIONS, WRITING, Operation
from security.api.tenants import Shop, taken
from shopfloor.base.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

# tests/apps/test_audit_of_routes.py looks closer at the first rooms: transaction, target, a trail that can't be kept.
CHANGING = [each for each in ATTACKED if each.method in WRITING]
NOTHING_LEFT_TO_CHANGE = {  # with the example as it is: what changes nothing leaves no entry
    "POST /api/v1/members/{user_id}/enable": "tests/domain/access/test_members.py",
    "POST /api/v1/projects/{project}/unlock": "tests/domain/access/test_reach.py",
    "PUT /api/v1/environments/{environment_id}/jobs/{job_id}": "tests/domain/delivery",
    "PUT /api/v1/releases/{release_id}/jobs/{job_id}": "tests/domain/delivery",
    "PUT /api/v1/sprints/{sprint_id}/jobs/{job_id}": "tests/domain/delivery",
}
CHANGES_NOTHING = NOTHING_LEFT_TO_CHANGE | {
    "POST /api/v1/me/factors/totp": "a secret that counts only when its first code confirms it, which is recorded",
    "POST /api/v1/auth/password/forgot": "a letter; the reset is recorded, and the answer is the same for strangers",
    "POST /api/v1/auth/email/verification": "a letter; the confirmation is recorded",
    "POST /api/v1/dead-letters/requeue": "the example's letter isn't there: each is recorded as by the route for one",
    "POST /api/v1/dead-letters/discard": "as above",
    "POST /api/v1/auth/ws-ticket": "gives a ticket of 30 seconds for what its holder may anyway",
    "POST /api/v1/auth/passkeys/options": "a challenge: nothing is stored",
    "POST /api/v1/me/factors/passkeys/options": "a challenge: nothing is stored",
    "PUT /api/v1/notifications/{notification_id}/read": "a mark of one's own, that nobody else sees",
    "PUT /api/v1/notifications/{notification_id}/read-up-to": "a mark of one's own, that nobody else sees",
}
# The example's proof is refused, as it should be: what they record when it holds stands in the tests of their room.
PROOF_NEEDED = {
    "POST /api/v1/auth/setup", "POST /api/v1/auth/sign-in", "POST /api/v1/auth/second-factor",
    "POST /api/v1/auth/token/refresh", "POST /api/v1/me/factors/recovery-codes", "POST /api/v1/auth/password/reset",
    "POST /api/v1/auth/email/verify", "POST /api/v1/auth/invitations/accept", "POST /api/v1/auth/passkeys/sign-in",
    "POST /api/v1/auth/password", "POST /api/v1/me/factors/totp/confirm", "POST /api/v1/me/factors/passkeys",
    "POST /api/v1/me/identities",
    "POST /api/v1/verified-domains/{domain_id}/verify", "POST /api/v1/identity-providers/{provider_id}/test",
    "DELETE /api/v1/me/factors/totp",
}  # fmt: skip


async def test_there_are_routes_to_walk():
    assert len(CHANGING) > 60
    assert {str(each) for each in OPERATIONS} >= {*CHANGES_NOTHING, *PROOF_NEEDED}


@pytest.mark.parametrize("asked", CHANGING, ids=str)
async def test_a_change_is_on_record_under_its_request(shop: Shop, asked: Operation):
    if str(asked) in CHANGES_NOTHING:
        return
    path = await shop.acme.path_of(asked.path)
    request_id = new_id().hex
    answer = await shop.request(shop.acme, asked, path, headers={"X-Request-Id": request_id})
    if not answer.is_success:
        assert taken(answer), answer.text
        assert str(asked) in PROOF_NEEDED or answer.status_code == 409, (answer.status_code, answer.text)
        return
    with psycopg.connect(shop.owner_url) as connection:
        found = connection.execute(
            "select organization_id from audit_entries where request_id = %s", (request_id,)
        ).fetchall()
    assert found, f"{asked} answered {answer.status_code} and left no entry"
    assert {organization for (organization,) in found} == {shop.acme.id}
