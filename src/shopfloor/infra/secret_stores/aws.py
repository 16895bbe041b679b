"""AWS: KMS wraps keys; or Secrets Manager stores the ring that we wrap with.

Source: AWS KMS API reference, Encrypt, Decrypt, DescribeKey; AWS Secrets Manager API reference, GetSecretValue.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from shopfloor.base.errors import SettingsError
from shopfloor.infra.secret_stores.ring import tampered
from shopfloor.infra.secret_stores.stored_ring import read_ring, written_ring
from shopfloor.infra.secret_stores.threads import Threads
from shopfloor.infra.secrets.port import MasterKeysAway, MasterKeyUnknown, Plain, RenewElsewhere, Wrapped
from shopfloor.infra.secrets.settings import AwsSettings

T = TypeVar("T")
_AT_ONCE: Final = 4  # calls to KMS, which takes one key a call
_CONTEXT: Final = "shopfloor"  # of encryption: appears in CloudTrail, so it names ids only
_REFUSED: Final = {"InvalidCiphertextException", "IncorrectKeyException"}
_NO_SUCH: Final = {"NotFoundException", "ResourceNotFoundException"}


class AwsSession:
    """A client of one AWS service, in threads of its own."""

    def __init__(self, service: str, settings: AwsSettings, timeout_s: float) -> None:
        """Raises: SettingsError."""
        from boto3.session import Session  # 0.3 s to import: only where it is used
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(connect_timeout=timeout_s, read_timeout=timeout_s, retries={"total_max_attempts": 1})
        try:
            make = cast("Callable[..., Any]", Session().client)  # pyright: ignore[reportUnknownMemberType] - no stubs
            self.client = make(service, region_name=settings.region, endpoint_url=settings.endpoint_url, config=config)
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                f"AWS can't be reached as it is set up: {error}. Set SHOPFLOOR_SECRETS__AWS__REGION, e.g. eu-central-1."
            ) from error
        self._service = service
        self._threads = Threads(f"AWS {service}", timeout_s)

    async def do(self, work: Callable[[Any], T]) -> T:
        """`work(client)`. Raises: MasterKeysAway; Refused for what only the caller can explain."""
        return await self._threads.do(lambda: self._work(work))

    def close(self) -> None:
        """Close the connections."""
        self._threads.close()
        self.client.close()

    def _work(self, work: Callable[[Any], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return work(self.client)
        except ClientError as error:
            told = cast("dict[str, Any]", error.response).get("Error", {})
            code, message = str(told.get("Code", "")), str(told.get("Message", ""))[:200]
            if code in _REFUSED | _NO_SUCH:
                raise Refused(code) from error
            raise MasterKeysAway(
                f"AWS {self._service} refuses: {code}: {message}. Check the role or keys this process runs with, and "
                "that its policy allows what docs/how-to/secrets.md lists. Opened keys go on working until their time "
                "ends."
            ) from error
        except BotoCoreError as error:
            raise MasterKeysAway(
                f"AWS {self._service} does not answer: {type(error).__name__}: {error}. Opened keys go on working "
                "until their time ends. Look whether credentials are there and the endpoint is reachable."
            ) from error


class Refused(Exception):
    """AWS refused; `code` is its own."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class KmsKeys:
    """MasterKeys whose master key never leaves KMS."""

    scheme = "kms"

    def __init__(self, session: AwsSession, kms_key_id: str) -> None:
        self._session = session
        self._key = kms_key_id
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def current_id(self) -> str:
        """The key's ARN: an alias may be moved. Raises: MasterKeysAway, SettingsError where there is no such key."""
        try:
            found = await self._session.do(lambda client: client.describe_key(KeyId=self._key))
        except Refused as error:
            raise self._unknown() from error
        return f"{self.scheme}:{found['KeyMetadata']['Arn']}"

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        """A call each, few at once. Raises: MasterKeysAway, SettingsError."""
        return await asyncio.gather(*(self._in_turn(lambda each=each: self._wrap(each)) for each in keys))

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes]:
        """A call each, few at once. Raises: MasterKeysAway, MasterKeyUnknown."""
        return await asyncio.gather(*(self._in_turn(lambda each=each: self._unwrap(each)) for each in keys))

    async def renew(self) -> str:
        """Raises: RenewElsewhere, always: a key costs money, and who may use it is decided where it is made."""
        raise RenewElsewhere(
            "Make a new key in KMS, let this process's role use both, name the new one in "
            "SHOPFLOOR_SECRETS__AWS__KMS_KEY_ID and restart every process; then run `shopfloor secrets rotate-master` "
            "with --keep-current. KMS's own yearly rotation needs none of this."
        )

    async def aclose(self) -> None:
        """Close the session."""
        self._session.close()

    async def _in_turn(self, call: Callable[[], Awaitable[T]]) -> T:
        async with self._turns:
            return await call()

    async def _wrap(self, each: Plain) -> Wrapped:
        try:
            answer = await self._session.do(
                lambda client: client.encrypt(
                    KeyId=self._key, Plaintext=each.key, EncryptionContext={_CONTEXT: each.binding}
                )
            )
        except Refused as error:
            raise self._unknown() from error
        return Wrapped(each.binding, f"{self.scheme}:{answer['KeyId']}", answer["CiphertextBlob"])

    async def _unwrap(self, each: Wrapped) -> bytes:
        arn = each.key_id.partition(":")[2]
        try:
            answer = await self._session.do(
                lambda client: client.decrypt(
                    KeyId=arn, CiphertextBlob=each.blob, EncryptionContext={_CONTEXT: each.binding}
                )
            )
        except Refused as error:
            if error.code in _REFUSED:
                raise tampered(each) from error
            raise MasterKeyUnknown(
                f"KMS has no key {arn} (any more), and a key is wrapped under it. Cancel its deletion in KMS.",
                key_id=each.key_id,
            ) from error
        return answer["Plaintext"]

    def _unknown(self) -> SettingsError:
        return SettingsError(f"KMS has no key {self._key!r}. Name one in SHOPFLOOR_SECRETS__AWS__KMS_KEY_ID.")


class SecretsManagerSource:
    """A ring of master keys in one secret: JSON with `master_key` and `other_master_keys`, or one key as it is."""

    def __init__(self, session: AwsSession, secret_id: str) -> None:
        self._session = session
        self._id = secret_id
        self.name = f"the secret {secret_id} in AWS Secrets Manager"

    async def read(self) -> list[bytes]:
        """Raises: MasterKeysAway, SettingsError where there is no such secret."""
        try:
            found = await self._session.do(lambda client: client.get_secret_value(SecretId=self._id))
        except Refused as error:
            raise SettingsError(
                f"AWS Secrets Manager has no secret {self._id!r}. Store base64 of 32 random bytes in it, or name "
                "another in SHOPFLOOR_SECRETS__AWS__SECRET_ID."
            ) from error
        return read_ring(_fields(str(found.get("SecretString", ""))), self.name)

    async def add(self, key: bytes) -> None:
        """A new version of the secret. Run it once at a time: Secrets Manager has no compare-and-set."""
        text = json.dumps(written_ring([key, *await self.read()]))
        await self._session.do(lambda client: client.put_secret_value(SecretId=self._id, SecretString=text))

    async def aclose(self) -> None:
        """Close the session."""
        self._session.close()


def _fields(text: str) -> dict[str, Any]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {"master_key": text}
