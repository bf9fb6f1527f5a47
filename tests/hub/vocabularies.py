"""Small vocabularies of subwords, as KerasHub's tokenizers take them."""

import io
import json
from functools import cache

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
