"""
Fills a Qdrant collection as other programs do, by plain HTTP: it knows nothing of this project.

Reads lines of JSON with `title`, `text`, `vector`, `metadata` and `document` (an id, the same for all parts of a document),
and writes points in the shape of LangChain, LlamaIndex, Haystack, or a plain script with numbers as ids.
"""

import argparse
import hashlib
import json
import sys
import urllib.parse
import urllib.request
import uuid

BATCH = 500
NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def ask(url, method, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["result"]


def langchain(number, row):
    # langchain_qdrant.QdrantVectorStore: content_payload_key and metadata_payload_key, ids of uuid4.
    metadata = {"source": row["document"], "title": row["title"], **row["metadata"]}
    payload = {"page_content": row["text"], "metadata": metadata}
    return str(uuid.UUID(bytes=hashlib.md5(f"{number}".encode()).digest(), version=4)), payload


def llamaindex(number, row):
    # llama_index.core.vector_stores.utils.node_to_metadata_dict, of a TextNode.
    node_id = str(uuid.UUID(bytes=hashlib.md5(f"node {number}".encode()).digest(), version=4))
    metadata = {"file_name": row["title"], **row["metadata"]}
    node = {
        "id_": node_id,
        "embedding": None,
        "metadata": metadata,
        "excluded_embed_metadata_keys": [name for name in metadata if name != "file_name"],
        "excluded_llm_metadata_keys": [],
        "relationships": {"1": {"node_id": row["document"], "node_type": "4", "metadata": {}, "class_name": "RelatedNodeInfo"}},
        "metadata_template": "{key}: {value}",
        "metadata_separator": "\n",
        "text": row["text"],
        "mimetype": "text/plain",
        "start_char_idx": row.get("start", 0),
        "end_char_idx": row.get("start", 0) + len(row["text"]),
        "text_template": "{metadata_str}\n\n{content}",
        "class_name": "TextNode",
    }
    owner = {name: row["document"] for name in ("document_id", "doc_id", "ref_doc_id")}
    return node_id, {**metadata, "_node_content": json.dumps(node), "_node_type": "TextNode", **owner}


def haystack(number, row):
    # haystack_integrations.document_stores.qdrant.converters: the Document's dictionary without its embedding.
    own = hashlib.sha256(f"{number} {row['text']}".encode()).hexdigest()
    meta = {"title": row["title"], "source_id": row["document"], "split_id": row.get("start", 0), **row["metadata"]}
    return str(uuid.uuid5(NAMESPACE, own)), {"id": own, "content": row["text"], "blob": None, "meta": meta, "score": None}


def script(number, row):
    return number, {"doc_id": row["document"], "title": row["title"], "text": row["text"], **row["metadata"]}


SHAPES = {"langchain": langchain, "llamaindex": llamaindex, "haystack": haystack, "script": script}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("collection")
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--distance", default="Cosine")
    parser.add_argument("--vector", default="", help="a name for the vectors")
    parser.add_argument("--more", type=json.loads, default={}, help="other kinds of vectors, by name")
    options = parser.parse_args()
    rows = [json.loads(line) for line in sys.stdin]
    own = {"size": len(rows[0]["vector"]), "distance": options.distance}
    vectors = {options.vector: own, **options.more} if options.vector else own
    collection = f"{options.url}/collections/{urllib.parse.quote(options.collection)}"
    ask(collection, "PUT", {"vectors": vectors})
    for start in range(0, len(rows), BATCH):
        points = []
        for number, row in enumerate(rows[start : start + BATCH], start):
            point, payload = SHAPES[options.shape](number, row)
            vector = {options.vector: row["vector"]} if options.vector else row["vector"]
            points.append({"id": point, "vector": vector, "payload": payload})
        ask(f"{collection}/points?wait=true", "PUT", {"points": points})
    print(json.dumps({"points": len(rows)}))


main()
