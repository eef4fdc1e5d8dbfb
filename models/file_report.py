"""Says what a file or folder of weights is, for `autonat zoo check`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from models.checkpoint_kinds import CheckpointKind, kind_of_file, kind_of_names
from models.generators import halton, muse, published, titok_generator
from models.generators.amused import amused_sizes
from models.generators.halton import halton_config
from models.generators.published import config_from_shapes
from models.generators.titok import titok_config
from models.hub_files import PIPELINE_INDEX, read_checkpoint, read_config, tensors_of
from models.state_dicts import shapes_of
from models.tensor_file import read_tensors
from models.tokenizers.llamagen import llamagen_config
from models.tokenizers.titok import decoding_part, titok_decoder_config
from models.tokenizers.vqgan import vqgan_config

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class FileReport:
    """What a file is.

    Attributes:
        kind: KIND in KIND:PATH, or None if it is not recognised.
        role: "generator", "tokenizer" or "features", or None.
        about: what it is, in a few words.
        tensors: the number of its tensors, without those that no network here needs.
        parameters: the number of numbers in them.
        sizes: what the shapes show, by name.
        texts: whether it is a generator for texts, not for classes.
        also: other kinds whose loaders read it, too.
        needs: settings that its loader needs because no shape shows them, as "NAME=N".
    """

    kind: str | None
    role: str | None
    about: str
    tensors: int
    parameters: int
    sizes: Mapping[str, int] = field(default_factory=dict)
    texts: bool = False
    also: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {**vars(self), "sizes": dict(self.sizes)}


def report_on(path: str | Path) -> FileReport:
    """Say what a file or folder is.

    Raises:
        ValueError: it is not a checkpoint: it does not exist, is damaged, cut off or of another
            type, or holds only the state of an optimiser.
    """
    if (Path(path) / PIPELINE_INDEX).is_file():
        return _report_on_pipeline(Path(path))
    tensors = tensors_of(path)
    found = kind_of_names(tensors)
    shapes = shapes_of(tensors)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if found is None:
        return FileReport(None, None, "weights of an unknown kind", len(tensors), numbers)
    sizes = _sizes(found, shapes)
    return FileReport(
        kind=found.name,
        role=found.role,
        about=found.about,
        tensors=len(tensors),
        parameters=numbers,
        sizes=sizes,
        texts=found.texts,
        also=found.also,
        needs=() if _heads_known(path, found, sizes) else ("num_heads=N",),
    )


def _heads_known(path: str | Path, kind: CheckpointKind, sizes: Mapping[str, int]) -> bool:
    """Whether a loader knows the number of attention heads, if it needs one."""
    known = KNOWN_HEADS.get(kind.name)
    if kind.role != "generator" or known is None or sizes.get("width") in known:
        return True
    if kind.name != titok_generator.KIND:
        return False
    config = read_checkpoint(path, only=())  # a config beside the weights, which are not read again
    return config.setting(titok_generator.HEADS_SETTING, int, None) is not None


def _report_on_pipeline(folder: Path) -> FileReport:
    """Say what a folder of diffusers with several models is."""
    found = kind_of_file(folder)
    if found is None:
        made = read_config(folder / PIPELINE_INDEX).get("_class_name")
        return FileReport(None, None, f"a folder of {made}, which is not read here", 0, 0)
    sizes = amused_sizes(folder)
    parts = [read_tensors(file).tensors for file in sorted(folder.glob("*/*model.safetensors"))]
    numbers = sum(tensor.numel() for part in parts for tensor in part.values())
    count = sum(map(len, parts))
    return FileReport(found.name, found.role, found.about, count, numbers, sizes, texts=True)


def _sizes(kind: CheckpointKind, shapes: Shapes) -> dict[str, int]:
    """What the shapes of a kind show; heads, which they do not show, are left out."""
    read = SIZES.get((kind.name, kind.role))
    if read is None:
        return {}
    found = vars(read(shapes))
    return {
        n: v for n, v in found.items() if type(v) is int and n not in ("num_heads", "mlp_ratio")
    }


def _muse_config(shapes: Shapes) -> Any:
    """The sizes of MUSE-Pytorch's network for classes, with all its words taken for codes."""
    words, width = shapes["token_emb.word_embeddings.weight"]
    classes = {
        "context_embed.word_embeddings.weight": (2, width),
        "token_emb.position_embeddings.weight": (
            shapes["token_emb.position_embeddings.weight"][0] - 1,
            width,
        ),
    }
    config = config_from_shapes({**shapes, **classes}, 1)
    return SimpleNamespace(
        words=words, tokens=config.tokens, width=config.width, depth=config.depth
    )


KNOWN_HEADS: Mapping[str, Collection[int]] = {
    "nat": published.HEADS,
    "muse": muse.HEADS,
    "halton": halton.HEADS,
    "titok": titok_generator.HEADS,
}
"""The widths of the networks whose number of heads is known, by their kind."""
SIZES: Mapping[tuple[str, str], Callable[[Shapes], Any]] = {
    ("nat", "generator"): lambda shapes: config_from_shapes(shapes, 1),
    ("muse", "generator"): _muse_config,
    ("halton", "generator"): lambda shapes: halton_config(shapes, 1),
    ("titok", "generator"): lambda shapes: titok_config(shapes, 1),
    ("titok", "tokenizer"): lambda shapes: titok_decoder_config(decoding_part(shapes)),
    ("vqgan", "tokenizer"): vqgan_config,
    ("llamagen", "tokenizer"): llamagen_config,
}
"""Reads the sizes of each kind from the shapes of its tensors."""
