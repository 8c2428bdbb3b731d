"""Sending notices to people, through Apprise."""

import logging

from automation.model.errors import AdapterError

PATIENCE_S = 30.0


def send(url: str, title: str, body: str, *, is_alarm: bool) -> None:
    """Send one message to one target.

    Args:
        url: as Apprise has it: mailto://..., json://host/path. It is a secret, so it is in no error.

    Raises:
        AdapterError: it is no such URL, or the service did not take the message.
    """
    import apprise

    # What it logs may hold the URL.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    kind = url.partition("://")[0] if "://" in url else ""
    target = apprise.Apprise()
    if not target.add(url):
        raise AdapterError(f"this is no address that Apprise knows{f' ({kind})' if kind.isalnum() else ''}")
    how = apprise.NotifyType.FAILURE if is_alarm else apprise.NotifyType.SUCCESS
    done = target.notify(
        body=body, title=title, notify_type=how, body_format=apprise.NotifyFormat.TEXT, timeout=PATIENCE_S
    )
    if not done:
        raise AdapterError(f"the service ({kind}) refused the message or did not answer", transient=True)
