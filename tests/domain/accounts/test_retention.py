"""What is over goes after a while; what goes on stays."""

from __future__ import annotations

from shopfloor.domain.accounts.retention import forget_old
from shopfloor.infra.tx import begin, begin_system
from signed_in import PASSWORD


async def test_what_ended_long_ago_is_forgotten_and_what_goes_on_stays(browsers, people, store):
    email = await people.email(await people.new())
    for kind in ("token", "browser"):
        body = {"email": email, "password": PASSWORD, "kind": kind}
        assert (await browsers.new().post("/api/v1/auth/sign-in", json=body)).status_code == 200
    await browsers.new().sign_in(email, "a wrong sentence")
    async with begin(store, people.owner) as tx:
        await tx.execute("update sessions set ends_at = now() - interval '31 days' where kind = 'token'")
    assert await forget_old(store) == 1
    assert await forget_old(store) == 0
    async with begin_system(store) as tx:
        assert await tx.all("select kind from sessions") == [{"kind": "browser"}]
        assert await tx.all("select 1 from refresh_tokens") == []
        assert len(await tx.all("select 1 from sign_in_attempts")) == 2
        await tx.execute("update sign_in_attempts set last_at = now() - interval '2 days'")
    assert await forget_old(store) == 2
