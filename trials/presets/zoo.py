"""The zoo: what is known of the public generators that autonat reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search.reading import read_yaml
from search.strategy_file import StrategyFile
from trials.presets.presets import ZOO, presets


@dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        file: its name.
        place: where it is from.
        size: in words, or None if it is not known.
    """

    file: str
    place: str
    size: str | None


@dataclass(frozen=True)
class PublicModel:
    """A public generator.

    Attributes:
        name: its name.
        kind: KIND in weights=KIND:PATH.
        makes: what it is conditioned on, and the size of its images.
        parameters: in millions.
        licence: of code and weights, in words.
        files: what to download.
        settings: further settings of the objective `images`, with what stands for a path in
            capitals.
        fid: the published FID, or None.
        steps: T of the published sampler.
        passes: the forward passes of the public code for one image.
        preset: the name of its preset, or None.
        flops: floating-point operations of a pass and of decoding an image, or None.
        features: the kind of features of the published FID (see models.features.image_features).
    """

    name: str
    kind: str
    makes: str
    parameters: float
    licence: str
    files: tuple[Download, ...]
    settings: str
    fid: float | None
    steps: int
    passes: int
    preset: str | None
    flops: tuple[float, float] | None
    features: str

    def image_gigaflops(self) -> float | None:
        """GFLOPs of an image with the preset, and its passes here; None if they are not known."""
        if self.flops is None:
            return None
        once, decoding = self.flops
        return round(self.passes_here() * once + decoding, 1)

    def passes_here(self) -> int:
        """The forward passes of the preset: steps without guidance take one here."""
        if self.preset is None:
            return self.passes
        return StrategyFile.read(presets()[self.preset].path).generation.forward_passes()

    def to_json(self) -> dict[str, Any]:
        """What is known, as JSON values by name."""
        return {
            "name": self.name,
            "kind": self.kind,
            "makes": self.makes,
            "parameters": int(self.parameters * 1e6),
            "licence": self.licence,
            "files": [{"file": f.file, "from": f.place, "size": f.size} for f in self.files],
            "settings": self.settings,
            "fid": self.fid,
            "steps": self.steps,
            "passes": self.passes,
            "passes_here": self.passes_here(),
            "preset": self.preset,
            "gigaflops": self.image_gigaflops(),
            "features": self.features,
        }


def public_models() -> list[PublicModel]:
    """All public generators that are known, in the order of the data file."""
    content = read_yaml(ZOO)
    return [_read({**content["kinds"][told["kind"]], **told}) for told in content["models"]]


def _read(told: dict[str, Any]) -> PublicModel:
    published, flops = told["published"], told["gflops"]
    known = None not in flops.values()
    return PublicModel(
        name=told["name"],
        kind=told["kind"],
        makes=told["makes"],
        parameters=told["parameters"],
        licence=told["licence"],
        files=tuple(Download(f["file"], f["from"], f["size"]) for f in told["files"]),
        settings=told["settings"],
        fid=published["fid"],
        steps=published["steps"],
        passes=published["passes"],
        preset=told["preset"],
        flops=(flops["pass"], flops["decode"]) if known else None,
        features=told["protocol"],
    )
