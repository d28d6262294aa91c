"""What encoders see of questions and passages, and what they give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kofid.types import Passage

Vectors = npt.NDArray[np.float32]
# The tokens of some texts.
Rows = Sequence[Sequence[int] | npt.NDArray[np.integer]]
QUESTION_TOKENS = 64
PASSAGE_TOKENS = 256


def dense_text(passage: Passage) -> str:
    """Return the text of a passage that encoders see."""
    return f"{passage.title} {passage.text}"
