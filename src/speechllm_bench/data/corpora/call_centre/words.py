"""Word lists for open-class values (see values.py)."""

from __future__ import annotations


def entries(text: str) -> tuple[str, ...]:
    """Return comma-separated entries, in order."""
    return tuple(" ".join(entry.split()) for entry in text.split(","))


STREET_SUFFIXES = entries(
    "street, road, avenue, lane, drive, court, way, hill, park, square, terrace, crescent, grove, "
    "gardens, close, boulevard, place, walk"
)
TOWN_PREFIXES = entries("north, south, east, west, new, lake, port, upper")
MAIL_HOSTS = entries("mailbox, postbox, webmail, inbox, fastmail, homemail")
KNOWN_MAIL_HOSTS = entries("gmail, outlook, yahoo, hotmail, icloud, fastmail, protonmail, aol")
TRADES = entries(
    "foods, motors, media, plumbing, builders, logistics, partners, brothers, energy, dental, textiles, "
    "books, farms, consulting, printing, security, interiors, roofing, studios, electronics"
)
VEHICLE_MODELS = entries("estate, coupe, cabrio, saloon, van, pickup, hatchback, roadster, minibus, tourer")
PRODUCT_QUALITIES = entries(
    "silver, crystal, ultra, turbo, golden, velvet, smart, polar, solar, magic, rapid, silent, royal, "
    "electric, cosmic, nordic, urban, desert, ocean, thunder, mini, master, clever, lunar, amber, carbon, "
    "diamond, hidden, digital, misty"
)
PRODUCT_NOUNS = entries(
    "falcon, beam, pulse, breeze, wave, spark, stream, comet, anchor, bridge, eagle, tiger, compass, "
    "rocket, lantern, shield, voyager, panther, ranger, signal, dolphin, pilot, summit, harbor, arrow, "
    "ember, garden, mirror, cloud, hammer"
)
ITEM_QUALITIES = entries(
    "blue, black, green, red, yellow, purple, orange, grey, white, brown, pink, large, small, old, brand "
    "new, striped, antique, expensive, silver, second hand"
)
ITEMS = entries(
    "jacket, jumper, kettle, lamp, blender, backpack, scarf, blanket, cushion, desk, mattress, mug, "
    "notebook, umbrella, raincoat, skirt, dress, cardigan, belt, wallet, watch, clock, mirror, curtain, "
    "bookshelf, toolbox, suitcase, tent, helmet, bottle, toaster, pillow, towel, hammock, lunch box, "
    "picture frame, coffee maker, rug, sofa, vase, stool, radio"
)
DISH_STYLES = entries(
    "grilled, roasted, spicy, smoked, fried, creamy, baked, stuffed, braised, sweet, crispy, garlic, "
    "lemon, honey, pepper, mustard, herb, ginger"
)
DISHES = entries(
    "salmon, chicken, lasagna, risotto, mushrooms, lamb, duck, prawns, tofu, aubergine, meatballs, "
    "dumplings, noodles, burger, pancakes, omelette, trout, cauliflower, potatoes, beef, pork belly, "
    "halloumi, squash, ravioli, cod, soup"
)
LAW_TOPICS = entries(
    "consumer rights, fair billing, data protection, travel refunds, equal access, patient safety, clean "
    "water, tenant deposits, road traffic, energy pricing, product safety, late payment, parental leave, "
    "cancer care, food labelling, home insurance, credit card, distance selling, flight delay, package "
    "travel, unfair terms, disability access, postal services, telephone marketing, mental health, gas "
    "safety, vehicle hire, gift voucher, small claims, public health, health records, digital services"
)
LAW_FORMS = entries("act, regulations, directive, bill, code")
NATIONALITIES = entries(
    "albanian, algerian, argentinian, armenian, australian, austrian, bangladeshi, belgian, bolivian, "
    "bosnian, brazilian, bulgarian, cambodian, cameroonian, canadian, chilean, chinese, colombian, "
    "croatian, cuban, cypriot, czech, danish, dutch, ecuadorian, egyptian, estonian, ethiopian, fijian, "
    "finnish, french, georgian, german, ghanaian, greek, guatemalan, haitian, hungarian, icelandic, "
    "indian, indonesian, iranian, iraqi, irish, israeli, italian, jamaican, japanese, jordanian, kenyan, "
    "korean, kuwaiti, latvian, lebanese, liberian, libyan, lithuanian, malaysian, maltese, mexican, "
    "moldovan, mongolian, moroccan, nepalese, nigerian, norwegian, pakistani, panamanian, peruvian, "
    "polish, portuguese, romanian, russian, rwandan, scottish, senegalese, serbian, singaporean, slovak, "
    "slovenian, somali, spanish, sudanese, swedish, swiss, syrian, taiwanese, tanzanian, thai, tunisian, "
    "turkish, ugandan, ukrainian, uruguayan, venezuelan, vietnamese, welsh, zambian, zimbabwean"
)
LANGUAGES = entries(
    "afrikaans, albanian, amharic, arabic, armenian, bengali, bosnian, bulgarian, burmese, cantonese, "
    "catalan, croatian, czech, danish, dutch, estonian, farsi, finnish, flemish, french, galician, "
    "georgian, german, greek, gujarati, hausa, hebrew, hindi, hungarian, icelandic, igbo, indonesian, "
    "irish, italian, japanese, javanese, kannada, khmer, korean, kurdish, latvian, lithuanian, malay, "
    "maltese, mandarin, maori, marathi, mongolian, nepali, norwegian, pashto, polish, portuguese, "
    "punjabi, romanian, russian, samoan, serbian, sinhala, slovak, slovenian, somali, spanish, swahili, "
    "swedish, tagalog, tamil, telugu, thai, tibetan, turkish, ukrainian, urdu, uzbek, vietnamese, welsh, "
    "xhosa, yoruba, zulu"
)
