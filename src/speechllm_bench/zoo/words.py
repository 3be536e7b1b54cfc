"""Words of the zoo's own texts: closed lists of the record worlds, things, and common English words."""

from __future__ import annotations

import base64
import random
import re
from functools import cache
from importlib.resources import files

from speechllm_bench.data.corpora.call_centre.names import name_lists

N_COMMON = 10_000  # the most frequent of GPT-2's vocabulary

WORDS = {  # closed lists of the record worlds
    "animal": "horse goat rabbit donkey parrot hedgehog sheep turtle squirrel falcon",
    "colour": "red blue green yellow purple orange white black silver pink",
    "dish": "stew soup pancakes dumplings omelette pie pasta curry porridge waffles",
    "instrument": "violin trumpet cello flute drum harp piano banjo clarinet tuba",
    "plant": "barley oak pepper clover maple ginger wheat cotton lavender mint",
    "subject": "history physics latin drawing algebra music geography chemistry",
    "wind": "a gale|a light breeze|no wind at all|a strong gust|a cold draught",
}
NOUNS = """
anchor apple arch arrow badge ball bank barrel basket bell bench bird blanket boat bone book boot bottle bow
box branch bread brick bridge brush bucket button cabinet candle cap carpet castle chain chair chalk cheese
church circle cloth cloud coin comb compass cork crown cup curtain desk dial dish door drawer dress drum
engine feather fence field finger fire flag floor flower fork frame fruit garden gate glass glove gold grain
guard hammer handle hat hill hook horn house island jacket jar jewel joint key kite knife knot ladder lake
lamp leaf letter lid line lock map mask mast match metal mill mirror moon mountain nail neck needle nest net
nut oar page paint pan paper path peak pen pillow pin pipe plank plate plough pocket pole pool pot powder
pump ring river road rod roof rope rose sail salt sand saw scale screen screw shade shell shirt shoe sign
silk skin skirt snow soap sock song spade spark sponge spoon spring square stage stamp star station steam
stem step stick stone string sugar sun sword table tail tent thread throat thumb tower track train tray
trunk tube valley wagon wall watch wave wax wheel whistle window wing wire wood wool
""".split()


@cache
def common_words() -> tuple[str, ...]:
    """English words of GPT-2's vocabulary, which openai-whisper ships; no names of the corpus."""
    lines = files("whisper").joinpath("assets/gpt2.tiktoken").read_bytes().splitlines()
    names = {name for names in name_lists().values() for name in names}
    tokens = (base64.b64decode(line.split()[0]) for line in lines)
    words = [token[1:].decode() for token in tokens if re.fullmatch(rb" [a-z]{3,12}", token)]
    # Without a vowel it is an abbreviation, which espeak-ng spells out.
    return tuple(word for word in words if word not in names and re.search("[aeiouy]", word))[:N_COMMON]


def words_in_no_order(rng: random.Random) -> str:
    """Two to six common words: what cannot be guessed has to be heard, or copied."""
    return " ".join(rng.choice(common_words()) for _ in range(rng.randint(2, 6)))
