"""The files that the settings of an objective name, in a lab and in a strategy file.

A lab's record names them by their paths. A strategy file is for colleagues, whose machines have
other folders: it names them by name and hash.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from search.strategy_file import StrategyFile
from trials.record.searches import recorded_objectives

FOLDERS = re.compile(r"(?<![\w./])/(?:[^\s/;,:](?:[^/;,:\n]*[^\s/;,:])?/)*(?=[^\s/])")
"""The folders of an absolute path within a sentence, alone or as KIND:PATH. Their names may have
spaces; a part of a sentence ends with a comma, semicolon or colon."""

MODELS = ("config.json", "model_index.json")
"""The files that mark a folder with a model, as Hugging Face hands them out."""


def without_folders(objective: Mapping[str, Any]) -> dict[str, Any]:
    """The description of an objective for a strategy file.

    Args:
        objective: as `trials.objectives.description.describe` returns it.

    Returns:
        The same with the names of files in place of their paths, and the field `files`: by setting,
        the hash of the content, or None where the file is not there or cannot be read. A
        description that has the field is returned as it is.
    """
    if objective.get("files") is not None:
        return dict(objective)
    settings = dict(objective["settings"])
    files: dict[str, str | None] = {}
    for name, value in settings.items():
        kind, path = _path_in(value)
        if path is not None:
            settings[name], files[name] = kind + path.name, _hash_of(path)
    dataset = objective.get("dataset")
    if isinstance(dataset, str):
        dataset = sentence_without_folders(dataset)
    return {**objective, "settings": settings, "dataset": dataset, "files": files}


def protocol_without_folders(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol in whose sentences paths are replaced by the names of their files."""
    return {
        name: sentence_without_folders(value) if isinstance(value, str) else value
        for name, value in protocol.items()
    }


def sentence_without_folders(text: str) -> str:
    """A sentence in which absolute paths are replaced by the names of their files."""
    return FOLDERS.sub("", text)


def settings_here(
    file: StrategyFile, record_url: str, given: Iterable[str] = (), folder: Path | None = None
) -> dict[str, Any]:
    """The settings of a strategy file's objective, with the paths that its files have here.

    A file is looked for where the studies of this lab's record had it, then in `folder` and in the
    working directory. Its content must be the one that the strategy file names.

    Args:
        file: names an objective.
        record_url: of the record of the lab.
        given: settings that are given otherwise, whose files are not looked for.
        folder: of the strategy file.

    Raises:
        ValueError: files are not found; the line says how to give them.
    """
    objective = file.objective or {}
    settings, hashes = dict(objective["settings"]), objective.get("files") or {}
    study = None if file.search is None else file.search["study"]
    wanted = {name: digest for name, digest in hashes.items() if name not in given}
    recorded = recorded_objectives(record_url, study) if wanted else []
    lacking: list[str] = []
    ways: list[str] = []
    for name, digest in wanted.items():
        text = settings[name]
        places = [known["settings"].get(name) for known in recorded]
        kind = text[: text.find(":") + 1]
        beside = [f / text.removeprefix(kind) for f in (folder, Path.cwd()) if f is not None]
        places += [f"{kind}{path.resolve()}" for path in beside if path.exists()]
        place = _found(text, digest, places)
        if place is None:
            told = "" if digest is None else f" with the hash {digest[:15]}…"
            lacking.append(f"{name} = {text!r}{told}")
            ways.append(f"--set {name}={kind}PATH")
        else:
            settings[name] = place
    if lacking:
        raise ValueError(
            f"objective.settings: this lab knows no file {' and none '.join(lacking)}; give "
            f"{' '.join(ways)}"
        )
    return settings


def comparable(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two descriptions of an objective in which files are compared by their content alone."""
    both = without_folders(one), without_folders(other)
    first, second = (described["files"] for described in both)
    known = sorted(n for n in first if None not in (first[n], second.get(n)))

    def of_content(described: Mapping[str, Any]) -> dict[str, Any]:
        own, files = described["settings"], described["files"]
        plain = {n: v for n, v in own.items() if n not in {*first, *second}}
        return {**described, "settings": plain, "files": {n: files[n] for n in known}}

    return of_content(both[0]), of_content(both[1])


def _found(text: str, digest: str | None, places: Iterable[Any]) -> str | None:
    """The first of the places that holds the file, or None."""
    for place in places:
        kind, path = _path_in(place)
        named = path is not None and kind + path.name == text
        if named and path is not None and (digest is None or _hash_of(path) == digest):
            return str(place)
    return None


def _path_in(value: Any) -> tuple[str, Path | None]:
    """Split a setting that is an absolute path, or KIND:PATH with one, into "" or "KIND:" and the
    path; the path of any other setting is None."""
    if isinstance(value, str):
        kind, colon, rest = ("", "", value) if value.startswith("/") else value.partition(":")
        path = Path(rest)
        if path.is_absolute() and not rest.startswith("//") and path.name:
            return kind + colon, path
    return "", None


def _hash_of(path: Path) -> str | None:
    """The hash of a file's content, of token data, or of a folder that holds a model.

    It is None for other folders and for what cannot be read.
    """
    try:
        if not path.is_dir():
            known = path.stat()
            return _content_hash(path, known.st_size, known.st_mtime_ns)
        if any((path / name).is_file() for name in MODELS):
            return _model_hash(path)
        from models.data.token_data import TokenData

        return TokenData.open(path).hash()
    except (OSError, ValueError):
        return None


def _model_hash(folder: Path) -> str:
    """The SHA-256 of the names and hashes of all files in a folder, hidden ones left out."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in inner.parts):
            digest.update(f"{inner.as_posix()} {_hash_of(path)}\n".encode())
    return f"sha256:{digest.hexdigest()}"


@functools.lru_cache(maxsize=64)
def _content_hash(path: Path, size: int, changed: int) -> str:
    """The SHA-256 of a file, computed once for each version of it."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
