"""The last version that was released, built beside this one."""

import os
import subprocess
from pathlib import Path

from .programs import ROOT


class Missing(Exception):
    """There is no release to be had here, for this reason."""


def last_tag() -> str:
    """The newest tag of a version that this one comes after, or is."""
    try:
        found = git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD")
    except FileNotFoundError:
        raise Missing("there is no git to find the last release with") from None
    except subprocess.CalledProcessError as error:
        raise Missing(f"git knows of no release before this version: {error.stderr.decode().strip()}") from None
    return found.decode().strip()


def build(tag: str) -> Path:
    """Where a version lies, compiled as for these tests; what is done already is not done again.

    Each has a folder of its own, and so has what cargo builds of it: in a common one, cargo takes a crate of one
    version for that of the other.
    """
    commit = git("rev-parse", f"{tag}^{{commit}}").decode().strip()
    root = ROOT / "_build/versions" / commit
    root.mkdir(parents=True, exist_ok=True)
    # Files are as old as the commit, so that what was built of them is as new as before.
    subprocess.run(["tar", "-x", "-C", str(root)], input=git("archive", commit), check=True)
    env = {key: value for key, value in os.environ.items() if key not in ("ERL_FLAGS", "REBAR_PROFILE")}
    compiled = subprocess.run(["rebar3", "as", "integration", "compile"], cwd=root, text=True, timeout=1200,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=env | {"CARGO_TARGET_DIR": str(root / "target")})
    if compiled.returncode != 0:
        raise RuntimeError(f"{tag} does not compile in {root}:\n{compiled.stdout}")
    return root


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, timeout=60).stdout
