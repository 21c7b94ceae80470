"""In which manner somebody speaks, as the offline provider hears it: wishing, asking, taking back, complaining.

Ways to say things in English, about no agent in particular.
"""

from __future__ import annotations

import re

from rojak_ray.providers.offline_language import STOP_WORDS, is_misspelled, meanings, word_set


def _any(*ways: str) -> re.Pattern[str]:
    """Any of these, as whole words."""
    return re.compile(rf"\b(?:{'|'.join(ways)})\b", re.IGNORECASE)


_PHRASES = (
    (_any("how (?:much|expensive|cheap)(?! (?:do|did|must|should|will|have) (?:i|we))"), "price"),
    (_any("how (?:long|soon|fast|quick)(?! (?:does|do|will|would) it take)"), "duration"),
    (_any("when", "what time", "how late"), "time"),
    (_any("how (?:long|soon) (?:does|do|will|would) it take"), "time distance"),
    (_any("how far"), "distance"),
    (
        _any(
            r"(?:do|does|what|which|can|could|got) .{0,40}\b(?:you|i|we|there)\b.{0,40}\b(?:have(?! to)|got|sell|serve"
            "|offer|choose|eat|drink|recommend|available)",
            "got any",
            "vegetarian",
            "vegan",
        ),
        "menu",
    ),
    (_any("that(?:'?s| is| will be|'ll be)? (?:all|it|everything)", "nothing else", "go ahead"), "confirm"),
    (_any("i(?: a|')?m (?:done|finished)", "check out", "(?:ready to|let me|i want to|can i) pay"), "confirm"),
    (
        _any("how much (?:do|did|must|should|will) (?:i|we)", "how much is (?:it|that|everything) (?:all|together)"),
        "total order",
    ),
    (_any("what (?:do|did) i (?:owe|have)", "the bill", "in total", "did i order", "have i ordered"), "total order"),
    (
        _any(r"(?:see|show|check|review|view|read|list|repeat) .{0,40}\border(?:ed)?", "(?:my|the) order so far"),
        "total order",
    ),
    (_any("(?:on|in) (?:my|the|our) (?:order|cart|basket|list)"), "total"),
    (_any("where(?: is|'?s| are)"), "track"),
    (_any("(?:is|'s|still|be|not) coming", "(?:order|food) coming", "on (?:its|the) way", "left yet"), "track arrive"),
)
"""What several words say together, as other words."""

_NOISE = _any("(?:this|your|nice|great|lovely|cool|a|an) place", "in order to")
"""Words that mean nothing of what they look like."""

_POLITE = "(?:can|could|may|might|would)"
_WISH = _any(
    *("want", "wanna", "like", "love", "need", "order", "add", "gimme", "take", "buy", "book", "another", "more"),
    *("please", "pls", "plz", "(?:give|get|bring) (?:me|us)", "make (?:it|that)", "let me have"),
    *(rf"{_POLITE} (?:i|we) (?:\w+ )?(?:have|get|order|add)", "(?:i|we)'?ll (?:have|take)"),
)
_CERTAIN_WISH = _any(
    *("want", "wanna", "(?:would|'?d) (?:like|love)", "gimme", "(?:give|get) (?:me|us)", "(?:i|we)'?ll (?:have|take)"),
    r"(?:(?:^|please|to|me|i'll|we'll|and|just)\W+)(?:order|add)",
    rf"{_POLITE} (?:i|we|you) (?:\w+ )?(?:have|get|order|add|give|book|refund|remove|cancel|make|put)",
)
_QUESTION = re.compile(
    r"^\W*(?:(?:and|so|but|hi|hey|hello|ok|okay|sorry|excuse me|please|well|hmm|tell me|do you know|may i ask)\W+)*"
    r"(?:(?:the |your )?(?:price|prices|cost|fee|fees|menu|hours|opening|closing|status|eta|total)"
    r"|what|whats|when|where|which|who|whose|why|how|is|are|am|was|were|do|does|did|has|have|will|any)\b"
    r"|\b(?:how (?:much|many|long|far)|what time|what(?: is|'s| are)|when (?:do|is)|where is)\b",
    re.IGNORECASE,
)
_REMOVAL = _any(
    *("remove", "delete", "cancel", "drop", "without", "scratch", "undo", "minus", "less", "fewer", "get rid of"),
    "(?:do not|don'?t|didn'?t|no longer) (?:really )?(?:want|need|order)",
    *("no more", "forget (?:about|the|my)", "take (?:off|out|away)"),
    r"(?:take|leave|strike|cross) (?:[\w-]+ ){0,5}(?:off|out|away)",
)
_COMPLAINT = _any(
    *("cold", "wrong", "missing", "forgot", "forgotten", "burnt", "burned", "stale", "raw", "awful", "terrible"),
    *("horrible", "disgusting", "rude", "unhappy", r"disappoint\w+", r"spil\w+", "soggy", "bland", "inedible", "worst"),
    *("unacceptable", r"complain\w*", "mistake", "ridiculous", "money back", "overcharged", "undercooked"),
    *("never (?:came|arrived|got)", "(?:still|been|was) waiting", "(?:is|are|was|were|came|comes) (?:so |very )?late"),
    "(?:hair|fly|bug|stone|insect) in",
    r"(?:too|so|very|really) (?:\w+ )?(?:spicy|salty|sweet|oily|slow|late|small|hot|hard|dry|bad|sour|expensive|loud)",
    "tast(?:e|es|ed) (?:bad|off|strange|weird|funny|like|nothing|so|too)",
    "(?:not|isn'?t|wasn'?t|aren'?t) (?:what|fresh|good|happy|cooked|right|warm|hot|clean)",
    "(?:but|and) (?:i |we )?(?:only )?(?:got|received)",
)
_CAME_WRONG = re.compile(r"^\W*(?:(?:but|hey|sorry|hello|hi)\W+)*(?:i|we) (?:have )?(?:ordered|paid|asked for)\b", re.I)
_MANNERS = tuple(
    word_set(
        "much what when where which want would like please remove delete cancel without swap replace change order "
        "forgot wrong terrible missing complain waiting price menu"
    )
)


def wishes(text: str) -> bool:
    """Whether somebody wants something to be done or brought."""
    return _WISH.search(text) is not None


def asks(text: str) -> bool:
    """Whether somebody wants to know something, and nothing else."""
    return _QUESTION.search(text) is not None and _CERTAIN_WISH.search(text) is None


def removes(text: str) -> bool:
    """Whether something is to be gone."""
    return _REMOVAL.search(text) is not None


def denied(text: str) -> list[str]:
    """The words behind "no", as in "no satay" and "no large satay"."""
    return [word for found in re.finditer(r"\bno ((?:\w+ ?){1,2})", text, re.IGNORECASE) for word in found[1].split()]


def complains(text: str) -> bool:
    """Whether something is bad, and nothing is wished for."""
    if _CAME_WRONG.search(text):
        return True
    return _COMPLAINT.search(text) is not None and _CERTAIN_WISH.search(text) is None


def phrases(text: str) -> list[str]:
    """Words that phrases of the text stand for."""
    return [word for pattern, said in _PHRASES if pattern.search(text) for word in said.split()]


def without_noise(text: str) -> str:
    """The text without phrases that would be taken for what they are not."""
    return _NOISE.sub(" ", text)


def spelled(text: str) -> str:
    """The text with the words that carry its manner spelled right: "how mcuh" is "how much"."""

    def right(found: re.Match[str]) -> str:
        word = found.group().lower()
        if word in STOP_WORDS or word in _MANNERS or meanings(word):
            return found.group()
        return next((known for known in _MANNERS if is_misspelled(word, known)), found.group())

    return re.sub(r"[^\W\d_]{4,}", right, text)
