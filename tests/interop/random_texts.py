"""Random texts that tokenizers find hard: scripts, combining marks, emoji, kinds of white space, controls, digits, long runs, added tokens. Seeded."""
import random

LETTERS = [(0x41, 0x5a), (0x61, 0x7a), (0xc0, 0x24f), (0x370, 0x3ff), (0x400, 0x4ff), (0x5d0, 0x5ea), (0x620, 0x64a), (0x904, 0x939), (0xe01, 0xe30),
           (0x1100, 0x11ff), (0x3041, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x1f00, 0x1fff), (0x10330, 0x1034a), (0x1d400, 0x1d7ff), (0x20000, 0x2a6df)]
MARKS = [(0x300, 0x36f), (0x483, 0x489), (0x591, 0x5bd), (0x64b, 0x65f), (0x93c, 0x94d), (0x1dc0, 0x1dff), (0x20d0, 0x20f0), (0xfe00, 0xfe0f), (0x3099, 0x309a)]
EMOJI = ["\U0001f600", "\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "1\ufe0f\u20e3"]
BLANKS = [" ", "  ", "     ", "\t", "\n", "\r\n", "\r", "\n\n", "\u00a0", "\u2003", "\u3000", "\u1680", "\u2028", "\u202f", "\x85", "\x0b", "\u200b", "\ufeff", "\u180e", " \n"]
CONTROLS = [chr(c) for c in list(range(1, 9)) + list(range(0xe, 0x20)) + [0x7f, 0x80, 0xad, 0x200c, 0x200d, 0x2060, 0xfffd, 0xffff, 0xe000, 0x10ffff]]
DIGITS = ["0", "7", "12", "123", "1234", "12345678901", "\u0663", "\u096a\u096b", "\u00b2", "\u00bd", "\u2167", "\u2462", "\U0001d7d9", "3.14", "1,000"]
WORDS = ["the", "Fox", "OVER", "lazyDog", "HTTPServer", "snake_case", "na\u00efve", "Stra\u00dfe", "\u0130stanbul", "\u03a3\u038a\u03a3", "\ufb01ne", "cafe\u0301",
         "'s", "'RE", "I'LL", "'\u017f", "don't", "...", "!?", "//", "```", "\u2019", "\u3002", "\u20ac", "<s>", "</s>", "<unk>", "<0x41>", "\u2581", "\u0120"]


def one_of(random_, ranges):
    first, last = random_.choice(ranges)
    return chr(random_.randint(first, last))


def part(r, added):
    kind = r.random()
    if kind < 0.25:
        script = [r.choice(LETTERS)]
        return "".join(one_of(r, script) for _ in range(r.randint(1, 8)))
    if kind < 0.35:
        script = [r.choice(LETTERS)]
        return "".join(one_of(r, script) + "".join(one_of(r, MARKS) for _ in range(r.randint(0, 3))) for _ in range(r.randint(1, 4)))
    if kind < 0.45 and added:
        token = r.choice(added)
        return r.choice([token, token, token + token, " " + token + " ", token[:-1]])
    return r.choice(r.choice([EMOJI, BLANKS, BLANKS, CONTROLS, DIGITS, WORDS, WORDS]))


def random_texts(seed, count, added):
    r, texts = random.Random(seed), ["", " ", "\n", "a"]
    while len(texts) < count:
        blanks = r.random() < 0.5
        text = "".join(part(r, added) + " " * (blanks and r.random() < 0.6) for _ in range(r.choice([1, 3, 8, 20, 40])))
        if r.random() < 0.04:
            text += r.choice(["a", "A", "1", " ", "\n", "\u0301", "\u4f60", "ab", " \n", "<|"]) * r.randint(50, 3000)
        texts.append(text)
    return texts
