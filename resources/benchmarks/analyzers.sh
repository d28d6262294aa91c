#!/usr/bin/env bash
# Every analyzer, ranker and engine on the same questions, with significance:
#   bash resources/benchmarks/analyzers.sh CORPUS... QUESTIONS FOLDER
# One index holds all analyzers; weights of 0 leave the others out. ENGINES="rank-bm25 bm25s" adds those packages on the
# default analyzer's terms (in memory: for up to some 100,000 passages). The table stands in FOLDER/table.md.
set -euo pipefail
folder="${*: -1}" questions="${*: -2:1}" corpus=("${@:1:$#-2}")
mkdir -p "$folder"
parts=(kiwi bigram compound kiwi-all whitespace)
test -e "$folder/kb/CURRENT" || kofid index "${corpus[@]}" -o "$folder/kb" --analyzer "$(IFS=+; echo "${parts[*]}")" --json

only() { # the components named, with their weights, and nothing else: only kiwi=1 bigram=1
    local part weight weights=()
    for part in "${parts[@]}"; do
        weight="$part=0"
        for wanted in "$@"; do if [ "${wanted%%=*}" = "$part" ]; then weight="$wanted"; fi; done
        weights+=("$weight")
    done
    (IFS=,; echo "${weights[*]}")
}
measure() { # name, then options
    local name="$1"; shift
    systems+=("$folder/$name.jsonl")
    test -e "$folder/$name.jsonl" ||
        kofid retrieve -i "$folder/kb" --eval "$questions" --no-correct --per-question "$folder/$name.jsonl" "$@" >/dev/null
}

systems=()
both="$(only kiwi=1 bigram=1)"
plain="title=0,asking=1,ending=1,sentence=0,article=0"
measure "kiwi+bigram" --weights "$both"
measure "kiwi+bigram+compound" --weights "$(only kiwi=1 bigram=1 compound=0.5)"
measure "kiwi" --weights "$(only kiwi=1)"
measure "bigram" --weights "$(only bigram=1)"
measure "kiwi-all" --weights "$(only kiwi-all=1)"
measure "whitespace" --weights "$(only whitespace=1)"
for ranker in okapi atire bm25+ bm25l tf-idf; do measure "kiwi+bigram,$ranker" --weights "$both" --ranker "$ranker"; done
measure "plain-sum" --weights "$both,$plain" --k1 1.2 --b 0.75
for part in kiwi bigram kiwi-all whitespace; do
    measure "plain-$part" --weights "$(only "$part=1"),$plain" --k1 1.2 --b 0.75
done
for engine in ${ENGINES:-}; do
    measure "kiwi+bigram,$engine" --weights "$both" --engine "$engine" --k1 1.2 --b 0.75
    measure "kiwi-all,$engine" --weights "$(only kiwi-all=1)" --engine "$engine" --k1 1.5 --b 0.75
done
kofid compare "${systems[@]}" --output "$folder/table.md"
