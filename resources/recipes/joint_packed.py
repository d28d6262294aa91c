"""Train a joint reader where there is no Kiwi: examples are analysed here, packed into one small file, and learned there (a GPU).

    python resources/recipes/joint_packed.py pack packed.npz EXAMPLES.jsonl ... --model MODEL [--negatives 4]
    python resources/recipes/joint_packed.py train packed.npz --model MODEL -o weights.safetensors --epochs 2 --batch-size 256 --lr 3e-4
    python resources/recipes/joint_packed.py write weights.safetensors packed.npz --model MODEL -o FOLDER

EXAMPLES are FiD JSON lines (``kofid retrieve --keep-gold``, ``synthetic.py``), MODEL an encoder (``encoder.py``) or a joint
reader's folder. ``train`` needs torch, transformers, tokenizers and nothing that analyses Korean; checkpoints stand beside the
output, and ``--resume`` goes on from them. ``write`` makes the weights a folder that the joint reader opens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kofid.training.joint import TrainedJoint, fit_joint, joint_dataset, open_joint, sample_rows
from kofid.training.options import TrainOptions

# What is kept of each piece of a window: a bit each.
FLAGS = ("types", "firsts", "lasts", "starts", "ends")
Window = dict[str, Any]


@dataclass(frozen=True)
class PackedRows:
    """The rows of a ``joint_dataset``, in a few arrays.

    ``ids``: pieces of all windows one after another, uint16; ``flags``: a bit of FLAGS each, uint8; ``ends``: where each window
    ends; ``golds`` and ``others``: how many windows each question has, its gold ones first.
    """

    ids: np.ndarray
    flags: np.ndarray
    ends: np.ndarray
    golds: np.ndarray
    others: np.ndarray

    def __len__(self) -> int:
        return len(self.golds)

    def __getitem__(self, number: int) -> dict[str, Any]:
        first = int(self.golds[:number].sum() + self.others[:number].sum())
        n_gold, n_other = int(self.golds[number]), int(self.others[number])
        windows = [self._window(at) for at in range(first, first + n_gold + n_other)]
        return {"question": str(number), "gold": windows[:n_gold], "negative": windows[n_gold:]}

    def _window(self, at: int) -> Window:
        part = slice(int(self.ends[at - 1]) if at else 0, int(self.ends[at]))
        flags = {name: (self.flags[part] >> bit) & 1 for bit, name in enumerate(FLAGS)}
        places = {name: np.flatnonzero(flags[name]).tolist() for name in FLAGS[1:]}
        return {"ids": self.ids[part].tolist(), "types": flags["types"].tolist(), **places}

    @classmethod
    def load(cls, path: Path) -> PackedRows:
        """Read what ``pack`` wrote."""
        with np.load(path) as arrays:
            return cls(*(arrays[name] for name in ("ids", "flags", "ends", "golds", "others")))


def packed(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids of a window, and its flags."""
    flags = np.array(window["types"], dtype=np.uint8)
    for bit, name in enumerate(FLAGS[1:], 1):
        flags[window[name]] |= 1 << bit
    return np.array(window["ids"], dtype=np.uint16), flags


def pack(output: Path, sources: Sequence[str], model: str, n_negatives: int, limit: int | None) -> None:
    """Analyse examples and write them; print how large that is."""
    from itertools import chain, islice

    from kofid.formats import read_examples

    _, tokenizer = open_joint(model, seed=1)
    examples = list(islice(chain.from_iterable(read_examples(source) for source in sources), limit))
    dataset = joint_dataset(tokenizer, examples, notes=print)
    columns: list[tuple[np.ndarray, np.ndarray]] = []
    golds, others = [], []
    for row in dataset:
        negative = row["negative"][:n_negatives]
        columns += [packed(window) for window in (*row["gold"], *negative)]
        golds.append(len(row["gold"]))
        others.append(len(negative))
    np.savez_compressed(
        output,
        ids=np.concatenate([ids for ids, _ in columns]),
        flags=np.concatenate([flags for _, flags in columns]),
        ends=np.cumsum([len(ids) for ids, _ in columns]).astype(np.uint32),
        golds=np.array(golds, dtype=np.uint16),
        others=np.array(others, dtype=np.uint16),
    )
    print(f"{len(golds):,} questions, {len(columns):,} windows, {output.stat().st_size / 2**20:.1f} MiB")


def train(path: Path, model: str, output: Path, options: TrainOptions, n_negatives: int, *, resume: bool) -> None:
    """Train on packed rows and write the weights."""
    from safetensors.torch import save_file

    joint, tokenizer = open_joint(model, seed=options.seed)
    begun = time.perf_counter()

    def told(step: int, n_steps: int, loss: float) -> None:
        if step % 50 == 0 or step == n_steps:
            print(f"{step}/{n_steps} loss {loss:.3f} {time.perf_counter() - begun:.0f} s", flush=True)

    rows: Any = PackedRows.load(path)
    figures = fit_joint(
        joint,
        rows,
        options,
        output.with_suffix(".checkpoints"),
        pad=tokenizer.pad,
        n_negatives=n_negatives,
        resume=resume,
        on_step=told,
    )
    save_file({name: weights.contiguous() for name, weights in joint.state_dict().items()}, output)
    print(figures)


def write(weights: Path, path: Path, model: str, folder: Path) -> None:
    """Write trained weights as a folder that the joint reader opens, rows of the packed file showing what it reads."""
    from safetensors.torch import load_file

    joint, _ = open_joint(model, seed=1)
    joint.load_state_dict(load_file(weights))
    rows: Any = PackedRows.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    TrainedJoint(joint, Path(model) / "tokenizer.json", sample_rows(rows)).save(folder)


def main() -> None:
    """Pack, train or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("pack", "train", "write"))
    parser.add_argument("files", nargs="+", help="pack: output and examples; train: packed; write: weights and packed")
    parser.add_argument("--model", required=True)
    parser.add_argument("--negatives", type=int, default=4)
    parser.add_argument("--limit", type=int)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1.5e-4)
    parser.add_argument("--save-steps", type=int, default=500)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    if arguments.what == "pack":
        pack(Path(arguments.files[0]), arguments.files[1:], arguments.model, arguments.negatives, arguments.limit)
    elif arguments.what == "train":
        options = TrainOptions(
            epochs=arguments.epochs, batch_size=arguments.batch_size, learning_rate=arguments.lr, bf16=True,
            save_steps=arguments.save_steps,
        )  # fmt: skip
        train(
            Path(arguments.files[0]),
            arguments.model,
            arguments.output,
            options,
            arguments.negatives,
            resume=arguments.resume,
        )
    else:
        write(Path(arguments.files[0]), Path(arguments.files[1]), arguments.model, arguments.output)


if __name__ == "__main__":
    main()
