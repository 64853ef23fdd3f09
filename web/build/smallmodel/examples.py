"""Passages, a question, and its answer, made of the facts in facts.txt and of events; by one seed always the same.

An answer is a span copied from one passage with that passage's number, or ``NOTHING`` where none has it.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import words
from words import KINDS, Source

from pyruvllm.models.prompt import NOTHING

FACTS = Path(__file__).with_name("facts.txt")
DONE = [tuple(forms.split("/")) for forms in words.LISTS["DONE"]]  # past, infinitive, participle
DONE_HELD_OUT = {"repaired", "brought", "tested", "dropped", "hid", "shipped"}
# By the kind of a value: how a verb is tied to it; what asks for it with a verb; what asks for it as something's trait.
TIED = {
    "date": ("on {v}", ("When", "When", "On what day"), ("When is", "What is")),
    "weekday": ("on {v}", ("When", "On which day"), ("When is", "On what day is")),
    "time": ("at {v}", ("When", "At what time"), ("When is", "What time is")),
    "month": ("in {v}", ("When", "In which month"), ("When is",)),
    "year": ("in {v}", ("When", "In what year"), ("When was", "From what year is")),
    "where": ("{v}", ("Where",), ("Where is", "Where do I find")),
    "place": ("in {v}", ("Where", "In which town"), ("Where is", "What is")),
    "money": ("{v}", ("How much", "What"), ("How much is", "What is", "How high is")),
    "rent": ("{v}", ("How much",), ("How much is", "What is")),
    "weight": ("{v}", ("How much",), ("How much is", "What is")),
    "amount": ("{v}", ("How much",), ("How much is", "What is")),
    "length": ("{v}", ("How far",), ("How long is", "What is")),
    "temperature": ("at {v}", ("At what temperature",), ("What is", "How hot is")),
    "duration": ("for {v}", ("How long", "For how long"), ("How long is", "What is")),
    "often": ("{v}", ("How often",), ("How often is",)),
    "reason": ("because {v}", ("Why",), ("What is",)),
    "shop": ("from {v}", ("From whom", "From where"), ("Who is", "What is")),
    "person": ("with {v}", ("With whom",), ("Who is", "Who is")),
    "liquid": ("with {v}", ("With what",), ("What is",)),
}
TABLES = {kind: headings for kind, *headings in (line.split("/") for line in words.LISTS["TABLES"])}
CLUTTER, FILLERS, ASIDES, TITLES, LEADS = (words.LISTS[name] for name in ("CLUTTER", "FILLERS", "ASIDES", "HEADINGS", "LEADS"))
SLOTS = {"animal": words.ANIMALS, "part": words.PARTS, "bad": words.BAD, "verb": words.VERBS}  # of asides, beside the kinds of values


@dataclass(frozen=True)
class Attribute:
    entities: tuple[str, ...]
    value: str
    said: tuple[tuple[str, str, bool], ...]  # its digit, the sentence, whether it is held out
    asked: tuple[tuple[str, str, bool], ...]


@dataclass
class Fact:
    about: str
    text: str
    questions: list[str]
    answer: str
    topic: str  # of what sort the question is


@dataclass
class Passage:
    about: str
    heading: str
    facts: list[Fact] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)
    text: str = ""

    @property
    def named(self) -> str:
        """All that it is about."""
        return " ".join([self.about, *(fact.about for fact in self.facts)])


@dataclass(frozen=True)
class Example:
    passages: tuple[tuple[str, str], ...]
    question: str
    answer: str  # the span alone, or NOTHING
    number: int  # of its passage; 0 where nothing answers

    @property
    def completion(self) -> str:
        return f"{self.answer} [{self.number}]" if self.number else self.answer


def read_facts(path: Path = FACTS) -> list[Attribute]:
    attributes, said, asked = [], [], []
    for line in path.read_text().splitlines():
        if line.startswith("@"):
            entities, _, value = line[1:].partition(":")
            said, asked = [], []
            attributes.append((tuple(entities.split()), value.strip(), said, asked))
        elif found := re.match(r"([sSqQ])(\d?) (.+)", line):
            (said if found[1] in "sS" else asked).append((found[2], found[3], found[1] in "SQ"))
    return [Attribute(entities, value, tuple(said), tuple(asked)) for entities, value, said, asked in attributes]


ATTRIBUTES = read_facts()
BY_ENTITY = {kind: [a for a in ATTRIBUTES if kind in a.entities] for kind in {k for a in ATTRIBUTES for k in a.entities}}


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def other_words(r: Source, entity: str) -> str:
    """The same thing in other words: the key of the shed, the shed key; the old boat, the boat."""
    if found := re.fullmatch(r"the (\S+) of the (\S+)", entity):
        return f"the {found[2]} {found[1]}"
    if found := re.fullmatch(r"(\S+)'s (\S+)", entity):
        return f"the {found[2]} of {found[1]}"
    if found := re.fullmatch(r"the (\S+) (\S+)", entity):
        return (
            r.choice([f"the {found[2]}", f"my {found[1]} {found[2]}"])
            if found[2].islower()
            else r.choice([found[2], f"the {found[1]} {found[2]}"])
        )
    if found := re.fullmatch(r"the (\S+)", entity):
        return f"my {found[1]}"
    if found := re.fullmatch(r"(\S+) ([A-Z]\S+)", entity):
        return found[1] if found[1] not in words.TITLES else entity
    return entity


class Maker:
    """seed; held_out: only questions (and verbs) that training never has, and names of other syllables."""

    def __init__(self, seed: int, held_out: bool = False) -> None:
        self.r, self.held_out = Source(seed), held_out
        self.r.held_out = held_out

    def example(self, passages: int, facts: int = 3, refuse: float = 0.2) -> Example:
        """One question about some passages."""
        return self.conversation(passages, 1, facts, refuse)[0]

    def conversation(self, passages: int, questions: int, facts: int = 3, refuse: float = 0.2) -> list[Example]:
        """Several, about the same passages."""
        r = self.r
        if r.random() < 0.02:
            return [Example((), self._worded(r.choice(self._any().facts[0].questions)), NOTHING, 0)]
        main = self._any(r.randrange(1, facts + 1))
        notes = [main]
        while len(notes) < passages:
            hard = r.random() < 0.5 and main.facts[0].topic in KINDS
            other = self._about(r.randrange(1, facts + 1), like=main) if hard else self._any(r.randrange(1, facts + 1))
            if not any(shares(other.named, note.named) for note in notes):
                notes.append(other)
        r.shuffle(notes)
        given = tuple((note.heading, note.text) for note in notes)
        known = [(place, fact) for place, note in enumerate(notes, 1) for fact in note.facts]
        asked: list[Example] = []
        for _ in range(questions):
            if r.random() < refuse:
                asked.append(Example(given, self._unanswered(notes), NOTHING, 0))
            elif known:
                place, fact = known.pop(r.randrange(len(known)))
                asked.append(Example(given, self._worded(self._asked(fact, notes)), fact.answer, place))
        return asked

    def _unanswered(self, notes: list[Passage]) -> str:
        """A question about something else, or about what is not said of one of them."""
        r = self.r
        if r.random() < 0.5:
            fact = self._absent(r.choice(notes))
        else:
            while True:
                other = self._any()
                if not any(shares(other.named, note.named) for note in notes):
                    fact = other.facts[0]
                    break
        return self._worded(self._asked(fact, notes))

    def _any(self, facts: int = 1) -> Passage:
        shape = self.r.random()
        return self._event() if shape < 0.25 else self._table() if shape < 0.35 else self._about(facts)

    def _about(self, facts: int, like: Passage | None = None) -> Passage:
        """A passage on one entity; like: of a sort that shares a topic with that one."""
        r = self.r
        kind = r.choice(sorted(BY_ENTITY))
        attributes = r.sample(BY_ENTITY[kind], min(facts, len(BY_ENTITY[kind])))
        if like is not None:
            same = [(k, a) for k, all_ in sorted(BY_ENTITY.items()) for a in all_ if a.value == like.facts[0].topic]
            kind, first = r.choice(same)
            attributes = [first, *(a for a in attributes if kind in a.entities and a is not first)]
        entity = words.entity(r, kind)
        heading, named = self._heading(entity)
        passage = Passage(entity, heading)
        values: set[str] = set()
        for place, attribute in enumerate(attributes):
            if attribute.value in values:  # two dates of one thing would both answer
                continue
            values.add(attribute.value)
            passage.facts.append(self._fact(attribute, entity, kind, short=place > 0 or (named and r.random() < 0.4)))
        if like is None and r.random() < 0.5:
            for fact in [self._relation(entity) for _ in range(r.choice((1, 1, 2, 3)))]:
                if fact.topic not in values:
                    passage.facts.append(fact)
                    values.add(fact.topic)
            r.shuffle(passage.facts)
        passage.topics = values
        return self._written(passage)

    def _fact(self, attribute: Attribute, entity: str, kind: str, short: bool) -> Fact:
        r = self.r
        digit, sentence, _ = r.choice([s for s in attribute.said if self.held_out or not s[2]])
        role = r.choice(words.JOBS + words.LISTS["TRAITS"]) if r.random() < 0.7 else words.made(r)
        value = KINDS[attribute.value](r)
        if sentence.startswith("{v}"):
            value = capital(value)
        subject = {"person": r.choice(["He", "She"]), "animal": "It"}.get(kind, "It") if short and r.random() < 0.7 else capital(entity)
        text = (
            sentence.replace("{E}", subject if sentence.startswith("{E} ") else capital(entity))
            .replace("{e}", entity)
            .replace("{v}", value)
        )
        asked = [q for d, q, held in attribute.asked if (d in ("", digit) or not digit) and (held is self.held_out)]
        if not asked:
            asked = [q for d, q, held in attribute.asked if d in ("", digit)] or [q for _, q, _ in attribute.asked]
        if digit == "" and any(d for d, *_ in attribute.asked):
            asked = [q for d, q, _ in attribute.asked if not d] or asked
        return Fact(entity, text.replace("{r}", role), [question.replace("{r}", role) for question in asked], value, attribute.value)

    def _relation(self, entity: str) -> Fact:
        """Something that is said with a word that may never have been there before: it can only be matched, not known."""
        r = self.r
        kind = r.choice(sorted(KINDS))
        value = KINDS[kind](r)
        if r.random() < 0.5:
            return self._deed(entity, kind, value)
        word = words.made(r) if r.random() < 0.3 else r.choice(words.LISTS["TRAITS"] if r.random() < 0.6 else words.PARTS + words.EVENTS)
        text = r.choice(
            [
                "The {w} of {e} is {v}.",
                "Its {w} is {v}.",
                "The {w} is {v}.",
                "{W} is {v}.",
                "{W}: {v}.",
                "{W} {v}.",
                "{E} has a {w}: {v}.",
                "For the {w} we took {v}.",
                "{V} is the {w} of {e}.",
            ]
        )
        asks = TIED[kind][2] if kind in TIED else ("What is",)
        questions = [f"{ask} the {word} {of} {{e}}?" for ask in asks for of in ("of", "of", "for")]
        questions += [f"Which {word} has {{e}}?", f"What {word} does {{e}} have?", f"{{e}} {word}", f"What is the {word} of {{e}}?"]
        if self.held_out:
            questions = [f"Tell me the {word} of {{e}}.", f"What did I note as the {word} of {{e}}?"]
        return Fact(entity, put(text, entity, value, word), questions, value if not text.startswith("{V}") else capital(value), word)

    def _deed(self, entity: str, kind: str, value: str) -> Fact:
        """Something that it does, or that is done with it."""
        r = self.r
        verb = words.made(r) if r.random() < 0.4 else r.choice(words.LISTS["ACTS"])
        tied, asks, _ = TIED.get(kind, ("{v}", ("What",), ()))
        ask, other = r.choice(asks), words.entity(r, "person")
        past = verb + ("d" if verb.endswith("e") else "ed")
        if kind in ("person", "shop") and r.random() < 0.7:
            text, question = r.choice(
                [
                    ("{V} {w}s {e}.", "Who {w}s {e}?"),
                    ("{V} {d} {e}.", "Who {d} {e}?"),
                    ("{E} was {d} by {v}.", "Who {d} {e}?"),
                    ("{V} {d} {e}.", "By whom was {e} {d}?"),
                ]
            )
        else:
            ways = [
                (f"{{E}} {{w}}s {tied}.", f"{ask} does {{e}} {{w}}?"),
                (f"It {{w}}s {tied}.", f"{ask} does {{e}} {{w}}?"),
                (f"{{E}} {{d}} {tied}.", f"{ask} did {{e}} {{w}}?"),
                (f"{{E}} will {{w}} {tied}.", f"{ask} will {{e}} {{w}}?"),
                (f"{{E}} has to {{w}} {tied}.", f"{ask} must {{e}} {{w}}?"),
                (f"{{E}} may {{w}} {tied}.", f"{ask} can {{e}} {{w}}?"),
            ]
            if kind in TIED:
                ways += [
                    (f"{{E}} was {{d}} {tied}.", f"{ask} was {{e}} {{d}}?"),
                    (f"I {{d}} {{e}} {tied}.", f"{ask} did I {{w}} {{e}}?"),
                    (f"{{W}} {{e}} {tied}.", f"{ask} do I {{w}} {{e}}?"),
                    (f"{capital(other)} {{w}}s {{e}} {tied}.", f"{ask} does {other} {{w}} {{e}}?"),
                    (f"{capital(other)} {{d}} {{e}} {tied}.", f"{ask} did {other} {{w}} {{e}}?"),
                ]
            text, question = r.choice(ways)
        answer = capital(value) if text.startswith("{V}") else value
        return Fact(entity, put(text, entity, value, verb, past), [question.replace("{w}", verb).replace("{d}", past)], answer, verb)

    def _table(self) -> Passage:
        """The same about several."""
        r = self.r
        kind = r.choice(sorted(TABLES))
        attribute = r.choice([a for a in ATTRIBUTES if a.value == kind])
        of, passage = r.choice(attribute.entities), Passage("", r.choice(TABLES[kind]))
        while len(passage.facts) < r.choice((2, 3, 4)):
            entity = words.entity(r, of)
            if not any(shares(entity, fact.about) for fact in passage.facts):
                fact = self._fact(attribute, entity, of, False)
                fact.answer = KINDS[kind](r)
                passage.facts.append(fact)
        tie = r.choice([" {v}", " {v}", ": {v}", " is {v}" if kind != "food" else " {v}", ", {v}"])
        cells = [fact.about + tie.replace("{v}", fact.answer) for fact in passage.facts]
        for fact in passage.facts:
            fact.text = ""
        between = r.choice(["; ", ". "]) if "," in tie else r.choice([", ", "; ", ". "])
        text = between.join(capital(cell) if between == ". " else cell for cell in cells)
        passage.about, passage.topics = passage.facts[0].about, {kind}
        passage.facts[0].text = capital(text) + "."
        return self._written(passage)

    def _event(self) -> Passage:
        """Somebody did something, somewhere, at some time, for some reason."""
        r = self.r
        verbs = [v for v in DONE if (v[0] in DONE_HELD_OUT) is self.held_out]
        past, base, participle = r.choice(verbs)
        who = "I" if r.random() < 0.3 else words.entity(r, "person")
        what = words.entity(r, r.choice(["thing", "document", "plant", "food", "thing"]))
        extras = dict(r.sample(self._extras(), r.randrange(1, 4)))
        order = list(extras)
        r.shuffle(order)
        tail = " ".join(["", *(extras[name][0] for name in order)])
        passive = who != "I" and r.random() < 0.3
        if passive:
            clause = f"{what} was {participle} by {who}{tail}"
        elif "when" in extras and r.random() < 0.4:
            tail = " ".join(["", *(extras[name][0] for name in order if name != "when")])
            clause = f"{extras['when'][0]} {who} {past} {what}{tail}"
        else:
            clause = f"{who} {past} {what}{tail}"
        fact = lambda topic, answer, *questions: Fact(what, "", list(questions), answer, topic)  # noqa: E731
        did = f"did {who} {base} {what}"
        was = f"was {what} {participle}"
        facts = [
            fact(name, value, *(f"{word} {form}?" for word in asks for form in (did, was))) for name, (_, value, asks) in extras.items()
        ]
        if who != "I":
            facts.append(
                fact("who", capital(who) if clause.startswith(who) else who, f"Who {past} {what}?", f"By whom was {what} {participle}?")
            )
        thing = capital(what) if clause.startswith(what) else what
        by = f" {extras['when'][0]}" if "when" in extras and r.random() < 0.5 else ""
        facts.append(Fact(who if who != "I" else what, "", [f"What did {who} {base}{by}?"], thing, "what"))
        heading, _ = self._heading(what if r.random() < 0.6 else who if who != "I" else what)
        passage = Passage(what, heading, facts, {each.topic for each in facts})
        passage.facts[0].text = capital(clause) + "."
        return self._written(passage)

    def _extras(self) -> list[tuple[str, tuple[str, str, tuple[str, ...]]]]:
        r = self.r
        date = KINDS["date"](r)
        day = r.choice(words.DAYS)
        when = r.choice([(f"on {date}", date), (f"on {day}", day), (f"in {r.choice(words.MONTHS)}", "")])
        when = when if when[1] else (when[0], when[0].removeprefix("in "))
        money, reason, tool = KINDS["money"](r), KINDS["reason"](r), KINDS["thing"](r)
        spot, person = words.where(r), words.person(r)
        return [
            ("when", (*when, ("When", "When", "On what day"))),
            ("where", (spot, spot, ("Where",))),
            ("money", (f"for {money}", money, ("For how much", "For what price"))),
            ("reason", (f"because {reason}", reason, ("Why",))),
            ("tool", (f"with {tool}", tool, ("With what", "How"))),
            ("for", (f"for {person}", person, ("For whom",))),
        ]

    def _heading(self, entity: str) -> tuple[str, bool]:
        """A heading, and whether it names the entity."""
        r, bare = self.r, entity.removeprefix("the ").removeprefix("my ")
        shape = r.random()
        if shape < 0.55:
            return capital(bare), True
        if shape < 0.65:
            return f"{words.made(r, True)}: {bare}", True
        if shape < 0.72:
            return f"{capital(bare)}: {r.choice(words.PARTS + words.EVENTS)}", True
        if shape < 0.8:
            return capital(other_words(r, entity).removeprefix("the ")), True
        return (r.choice(TITLES) if shape < 0.9 else capital(words.noun(r, words.THINGS + words.PLACES))), False

    def _written(self, passage: Passage) -> Passage:
        r = self.r
        sentences = [fact.text for fact in passage.facts if fact.text]
        for place, text in enumerate(sentences):
            if r.random() < 0.2 and text.endswith("."):
                sentences[place] = f"{text[:-1]}, {r.choice(CLUTTER)}."
        if len(sentences) > 1 and r.random() < 0.2:
            first, second = sentences[:2]
            answers = tuple(fact.answer for fact in passage.facts)
            if second[:3] in ("It ", "He ", "The", "Its", "She") and not second.startswith(answers):
                second = second[:1].lower() + second[1:]
            sentences[:2] = [f"{first[:-1]}{r.choice([', and ', '; ', ' and ', ', but '])}{second}"]
        while r.random() < 0.3:
            sentences.insert(r.randrange(len(sentences) + 1), self._aside() if r.random() < 0.7 else r.choice(FILLERS))
        passage.text = " ".join(sentences)
        return passage

    def _aside(self) -> str:
        """A sentence that nobody asks for, with values of its own."""
        r = self.r
        text = re.sub(
            r"\{(\w+)\}", lambda slot: r.choice(SLOTS[slot[1]]) if slot[1] in SLOTS else KINDS[slot[1]](r), r.choice(ASIDES).rstrip(".")
        )
        return f"{capital(text)}."

    def _absent(self, passage: Passage) -> Fact:
        """What the passage's entity might be asked for and does not have."""
        r = self.r
        while True:
            kind = r.choice(sorted(BY_ENTITY))
            attribute = r.choice(BY_ENTITY[kind])
            if attribute.value not in passage.topics and not {"when", "where", "who", "what"} & passage.topics:
                return self._fact(attribute, passage.about, kind, False)
            if {"when", "where", "who", "what"} & passage.topics and attribute.value in (
                "colour",
                "weight",
                "length",
                "code",
                "temperature",
                "material",
            ):
                return self._fact(attribute, passage.about, kind, False)

    def _asked(self, fact: Fact, notes: list[Passage]) -> str:
        r, question = self.r, self.r.choice(fact.questions)
        named = other_words(r, fact.about) if r.random() < 0.25 else fact.about
        key = named.split()[-1]
        if any(key in f"{note.about} {note.text}" for note in notes if note.about != fact.about):
            named = fact.about
        return question.replace("{e}", named) if "{e}" in question else question.replace(fact.about, named)

    def _worded(self, question: str) -> str:
        r = self.r
        question = question.replace("{e}", "it")
        if r.random() < 0.12:
            question = r.choice(LEADS).format(question[:1].lower() + question[1:])
        if r.random() < 0.08:
            question = question.rstrip("?")
        return question.lower() if r.random() < 0.05 else question


def put(text: str, entity: str, value: str, word: str, past: str = "") -> str:
    """A sentence: {e} entity, {v} value, {w} word, {d} its past; in capitals at its beginning."""
    return (
        text.replace("{E}", capital(entity))
        .replace("{e}", entity)
        .replace("{V}", capital(value))
        .replace("{v}", value)
        .replace("{W}", capital(word))
        .replace("{w}", word)
        .replace("{d}", past)
    )


def shares(one: str, other: str) -> bool:
    """Whether two entities could be taken for each other."""
    small = {"the", "of", "my", "a", *words.ADJECTIVES, *map(str, words.TITLES)}
    return bool((set(one.split()) - small) & (set(other.split()) - small))
