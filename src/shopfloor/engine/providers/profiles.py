"""Names for what a role needs of a model ("strong", "fast"), resolved by settings to a chain of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.port import ModelRef

ProfileName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class ModelProfiles(BaseModel):
    """Which models stand behind each name, the first choice first. Later layers (project, job) go over earlier ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    profiles: dict[ProfileName, Annotated[list[str], Field(min_length=1, max_length=10)]] = Field(
        default_factory=dict[str, list[str]]
    )

    @field_validator("profiles")
    @classmethod
    def _models_can_be_read(cls, profiles: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, models in profiles.items():
            for model in models:
                try:
                    ModelRef.parse(model)
                except InvalidInput as error:
                    raise ValueError(f"profile {name!r}: {error.detail}") from error
        return profiles

    def over(self, below: ModelProfiles) -> ModelProfiles:
        """These, and those of `below` that are not named here."""
        return ModelProfiles(profiles={**below.profiles, **self.profiles})

    def resolve(self, wanted: str, *, fallbacks: Sequence[str] = ()) -> list[ModelRef]:
        """`wanted` is a profile's name or `provider/model`; then the `fallbacks`, named likewise. Each model once.

        Raises: InvalidInput for a name that no profile has, with those that there are.
        """
        chain = [ref for name in (wanted, *fallbacks) for ref in self._one(name)]
        return list(dict.fromkeys(chain))

    def _one(self, name: str) -> list[ModelRef]:
        if "/" in name:
            return [ModelRef.parse(name)]
        models = self.profiles.get(name)
        if models is None:
            raise InvalidInput(_unknown(name, self.profiles), profile=name, known=sorted(self.profiles))
        return [ModelRef.parse(model) for model in models]


def _unknown(name: str, profiles: Mapping[str, list[str]]) -> str:
    known = ", ".join(sorted(profiles)) or "none yet"
    setting = f'SHOPFLOOR_PROVIDERS__PROFILES=\'{{"{name}": ["anthropic/claude-sonnet-5"]}}\''
    return (
        f"No models are set for the profile {name!r} (set: {known}). "
        f"Name a model, e.g. --model anthropic/claude-sonnet-5, or set the profile: {setting}"
    )
