"""Secrets appear in files as references only."""

from pydantic import Field, model_validator

from automation.model.base import Model


class SecretRef(Model):
    """Names a secret and never holds it: `{env: NAME}` or `{file: path}` (relative to the state folder)."""

    env: str | None = Field(default=None, description="name of the environment variable that holds it")
    file: str | None = Field(default=None, description="file that holds it, relative to the state folder")

    @model_validator(mode="after")
    def _one_source(self) -> "SecretRef":
        if (self.env is None) == (self.file is None):
            raise ValueError("give exactly one of env, file")
        return self
