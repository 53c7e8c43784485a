"""The tokenizer of captions that training, counting and scoring share.

Its tokens are those of pycocoevalcap's `PTBTokenizer` (Stanford's Penn Treebank lexer, then lower case, then the COCO
list of punctuation to drop), without Java. Like that lexer, it tries a list of patterns at each place; the longest
match wins, lookahead included, and the first in the list among equals.

It differs on purpose:

- Canonically equal spellings become one (NFC).
- A curly apostrophe counts as a straight one: the lexer splits ’shirt into "'s" and "hirt".
- A token with a no-break space inside ("3 1/2") becomes two tokens, as the scorers split it anyway.
- Combining marks belong to their letter, so that Hindi and vowelled Arabic are cut into words.
- Tokens are cut until they stay as they are (the lexer cuts "AT&T" only in lower case), so that a caption that is made
  of tokens has these very tokens.

Source of the conventions: Marcus et al. 1993, "Building a large annotated corpus of English: the Penn Treebank".
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

# What COCO's caption evaluation drops. The list is in upper case there but applied to lower-cased tokens, so brackets
# stay as "-lrb-" in published scores; `is_word` leaves them out of everything that is not scoring.
_PUNCTUATION = "'' ' `` ` -LRB- -RRB- -LCB- -RCB- . ? ! , : - -- ... ;"
PUNCTUATION = frozenset(_PUNCTUATION.split())
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
CLITICS = frozenset({"'s", "'m", "'d", "'re", "'ve", "'ll", "n't"})

_CHARACTERS = {
    **dict.fromkeys("\u2018\u2019\u201b\u0091\u0092", "'"),
    **dict.fromkeys("\u201a\u2039\u203a\u0082", "`"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u0084\u0093\u0094", '"'),
    **dict.fromkeys("\u2013\u2014\u2015\u0096\u0097", "\ue000"),  # a dash of its own, never a hyphen inside a word
    **dict.fromkeys("\u2026\u0085", "..."),
    **dict.fromkeys("\ufeff\u200b\u200e\u200f", " "),
    "\u00ad": "",  # soft hyphen
    **{digit: f" {digit} " for digit in "\u00b9\u00b2\u00b3\u2070\u2074\u2075\u2076\u2077\u2078\u2079"},  # superscripts
    "\u00bc": " 1/4 ",
    "\u00bd": " 1/2 ",
    "\u00be": " 3/4 ",
    "\u2153": " 1/3 ",
    "\u2154": " 2/3 ",
    "\u00a3": "\ue001",  # a pound sign, written "#" in the Treebank
    "\u20ac": "\ue002",  # a euro sign, written "$" there
    "\u00a2": "\ue003",  # "cents"
}
_REWRITTEN = {"\ue000": "--", "\ue001": "#", "\ue002": "$", "\ue003": "cents", **BRACKETS}
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&nbsp;": " "}
_CHARACTER_TABLE = str.maketrans(_CHARACTERS)
_NEEDS_REWRITING = re.compile("[^\x20-\x7e]|&[a-z]")

# Abbreviations keep their full stop. The second group does so only with a capital (a common word otherwise), the
# third only before a number.
_ABBREVIATIONS = (
    "adj adm adv al ala alex apr ariz assn assoc asst attys? aug ave bancorp bhd bldg blvd brig bros calif capt cf cie "
    "cmdr comdr co col colo conn corp cos cpl ct dak dec dept det drs? elec ens esq est etc ext feb fla fri ft ga gen "
    "govs? hon inc ind insp intl invt jan jos jr jul jun kans? ky lieut lt ltd maj mar md messrs mfg mich minn mlle "
    "mme mo mon mont mr mrs ms msgr mt mtg natl neb nev nov oct okla penn pfc ph plc pres profs? pty pvt rd reps? rev "
    "rt sens? sept? seq sfc sgt spc sq sr ste? supts? sys tel tenn thurs? treas tues? univ va vs vt wed wisc? wm wyo"
)
_CAPITAL_ABBREVIATIONS = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash"
_NUMBER_ABBREVIATIONS = "arts? ca figs? nos? op pp prop"
_ANY_ABBREVIATION = (
    f"(?i:{'|'.join(_ABBREVIATIONS.split())})|(?:{'|'.join(_CAPITAL_ABBREVIATIONS.split())})"
    r"|(?i:(?:ph|ed)\.d)|(?:[^\W\d_]\.)*[A-Za-z]"
)
# After one of these words' capital forms a lone letter and its full stop are two tokens: "plan A. The dog ..."
_SENTENCE_OPENERS = (
    "About According Additionally After An A As At But Did During Earlier He Her Here How However If In It Last Many "
    "More Mr. Ms. Now Once One Other Our She Since So Some Such That The Their Then There These They This We When "
    "While What Who Why Yet You"
)
_OPENERS = frozenset(_SENTENCE_OPENERS.split())

_L, _D, _A = r"[^\W\d_]", r"\d", r"[^\W_]"  # letter, digit, either
_NUM = rf"(?:{_D}*(?:[.:,]{_D}+)+|{_D}+(?:[.:,]{_D}+)*)"
_WORD = rf"{_L}{_A}*(?:[.!?]{_L}{_A}*)*"
# Every text matches in one way only: a choice per piece would take exponential time on "1-1-1-1-1".
_POINTED = rf"{_D}*(?:[.:,]{_D}+)+"
_PIECE = rf"(?:{_A}+|[-+]{_NUM}|{_POINTED})"
_FRENCH = rf"(?:[dDoOlL]['`]{_A})?"  # d'Artagnan, O'Brien, l'eau
_HYPHENATED = rf"{_FRENCH}{_PIECE}(?:[-_]{_FRENCH}(?:{_A}+|{_POINTED}))*"

# (pattern whose first group is the token). The whole match, lookahead included, is what competes in length.
_RULES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(<(?:[!?][A-Za-z-][^>]*|/?[A-Za-z][\w:.-]*/?)>)",
        r"(?i:(can)not|(got)ta|(gim|lem)me|(gon|wan)na|('t)(?:is|was))",
        rf"({_WORD})'(?i:[msd]|re|ve|ll)",
        rf"({_L}*(?![nN]){_L})[nN]['`][tT]",
        rf"({_WORD})",
        (
            r"(?i:('n'?|[ldj]'|dunkin'|somethin'|ol'|'em|diff'rent|'cause|'till?|'[2-9]0s|cont'd\.?|nor'easter|c'mon|e'er"
            r"|s'mores|ev'ry|li'l|nat'l|cap'n|c'est|o'o))"
        ),
        rf"([A-HJ-XZn]['`]{_L}{{2,}})",
        rf"({_L}+[aeiouyAEIOUY]['`][aeiouA-Z]{_L}*)",
        rf"([yY]'){_L}",
        r"((?:https?|ftp|mailto)://[^\s\"<>|(){}]+[^\s\"'<>|.!?(){},;:&-])",
        (
            r"((?:www\.(?:[^\s\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}|(?:[^\s\"`'<>|.!?(){},$-]+\.)+(?i:com|net|org|edu))"
            r"(?:/[^\s\"<>|()]+[^\s\"<>|.!?(){},-])?)"
        ),
        r"(<?[a-zA-Z0-9][^\s\"<>|(){}@]*@(?:[^\s\"<>|(){}.]+\.)*[^\s\"<>|(){}.,;:]+>?)",
        rf"(@[a-zA-Z_]\w*|\#{_L}\w*{_A})",
        r"('(?i:[msd]|re|ve|ll))(?![^\W\d_])",
        r"([nN]['`][tT])(?![^\W\d_])",
        rf"({_D}{{1,2}}[-/]{_D}{{1,2}}[-/]{_D}{{2,4}})",
        rf"([-+]?{_NUM})",
        rf"({_D}{{1,4}}/{_D}{{1,4}})",
        rf"({_A}+(?:-{_L}+){{0,2}}(?:/{_A}+(?:-{_L}+){{0,2}}){{1,2}})",
        r"([A-Z]*\$|\#)",
        rf"((?:{_ANY_ABBREVIATION})\.)",
        rf"({_WORD}\.)[,;:]",
        rf"((?:[A-Za-z]\.)+(?:-{_A}+)+)",
        rf"({_A}+(?:[.,]+{_A}+)*(?:-(?:{_A}+(?:\.{_D}+)?|(?:[A-Za-z]\.)+))+)",
        rf"({_HYPHENATED}\.)[,;:]",
        rf"({_HYPHENATED})",
        r"([A-Z]+(?:[+&][A-Z]+)+)",
        r"('[0-9][0-9])(?=$)",
        r"(\"|''|`'|``|[`']+)",
        r"([<>]?[:;=][-o*']?(?:[()DPdpO\\{@|\[\]]|-[lr]rb-))(?![^\W_])",
        r"(<<|>>|-+|@+|_+|\*+|\#+|=+|\.\.\.+|[?!]+)",
        r"([\[\](){}<>.,;:/%&~^|\\+\ue000-\ue003])",
    )
)
_SYMBOL = re.compile(r"[^\W_]|[^\x00-\x7f]")
_LONGEST = 1000  # characters without a space that are cut together: the patterns take quadratic time
_PLAIN_WORD = re.compile(r"[a-z]+")
_PLAIN_CHUNK = re.compile(r"(?<!\S)[a-z]+(?!\S)")
_SPLIT_WORDS = frozenset({"cannot", "gotta", "gimme", "lemme", "gonna", "wanna"})
_WHOLE = frozenset({*BRACKETS.values(), "'t", "y'"})  # tokens that the patterns would cut: of "(", "'tis", "y'all"


def tokenize(text: str) -> list[str]:
    """Text -> lower-case tokens by the COCO protocol, without punctuation; tokens joined by spaces stay as they are.

    >>> tokenize("A black-and-white dog doesn't run, it swims.")
    ['a', 'black-and-white', 'dog', 'does', "n't", 'run', 'it', 'swims']
    """
    tokens = _cut(text)
    # In lower case, or beside another token, another pattern may match. It ends, because cuts only split and drop.
    while not all(map(_is_settled, tokens)):
        again = _cut(" ".join(tokens))
        if again == tokens:
            break
        tokens = again
    return tokens


@functools.lru_cache(maxsize=1 << 16)
def _is_settled(token: str) -> bool:
    """Whether a token is cut into itself, whatever stands beside it."""
    if _PLAIN_WORD.fullmatch(token):
        return token not in _SPLIT_WORDS
    return token[-1] != "." and _cut(token) == [token]


def _cut(text: str) -> list[str]:
    """Text -> tokens, which may be cut further in lower case."""
    if _NEEDS_REWRITING.search(text):
        text = unicodedata.normalize("NFC", text).translate(_CHARACTER_TABLE)
        for entity, character in _ENTITIES.items():
            text = text.replace(entity, character)
    chunks = text.split()
    if len(text) > _LONGEST:
        chunks = [chunk[begin : begin + _LONGEST] for chunk in chunks for begin in range(0, len(chunk), _LONGEST)]
    tokens: list[str] = []
    for position, chunk in enumerate(chunks):
        if _PLAIN_WORD.fullmatch(chunk) and chunk not in _SPLIT_WORDS:
            tokens.append(chunk)
        elif chunk[-1] != "." or position + 1 == len(chunks):
            tokens.extend(_split_chunk(chunk))
        else:
            following = chunks[position + 1]
            tokens.extend(
                _split_chunk(chunk, before_number=following[0].isdigit(), before_opener=following in _OPENERS)
            )
    return tokens


@functools.lru_cache(maxsize=1 << 16)
def _split_chunk(chunk: str, before_number: bool = False, before_opener: bool = False) -> tuple[str, ...]:
    """Text between two spaces -> its tokens; the flags say what the next chunk begins with."""
    if chunk in _WHOLE:
        return (chunk,)
    if before_number and re.fullmatch(f"(?i:{'|'.join(_NUMBER_ABBREVIATIONS.split())})\\.", chunk):
        return (chunk.lower(),)
    if before_opener and re.fullmatch(r"[A-Za-z]\.", chunk):
        return (chunk[0].lower(),)
    clusters = chunk if chunk.isascii() else _clusters(chunk)
    bare = "".join(cluster[0] for cluster in clusters)
    tokens = []
    position = 0
    while position < len(bare):
        best: re.Match[str] | None = None
        for rule in _RULES:
            match = rule.match(bare, position)
            if match and (best is None or match.end() > best.end()):
                best = match
        if best is None:  # a symbol stands alone; a character of no use to the Treebank is dropped
            if _SYMBOL.match(bare, position) and ord(bare[position]) < 0x10000:
                tokens.append("".join(clusters[position]))
            position += 1
            continue
        begin, position = best.span(best.lastindex or 0)
        tokens.append("".join(clusters[begin:position]))
    return tuple(token for token in map(_normalize, tokens) if token not in PUNCTUATION)


def _clusters(chunk: str) -> list[str]:
    """Text -> its letters and digits, each with the combining marks after it, and its other characters.

    The zero-width joiners count as marks before a letter or a mark, as inside a Persian word.
    """
    clusters: list[str] = []
    for place, character in enumerate(chunk):
        following = chunk[place + 1 : place + 2]
        joins = _is_mark(character) or (character in "\u200c\u200d" and (following.isalpha() or _is_mark(following)))
        if joins and clusters and clusters[-1][0].isalnum():
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _is_mark(character: str) -> bool:
    return bool(character) and unicodedata.category(character).startswith("M")


def _normalize(token: str) -> str:
    """Token as it stands in the text -> as the Treebank writes it, in lower case."""
    if token in _REWRITTEN:
        return _REWRITTEN[token]
    if token == '"':
        return "''"
    if token.startswith("..."):
        return "..."
    if set(token) == {"-"}:
        return "--" if 3 <= len(token) <= 4 else token
    if token[0] in "<>:;=" and len(token) > 1:  # a smiley
        token = token.replace("(", "-lrb-").replace(")", "-rrb-")
    return token.lower()


def is_word(token: str) -> bool:
    """Whether a token may be a word of a caption: it has a letter or digit beside the code names of brackets."""
    return any(map(str.isalnum, _BRACKET_NAME.sub("", token)))


def has_words(text: str) -> bool:
    """Whether a caption has a word; "." and a lone emoji have none."""
    return bool(_PLAIN_CHUNK.search(text)) or any(map(is_word, tokenize(text)))


_BRACKET_NAME = re.compile("-[lr][rsc]b-")  # also in the smiley ":-rrb-"


def detokenize(tokens: Sequence[str]) -> str:
    """Tokens -> text for people: "the dog 's ball" becomes "the dog's ball".

    `tokenize` is the inverse: tokens that would change if they were joined stay apart.
    """
    spaced = " ".join(tokens)
    joined = re.sub(r"(?<=\w) (?=(?:'s|'m|'d|'re|'ve|'ll|n't)(?: |$))", "", spaced)
    return joined if joined == spaced or tokenize(joined) == list(tokens) else spaced


def count_tokens(captions: Iterable[str]) -> Counter[str]:
    """Captions -> number of times that each token occurs in them."""
    return Counter(token for caption in captions for token in tokenize(caption))
