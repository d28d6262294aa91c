"""What every process of a distributed run does, for test_trainer: torchrun -m support.ranks FOLDER BATCH_SIZE."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from kofid.training.fid import fit_fid
from support.examples import CPU, EXAMPLES, digest, new_reader


def main(folder: Path, batch_size: int) -> None:
    rank = os.environ.get("RANK", "0")
    reader = new_reader(skt=True)
    # The answers' lengths differ, so the ranks' tokens do too. Half of the steps are of the new parts alone.
    options = replace(CPU, max_steps=6, batch_size=batch_size, warmup_cross=3, ema=0.9, eval_steps=3, patience=9)
    figures = fit_fid(reader, EXAMPLES, options, folder / "c", dev=EXAMPLES[:5], n_context=2)
    if rank == "0":
        reader.save(folder / "reader")
    (folder / f"{rank}.json").write_text(json.dumps({"weights": digest(reader.model), "figures": figures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
