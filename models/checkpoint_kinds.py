"""Tells what kind of checkpoint a file is by the names of its tensors: the one list of these marks.

A family of generators or tokenizers adds one line to `MARKS`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from models.hub_files import PIPELINE_INDEX, read_config, tensors_of


@dataclass(frozen=True)
class CheckpointKind:
    """A kind of checkpoint that is read here, and how it is recognised.

    Attributes:
        name: KIND in KIND:PATH.
        role: "generator", "tokenizer", "features" or PART.
        about: what it is, in a few words.
        has: parts of names; each occurs at the beginning of the name of some tensor.
        lacks: parts of names that begin the name of no tensor.
        also: other kinds whose loaders read it, too.
        texts: whether it is a generator for texts, not for classes.
    """

    name: str
    role: str
    about: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    texts: bool = False

    def fits(self, names: Collection[str]) -> bool:
        """Whether the names of a file's tensors have all these marks."""

        def found(mark: str) -> bool:
            return any(name.startswith(mark) for name in names)

        return all(map(found, self.has)) and not any(map(found, self.lacks))


PART = "part of a generator"
"""The role of what cannot be read alone."""

NAT_BLOCKS = ("token_emb.word_embeddings.weight", "mid_block.attn.qkv.weight")

MARKS = (
    CheckpointKind(
        *("nat", "generator", "a NAT for classes"),
        (*NAT_BLOCKS, "context_embed.word_embeddings."),
    ),
    CheckpointKind(
        *("nat", "generator", "a NAT for texts, as AdaNAT and MUSE-Pytorch have it"),
        (*NAT_BLOCKS, "context_embed.weight"),
        also=("muse",),
        texts=True,
    ),
    CheckpointKind(
        *("muse", "generator", "MUSE-Pytorch's network for classes"), NAT_BLOCKS, ("context_embed",)
    ),
    CheckpointKind(
        *("halton", "generator", "Halton-MaskGIT's network"),
        ("tok_emb.weight", "cls_emb.weight", "transformer.layers.0.mlp.1.", "last_norm.norm_final"),
    ),
    CheckpointKind(
        *("vqgan", "tokenizer", "MaskGIT's VQGAN"),
        ("quantize.embedding.weight", "encoder.down.0.block.0.conv1."),
    ),
    CheckpointKind(
        *("llamagen", "tokenizer", "LlamaGen's VQ"),
        ("quantize.embedding.weight", "encoder.conv_blocks.0.res.0."),
    ),
    CheckpointKind(
        *("titok", "generator", "TiTok's ViT"),
        ("model.embeddings.word_embeddings.", "model.lm_head."),
    ),
    CheckpointKind(
        *("titok", "generator", "TiTok's U-ViT"),
        ("embeddings.weight", "pos_embed", "mid_block.attn.qkv.weight", "lm_head."),
    ),
    CheckpointKind(
        *("titok", "tokenizer", "TiTok's tokenizer"), ("latent_tokens", "decoder.", "quantize.")
    ),
    CheckpointKind(
        *("amused", PART, "aMUSEd's network, which is read with its whole folder"),
        ("encoder_proj.weight", "cond_embed.linear_1.", "mlm_layer.conv2."),
    ),
    CheckpointKind(
        *("diffusers", "tokenizer", "diffusers' VQModel"),
        ("quantize.embedding.weight", "encoder.down_blocks."),
    ),
    CheckpointKind("inception", "features", "the Inception network of FID", ("Mixed_7c.",)),
)

PIPELINES = {
    "AmusedPipeline": CheckpointKind("amused", "generator", "a folder of aMUSEd", (), texts=True)
}
"""The kinds of whole folders as diffusers saves them, by the name of the pipeline."""


def kind_of_names(names: Collection[str]) -> CheckpointKind | None:
    """Return the kind of the checkpoint with tensors of these names; None if it is unknown."""
    return next((kind for kind in MARKS if kind.fits(names)), None)


def kind_of_file(path: str | Path) -> CheckpointKind | None:
    """Return the kind of a checkpoint, a file or a folder of Hugging Face; None if it is unknown.

    Raises:
        ValueError: it is not a checkpoint (see models.tensor_file and models.hub_files).
    """
    index = Path(path) / PIPELINE_INDEX
    if index.is_file():
        return PIPELINES.get(str(read_config(index).get("_class_name")))
    return kind_of_names(tensors_of(path))


def require_kind(expected: str, names: Collection[str]) -> None:
    """Refuse a checkpoint that is recognised as one of another kind; unknown ones pass.

    Args:
        expected: the name of the kind.
        names: the names of the file's tensors.

    Raises:
        ValueError: it is of another kind; the line says of which.
    """
    found = kind_of_names(names)
    if found is not None and expected not in (found.name, *found.also):
        raise ValueError(
            f"expected a checkpoint of the kind {expected}, got {found.about}: the {found.role} "
            f"{found.name}:PATH"
        )
