"""A repository made where there is none, and only where there is nothing at all.

Restic itself makes one beside whatever lies there, as soon as no file `config` does; an attacker who hid that
file, or a wrong path, would so get a second repository into the first.
"""

import shlex
from collections.abc import Mapping

from automation.model.actions.restic import Repository

# Prints names of what lies at the place; none: nothing, or it is not there.
_LOCAL = """
names_there() { [ ! -e {path} ] || ls -A -- {path}; }
"""
_OVER_SFTP = """
names_there() {
  printf 'ls -1a "%s"\\n' {path} | sftp -q -b - {port} {login} >"$own/names" 2>"$said" ||
    grep -q 'not found' "$said" || { cat "$said" >&2; return 1; }
  grep -v -e '^sftp>' -e '/\\.\\.*$' -e '^\\.\\.*$' "$own/names" || :
}
"""
_IN_A_BUCKET = """
names_there() { PYTHONPATH=$program.zip python3 -sBS -m manifest.bucket {url}; }
"""
_ELSEWHERE = """
names_there() { echo "(this kind of place cannot be looked into: make the repository by hand)"; }
"""
_MAKE_IF_EMPTY = """
make_if_empty() {
  restic cat config --no-lock >/dev/null && return 0
  grep -q -e 'Is there a repository at' -e 'repository does not exist' "$said" || return 1
  there=$(names_there) || return 1
  [ -z "$there" ] || {
    echo "there is no repository, but something else: $(echo "$there" | head -n 5 | tr '\\n' ' ')" >&2
    return 1
  }
  restic init {more} >/dev/null
}
"""


def make_if_empty(repository: Repository, source: Repository | None = None) -> str:
    """Give a shell function that makes a repository where there is none and nothing else either.

    Where it takes over points of another, it cuts files into the same pieces as that one.
    """
    more = f"--from-repo {shlex.quote(source.url)} --copy-chunker-params" if source else ""
    return _looking(repository.url) + _fill(_MAKE_IF_EMPTY, {"more": more})


def _looking(url: str) -> str:
    if url.startswith("/"):
        return _fill(_LOCAL, {"path": shlex.quote(url)})
    if url.startswith("s3:"):
        return _fill(_IN_A_BUCKET, {"url": shlex.quote(url)})
    if url.startswith("sftp:"):
        return _fill(_OVER_SFTP, _sftp_words(url))
    return _ELSEWHERE


def _sftp_words(url: str) -> Mapping[str, str]:
    """Split sftp:user@host:/path, sftp:user@host:path or sftp://user@host:port//path."""
    if url.startswith("sftp://"):
        login, _, path = url.removeprefix("sftp://").partition("/")
        login, _, port = login.partition(":")
    else:
        login, _, path = url.removeprefix("sftp:").partition(":")
        port = ""
    return {
        "path": shlex.quote(path or "."),
        "login": shlex.quote(login),
        "port": f"-P {int(port)}" if port else "",
    }


def _fill(text: str, words: Mapping[str, str]) -> str:
    for word, meant in words.items():
        text = text.replace("{" + word + "}", meant)
    return text
