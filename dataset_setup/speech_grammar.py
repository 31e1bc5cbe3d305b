"""The sentences of the mini speech corpus: short patterns over a few hundred words.

The first words of a list are the frequent ones: the k-th has a weight of 1/(k + 4).
"""

import re
from collections.abc import Iterator

import numpy as np

_TEXT = {
    "det": "THE A MY HIS HER OUR",
    "one": "HE SHE JOHN MARY",
    "who": "WE THEY I YOU",
    "noun": """HOUSE DOG BOOK BOAT KEY LAMP TABLE HORSE BOTTLE LETTER CUP WINDOW BIRD
        CLOCK STONE TREE FLOWER PICTURE HAMMER BASKET COAT MIRROR CANDLE FISH KNIFE
        BRIDGE SPOON WHEEL RABBIT BELL PENCIL ORANGE BUTTON CHAIR DRUM LADDER MONKEY
        PILLOW ROPE SHIRT TICKET UMBRELLA VIOLIN WAGON BLANKET CARPET DIAMOND ENGINE
        FEATHER GUITAR HELMET ISLAND JACKET KETTLE""",
    "many": """BOOKS DOGS BIRDS HORSES BOATS CHILDREN FLOWERS SHIPS SISTERS BROTHERS
        APPLES WOLVES SOLDIERS FARMERS""",
    "adj": """OLD RED NEW SMALL GREEN COLD BLUE HEAVY QUIET WHITE BROKEN YOUNG DARK
        EMPTY GOLDEN LITTLE BEAUTIFUL STRANGE FAMOUS WOODEN YELLOW NARROW SIMPLE ANCIENT
        MODERN PERFECT""",
    "saw": """SAW TOOK FOUND BOUGHT WANTS NEEDS LOST SOLD PAINTED WATCHED DROPPED
        CARRIED HID STOLE CLEANED REMEMBERS BORROWED DESTROYED""",
    "see": """SEE TAKE FIND BUY WANT NEED LIKE KEEP SELL PAINT WATCH CARRY BRING
        FOLLOW""",
    "order": "OPEN CLOSE BRING SHOW GIVE HOLD TOUCH FORGET MOVE",
    "went": "WENT RAN CAME WALKED TRAVELLED JUMPED RETURNED",
    "to": "TO INTO FROM BEHIND THROUGH NEAR",
    "place": """RIVER GARDEN CITY FOREST MARKET KITCHEN SCHOOL MOUNTAIN VILLAGE STATION
        CASTLE HARBOUR CHURCH VALLEY DESERT LIBRARY""",
    "did": "SLEPT FELL STOPPED LAUGHED WAITED VANISHED TURNED WORKED WHISPERED SANG",
    "at": "IN NEAR BEHIND",
    "how": "AGAIN SLOWLY TODAY HERE AWAY TOGETHER ALONE QUICKLY OUTSIDE TOMORROW",
    "number": "TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE TEN TWELVE TWENTY",
    "when": "NOW TODAY TONIGHT THIS~MORNING AFTER~LUNCH BEFORE~SUNSET",
    "can": "CAN WILL MUST SHOULD",
    "where": "WHERE WHAT WHO",
}
WORDS = {kind: text.replace("~", "_").split() for kind, text in _TEXT.items()}

# A pattern and how often it is drawn; lower case stands for a list above.
PATTERNS = {
    "one did": 1,
    "who did how": 2,
    "order det noun": 2,
    "order det adj noun when": 3,
    "DON'T order det noun": 2,
    "where IS det noun": 3,
    "number adj many": 2,
    "number many did how": 2,
    "IT'S adj how": 1,
    "det noun IS adj": 4,
    "det noun IS adj when": 2,
    "det noun IS at det place": 3,
    "det adj noun did": 3,
    "one saw det noun": 4,
    "one saw det adj noun": 4,
    "one went to det place": 4,
    "who can see det noun": 4,
    "who DON'T see det noun": 2,
}


def sentences(rng: np.random.Generator) -> Iterator[str]:
    """Yields sentences of 2 to 6 words, no sentence twice."""
    patterns = list(PATTERNS)
    shares = np.array([*PATTERNS.values()]) / sum(PATTERNS.values())
    seen: set[str] = set()
    while True:
        pattern = patterns[rng.choice(len(patterns), p=shares)]
        sentence = " ".join(_word(kind, rng) for kind in pattern.split())
        sentence = re.sub(r"\bA (?=[AEIOU])", "AN ", sentence)
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def _word(kind: str, rng: np.random.Generator) -> str:
    """Returns a word of a list, or the word itself where it is none."""
    if kind not in WORDS:
        return kind
    words = WORDS[kind]
    weights = 1 / np.arange(4, 4 + len(words))
    return words[rng.choice(len(words), p=weights / weights.sum())].replace("_", " ")
