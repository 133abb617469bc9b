"""Whether two histories are one that was altered, or two that are alike.

Two customers who fill in the same form agree in nine words out of ten; so do a conversation and
its copy with the names masked.  How much agrees can not tell these apart.  What differs can: a
client that alters a history masks, corrects, stamps or leaves out, it does not put one name in
the place of another.  So words are compared in their order, and each difference is looked at:

============================  ==========================================================
nothing on one side           left out or added: fine
a mask on one side            ``[NAME]``, ``<EMAIL_1>``, ``****``: fine
the same letters              words joined or taken apart: fine
a letter more or less, or     a slip of the pen: fine, but not in names and never in numbers,
two swapped                   nor one letter for another, which makes a house of a mouse
anything else                 **contradicts**: these are two histories
============================  ==========================================================

Case, punctuation, kinds of quotation marks and stamps of time do not count as words.  A time is
a stamp where a date stands with it, in brackets, or at the start of a line; "a table for 19:00" is
content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
from rapidfuzz.distance import OSA, Indel

NO_WORD = "\0"
"""How what stands among the words begins that is none."""
CLIENT, MODEL = f"{NO_WORD}client", f"{NO_WORD}model"
"""What comes before the words of a side, so that none of them meets one of the other side."""

LONGEST_MASKED = 12
"""Words that one mask may stand for."""
LONG_WORD = 5
"""Letters from which a word with one more or less is more likely the same than another."""

_CLOCK = (
    r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
    r"(?:\s?(?:Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d))?"
)
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DAY = (
    rf"(?:\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}"
    rf"|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{{0,6}},?\s)?(?:\d{{1,2}}\s{_MONTH}|{_MONTH}\s\d{{1,2}})(?:,?\s\d{{4}})?)"
)
_BOTH = rf"{_DAY}(?:T|,?\s(?:at\s)?){_CLOCK}(?:\s\d{{4}}\b)?|{_CLOCK}\s(?:on\s)?{_DAY}"
_STAMP = re.compile(
    rf"\b(?:{_BOTH})|[\[(](?:{_CLOCK}|{_DAY})[\])]|^\s{{0,8}}(?:{_CLOCK}|{_DAY})(?=[\s:,>|-])",
    re.MULTILINE,
)
_MASK = r"[\[<{]{1,2}[A-Z][A-Z0-9_ -]{1,30}[\]>}]{1,2}|\*{3,}|[•█▇▒]{2,}|\b[Xx]{3,}\b|\bREDACTED\b"
_IS_MASK = re.compile(_MASK)
_WORD = re.compile(
    _MASK
    + r"|[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"  # scripts without blanks
    + r"|[^\W\d_]+(?:'[^\W\d_]+)*"
    + r"|\d+(?:[.,:]\d+)*"
    + r"|[+*/=<>%$€£#@&|^~\\]|(?<!\w)-(?=\d)"
)
_APOSTROPHES = str.maketrans("’‘ʼ", "'''")


def words(text: str) -> list[str]:
    """Return the words of a text in order, without stamps of time and punctuation."""
    return _WORD.findall(_STAMP.sub(" ", text.translate(_APOSTROPHES)))


class Likeness(msgspec.Struct, frozen=True, gc=False):
    """How two histories compare."""

    similarity: float
    """The share of their words that both have in the same order, 0 to 1."""
    agreeing: int
    """Letters in these words, up to a contradiction."""
    contradicts: bool
    """Whether something differs that no client alters."""


def compare(ours: Sequence[str], theirs: Sequence[str], least: float) -> Likeness | None:
    """Compare the words of two histories; None if they are less similar than ``least``."""
    known, told = [w.casefold() for w in ours], [w.casefold() for w in theirs]
    similarity = Indel.normalized_similarity(known, told, score_cutoff=least)
    if similarity < least or not similarity:
        return None
    agreeing = 0
    mine: list[str] = []  # what one side has and the other has not, within one message
    other: list[str] = []
    for same, left, right in _stretches(known, told, ours, theirs):
        if CLIENT in same or MODEL in same:
            mine, other = [], []
        agreeing += sum(len(word) for word in same if word[0] != NO_WORD)
        if left and right:
            if not _is_alteration(left, right):
                return Likeness(similarity, agreeing, contradicts=True)
        else:
            mine += left
            other += right
            if mine and other:
                return Likeness(similarity, agreeing, contradicts=True)
    return Likeness(similarity, agreeing, contradicts=False)


def _stretches(
    known: Sequence[str], told: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Iterator[tuple[Sequence[str], list[str], list[str]]]:
    """Yield what agrees, then how each side differs before the next that does."""
    same: Sequence[str] = ()
    left: list[str] = []
    right: list[str] = []
    for step in Indel.opcodes(known, told):
        if step.tag == "equal":
            if left or right:
                yield same, left, right
            elif same:
                yield same, [], []
            same, left, right = known[step.src_start : step.src_end], [], []
        else:
            left += ours[step.src_start : step.src_end]
            right += theirs[step.dest_start : step.dest_end]
    yield same, left, right


def _is_alteration(ours: list[str], theirs: list[str]) -> bool:
    masked = [any(map(_IS_MASK.fullmatch, side)) for side in (ours, theirs)]
    if masked == [True, False]:
        return _masks(ours, theirs)
    if masked == [False, True]:
        return _masks(theirs, ours)
    if "".join(ours).casefold() == "".join(theirs).casefold():
        return not any(word[0].isdigit() for word in ours)
    return len(ours) == len(theirs) and all(map(_is_slip, ours, theirs))


def _masks(masked: list[str], plain: list[str]) -> bool:
    """Whether words with masks among them may stand for some others."""
    if len(plain) > LONGEST_MASKED:
        return False
    said = "".join(plain)
    return all(_IS_MASK.fullmatch(word) or word in said for word in masked)


def _is_slip(one: str, other: str) -> bool:
    """Whether two words are the same but for a slip of the pen."""
    if one.casefold() == other.casefold():
        return True
    if not (one[0].isalpha() and other[0].isalpha()):
        return False
    if one[0].isupper() and other[0].isupper():
        return False  # Names: Maria is not Mario.
    if OSA.distance(one.casefold(), other.casefold(), score_cutoff=1) > 1:
        return False
    if len(one) == len(other):
        return sorted(one.casefold()) == sorted(other.casefold())
    return min(len(one), len(other)) >= LONG_WORD
