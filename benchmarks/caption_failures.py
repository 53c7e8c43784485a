"""How often captions err in gender, colour and number, and how often people agree with keywords.

    ./run_local.sh bench caption_failures --captions scores/captions.json --references Flickr8k.token.txt \
        --estimates scores/estimates.jsonl

A word of a caption is confirmed where one of the picture's captions by people says it.
"""

import argparse
import json
import os
from collections import defaultdict

from beam_pipeline.words.terms import is_stop
from training.data.caption_files import read_captions
from training.text.words import caption_words

MEN = {"man", "men", "boy", "boys", "guy", "guys", "he", "his", "him"}
WOMEN = {"woman", "women", "girl", "girls", "lady", "ladies", "she", "her"}
COLOURS = frozenset(
    ("black", "white", "red", "blue", "green", "yellow", "orange", "brown", "pink", "purple", "grey", "gray", "tan")
)
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


def references(path: str) -> dict[str, list[set[str]]]:
    """Caption file -> name -> the words of each of its captions."""
    found = defaultdict(list)
    for row in read_captions(path):
        found[row.image].append(set(caption_words(row.text)))
    return found


def share(part: int, whole: int) -> str:
    return f"{part} of {whole}" + (f" ({part / whole:.1%})" if whole else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", required=True)
    parser.add_argument("--references", required=True)
    parser.add_argument("--estimates")
    arguments = parser.parse_args()
    people = references(arguments.references)
    with open(arguments.captions, encoding="utf-8") as file:
        said = {row["image_id"]: set(caption_words(row["caption"])) for row in json.load(file)}
    said = {name: words for name, words in said.items() if os.path.basename(name) in people}
    theirs = {name: people[os.path.basename(name)] for name in said}

    print(f"{len(said)} pictures")
    for name, group, other in (("men", MEN, WOMEN), ("women", WOMEN, MEN)):
        ours = [one for one, words in said.items() if words & group]
        human = sum(bool(words & group) for one in said for words in theirs[one])
        total = sum(len(theirs[one]) for one in said)
        print(f"captions that speak of {name}: {share(len(ours), len(said))}; people's: {share(human, total)}")
        wrong = sum(
            not any(words & group for words in theirs[one]) and any(words & other for words in theirs[one])
            for one in ours
        )
        none = sum(not any(words & (group | other) for words in theirs[one]) for one in ours)
        print(
            f"  of them people speak of the other only: {share(wrong, len(ours))}; of neither: {share(none, len(ours))}"
        )
    for title, group in (("colour words", COLOURS), ("number words from two to eight", set(NUMBERS))):
        mentions = [(one, word) for one, words in said.items() for word in words & group]
        confirmed = sum(any(word in words for words in theirs[one]) for one, word in mentions)
        print(f"{title} that a person says too: {share(confirmed, len(mentions))}")
    for number in NUMBERS:
        ours = [one for one, words in said.items() if number in words]
        confirmed = sum(any(number in words for words in theirs[one]) for one in ours)
        people_say = sum(sum(number in words for words in theirs[one]) >= 2 for one in said)
        print(f"  {number}: {share(confirmed, len(ours))}; pictures of which two people say it: {people_say}")
    if arguments.estimates:
        keywords(arguments.estimates, people)


def keywords(path: str, people: dict[str, list[set[str]]]) -> None:
    for least in (0.2, 0.3, 0.5):
        pictures = chosen = confirmed = empty = 0
        with open(path, encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                words = [word for word, p in row["words"].items() if p >= least and not is_stop(word)]
                used = set().union(*people[os.path.basename(row["image"])])
                pictures, chosen, empty = pictures + 1, chosen + len(words), empty + (not words)
                confirmed += len(used.intersection(words))
        print(
            f"keywords from {least}: {chosen / pictures:.1f} a picture, none for {share(empty, pictures)}, "
            f"a person says {share(confirmed, chosen)}"
        )


if __name__ == "__main__":
    main()
