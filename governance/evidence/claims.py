"""What a pack may call proven: what its own verifier finds, and nothing else."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from governance.evidence.parts import Claim, Standing

VERIFIER = Path(__file__).with_name("verify.py")


def claims_of(files: dict[str, bytes]) -> list[Claim]:
    """Return how sure a reader may be of each thing that these files of a pack tell.

    Args:
        files: by name; of pack.json all but the claims.
    """
    found = _VERIFIER.claims_of(_VERIFIER.Pack(files, _is_good))
    return [Claim(**{**each, "standing": Standing(each["standing"])}) for each in found]


def _is_good(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether a signature is good: as the verifier's own, which needs no library and takes longer."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _loaded() -> ModuleType:
    """Return the verifier as a module. By any other name than this it checks a pack as soon as it is read."""
    spec = spec_from_file_location("tested", VERIFIER)
    if spec is None or spec.loader is None:
        raise ImportError(f"{VERIFIER} cannot be loaded")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_VERIFIER = _loaded()
