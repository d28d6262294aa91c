"""Small BERT checkpoints, with tokenizers like those of encoders in use, made on the spot."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertModel, PreTrainedTokenizerFast

from kofid.training.encoder_export import export_encoder
from support.examples import EXAMPLES, PASSAGES
from support.twins import bert_config

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


@cache
def _unigram() -> Tokenizer:
    """Return a Unigram over Metaspace that frames a text as ``<s> A </s>``."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    texts = [p.text for p in PASSAGES] + [e.question.text for e in EXAMPLES] + ["question: title: context: 0"] * 3
    tokenizer.train_from_iterator(
        texts,
        trainers.UnigramTrainer(vocab_size=220, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def unigram() -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=_unigram(),
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def new_bert(**changes: object) -> BertModel:
    torch.manual_seed(3)
    shape = {"intermediate_size": 64, "max_position_embeddings": 256, "pad_token_id": 1, "vocab_size": len(unigram())}
    config = bert_config(**shape | changes)
    return BertModel(config, add_pooling_layer=False)


def write_bert(folder: Path, **changes: object) -> Path:
    """Write a checkpoint of BertModel with its tokenizer."""
    new_bert(**changes).save_pretrained(folder)
    unigram().save_pretrained(folder)
    return folder


def write_joint(folder: Path) -> Path:
    """Write the encoder as a joint reader's folder has it: a graph, and weights in four bits."""
    folder.mkdir()
    _unigram().save(str(folder.with_suffix(".json")))
    row = unigram()(PASSAGES[0].text)["input_ids"]
    export_encoder(new_bert(), folder, folder.with_suffix(".json"), [(row, [0] * len(row))])
    return folder
