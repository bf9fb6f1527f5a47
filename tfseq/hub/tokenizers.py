"""KerasHub's tokenizers as descriptions of the library `tokenizers`: BytePair, SentencePiece and WordPiece."""

import base64
import itertools
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, ExportError
from tfseq.hub.case_folding import IDEOGRAPHS, kept_whole
from tfseq.runtime.subword_tokenizer import SubwordTokenizer

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece writes spaces so


def converted(
    tokenizer: Any, vocabulary_size: int | None = None, names: Mapping[int, str] | None = None, **special: Any
) -> SubwordTokenizer:
    """A tokenizer of KerasHub's as one that a file carries and that makes the same token ids.

    Args:
        tokenizer: a `keras_hub.tokenizers.Tokenizer`.
        vocabulary_size: of the model, which may count more tokens than the tokenizer knows; None for as many.
        names: of tokens by id that the tokenizer does not spell, of a BytePair one; they are found in texts.
        special: `start`, `end`, `prepend` and `append` of the `SubwordTokenizer`.

    Raises:
        ExportError: it is of another kind, or what the library makes of some texts differs.
    """
    kinds = {type_.__name__: type_ for type_ in type(tokenizer).__mro__}
    convert = next((_KINDS[name] for name in kinds if name in _KINDS), None)
    if convert is None:
        raise ExportError(_refused(tokenizer, "is neither BytePair nor SentencePiece nor WordPiece"))
    if tokenizer.compute_dtype == "string":
        raise ExportError(_refused(tokenizer, "makes strings, not token ids"))
    try:
        description = convert(tokenizer)
        known = tokenizer.vocabulary_size()
        described = description["added_tokens"]
        if names is not None:
            _name(description, vocabulary_size or known, names)
        else:
            described += [_added(i, f"<unused {i}>") for i in range(known, vocabulary_size or known)]
        made = SubwordTokenizer(json.dumps(description), **special)
    except ArtefactError as error:
        raise ExportError(_refused(tokenizer, f"can't be read by the library tokenizers: {error}")) from None
    for text in _TEXTS:
        ours, theirs = made.encode(text).tolist(), ids_of(tokenizer, text)
        if ours != theirs and not _equally_good(description, ours, theirs):
            what = f"makes {theirs[:20]} of {text!r}, where the library tokenizers makes {ours[:20]}"
            raise ExportError(_refused(tokenizer, what))
    return made


def _name(description: dict[str, Any], vocabulary_size: int, names: Mapping[int, str]) -> None:
    """Has each id of a BytePair vocabulary a token, also between those that it has."""
    vocabulary = description["model"]["vocab"]
    described, spelled = description["added_tokens"], set(vocabulary.values())
    found = {token["content"] for token in described}
    for id_ in range(vocabulary_size):
        name = names.get(id_, f"<unused {id_}>")
        if id_ not in spelled:
            vocabulary[name] = id_
        if (id_ in names or id_ not in spelled) and name not in found:
            described.append(_added(id_, name, special=id_ not in names))


def _equally_good(description: dict[str, Any], ours: list[int], theirs: list[int]) -> bool:
    """Whether two segmentations of a Unigram model have the same score: then rounding decides."""
    if description["model"]["type"] != "Unigram":
        return False
    scores = np.array([score for _, score in description["model"]["vocab"]])
    return bool(np.isclose(scores[ours].sum(), scores[theirs].sum(), rtol=1e-6))


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """The token ids that KerasHub's tokenizer makes of a text, however long."""
    length, tokenizer.sequence_length = tokenizer.sequence_length, None
    try:
        return np.asarray(tokenizer.tokenize(text)).astype(int).tolist()
    finally:
        tokenizer.sequence_length = length


def _refused(tokenizer: Any, what: str) -> str:
    return (
        f"The tokenizer ({type(tokenizer).__name__} of KerasHub) {what}, so that no file can hold it. Export the model "
        "with tokenizer=False: the file then takes token ids."
    )


def _byte_pair(tokenizer: Any) -> dict[str, Any]:
    """What KerasHub itself runs, with special tokens found in texts, as it finds them."""
    tokenizer._maybe_initialized_tokenizers()
    description = json.loads(tokenizer._tokenizer.to_str())
    for token in description["added_tokens"]:
        token["special"] = False
    return description


def _word_piece(tokenizer: Any) -> dict[str, Any]:
    if not tokenizer.split:
        raise ExportError(_refused(tokenizer, "takes words and no texts (split=False)"))
    if tokenizer._special_tokens_for_splitting():
        raise ExportError(_refused(tokenizer, "reads special tokens in texts (special_tokens_in_strings=True)"))
    names = ("lowercase", "strip_accents", "split_on_cjk", "suffix_indicator", "oov_token")
    return word_pieces(tokenizer.vocabulary, **{name: getattr(tokenizer, name) for name in names})


def word_pieces(
    tokens: Sequence[str],
    lowercase: bool = False,
    strip_accents: bool = False,
    split_on_cjk: bool = True,
    suffix_indicator: str = "##",
    oov_token: str = "[UNK]",
) -> dict[str, Any]:
    """A tokenizer.json of KerasHub's WordPiece, whose arguments these are; tokens[i] has the id i."""
    normalizers: list[dict[str, Any]] = []
    if strip_accents:
        normalizers += [{"type": "NFD"}, _replaced(r"\p{Mn}", "")]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    decoders: list[dict[str, Any]] = [{"type": "WordPiece", "prefix": suffix_indicator, "cleanup": False}]
    if lowercase:
        replaced, added, decoded = kept_whole(vocabulary, split_on_cjk)
        vocabulary |= added
        decoders += [{"type": "Replace", "pattern": {"String": own}, "content": part} for own, part in decoded.items()]
        normalizers += [_replaced(f"[{_escaped(characters)}]", word) for word, characters in replaced.items()]
        normalizers += [{"type": "NFKC"}]
        normalizers += [{"type": "Lowercase"}, *(_replaced(*fold) for fold in _FOLDED), {"type": "NFKC"}]
    kept = "|".join([_PUNCTUATION, *([_IDEOGRAPHS] if split_on_cjk else [])])
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": _sequence(normalizers, "normalizers"),
        "pre_tokenizer": _sequence([_split(_BETWEEN_WORDS, "Removed"), _split(kept, "Isolated")], "pretokenizers"),
        "post_processor": None,
        "decoder": _sequence(decoders, "decoders"),
        "model": {
            "type": "WordPiece",
            "unk_token": oov_token,
            "continuing_subword_prefix": suffix_indicator,
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }


_BETWEEN_WORDS = r"[ \t\n\r\f]|\p{Cc}|\p{Cf}"
_PUNCTUATION = r"[!-/]|[:-@]|[\[-`]|[{-~]|\p{P}"
_IDEOGRAPHS = "|".join(rf"[\x{{{first:X}}}-\x{{{last:X}}}]" for first, last in IDEOGRAPHS)
# What case folding changes and lower case does not; and characters without a look of their own, which it drops.
_FOLDED = (
    ("ß", "ss"),
    ("ς", "σ"),
    (r"[\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180d}\x{3164}\x{fe00}-\x{fe0f}\x{ffa0}]", ""),
)


def _sentence_piece(tokenizer: Any) -> dict[str, Any]:
    from sentencepiece import sentencepiece_model_pb2  # KerasHub needs it

    model = sentencepiece_model_pb2.ModelProto.FromString(tokenizer.proto)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    kinds = type(model).SentencePiece
    if trainer.model_type not in (trainer.UNIGRAM, trainer.BPE):
        raise ExportError(_refused(tokenizer, "is a SentencePiece model of words or characters"))
    if trainer.model_type == trainer.UNIGRAM and trainer.byte_fallback:
        raise ExportError(_refused(tokenizer, "is a Unigram model with bytes, which texts must not spell"))
    if trainer.treat_whitespace_as_suffix or not normalizer.escape_whitespaces:
        raise ExportError(_refused(tokenizer, "writes spaces behind words, or as they are"))
    if tokenizer.add_bos or tokenizer.add_eos:
        raise ExportError(_refused(tokenizer, "adds tokens by itself (add_bos, add_eos)"))
    pieces = {piece.piece: piece for piece in model.pieces}
    spelled = (kinds.NORMAL, kinds.USER_DEFINED, kinds.BYTE)
    vocabulary = list(tokenizer.get_vocabulary())
    names = [token if token in pieces and pieces[token].type in spelled else token + _UNSPELLED for token in vocabulary]
    defined = sorted((p.piece for p in model.pieces if p.type == kinds.USER_DEFINED), key=len, reverse=True)
    fallback = trainer.byte_fallback
    unknown = tokenizer._unk_token_id if fallback else ids_of(tokenizer, _NOWHERE)[-1]
    # What a model's maker has defined is found first: as added tokens, or where texts begin with a space, which
    # would stand behind each of these, too, by splitting.
    split = bool(defined) and normalizer.add_dummy_prefix
    found = [] if split else [_added(vocabulary.index(token), token, special=False) for token in defined]
    if trainer.model_type == trainer.BPE:
        scores = {piece.piece: piece.score for piece in model.pieces if piece.type == kinds.NORMAL}
        ids = {token: i for i, token in enumerate(names)}
        described: dict[str, Any] = {
            "type": "BPE",
            "unk_token": None if fallback else names[unknown],
            "fuse_unk": True,
            "byte_fallback": fallback,
            "ignore_merges": bool(split),
            "vocab": ids,
            "merges": _merges(scores, ids),
        }
    else:
        described = {
            "type": "Unigram",
            "unk_id": unknown,
            "byte_fallback": fallback,
            "vocab": [[name, _score(pieces.get(name), kinds)] for name in names],
        }
    control = [i for i, token in enumerate(vocabulary) if token not in pieces or pieces[token].type == kinds.CONTROL]
    return {
        "version": "1.0",
        "added_tokens": [*(_added(i, names[i]) for i in control), *found],
        "normalizer": _sequence(_piece_normalizers(normalizer), "normalizers"),
        "pre_tokenizer": _split("|".join(map(_escaped, defined)), "Isolated") if split else None,
        "post_processor": None,
        "decoder": _sequence(_piece_decoders(model, names[unknown]), "decoders"),
        "model": described,
    }


def _piece_normalizers(normalizer: Any) -> list[dict[str, Any]]:
    """Of a SentencePiece model's `normalizer_spec`."""
    normalizers: list[dict[str, Any]] = []
    if normalizer.precompiled_charsmap:
        charsmap = base64.b64encode(normalizer.precompiled_charsmap).decode()
        normalizers += [_replaced(_before_marks(normalizer.precompiled_charsmap), _BREAK)]
        normalizers += [
            {"type": "Precompiled", "precompiled_charsmap": charsmap},
            _replaced(f"\\x{{{ord(_BREAK):x}}}", ""),
        ]
    if normalizer.remove_extra_whitespaces:
        normalizers += [_replaced("^ +| +$", ""), _replaced(" {2,}", " ")]
    if normalizer.add_dummy_prefix:
        normalizers.append({"type": "Prepend", "prepend": " "})
    normalizers.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    return normalizers


def _before_marks(charsmap: bytes) -> str:
    """A pattern of the places between characters that a map changes and marks.

    The library applies maps to a character with its marks, of which it keeps what becomes of the character alone.
    """
    from tokenizers import normalizers

    mapped = normalizers.Precompiled(charsmap)
    candidates = (chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    changing = [c for c in candidates if unicodedata.normalize("NFKC", c) != c or unicodedata.category(c)[0] in "CZ"]
    return (
        rf"(?<=[{_ranges(ord(c) for c in changing if mapped.normalize_str(c) != c)}])(?=[\p{{M}}\n\x{{e33}}\x{{eb3}}])"
    )


_BREAK = "\ufff0"  # between it and what follows there is no character with marks; it has no meaning


def _ranges(codes: Iterable[int]) -> str:
    """Of a regular expression's character class, for code points in order."""
    parts = []
    for _, group in itertools.groupby(enumerate(codes), lambda pair: pair[1] - pair[0]):
        first, *rest = (code for _, code in group)
        parts.append(rf"\x{{{first:x}}}" + (rf"-\x{{{rest[-1]:x}}}" if rest else ""))
    return "".join(parts)


def _piece_decoders(model: Any, unknown: str) -> list[dict[str, Any]]:
    """Pieces as text again.

    Args:
        unknown: the name of the piece that stands for what has none.
    """
    return [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "Replace", "pattern": {"String": unknown}, "content": model.trainer_spec.unk_surface},
        *([{"type": "ByteFallback"}] if model.trainer_spec.byte_fallback else []),
        {"type": "Fuse"},
        *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if model.normalizer_spec.add_dummy_prefix else []),
    ]


_NOWHERE = "\U000e0fff"  # a code point without a character, which no vocabulary has
_UNSPELLED = "\ue000"  # of the private use area: behind the names of pieces that texts can't spell


def _score(piece: Any, kinds: Any) -> float:
    return 0.0 if piece is None or piece.type == kinds.USER_DEFINED else float(piece.score)


def _merges(scores: dict[str, float], ids: dict[str, int]) -> list[list[str]]:
    """The pairs that make each piece, those of the best score first; of one piece those with the longest left part."""
    merges = []
    for token, score in scores.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in scores and right in scores:
                merges.append((-score, ids[token], -cut, left, right))
    return [[left, right] for *_, left, right in sorted(merges)]


def _added(id_: int, content: str, special: bool = True) -> dict[str, Any]:
    options = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    return {"id": id_, "content": content, "special": special, "normalized": not special, **options}


def _replaced(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def _split(pattern: str, behavior: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}


def _sequence(parts: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return {"type": "Sequence", name: parts} if parts else None


def _escaped(text: str) -> str:
    return "".join(f"\\x{{{ord(character):x}}}" for character in text)


_KINDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "BytePairTokenizer": _byte_pair,
    "SentencePieceTokenizer": _sentence_piece,
    "WordPieceTokenizer": _word_piece,
}

# What a converted tokenizer is tried on.
_TEXTS = (
    "The quick brown fox jumped over the lazy dog.",
    " two  spaces, a tab\tand a line\nend ",
    "It's 3.14159 and 1234567, isn't it? (Yes!) #1 a_b @c",
    "Élève, Straße, naïve façade, ñandú, ÅNGSTRÖM, smørrebrød",
    "Привет, мир! Καλημέρα κόσμε. שלום עולם مرحبا بالعالم",
    "नमस्ते दुनिया สวัสดีชาวโลก 你好，世界。 こんにちは世界 안녕하세요",
    "emoji 😀 👩‍👩‍👧 🏳️‍🌈 and ½ × ² ﬁ",
    "aaaaaaa ---- ====== !!!!!",
    "x",
)
