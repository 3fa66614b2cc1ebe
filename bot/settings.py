"""What an operator can set: environment variables `ATELIER_…`, then `atelier.toml`, then defaults.

A wrong or unknown key stops the start with one sentence that names the key, its value and what is allowed.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX = "ATELIER_"
CONFIG_VARIABLE = "ATELIER_CONFIG"
DEFAULT_FILE = "atelier.toml"


class SettingsError(Exception):
    """Names the key, its value (never a secret's) and what is allowed."""


class Settings(BaseSettings):
    """Every description below completes the sentence "… is not allowed here: it must be …"."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True, validate_default=False
    )

    discord_token: SecretStr | None = Field(None, description="the bot token from Discord's developer portal")
    dev_guild_id: int | None = Field(None, ge=1, description="a server's id, a whole number")
    operator_id: int | None = Field(None, ge=1, description="a Discord user's id, a whole number")
    data_dir: Path = Field(Path("atelier-data"), description="the path of a folder")
    model: str = Field(
        "bundled", min_length=1, description="bundled, a folder, a .safetensors file, or a Hugging Face model id"
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda, cuda:<number> or mps"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto, float32, bfloat16 or float16"
    )
    output_check: Literal["on", "off"] = Field("on", description="on or off")
    reproducible: Literal["on", "off"] = Field("off", description="on or off")
    nsfw_threshold: float = Field(0.7, gt=0, le=1, description="a number above 0 and up to 1")
    queue_per_member: int = Field(20, ge=1, le=1000, description="a whole number of pictures, 1 to 1000")
    trainings_per_day: int = Field(3, ge=0, le=1000, description="a whole number of trainings, 0 to 1000 (0 = none)")
    training_steps: int | None = Field(None, ge=10, le=10_000, description="a whole number of steps, 10 to 10000")
    """At most; without it, as many as suit the method."""
    concepts_per_member: int = Field(5, ge=1, le=1000, description="a whole number of concepts, 1 to 1000")
    keep_days: int = Field(30, ge=1, le=3650, description="a whole number of days, 1 to 3650")
    disk_budget_gb: float = Field(20, ge=0.1, le=1_000_000, description="a number of gigabytes, 0.1 to 1000000")
    jobs_at_once: int = Field(8, ge=1, le=32, description="a whole number, 1 to 32")
    message_wait_seconds: float = Field(20, ge=0, le=300, description="a number of seconds, 0 to 300")
    lease_seconds: float = Field(120, ge=5, le=3600, description="a number of seconds, 5 to 3600")
    worker_heartbeat_seconds: float = Field(60, ge=1, le=3600, description="a number of seconds, 1 to 3600")
    worker_loading_seconds: float = Field(300, ge=5, le=7200, description="a number of seconds, 5 to 7200")
    message_content: Literal["on", "off"] = Field("off", description="on or off")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    health_port: int = Field(7861, ge=0, le=65535, description="a port number, 0 to 65535 (0 = no /healthz)")
    playground_port: int = Field(7860, ge=0, le=65535, description="a port number, 0 to 65535 (0 = any free one)")

    @field_validator("log_level", "dtype", "output_check", "reproducible", "message_content", "device", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.strip().lower() if isinstance(value, str) else value

    @field_validator("output_check", "reproducible", "message_content", mode="before")
    @classmethod
    def _toml_boolean(cls, value: object) -> object:
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("data_dir", mode="after")
    @classmethod
    def _home(cls, value: Path) -> Path:
        return _expanded(value)

    @field_validator("model", mode="after")
    @classmethod
    def _model_at_home(cls, value: str) -> str:
        return str(_expanded(Path(value))) if value.startswith("~") else value

    @field_validator("discord_token", mode="after")
    @classmethod
    def _token_shape(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and (not value.get_secret_value().isascii() or " " in value.get_secret_value().strip()):
            raise ValueError("not a token")
        return None if value is None else SecretStr(value.get_secret_value().strip())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` hands over: it reads environment and file itself, to name what is wrong."""
        return (init_settings,)

    def token(self) -> str:
        """The Discord token. Raises SettingsError where none is set."""
        if self.discord_token is None or not self.discord_token.get_secret_value():
            raise SettingsError(
                "ATELIER_DISCORD_TOKEN is not set: it must be the bot token from Discord's developer portal."
            )
        return self.discord_token.get_secret_value()

    def with_changes(self, **changes: object) -> Self:
        """A copy, validated again; for command line options. Raises SettingsError."""
        return type(self)._checked({**self.model_dump(), **changes}, {key: key for key in changes})

    @classmethod
    def _checked(cls, values: Mapping[str, object], names: Mapping[str, str]) -> Self:
        try:
            return cls(**dict(values))  # pyright: ignore[reportArgumentType]  (pydantic checks them)
        except ValidationError as error:
            raise SettingsError(" ".join(_complaint(cls, e, names) for e in error.errors())) from None


def _expanded(path: Path) -> Path:
    """With the home folder in place of ~, which no shell replaces in a settings file."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError("no such home folder") from error


def _complaint(settings: type[Settings], error: Any, names: Mapping[str, str]) -> str:
    key = str(error["loc"][0])
    name = names.get(key, PREFIX + key.upper())
    allowed = settings.model_fields[key].description
    shown = "a value that is not shown" if key == "discord_token" else repr(error["input"])
    return f"{name} is {shown}, which is not allowed here: it must be {allowed}."


def _refuse_unknown(name: str, key: str, known: Mapping[str, object], where: str, *, environment: bool) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    right = [PREFIX + n.upper() if environment else n for n in near]
    hint = f": did you mean {right[0]}?" if right else ": see the README for the keys that there are."
    raise SettingsError(f"{name} in {where} is not a setting of Atelier{hint}")


def _read_file(environment: Mapping[str, str], folder: Path) -> tuple[dict[str, object], str]:
    chosen = environment.get(CONFIG_VARIABLE, "")
    path = Path(chosen) if chosen else folder / DEFAULT_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), path.name
    except FileNotFoundError:
        if chosen:
            raise SettingsError(f"{CONFIG_VARIABLE} is {chosen!r}, but there is no such file.") from None
        return {}, path.name
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The settings file {path} is not valid TOML: {error}.") from None


def load_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the environment and `atelier.toml` (in `folder`, or where ATELIER_CONFIG points).

    Raises SettingsError, a sentence for the operator.
    """
    env = os.environ if environment is None else environment
    known = Settings.model_fields
    values, where = _read_file(env, Path.cwd() if folder is None else folder)
    names: dict[str, str] = {}
    for key in values:
        _refuse_unknown(key, key, known, where, environment=False)
        names[key] = f"{key} in {where}"
    for name, value in env.items():
        if not name.upper().startswith(PREFIX) or name.upper() == CONFIG_VARIABLE:
            continue
        key = name[len(PREFIX) :].lower()
        _refuse_unknown(name, key, known, "the environment", environment=True)
        if value.strip():
            values[key], names[key] = value, name
    return Settings._checked(values, names)  # pyright: ignore[reportPrivateUsage]
