"""Encoders opened by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kofid.errors import IncompatibleArtifactError, InputError
from kofid.language import say
from kofid.retrieval.dense.base import Encoder, NamedEncoder
from kofid.retrieval.dense.sentence_transformers import module_types
from kofid.retrieval.dense.static import StaticEncoder
from kofid.retrieval.dense.transformer import TransformerEncoder
from kofid.storage.artifacts import is_artifact, open_artifact, refuse_missing
from kofid.storage.bundled import resource

if TYPE_CHECKING:
    import torch

    from kofid.retrieval.index import Index

# The name of the encoder that ships with kofid, and where it is.
BUNDLED_ENCODER, _BUNDLED_FOLDER = "default", "models/retriever"


def load_encoder(directory: str, device: torch.device | None = None) -> Encoder:
    """Open a saved encoder or any Hugging Face encoder; raise InputError."""
    static = module_types(Path(directory))[:1] == ["StaticEmbedding"]
    encoder: Encoder = StaticEncoder.load(directory) if static else TransformerEncoder.load(directory)
    if device is not None:
        encoder.model.to(device)
    return encoder


def weights_fingerprint(encoder: Encoder) -> str:
    """Return a SHA-256 over the encoder's weights and kind: another encoder has another fingerprint."""
    import hashlib

    import torch

    digest = hashlib.sha256(json.dumps(encoder.kind(), sort_keys=True).encode())
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def open_encoder(name: str, device: str = "auto") -> NamedEncoder:
    """Open an encoder that kofid trained (``default``: the bundled one), or any Hugging Face encoder; raise InputError."""
    from kofid.devices import choose_device

    bundled = name == BUNDLED_ENCODER
    path = resource(_BUNDLED_FOLDER) if bundled else Path(name)
    if is_artifact(path):
        artifact = open_artifact(path, "encoder")
        encoder = load_encoder(str(artifact.directory), choose_device(device))
        return NamedEncoder(encoder, name if bundled else str(path.resolve()), artifact.fingerprint)
    refuse_missing(path)
    if path.exists() and not (path / "config.json").is_file():
        raise InputError(say(f"{path}: 모델이 아닙니다", f"{path}: not a model"))
    encoder = load_encoder(name, choose_device(device))
    return NamedEncoder(encoder, str(path.resolve()) if path.exists() else name, weights_fingerprint(encoder))


def open_index_encoder(index: Index, name: str | None = None, device: str = "auto") -> Encoder:
    """Open the encoder that made the index's vectors; raise IncompatibleArtifactError when it has changed."""
    settings = index.vector_settings
    named = open_encoder(name or settings.encoder, device)
    if named.fingerprint != settings.fingerprint:
        raise IncompatibleArtifactError(
            say(
                f"벡터를 만든 인코더와 다릅니다.\n  색인: {settings.fingerprint}\n  지금: {named.fingerprint}\n색인을 다시 만드세요.",
                f"not the encoder that made the vectors.\n  index: {settings.fingerprint}\n  here:  {named.fingerprint}\n"
                "Build the index again.",
            )
        )
    return named.encoder
