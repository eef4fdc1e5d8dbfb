"""Prompts: the texts that images are generated for, where nothing but the texts is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.data.token_data import TokenData
from models.regular_files import not_a_file
from search.reading import read_json

EXPECTED = (
    "expected a .txt file with a prompt in each line, a .json file of COCO's captions, or a folder "
    "of token data with captions"
)


def read_prompts(path: str | Path) -> tuple[str, ...]:
    """Read prompts; of an image with several captions the first one is taken.

    Args:
        path: a .txt file with a prompt in each line, where empty lines do not count; a .json file
            of COCO's captions, in the order of its images; or a folder of token data.

    Raises:
        ValueError: the path does not exist or is something else, or holds no prompt.
    """
    path = Path(path)
    if path.is_dir():
        found = _of_token_data(path)
    elif (reason := not_a_file(path)) is not None:
        raise ValueError(f"{path}: {reason}")
    elif path.suffix.lower() == ".json":
        found = _of_coco(path, read_json(path))
    elif path.suffix.lower() == ".txt":
        found = _of_lines(path)
    else:
        raise ValueError(f"{path}: {EXPECTED}")
    if not found:
        raise ValueError(f"{path}: it holds no prompt")
    return tuple(found)


def _of_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    return [line.strip() for line in lines if line.strip()]


def _of_coco(path: Path, content: Any) -> list[str]:
    try:
        first: dict[Any, str] = {entry["id"]: "" for entry in content["images"]}
        for annotation in content["annotations"]:
            number, caption = annotation["image_id"], annotation["caption"]
            if not isinstance(caption, str):
                raise TypeError(f"a caption is {caption!r}")
            known = caption.encode("utf-8", "replace").decode()  # JSON may hold half a character
            first[number] = first.get(number) or known.strip()
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: not captions in the format of COCO ({error})") from None
    return [caption for caption in first.values() if caption]


def _of_token_data(folder: Path) -> list[str]:
    captions = TokenData.open(folder).captions()
    if captions is None:
        raise ValueError(f"{folder}: its images have no captions")
    first: list[str] = captions.drop_duplicates("image")["caption"].tolist()
    return first
