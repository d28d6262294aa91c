"""Where and how numbers are computed: device, number type, threads, seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kofid.errors import ResourceError
from kofid.language import say, setting

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` is the GPU where there is one. Raises ResourceError."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(
            say(
                f"장치 '{name}'을(를) 쓸 수 없습니다. {setting('device', 'cpu')} 로 해 보세요.",
                f"no device '{name}'; try {setting('device', 'cpu')}",
            )
        ) from error
    return device


def peak_memory() -> int:
    """Return the most memory that this process has held, in 2^20 bytes; 0 where that is not told."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM:")), 0)


def reading_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the type of number to read with: ``float32``, ``bfloat16``, or for ``auto`` the latter where it is fast."""
    import torch

    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _has_bf16_products()
    return torch.bfloat16 if fast else torch.float32


def _has_bf16_products() -> bool:
    """Tell whether the processor multiplies bfloat16 in hardware."""
    import torch

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") or capabilities.get("bf16"))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    from transformers import set_seed

    set_seed(seed)
