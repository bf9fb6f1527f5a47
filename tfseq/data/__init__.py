"""Data sets, tokenizers and tf.data pipelines. Only batches, streams and TFDS builders load TensorFlow, when used."""

from importlib import import_module
from typing import Any

from tfseq.data.captions import load_captions
from tfseq.data.corpus import Corpus, load_corpus
from tfseq.data.dataset import DataSet, Part, stratified_folds, stratified_split
from tfseq.data.images import load_images
from tfseq.data.labelled_texts import languages, load_texts, rt_polarity
from tfseq.data.scenes import scenes
from tfseq.data.tables import blood_pressure, load_table
from tfseq.data.time_series import japanese_vowels, sunspots
from tfseq.data.tokenizers import character_tokenizer, subword_tokenizer, word_tokenizer
from tfseq.data.translation_pairs import addition, dates, number_words, parallel_texts, text_pairs, translations_of_tfds
from tfseq.data.tunes import load_tunes
from tfseq.data.video_clips import changing_digits, clips_of_tfds, load_clips, moving_digits

_ON_TENSORFLOW = {
    "CaptionsFile": "tfds_builders",
    "FolderOfClips": "tfds_builders",
    "PairsOfTexts": "tfds_builders",
    "bucketed_batches": "bucketing",
    "contiguous_streams": "bptt_streams",
    "distorted": "image_augmentation",
    "evaluation_stream": "bptt_streams",
    "random_blocks": "text_blocks",
    "shuffled_batches": "bucketing",
    "sliding_blocks": "text_blocks",
    "steps_per_epoch": "bptt_streams",
    "tokenizer_of": "text_vectorization",
}

__all__ = [
    "CaptionsFile",
    "Corpus",
    "DataSet",
    "FolderOfClips",
    "PairsOfTexts",
    "Part",
    "addition",
    "blood_pressure",
    "bucketed_batches",
    "changing_digits",
    "character_tokenizer",
    "clips_of_tfds",
    "contiguous_streams",
    "dates",
    "distorted",
    "evaluation_stream",
    "japanese_vowels",
    "languages",
    "load_captions",
    "load_clips",
    "load_corpus",
    "load_images",
    "load_table",
    "load_texts",
    "load_tunes",
    "moving_digits",
    "number_words",
    "parallel_texts",
    "random_blocks",
    "rt_polarity",
    "scenes",
    "shuffled_batches",
    "sliding_blocks",
    "steps_per_epoch",
    "stratified_folds",
    "stratified_split",
    "subword_tokenizer",
    "sunspots",
    "text_pairs",
    "tokenizer_of",
    "translations_of_tfds",
    "word_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name in _ON_TENSORFLOW:
        return getattr(import_module(f"tfseq.data.{_ON_TENSORFLOW[name]}"), name)
    raise AttributeError(f"module 'tfseq.data' has no attribute {name!r}")
