"""Writes a small cross-encoder, and what ONNX Runtime and `tokenizers` make of pairs of texts with it: scores.json.

    pip install onnx onnxruntime tokenizers numpy && python generate.py

It is no model that anybody trained: each token has a random direction, and a pair scores by how well the tokens of the
query are met by those of the text, less for those that come late. It has the inputs and the output of a trained one.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = Path(__file__).parent
WIDTH = 16
LONGEST = 32
WORDS = "the a of and stars star planets bread rye moon tides wheat boat night sky baking by old is in".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
VOCABULARY = [*SPECIAL, ".", ",", *WORDS, *(c for c in LETTERS if c not in WORDS), *(f"##{c}" for c in LETTERS)]

PAIRS = [
    ["stars of the night sky", ["Stars\nthe stars in the night sky", "Bread\nbaking bread of rye", "Moon\nmoon and tides"]],
    ["baking bread", ["an old boat", "Bread, of rye. Baking is old", "bread"]],
    ["Ünknown wörds", ["unknown words", "天文", ""]],
    # Longer than the model: the text is cut, and the query is cut where it is more than half.
    ["planets", ["the moon " * 40, "planets " + "the moon " * 40]],
    ["the moon and the tides " * 12, ["the moon and the tides " * 12, "rye"]],
]


def tokenizer() -> Tokenizer:
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    return made


def graph():
    random = np.random.default_rng(7)
    table = random.standard_normal((len(VOCABULARY), WIDTH)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    # What only marks a place says nothing.
    table[: len(SPECIAL)] *= 0.05
    late = (1 - 0.01 * np.arange(LONGEST, dtype=np.float32)).reshape(1, LONGEST)
    constants = {
        "table": table,
        "late": late,
        "one": np.array(1, np.float32),
        "lowest": np.array(-2, np.float32),
        "two": np.array([2], np.int64),
        "last": np.array([-1], np.int64),
        "zero": np.array([0], np.int64),
        "axis": np.array([1], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["x"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        node("Mul", ["types", "mask"], ["text"]),
        node("Sub", ["one", "types"], ["first"]),
        node("Mul", ["first", "mask"], ["query"]),
        node("Shape", ["input_ids"], ["shape"]),
        node("Slice", ["shape", "axis", "two"], ["length"]),
        node("Slice", ["late", "zero", "length", "axis"], ["weights"]),
        node("Transpose", ["x"], ["across"], perm=[0, 2, 1]),
        node("MatMul", ["x", "across"], ["alike"]),
        node("Unsqueeze", ["weights", "axis"], ["columns"]),
        node("Mul", ["alike", "columns"], ["weighted"]),
        node("Sub", ["one", "text"], ["elsewhere"]),
        node("Mul", ["elsewhere", "lowest"], ["away"]),
        node("Unsqueeze", ["away", "axis"], ["hidden"]),
        node("Add", ["weighted", "hidden"], ["candidates"]),
        node("ReduceMax", ["candidates", "last"], ["met"], keepdims=0),
        node("Mul", ["met", "query"], ["counted"]),
        node("ReduceSum", ["counted", "last"], ["total"], keepdims=1),
        node("ReduceSum", ["query", "last"], ["tokens"], keepdims=1),
        node("Div", ["total", "tokens"], ["logits"]),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "cross-encoder", ids, [output], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def scores(session: onnxruntime.InferenceSession, read: Tokenizer, query: str, texts: list[str]) -> list[float]:
    found = []
    # A pair that is too long loses the end of its text; a query has half of the room at most.
    room = LONGEST - 3
    asked = read.encode(query, add_special_tokens=False).ids[: room // 2]
    for text in texts:
        ids = read.encode(text, add_special_tokens=False).ids[: room - len(asked)]
        if len(asked) == len(read.encode(query, add_special_tokens=False).ids):
            read.enable_truncation(LONGEST, strategy="only_second")
            whole = read.encode(query, text)
            read.no_truncation()
            assert whole.ids == [2, *asked, 3, *ids, 3], "the pair is not put together as tokenizers does it"
        pair = [2, *asked, 3, *ids, 3]
        types = [0] * (len(asked) + 2) + [1] * (len(ids) + 1)
        feeds = {"input_ids": [pair], "attention_mask": [[1] * len(pair)], "token_type_ids": [types]}
        (logits,) = session.run(None, {name: np.array(value, np.int64) for name, value in feeds.items()})
        found.append(round(float(logits[0, 0]), 6))
    return found


def main() -> None:
    read = tokenizer()
    read.save(str(HERE / "tokenizer.json"), pretty=False)
    save(graph(), str(HERE / "model.onnx"))
    (HERE / "config.json").write_text(json.dumps({"model_type": "bert", "max_position_embeddings": LONGEST}) + "\n")
    session = onnxruntime.InferenceSession(str(HERE / "model.onnx"))
    found = [{"query": query, "texts": texts, "scores": scores(session, read, query, texts)} for query, texts in PAIRS]
    (HERE / "scores.json").write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n")


main()
