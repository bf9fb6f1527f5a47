"""Fixtures for tokenizers: texts on which Unicode libraries differ, and their token ids by Python's tokenizers."""

import itertools
import json
import random
import unicodedata
from collections.abc import Iterator
from pydoc_data import topics
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tfseq.data import subword_tokenizer, word_tokenizer
from tfseq.hub.tokenizers import word_pieces
from tfseq.runtime import SubwordTokenizer, WordTokenizer

LINES = [line.strip() for text in topics.topics.values() for line in text.splitlines() if len(line.strip()) > 8]
LEARNED, HELD_OUT = LINES[:4000], LINES[4000:]
HARD = [
    "Grüße aus Köln — naïve café",
    "e\u0301 é ﬁ ﬀ ①",
    "Привет, мир! Ёлка",
    "日本語のテキスト、東京。",
    "मैं हिन्दी हूँ",
    "אבג دهؤ",
    "👍🏽 👨\u200d👩\u200d👧 🇩🇪 x",
    "a\tb\nc  d\xa0e\u2003f\u3000g\x85h\ufeffi\u200bj\x1ck",
    "it's we'll I'M don't D'où",
    "ΑΣ ΑΣΑ ὈΔΥΣΣΕΎΣ",
    "1234 5.6 ٣٤ Ⅷ ² x² ½",
    "x_y __init__ <unk> </s> <end>",
    "İstanbul DŽ ǅ ß ſ K",
    "ＡＢＣ １２３ ｶﾞ",
    "a\x00b",
    "\ud800 lone",
    "▁under",
    "$& $1",
]
SPACES = [" ", "  ", "\n", "\r", "\x85", "\u2028", "\xa0", "\ufeff", "\x1c", "\u200d"]
MARKS = ["'s", "é", "e\u0301", "İ", "Σ", "1", "a", "▁", "</s>", "<unk>"]


def tokenizer_answers() -> list[dict[str, Any]]:
    """Words and pieces of words of many kinds, on hard texts and random ones."""
    draw = random.Random(0)
    texts = [*HARD, "", " ", "\n", *(random_text(draw) for _ in range(600))]
    answers = []
    for name, tokenizer in libraries():
        ids = [tokenizer.encode(text).tolist() for text in texts]
        others = [[draw.randrange(tokenizer.vocabulary_size) for _ in range(draw.randint(0, 20))] for _ in range(200)]
        decoded = [[row, tokenizer.decode(row)] for row in [*ids, *others]]
        description = tokenizer.to_json()
        answers.append({"name": name, "description": description, "texts": texts, "ids": ids, "decoded": decoded})
    return answers


def libraries() -> Iterator[tuple[str, SubwordTokenizer | WordTokenizer]]:
    texts = LEARNED[:1500] + HARD * 5
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    words = ["", "[UNK]", *dict.fromkeys(word for text in texts[::9] for word in [*text.lower().split(), *text])]
    yield "every word", WordTokenizer(words)
    yield "plain words", WordTokenizer(words, lower=True, strip_punctuation=True, length=9)
    yield "characters of words", WordTokenizer(words, lower=True, split="character")
    pairs = [" ".join(pair) for text in texts[::9] for pair in itertools.pairwise(text.split())]
    yield "pairs of words", WordTokenizer([*words, *pairs], strip_punctuation=True, ngrams=(2, 1))
    yield "word_tokenizer", word_tokenizer(texts, 500)
    yield "subword_tokenizer", subword_tokenizer(texts, 600)
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    common: dict[str, Any] = {"vocab_size": 600, "special_tokens": special, "show_progress": False}
    unigram = models.Unigram, trainers.UnigramTrainer(**common, unk_token="<unk>")
    word = (lambda: models.WordLevel(unk_token="<unk>")), trainers.WordLevelTrainer(**common)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte = models.BPE, trainers.BpeTrainer(**common, initial_alphabet=alphabet)
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    with_bytes = (
        lambda: models.BPE(byte_fallback=True, unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=700, special_tokens=[*special, *fallback], show_progress=False),
    )
    spaces = pre_tokenizers.Metaspace(), decoders.Metaspace()
    digits = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)])
    small = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(), normalizers.Lowercase()])
    kinds: list[tuple[str, tuple, Any, Any, Any]] = [
        ("words", word, None, pre_tokenizers.Whitespace(), None),
        ("spaces, small", word, small, pre_tokenizers.WhitespaceSplit(), None),
        ("digits", word, None, digits, None),
        ("bytes with a space", byte, None, pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()),
        ("unigram", unigram, normalizers.NFKC(), *spaces),
        ("unigram over all", unigram, None, pre_tokenizers.Metaspace(split=False), decoders.Metaspace()),
        ("byte fallback", with_bytes, None, spaces[0], byte_decoder()),
    ]
    for name, (model, trainer), normalizer, splitter, decoder in kinds:
        library = Tokenizer(model())
        for part, value in {"normalizer": normalizer, "pre_tokenizer": splitter, "decoder": decoder}.items():
            if value is not None:
                setattr(library, part, value)
        library.train_from_iterator(texts, trainer)
        yield name, SubwordTokenizer(library.to_str(), 2, 3)
    characters = sorted({character for text in texts for character in text.casefold() + text if character.strip()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters, *(f"##{character}" for character in characters[::2])]
    tokens += [word for word in words if word.isalpha() and len(word) > 1]
    for lowercase, strip_accents, split_on_cjk in [(False, False, True), (True, False, True), (True, True, False)]:
        description = json.dumps(word_pieces(tokens, lowercase, strip_accents, split_on_cjk))
        yield f"word pieces, {lowercase=}, {strip_accents=}", SubwordTokenizer(description, prepend=[2], append=[3])


def byte_decoder() -> decoders.Decoder:
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return decoders.Sequence(parts)


def random_text(draw: random.Random) -> str:
    """Of characters that Unicode 3.2 has already: newer ones are not in all tables."""
    length = draw.randint(1, 40)
    if draw.random() < 0.3:
        return draw.choice(HELD_OUT)[:length]
    if draw.random() < 0.5:
        return "".join(draw.choice(SPACES + MARKS) for _ in range(length))
    top = draw.choice([0x80, 0x250, 0x3100, 0x30000])
    characters = (chr(draw.randrange(top)) for _ in range(length))
    return "".join(c for c in characters if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs")) or "a"
