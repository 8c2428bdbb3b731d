"""What a new instance does first: cloud-init makes the automation user and shows the host keys."""

from pathlib import Path

from automation.model.errors import AdapterError
from automation.model.records import Context
from automation.model.servers import ServerSpec
from automation.model.templating import render

TEMPLATES = Path(__file__).resolve().parents[3] / "templates/cloud_init"
DEFAULT = "default.yml.j2"
_MOST_BYTES = 16 * 1024  # of user data, before EC2 encodes it


def user_data(spec: ServerSpec, ctx: Context) -> str:
    """Render the cloud-init file of a server; no secret is ever in it, because every process there reads it.

    Raises:
        AdapterError: the template or the automation user's public key is missing, or it is too long.
    """
    name = spec.cloud_init or DEFAULT
    if not (TEMPLATES / name).is_file() or Path(name).name != name:
        raise AdapterError(
            f"server {spec.name}: templates/cloud_init/{name} is not there; nothing was changed",
            hint="correct server_cloud_init in the inventory",
        )
    text = render(
        TEMPLATES,
        name,
        host=spec.name,
        user=ctx.environment.automation_user,
        public_key=_public_key(ctx),
    )
    if len(text.encode()) > _MOST_BYTES:
        raise AdapterError(
            f"server {spec.name}: templates/cloud_init/{name} gives {len(text.encode())} bytes, EC2 takes "
            f"{_MOST_BYTES}; nothing was changed",
            hint="leave to playbooks what need not be done at first boot",
        )
    return text


def _public_key(ctx: Context) -> str:
    path = Path(f"{ctx.environment.ssh_key(ctx.state)}.pub")
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise AdapterError(
            f"the automation user's public key {path} cannot be read: {exc.strerror}; nothing was changed",
            hint=f"ssh-keygen -y -f {path.with_suffix('')} > {path}",
        ) from exc
