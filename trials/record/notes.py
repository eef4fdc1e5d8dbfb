"""What optuna-dashboard shows of a study beside its trials: a note, and pictures."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from trials.record.own_words import with_own_words
from trials.record.storage import open_storage, readable


def write_note(
    url: str, study_name: str, text: str, pictures: Sequence[Path], artifacts: Path
) -> None:
    """Write the note of a study, its pictures below it; what people wrote in it stays.

    Args:
        url: of the record.
        study_name: of the study.
        text: in Markdown.
        pictures: files. One of a name that the study has already takes its place.
        artifacts: the folder that optuna-dashboard is given as --artifact-dir; made if missing.

    Raises:
        ValueError: the record cannot be written.
        OSError: a picture cannot be copied.
    """
    from optuna_dashboard import get_note, save_note  # a web server, which only this needs
    from optuna_dashboard.artifact import get_artifact_path

    with readable(study_name):
        study = optuna.load_study(study_name=study_name, storage=open_storage(url))
        shown = [text]
        for picture in pictures:
            address = get_artifact_path(study, _kept(study, picture, artifacts))
            shown.append(f"![{picture.stem}]({address})")
        before = get_note(study)
        body = with_own_words("\n\n".join(shown), before)
        if body != before:
            save_note(study, body)


def _kept(study: optuna.Study, file: Path, artifacts: Path) -> str:
    """The id of a file among a study's artifacts, where it now lies."""
    artifacts.mkdir(parents=True, exist_ok=True)
    for known in get_all_artifact_meta(study):
        if known.filename == file.name:
            shutil.copyfile(file, artifacts / known.artifact_id)
            return known.artifact_id
    store = FileSystemArtifactStore(artifacts)
    return upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=study)
