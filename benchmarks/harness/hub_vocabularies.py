"""Small vocabularies of subwords, KerasHub's tokenizers of them, and random texts to try these on."""

import io
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

TEXTS = (
    "Train any classic sequence architecture in Keras and ship it as one verified ONNX file.",
    "Two men are outside, aren't they? It's 3.14 or 2024 in the café; naïve façade, Straße.",
    "Привет, мир! Καλημέρα κόσμε. שלום עולם مرحبا नमस्ते दुनिया สวัสดีชาวโลก 你好，世界。 안녕하세요 😀👍",
    "def f(x):\n\treturn x ** 2  # twice    spaces",
) * 4


@cache
def byte_pairs(size=400, special=("<|endoftext|>",)):
    """(vocabulary, merges) as KerasHub's BytePair tokenizers take them; special tokens are the last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(TEXTS, trainer)
    model = json.loads(library.to_str())["model"]
    vocabulary = dict(model["vocab"])
    vocabulary |= {token: len(model["vocab"]) + i for i, token in enumerate(special)}
    return vocabulary, [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]


@cache
def sentence_pieces(**options):
    """A SentencePiece model as bytes."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=written,
        vocab_size=400,
        minloglevel=2,
        hard_vocab_limit=False,
        **options,
    )
    return written.getvalue()


_LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_LLAMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
}
_GEMMA = {
    "model_type": "bpe",
    "byte_fallback": True,
    "remove_extra_whitespaces": False,
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "pad_id": 0,
    "eos_id": 1,
    "bos_id": 2,
    "unk_id": 3,
    "pad_piece": "<pad>",
    "bos_piece": "<bos>",
    "eos_piece": "<eos>",
    "user_defined_symbols": "<start_of_turn>,<end_of_turn>,\N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE EIGHTH BLOCK}",
}
UNIGRAM = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "pad_piece": "<pad>"}
_WORD_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def word_pieces():
    """A vocabulary of WordPiece."""
    characters = sorted({character for text in TEXTS for character in text.lower() if not character.isspace()})
    words = sorted({word for text in TEXTS for word in text.lower().split() if word.isalpha() and len(word) > 1})
    return [*_WORD_PIECES, *characters, *(f"##{character}" for character in characters), *words[:60], "##ing", "##ed"]


# By name, tokenizers of `keras_hub.models`, small ones.
MAKERS: dict[str, Callable[[Any], Any]] = {
    "GPT2": lambda m: m.GPT2Tokenizer(*byte_pairs()),
    "Llama3": lambda m: m.Llama3Tokenizer(*byte_pairs(special=_LLAMA_3)),
    "Roberta": lambda m: m.RobertaTokenizer(*byte_pairs(special=ROBERTA)),
    "Llama": lambda m: m.LlamaTokenizer(proto=sentence_pieces(**_LLAMA)),
    "Gemma": lambda m: m.GemmaTokenizer(proto=sentence_pieces(**_GEMMA)),
    "T5": lambda m: m.T5Tokenizer(proto=sentence_pieces(**UNIGRAM)),
    "XLMRoberta": lambda m: m.XLMRobertaTokenizer(proto=sentence_pieces(model_type="unigram")),
    "cased Bert": lambda m: m.BertTokenizer(word_pieces(), lowercase=False),
    "Bert": lambda m: m.BertTokenizer(word_pieces(), lowercase=True),
    "Bert without accents": lambda m: m.BertTokenizer(word_pieces(), lowercase=True, strip_accents=True),
}
_RANGES = ((32, 127), (0xA0, 0x180), (0x370, 0x500), (0x5D0, 0x5EB), (0x620, 0x64B), (0x900, 0x940), (0xE01, 0xE3B))
_MORE = ((0x3041, 0x3097), (0x4E00, 0x4E40), (0xAC00, 0xAC40), (0x1F600, 0x1F640))
_FOLDED = ((0x2010, 0x2060), (0x2100, 0x2190), (0x2460, 0x24D0), (0x3200, 0x3250), (0xFE10, 0xFE70), (0xFF01, 0xFFA0))
_CHARACTERS = [chr(code) for first, last in (*_RANGES, *_MORE, *_FOLDED) for code in range(first, last)]
_CONTROLS = list("\t\n\r\x00\x1f\u200b\u200d\ufeff\u00ad\u3000\u2003\ufe0f")
_SPELLED = ("<|endoftext|>", "<s>", "</s>", "<unk>", "[CLS]", "<start_of_turn>", "<pad>", "<0x41>")


def texts(count):
    """Random texts of many scripts, emoji, spaces, control characters and spelled special tokens."""
    drawn = random.Random(0)
    words = [word for text in TEXTS for word in text.split()]
    for _ in range(count):
        text = ""
        for _ in range(drawn.randint(1, 10)):
            pieces = (drawn.choice(words), "".join(drawn.choices(_CHARACTERS + _CONTROLS, k=drawn.randint(1, 5))))
            text += drawn.choice([*pieces, *pieces, drawn.choice("ab .") * drawn.randint(1, 6), drawn.choice(_SPELLED)])
            text += drawn.choice([" ", " ", "", "  ", "\n"])
        yield text
