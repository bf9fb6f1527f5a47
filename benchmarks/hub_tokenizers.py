"""KerasHub's tokenizers, and what a file has in their place: how many random texts get the same token ids.

    pip install -e ".[train-cpu,hub]"
    python -m benchmarks.hub_tokenizers              # 10,000 texts for each tokenizer: ten minutes
    python -m benchmarks.hub_tokenizers --texts 500

Small vocabularies of every kind; texts of many scripts, emoji, spaces, control characters and spelled special tokens.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=10_000, help="for each tokenizer (%(default)s)")
    arguments = parser.parse_args()
    import keras_hub

    from benchmarks.harness.hub_vocabularies import MAKERS, texts
    from tfseq.hub.tokenizers import converted, ids_of
    from tfseq.runtime.subword_tokenizer import SubwordTokenizer

    print("| tokenizer | texts | the same token ids | the first that differs |", "|---|---:|---:|---|", sep="\n")
    for name, make in MAKERS.items():
        tokenizer = make(keras_hub.models)
        made = SubwordTokenizer.from_json(converted(tokenizer).to_json())  # as a file has it
        differing = [text for text in texts(arguments.texts) if made.encode(text).tolist() != ids_of(tokenizer, text)]
        same, first = arguments.texts - len(differing), ascii(differing[0]) if differing else ""
        print(f"| {name} | {arguments.texts:,} | {same:,} | {first} |", flush=True)


if __name__ == "__main__":
    main()
