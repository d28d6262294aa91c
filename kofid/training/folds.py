"""Cross-validation: questions held out together with all that ask the same."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from kofid.errors import InputError
from kofid.language import say
from kofid.training.data import is_positive
from kofid.types import Example


def folds(examples: Sequence[Example], n: int, seed: int = 1) -> list[tuple[list[Example], list[Example]]]:
    """Return ``n`` pairs of examples to train on and examples held out; each example is held out once.

    Questions that share a gold passage, or are the same, stay together: a paraphrase of a held-out question would be the
    question. Raises InputError where there are fewer groups than folds.
    """
    group: dict[str, int] = {}
    members: list[list[Example]] = []
    for example in examples:
        gold = [hit.passage.id for hit in example.hits if is_positive(example.question, hit.passage)]
        names = [example.question.text, *example.question.positive_ids, *gold]
        joined = sorted({group[name] for name in names if name in group})
        home = joined[0] if joined else len(members)
        if not joined:
            members.append([])
        for other in joined[1:]:  # this example joins groups that were apart
            members[home] += members[other]
            members[other] = []
            group |= {name: home for name, number in group.items() if number == other}
        group |= dict.fromkeys(names, home)
        members[home].append(example)
    groups = [together for together in members if together]
    if len(groups) < n:
        raise InputError(
            say(f"{n}겹으로 나눌 질문이 모자랍니다", f"too few questions for {n} folds that share no passage")
        )
    Random(seed).shuffle(groups)
    groups.sort(key=len, reverse=True)  # the largest first, for folds of one size
    parts: list[list[Example]] = [[] for _ in range(n)]
    for together in groups:
        min(parts, key=len).extend(together)
    return [([e for j, other in enumerate(parts) if j != i for e in other], part) for i, part in enumerate(parts)]
