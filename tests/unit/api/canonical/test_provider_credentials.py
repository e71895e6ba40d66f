"""gpuplane.v1.ProviderCredentials, over each embedded store."""

from __future__ import annotations

from typing import Any

from controlplane.domain.account import IdempotencyRecord
from controlplane.domain.credential import ProviderCredential
from controlplane.domain.principal import ALL
from tests.unit.api.canonical.support import Client, Code, Farm, pb

KEY = "vk-0123456789abcdef"


def wish(**fields: Any) -> Any:
    return pb.CreateProviderCredentialRequest(**({"provider": "vastai", "name": "mine", "secret": KEY} | fields))


async def test_life_of_a_credential(farm: Farm, ended: Any) -> None:
    api = farm.alice.provider_credentials
    made = await api.CreateProviderCredential(wish(request_id="r1"))
    assert (made.provider, made.name, made.secret_held) == ("vastai", "mine", True)
    assert made.fingerprint == "b25b849c5545"
    assert await api.CreateProviderCredential(wish(request_id="r1")) == made
    end = await ended(api.CreateProviderCredential(wish(request_id="r1", secret="another")))
    assert (end.code, end.info.reason) == (Code.ABORTED, "IDEMPOTENCY_MISMATCH")
    assert await api.GetProviderCredential(pb.GetProviderCredentialRequest(id=made.id)) == made
    revoked = await api.RevokeProviderCredential(pb.RevokeProviderCredentialRequest(id=made.id))
    assert revoked.HasField("revoke_time")
    assert await api.RevokeProviderCredential(pb.RevokeProviderCredentialRequest(id=made.id)) == revoked


async def test_pages(farm: Farm) -> None:
    api = farm.alice.provider_credentials
    made = [await api.CreateProviderCredential(wish(secret=f"key-{n}")) for n in range(3)]
    first = await api.ListProviderCredentials(pb.ListProviderCredentialsRequest(page_size=2))
    request = pb.ListProviderCredentialsRequest(page_size=2, page_token=first.next_page_token)
    rest = await api.ListProviderCredentials(request)
    assert [*first.provider_credentials, *rest.provider_credentials] == made[::-1]
    assert rest.next_page_token == ""


async def test_refusals_name_the_field_and_hold_no_secret(farm: Farm, ended: Any) -> None:
    api = farm.alice.provider_credentials
    for field, value in (("provider", "local"), ("name", ""), ("secret", f"{KEY} ")):
        end = await ended(api.CreateProviderCredential(wish(**{field: value})))
        assert (end.code, end.info.metadata["field"]) == (Code.INVALID_ARGUMENT, field)
        assert KEY not in str(end)
    await api.CreateProviderCredential(wish())
    end = await ended(api.CreateProviderCredential(wish(name="again")))
    assert (end.code, end.info.reason) == (Code.ALREADY_EXISTS, "RESOURCE_EXISTS")


async def test_strangers_and_scopes(farm: Farm, ended: Any) -> None:
    made = await farm.alice.provider_credentials.CreateProviderCredential(wish())
    for call in (
        farm.bob.provider_credentials.GetProviderCredential(pb.GetProviderCredentialRequest(id=made.id)),
        farm.bob.provider_credentials.RevokeProviderCredential(pb.RevokeProviderCredentialRequest(id=made.id)),
    ):
        assert (await ended(call)).code is Code.NOT_FOUND
    listed = await farm.bob.provider_credentials.ListProviderCredentials(pb.ListProviderCredentialsRequest())
    assert not listed.provider_credentials
    key = await farm.alice.keys.CreateApiKey(pb.CreateApiKeyRequest(name="reader", scopes=["providers:read"]))
    reader = Client(farm.channel, key.secret).provider_credentials
    assert await reader.GetProviderCredential(pb.GetProviderCredentialRequest(id=made.id)) == made
    end = await ended(reader.CreateProviderCredential(wish(secret="other")))
    assert (end.info.reason, end.info.metadata["scope"]) == ("SCOPE_MISSING", "providers:write")


async def test_what_is_stored_does_not_hold_the_secret_in_clear(farm: Farm) -> None:
    await farm.alice.provider_credentials.CreateProviderCredential(wish(request_id="r1"))
    (row,) = await farm.core.store.select(ALL, ProviderCredential, {}, "", 10)
    records = await farm.core.store.select(ALL, IdempotencyRecord, {}, "", 10)
    assert records
    assert KEY not in f"{row}{records}"
