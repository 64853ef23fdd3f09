"""Values of facts and names of entities: common words, and made-up ones and numbers that are new in every example.

Half of all names and many of the nouns are made up of syllables, so that a model cannot know them and has to read them.
"""

from pathlib import Path
from random import Random


def _read(path: Path) -> dict[str, list[str]]:
    """Lists by name: words are parted by "|"."""
    blocks = path.read_text().split("\n@ ")[1:]
    return {
        name: [word.strip() for word in rest.replace("\n", " ").split("|") if word.strip()]
        for name, _, rest in (b.partition("\n") for b in blocks)
    }


LISTS = _read(Path(__file__).with_name("words.txt"))
FIRST = LISTS["FIRST"]
TITLES = LISTS["TITLES"]
KIN = LISTS["KIN"]
MONTHS = LISTS["MONTHS"]
DAYS = LISTS["DAYS"]
NUMBERS = LISTS["NUMBERS"]
COLOURS = LISTS["COLOURS"]
MATERIALS = LISTS["MATERIALS"]
FOODS = LISTS["FOODS"]
LIQUIDS = LISTS["LIQUIDS"]
JOBS = LISTS["JOBS"]
THINGS = LISTS["THINGS"]
PLACES = LISTS["PLACES"]
DOCUMENTS = LISTS["DOCUMENTS"]
PROJECTS = LISTS["PROJECTS"]
EVENTS = LISTS["EVENTS"]
TRIPS = LISTS["TRIPS"]
GROUPS = LISTS["GROUPS"]
ANIMALS = LISTS["ANIMALS"]
PLANTS = LISTS["PLANTS"]
DISHES = LISTS["DISHES"]
ADJECTIVES = LISTS["ADJECTIVES"]
PARTS = LISTS["PARTS"]
BAD = LISTS["BAD"]
BODY = LISTS["BODY"]
VERBS = LISTS["VERBS"]
CLAUSES = LISTS["CLAUSES"]
SPOTS = LISTS["SPOTS"]
FURNITURE = LISTS["FURNITURE"]
STREETS = LISTS["STREETS"]
OFTEN = LISTS["OFTEN"]
SYLLABLES = [
    c + v for c in "b br ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t tr v w y z".split() for v in "a e i o u ai ea ou".split()
]
HELD_OUT = [
    c + v for c in "bl c cr gl kn ph pl sk sl sn sp sw th tw wr x".split() for v in "a e i o u ee ie y".split()
]  # names of the test only
ENDINGS = ["", "", "n", "r", "s", "l", "m", "ck", "nd", "rt", "x", "th", "sen", "man", "ton", "berg", "ley", "ski"]


class Source(Random):
    """Where chance comes from; held_out: names are made of syllables that training never saw. pieces: of words, of which further ones are
    made: each of a vocabulary is to be copied now and then, or it never can be.
    """

    held_out = False
    pieces: tuple[str, ...] = ()


def made(r: Source, capital: bool = False) -> str:
    """A word that there is not."""
    if r.pieces and r.random() < 0.4:
        word = "".join(r.choice(r.pieces) for _ in range(r.choice((1, 1, 2, 2))))
        return word.capitalize() if capital else word
    word = "".join(r.choice(HELD_OUT if r.held_out else SYLLABLES) for _ in range(r.choice((1, 2, 2, 2, 3)))) + r.choice(ENDINGS)
    return word.capitalize() if capital else word


def name(r: Source) -> str:
    return made(r, True) if r.random() < 0.6 else r.choice(FIRST)


def person(r: Source) -> str:
    shape = r.random()
    if shape < 0.45:
        return name(r)
    return f"{name(r)} {made(r, True)}" if shape < 0.75 else f"{r.choice(TITLES)} {made(r, True)}"


def number(r: Source, most: int = 10_000) -> str:
    value = r.randrange(2, 10 ** r.choice([n for n in (1, 2, 3, 4, 5, 6) if 10**n <= most]) + 2)
    return f"{value:,}" if value >= 1000 and r.random() < 0.7 else str(value)


def digits(r: Source, count: int) -> str:
    return "".join(r.choice("0123456789") for _ in range(count))


def money(r: Source) -> str:
    value = number(r, 100_000) if r.random() < 0.8 else f"{r.randrange(1, 100)}.{digits(r, 2)}"
    return r.choice(["{}", "{} euros", "{} dollars", "{} pounds", "{} crowns", "${}", "{} euros", "{} francs"]).format(value)


def date(r: Source) -> str:
    day, month = r.randrange(1, 32), r.choice(MONTHS)
    year = r.randrange(1950, 2035)
    return r.choice(
        [f"{day} {month}", f"{day} {month}", f"{day} {month} {year}", f"{month} {day}", f"the {ordinal(day)} of {month}", f"{month} {year}"]
    )


def ordinal(day: int) -> str:
    return f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def time(r: Source) -> str:
    hour = r.randrange(1, 13)
    return r.choice(
        [
            f"{hour}:{digits(r, 1)}0",
            f"{hour} o'clock",
            f"half past {r.choice(NUMBERS[:10])}",
            f"{hour} pm",
            r.choice(NUMBERS[:10]),
            "noon",
            "eight in the morning",
        ]
    )


def noun(r: Source, common: list[str]) -> str:
    return made(r) if r.random() < 0.25 else r.choice(common)


def thing(r: Source) -> str:
    adjective = f"{r.choice(ADJECTIVES)} " if r.random() < 0.5 else ""
    return f"{r.choice(('the', 'a', 'the'))} {adjective}{noun(r, THINGS)}"


def foods(r: Source) -> str:
    return r.choice(["{}", "{}", "{} and {}", "{}, {} and {}", "{} or {}", "raw {}", "{} with {}"]).format(
        *(noun(r, FOODS) for _ in range(3))
    )


def where(r: Source) -> str:
    shape = r.random()
    if shape < 0.12:
        return f"with {person(r)} at the {noun(r, PLACES)}"
    if shape < 0.25:
        return f"at {r.choice(STREETS) if r.random() < 0.5 else made(r, True) + ' Street'} {r.randrange(1, 200)}"
    if shape < 0.32:
        return f"in {made(r, True)}"
    spot = made(r) if r.random() < 0.15 else r.choice(FURNITURE)
    return f"{r.choice(SPOTS)} the {r.choice(ADJECTIVES) + ' ' if r.random() < 0.25 else ''}{spot}"


def reason(r: Source) -> str:
    part = r.choice(PARTS) if r.random() < 0.7 else made(r)
    extra = r.choice(["", "", "", f" of the {noun(r, THINGS)}", f" in the {noun(r, PLACES)}"])
    return f"the {part}{extra} was {r.choice(BAD)}"


def deed(r: Source) -> str:
    clause = f" {r.choice(CLAUSES)}" if r.random() < 0.5 else ""
    part = noun(r, PARTS if r.random() < 0.6 else THINGS)
    return f"{r.choice(VERBS)} the {part}{clause}"


def part(r: Source) -> str:
    inside = r.choice(["", "", f" in the {noun(r, THINGS)}", f" of the {noun(r, THINGS + PLACES)}", f" on the {noun(r, PARTS)}"])
    return f"the {r.choice(ADJECTIVES) + ' ' if r.random() < 0.3 else ''}{noun(r, PARTS)}{inside}"


def cause(r: Source) -> str:
    shape = r.random()
    if shape < 0.4:
        return part(r)
    return f"a {noun(r, PARTS)} that was {r.choice(BAD)}" if shape < 0.6 else f"{part(r)}, which was {r.choice(BAD)}"


def steps(r: Source) -> str:
    one = lambda: f"{r.choice(VERBS)} {r.choice(('it', 'the ' + noun(r, PARTS), 'a spoon of ' + noun(r, FOODS), thing(r)))}"  # noqa: E731
    tail = r.choice(["", f" for {duration(r)}", f" at {KINDS['temperature'](r)}", f", {r.choice(OFTEN)}", f" with {KINDS['liquid'](r)}"])
    return r.choice([f"{one()}{tail}", f"{one()} and {one()}{tail}", f"{one()}, {one()} and {one()}{tail}", f"{one()}, then {one()}{tail}"])


def diagnosis(r: Source) -> str:
    organ = lambda: noun(r, BODY + PARTS).removeprefix("the ")  # noqa: E731
    return r.choice([f"the {organ()}, not the {organ()}", f"the {organ()}", f"nothing but the {organ()}", f"only {organ()}"])


def saying(r: Source) -> str:
    return f"the {noun(r, THINGS + PARTS + PLACES)} is {r.choice(['too', 'not', 'very', 'still', 'always'])} {r.choice(ADJECTIVES)}"


def code(r: Source) -> str:
    return r.choice(
        [
            lambda: digits(r, r.randrange(3, 9)),
            lambda: f"{digits(r, 2)}-{digits(r, 4)}-{r.choice('ABCDEFKLMX')}",
            lambda: f"{digits(r, 4)} {digits(r, 4)}",
            lambda: f"{r.choice('ABCDEFKLMX')}{digits(r, 3)}",
            lambda: made(r) + digits(r, 2),
            lambda: f"ISO {made(r)[:2].upper()} {digits(r, 2)}",
            lambda: made(r),
        ]
    )()


def duration(r: Source) -> str:
    count = r.choice(NUMBERS) if r.random() < 0.5 else str(r.randrange(2, 90))
    return f"{count} {r.choice(['minutes', 'hours', 'days', 'weeks', 'months', 'years'])}"


def measured(units: str):
    return lambda r: f"{number(r, 1000) if r.random() < 0.7 else str(r.randrange(1, 40)) + '.' + digits(r, 1)} {r.choice(units.split('|'))}"


def shop(r: Source) -> str:
    owner = made(r, True)
    return r.choice(
        [
            owner,
            f"{owner} & Sons",
            f"{owner} and {made(r, True)}",
            f"the {noun(r, PLACES)} in {made(r, True)}",
            f"{owner}'s {noun(r, PLACES)}",
        ]
    )


KINDS = {
    "money": money,
    "rent": lambda r: money(r) + " a month",
    "date": date,
    "time": time,
    "weekday": lambda r: r.choice(DAYS) + r.choice(["", "", "s"]),
    "where": where,
    "place": lambda r: made(r, True) if r.random() < 0.8 else f"{made(r, True)} {made(r, True)}",
    "job": lambda r: f"a {noun(r, JOBS)}",
    "food": foods,
    "person": person,
    "thing": thing,
    "name": lambda r: made(r, True),
    "code": code,
    "phone": lambda r: f"0{digits(r, r.randrange(2, 4))} {digits(r, r.randrange(4, 8))}",
    "liquid": lambda r: r.choice(LIQUIDS) if r.random() < 0.6 else f"{made(r)} oil" if r.random() < 0.5 else f"ISO VG {digits(r, 2)}",
    "material": lambda r: noun(r, MATERIALS),
    "colour": lambda r: r.choice(COLOURS),
    "weight": measured("kilos|grams|kg|g|tons|pounds"),
    "length": measured("metres|centimetres|cm|mm|feet|inches|miles"),
    "temperature": measured("degrees"),
    "duration": duration,
    "often": lambda r: r.choice(OFTEN),
    "month": lambda r: r.choice(["", "", "late ", "early "]) + r.choice(MONTHS),
    "reason": reason,
    "remedy": deed,
    "amount": measured("g|kilos|cups|spoons|grams|litres|ml"),
    "count": lambda r: number(r, 1000) if r.random() < 0.6 else r.choice(NUMBERS),
    "shop": shop,
    "saying": saying,
    "body": lambda r: r.choice(BODY),
    "number": lambda r: str(r.randrange(2, 100)),
    "year": lambda r: str(r.randrange(1700, 2030)),
    "goal": deed,
    "decision": deed,
    "cause": cause,
    "steps": steps,
    "diagnosis": diagnosis,
    "fee": lambda r: money(r) + r.choice(["", " a year", " an hour", " a day", " a month", " in all", " each"]),
    "span": lambda r: r.choice(["", "", "about ", "another "]) + duration(r),
    "word": lambda r: made(r) if r.random() < 0.6 else r.choice(THINGS + ANIMALS + PLANTS),
    "role": lambda r: f"{r.choice(('a', 'the', 'our'))} {noun(r, JOBS)}" + r.choice(["", "", f" of the {noun(r, PLACES + GROUPS)}"]),
    "head": person,
}
NOUNS = {
    "thing": THINGS,
    "place": PLACES,
    "document": DOCUMENTS,
    "project": PROJECTS,
    "event": EVENTS,
    "trip": TRIPS,
    "group": GROUPS,
    "animal": ANIMALS,
    "plant": PLANTS,
    "food": DISHES,
    "shop": PLACES,
}


def entity(r: Source, kind: str) -> str:
    """What is talked about, as it stands inside a sentence: "the spare key", "Pavel", "the lease of the workshop"."""
    if kind == "person":
        return r.choice(KIN) if r.random() < 0.2 else person(r)
    word, shape = noun(r, NOUNS[kind]), r.random()
    if shape < 0.3:
        return f"the {word}"
    if shape < 0.5:
        return f"the {made(r) if r.random() < 0.3 else r.choice(ADJECTIVES)} {word}"
    if shape < 0.62:
        return f"the {word} of the {noun(r, PLACES + THINGS)}"
    if shape < 0.72:
        return f"the {noun(r, PLACES + THINGS)} {word}"
    if shape < 0.82:
        return f"{name(r)}'s {word}"
    if shape < 0.92:
        return f"the {word} {made(r, True)}"
    return made(r, True)
