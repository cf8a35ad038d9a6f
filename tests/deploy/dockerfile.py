"""Dockerfiles: what they say, and the file system that one makes, without an engine that builds images."""

from __future__ import annotations

__all__ = ["Image", "instructions", "laid_out"]

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

HOSTS = ("usr", "bin", "sbin", "lib", "lib64", "dev")
"""Folders of the host that stand for the base image's, read-only."""
PATH = "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of Docker's Python images."""
PROFILE = """\
if [ "$(id -u)" -eq 0 ]; then
  PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
else
  PATH="/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
fi
export PATH
for file in /etc/profile.d/*.sh; do
  [ -r "$file" ] && . "$file"
done
"""
"""What Debian's /etc/profile does to PATH."""
ENTER = """\
cd "$0" || exit
for name in {hosts}; do
  [ -d /$name ] || continue
  mount --rbind /$name $name && mount -o remount,bind,ro $name || exit
done
mount --bind local usr/local && exec chroot . "$@"
"""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """A Dockerfile's instructions with their arguments, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in lines if line))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word
    ]


@dataclass(frozen=True)
class Image:
    """The file system of an image's last stage, and the environment that its containers start with."""

    root: Path
    environment: dict[str, str]

    @property
    def entry(self) -> list[str]:
        """A command that runs its arguments in the image, in name spaces of their own, which need no root."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        enter = ENTER.format(hosts=" ".join(HOSTS))
        return ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "unshare", "--user", "--map-root-user",
                "--mount", "sh", "-c", enter, str(self.root), "/usr/bin/env", "-i", *variables]  # fmt: skip

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.entry, *command], capture_output=True, text=True, check=False)


def laid_out(dockerfile: Path, root: Path, *, programs: list[str]) -> Image:
    """Do the steps of a Dockerfile's last stage below a folder: a Debian without packages.

    Programs that another stage built are scripts that print how they were called, and `apt-get` and `useradd` do
    nothing.

    Args:
        programs: Names of those that the other stage has built.
    """
    for name in (*HOSTS, "etc/profile.d", "local/bin", "proc", "tmp", "home/attn"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "profile").write_text(PROFILE)
    stubs = root / "stubs"
    for name in ("apt-get", "useradd"):
        _program(stubs / name, "exit 0")
    steps = instructions(dockerfile)
    last = max(number for number, (word, _) in enumerate(steps) if word == "FROM")
    environment = {"PATH": PATH}
    for word, rest in steps[last + 1 :]:
        if word == "ENV":
            for name, value in (item.split("=", 1) for item in shlex.split(rest)):
                environment[name] = value.replace("$PATH", environment["PATH"])
        elif word == "COPY":
            source, target = rest.split()[-2:]
            assert rest.startswith("--from"), f"nothing says what {source} is"
            for name in programs:
                _program(root / target.lstrip("/") / "bin" / name, f'echo "{target}/bin/{name} $*"')
        elif word == "RUN":
            built = Image(root, {"PATH": f"/stubs:{environment['PATH']}"}).run("sh", "-c", rest)
            assert built.returncode == 0, built.stderr
    return Image(root, environment | {"HOME": "/home/attn"})


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    assert os.access(path, os.X_OK)
