"""Says what a file or folder of weights is, for `autonat zoo check`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.checkpoint_kinds import CheckpointKind, kind_of_file, kind_of_names
from models.generators import halton, muse, published, titok_generator
from models.generators.amused import MODELS, amused_sizes
from models.generators.halton import HaltonNetwork, halton_config
from models.generators.nat import NAT
from models.generators.published import config_from_shapes
from models.generators.titok import TiTokConfig, titok_config, titok_network
from models.hub_files import (
    PIPELINE_INDEX,
    HubCheckpoint,
    config_of,
    read_config,
    tensors_of,
    weights_in,
)
from models.state_dicts import empty_network, shape_of, shapes_of
from models.tensor_file import read_tensors
from models.tokenizers.decoder import side_of
from models.tokenizers.llamagen import LlamaGenVQ, llamagen_config
from models.tokenizers.titok import TiTokDecoder, decoding_part, titok_decoder_config
from models.tokenizers.vqgan import VQGAN, vqgan_config

Tensors = Mapping[str, Tensor]
MakeNetwork = Callable[[Any], nn.Module]


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
            type, or holds only the state of an optimiser; or it is not whole: tensors are missing,
            unexpected or misshapen, or a folder lacks files.
    """
    if (Path(path) / PIPELINE_INDEX).is_file():
        return _report_on_pipeline(Path(path))
    tensors = tensors_of(path)
    found = kind_of_names(tensors)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if found is None:
        return FileReport(None, None, "weights of an unknown kind", len(tensors), numbers)
    # Only TiTok's says what shapes do not show.
    config = config_of(Path(path)) if found.name == titok_generator.KIND else None
    checkpoint = HubCheckpoint(tensors, {} if config is None else read_config(config), config)
    try:
        sizes = _sizes(found, checkpoint)
    except ValueError as error:
        raise ValueError(f"{path}: it looks like {found.about}, but {error}") from None
    return FileReport(
        kind=found.name,
        role=found.role,
        about=found.about,
        tensors=len(tensors),
        parameters=numbers,
        sizes=sizes,
        texts=found.texts,
        also=found.also,
        needs=() if _heads_known(checkpoint, found, sizes) else ("num_heads=N",),
    )


def _heads_known(checkpoint: HubCheckpoint, kind: CheckpointKind, sizes: Mapping[str, int]) -> bool:
    """Whether a loader knows the number of attention heads, if it needs one."""
    known = KNOWN_HEADS.get(kind.name)
    if kind.role != "generator" or known is None or sizes.get("width") in known:
        return True
    setting = titok_generator.HEADS_SETTING
    return kind.name == titok_generator.KIND and checkpoint.setting(setting, int, None) is not None


def _report_on_pipeline(folder: Path) -> FileReport:
    """Say what a folder of diffusers with several models is."""
    found = kind_of_file(folder)
    if found is None:
        made = read_config(folder / PIPELINE_INDEX).get("_class_name")
        return FileReport(None, None, f"a folder of {made}, which is not read here", 0, 0)
    sizes = amused_sizes(folder)
    weights = [weights_in(folder / model, (name,)) for model, name in MODELS.items()]
    parts = [read_tensors(file).tensors for file in weights if file is not None]
    numbers = sum(tensor.numel() for part in parts for tensor in part.values())
    count = sum(map(len, parts))
    return FileReport(found.name, found.role, found.about, count, numbers, sizes, texts=True)


def _sizes(kind: CheckpointKind, checkpoint: HubCheckpoint) -> dict[str, int]:
    """What the shapes of a kind show; heads, which they do not show, are left out.

    Raises:
        ValueError: the tensors are not all those of a network of these sizes, or the config is of
            another one.
    """
    read = NETWORKS.get((kind.name, kind.role))
    if read is None:
        return {}
    config, make, state = read(checkpoint.tensors)
    empty_network(lambda: make(config), shapes_of(state))
    if isinstance(config, TiTokConfig):
        titok_generator.require_config(checkpoint, config)
    elif kind.role == "generator":
        side_of(config.tokens)
    sizes = {n: v for n, v in vars(config).items() if type(v) is int and n not in UNSHOWN}
    if kind.name == "muse":  # codes and classes share one table
        del sizes["codebook_size"], sizes["num_classes"]
        sizes = {"words": len(checkpoint.tensors[muse.WORDS])} | sizes
    return sizes


def _nat(state: Tensors) -> tuple[Any, MakeNetwork, Tensors]:
    return config_from_shapes(shapes_of(state), 1), NAT, state


def _muse(state: Tensors) -> tuple[Any, MakeNetwork, Tensors]:
    """MUSE-Pytorch's network for classes, with as many of its words taken for codes as can be."""
    words = shape_of(shapes_of(state), muse.WORDS, 2, "a checkpoint of MUSE-Pytorch")[0]
    return _nat(muse.as_nat(state, words - 3))


def _titok_tokenizer(state: Tensors) -> tuple[Any, MakeNetwork, Tensors]:
    used = decoding_part(state)
    return titok_decoder_config(shapes_of(used)), TiTokDecoder, used


KNOWN_HEADS: Mapping[str, Collection[int]] = {
    "nat": published.HEADS,
    "muse": muse.HEADS,
    "halton": halton.HEADS,
    "titok": titok_generator.HEADS,
}
"""The widths of the networks whose number of heads is known, by their kind."""
UNSHOWN = ("num_heads", "mlp_ratio")
NETWORKS: Mapping[tuple[str, str], Callable[[Tensors], tuple[Any, MakeNetwork, Tensors]]] = {
    ("nat", "generator"): _nat,
    ("muse", "generator"): _muse,
    ("halton", "generator"): lambda state: (
        halton_config(shapes_of(state), 1),
        HaltonNetwork,
        state,
    ),
    ("titok", "generator"): lambda state: (
        titok_config(shapes_of(state), 1),
        titok_network,
        state,
    ),
    ("titok", "tokenizer"): _titok_tokenizer,
    ("vqgan", "tokenizer"): lambda state: (vqgan_config(shapes_of(state)), VQGAN, state),
    ("llamagen", "tokenizer"): lambda state: (
        llamagen_config(shapes_of(state)),
        LlamaGenVQ,
        state,
    ),
}
"""Reads the sizes of each kind from its tensors: a config, what makes a network of it, and the
tensors by the network's names."""
