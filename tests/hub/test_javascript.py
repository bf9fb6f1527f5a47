"""KerasHub's tokenizers in JavaScript: KerasHub's own token ids, over random texts of many scripts."""

import pytest

keras_hub = pytest.importorskip("keras_hub")

from benchmarks.harness.hub_vocabularies import MAKERS, texts
from tests.hub.javascript import in_node
from tfseq.hub.tokenizers import converted, ids_of


def test_texts_get_keras_hubs_ids_and_come_back(tmp_path):
    given = [*texts(200), "", " ", "\n", "a" * 101]
    tokenizers = {name: make(keras_hub.models) for name, make in MAKERS.items()}
    made = {name: converted(tokenizer) for name, tokenizer in tokenizers.items()}
    script = """
        const results = {};
        for (const [name, description] of Object.entries(descriptions)) {
            const tokenizer = await loadTokenizer(description);
            const ids = texts.map((text) => tokenizer.encode(text));
            results[name] = [ids, ids.map((row) => tokenizer.decode(row))];
        }
        return results;
    """
    descriptions = {name: tokenizer.to_json() for name, tokenizer in made.items()}
    found = in_node(script, tmp_path, descriptions=descriptions, texts=given)
    for name, (ids, decoded) in found.items():
        differing = [text for text, row in zip(given, ids, strict=True) if row != ids_of(tokenizers[name], text)]
        assert differing == [], name
        assert decoded == [made[name].decode(row) for row in ids], name
