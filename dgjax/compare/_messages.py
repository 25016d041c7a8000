"""Simulated texts that come with the package, from a fixed seed: short messages by a small grammar, three kinds."""

import re

import numpy as np

SEED, NUM_TEXTS = 21, 900
SHORTEST, LONGEST = 30, 120  # characters
KINDS = ("ham", "spam", "notice")
SHARES = (0.58, 0.27, 0.15)
STRAY = 0.45  # chance that a sentence is added that any kind may have
VAGUE = 0.12  # chance that there is no other: nobody can tell what such a text is
SLIP = 0.015  # chance that a letter is left out, or written twice
NOTE = (
    "Simulated: messages of friends, advertisements nobody asked for, and notices of firms, the rarest, of 30 to 120 "
    "characters each, by a small grammar with words and whole sentences in common, and slips of the pen. What a real "
    "mailbox holds is more varied: models rank otherwise there."
)
# A name in braces is replaced by one of its alternatives, until none is left.
GRAMMAR = {
    "ham": (
        "{hi} {are you} free {when} for {thing}? {bye}",
        "{hi} i am {late}, start {thing} without me. {bye}",
        "call me when you are free, {news}",
        "did you {get} my {object}? i left it at {place}",
        "{news}, {reply}. {bye}",
        "{reply}! can you {get} {food} on your way to {place} {when}?",
        "{hi} thanks for {thing} {when}, {reply}",
        "the {object} came, {reply}. shall we pay {name} back {when}?",
        "you have won the bet, {food} is on me {when}",
        "{name} says {news}. {reply}",
        "no need to reply, see you at {place} {when}. {bye}",
        "do not click on that link {name} sent, it is not from {firm}",
    ),
    "spam": (
        "{shout} you have won {prize}! {act} {now}",
        "{shout} free {gift} for you {now}, {act}",
        "{hi} are you free {when}? {tease}, {act}",
        "{act} {now} to claim your {gift}, {term}",
        "{tease}. {act}, {term}",
        "your {account} was chosen for {prize}, reply {code} {now}",
        "lose weight {now} without effort, {term}. {act}",
        "{gift} at half price {when} only, {act}",
        "last chance {name}! your {gift} expires {when}, {act}",
        "earn {sum} a day from home, no work, {act}",
    ),
    "notice": (
        "{firm}: your {object} arrives {when} between {hour} and {hour}. {help}",
        "{firm}: your code is {code}. do not share it with anyone",
        "your {account} was charged {sum} {when}. {help}",
        "reminder: your appointment at {firm} is {when} at {hour}. {help}",
        "{firm}: your {account} expires {when}, please renew it. {help}",
        "your {object} was left at {place}, code {code}. {help}",
        "dear customer, {firm} is closed {when}. {help}",
    ),
    "any": (
        "see you {when} at {hour}.",
        "please reply {now}.",
        "thank you {name}.",
        "your {object} is here.",
        "call {number}.",
        "only {when}!",
        "{hi} is this your {account}?",
        "did you get our {gift}?",
        "free {when}?",
        "it is {sum}.",
        "code {code}.",
        "more at {link}.",
    ),
    "hi": ("hey {name},", "hi,", "hello {name}!", "{name},", "hi there!"),
    "bye": ("love {name}", "see you", "x", "call me", "bye", "thanks", "take care {name}"),
    "are you": ("are you", "will you be", "r u", "is {name}"),
    "late": ("running late", "stuck at {place}", "on the bus", "still at work", "not feeling well"),
    "thing": ("dinner", "a coffee", "the film", "lunch at {place}", "a walk", "the game", "help with the {object}"),
    "news": (
        "the baby is asleep",
        "i passed the exam",
        "mum is at {place}",
        "the train to {place} is late",
        "{name} got the job",
        "my {account} is empty again",
        "we are out of {food}",
    ),
    "reply": ("that is great", "so sorry", "it was lovely", "no idea why", "i miss you", "what a day", "well done"),
    "get": ("get", "bring", "pick up", "find"),
    "food": ("milk", "bread", "some wine", "pizza", "cake", "eggs"),
    "object": ("parcel", "order", "ticket", "phone", "key", "book", "letter"),
    "place": ("the station", "school", "mum's", "the office", "the shop", "home", "reception"),
    "name": ("anna", "ben", "mary", "tom", "lucy", "sam", "ravi", "mei"),
    "when": ("today", "tonight", "tomorrow", "on friday", "this weekend", "on monday", "next week"),
    "now": ("now", "today", "within 24 hours", "before midnight", "at once"),
    "shout": ("congratulations!", "winner!!", "urgent:", "dear customer,", "{name}!!!", "good news:", "attention!"),
    "prize": ("{sum} in cash", "a new {object}", "a holiday for two", "a {sum} voucher", "the weekly draw"),
    "gift": ("ringtone", "gift card", "trial", "ticket", "phone", "voucher", "holiday", "order"),
    "act": (
        "call {number}",
        "text {code} to {number}",
        "click {link}",
        "reply yes",
        "visit {link}",
        "call {number} free",
    ),
    "term": ("no fees", "18+ only", "terms apply", "offer ends {when}", "reply stop to end", "guaranteed"),
    "tease": (
        "somebody near you likes you",
        "lonely {when}?",
        "mary wants to meet you",
        "a secret admirer wrote to you",
    ),
    "help": (
        "questions? call {number}",
        "reply stop to end",
        "see {link}",
        "thank you",
        "no need to reply",
        "details: {link}",
    ),
    "account": ("account", "card", "subscription", "mobile number", "membership"),
    "firm": ("citybank", "postway", "the dentist", "dr. hall", "railgo", "the library", "powerco"),
    "link": ("www.win{digit}.example", "bit.example/{digit}{digit}", "www.{word}.example", "{word}.example/{digit}"),
    "word": ("postway", "citybank", "prizes", "deals", "club", "parcel"),
    "sum": ("{digit}0 euros", "{digit}00 euros", "${digit}00", "${digit}000", "{digit}.50 euros"),
    "number": ("0800 {digit}{digit}{digit}", "0{digit}0 {digit}{digit}{digit}{digit}"),
    "code": ("{digit}{digit}{digit}{digit}", "{digit}{digit}{digit}"),
    "hour": ("9:00", "10:30", "noon", "{digit} pm", "18:15"),
    "digit": tuple("123456789"),
}
SLOT = re.compile(r"{([^{}]+)}")


def messages() -> tuple[list[str], np.ndarray]:
    """Simulated texts and their kinds (n,), as numbers in `KINDS`."""
    random = np.random.default_rng(SEED)
    kinds = random.permutation(np.repeat(np.arange(len(KINDS)), (np.array(SHARES) * NUM_TEXTS).round().astype(int)))
    return [_message(KINDS[kind], random) for kind in kinds], kinds


def _message(kind: str, random: np.random.Generator) -> str:
    """One text: a sentence of its kind or not even that, and stray ones, neither too short nor too long."""
    own = "any" if random.random() < VAGUE else kind
    while True:
        sentences = [_grown(f"{{{own}}}", random)]
        if own == "any" or random.random() < STRAY:
            sentences.insert(int(random.integers(2)), _grown("{any}", random))
        text = _slips(" ".join(sentences), random)
        if SHORTEST <= len(text) <= LONGEST:
            return text


def _grown(text: str, random: np.random.Generator) -> str:
    """Text whose slots are all filled by random alternatives."""
    while SLOT.search(text):
        text = SLOT.sub(lambda slot: str(random.choice(GRAMMAR[slot[1]])), text)
    return text


def _slips(text: str, random: np.random.Generator) -> str:
    """Text with a few letters left out or written twice, as hurried people write."""
    slips = np.where(random.random(len(text)) < SLIP, random.integers(0, 2, len(text)) * 2, 1)
    return "".join(letter * int(times) for letter, times in zip(text, slips, strict=True)).strip()
