"""Has sentence-transformers encode texts with variants of one small random model, and writes its vectors beside this file.

    pip install -r requirements.txt && python generate.py

`hub/` gets the model's folder (ONNX export, tokenizer, configuration, weights of the modules), `hub.json` a list of
changes to it, each with the vectors that sentence-transformers gives, or none where it refuses the folder or does not
run such a module. The files are committed; the tests read them, so that nobody needs Python to run the tests.
"""

import base64
import copy
import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, models
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent
WIDTH = 16
TEXTS = [
    "Hello star",
    "hello STAR, the astronomer saw a new Planet over the old town and wrote it down in her book",
    "",
    "query: Star",
]


def vocabulary():
    words = "[PAD] [UNK] [CLS] [SEP] . , : the a in of and it her new old Hello hello Star star Planet planet query doc".split()
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + [chr(c) for c in range(ord("A"), ord("Z") + 1)]
    return {token: i for i, token in enumerate(dict.fromkeys(words + letters + ["##" + l for l in letters]))}


def tokenizer():
    vocab = vocabulary()
    found = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    found.normalizer = normalizers.BertNormalizer(lowercase=False)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    found.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    return found


class Export(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state


def write(folder, path, value):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, dict) and value and all(isinstance(each, torch.Tensor) for each in value.values()):
        save_file(value, file)
    else:
        file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def modules(*names):
    return [
        {"idx": i, "name": str(i), "path": "" if name == "Transformer" else f"{i}_{name}", "type": f"sentence_transformers.models.{name}"}
        for i, name in enumerate(names)
    ]


OLD_POOLING = {
    "word_embedding_dimension": WIDTH,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
    "pooling_mode_weightedmean_tokens": False,
    "pooling_mode_lasttoken": False,
    "include_prompt": True,
}
DENSE = {"in_features": WIDTH, "out_features": 8, "bias": True, "activation_function": "torch.nn.modules.activation.Tanh"}
BASE = {
    "modules.json": modules("Transformer", "Pooling", "Dense", "Normalize"),
    "1_Pooling/config.json": OLD_POOLING,
    "2_Dense/config.json": DENSE,
    "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
    "config_sentence_transformers.json": {
        "__version__": {"sentence_transformers": "6.2.0", "transformers": "5.24.0", "pytorch": "2.15.0"},
        "prompts": {"query": "query: ", "document": "doc: ", "other": "hello "},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    },
    "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": False,
        "model_max_length": 64,
        "truncation_side": "right",
        "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]",
    },
}


def build(folder):
    torch.manual_seed(16)
    config = BertConfig(
        vocab_size=len(vocabulary()), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.6, hidden_act="gelu",
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, mean=1.0 if parameter.mean() > 0.5 else 0.0, std=0.3)
    model.save_pretrained(folder)
    tokenizer().save(str(folder / "tokenizer.json"))
    x = torch.ones(2, 5, dtype=torch.int64)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    torch.onnx.export(
        Export(model), (x, x, x * 0), str(folder / "model.onnx"), input_names=names, output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in [*names, "last_hidden_state"]}, dynamo=False, opset_version=17,
    )
    for path, value in BASE.items():
        write(folder, path, value)
    weight = lambda *shape: torch.randn(*shape) * 0.5
    write(folder, "2_Dense/model.safetensors", {"linear.weight": weight(8, WIDTH), "linear.bias": weight(8)})
    return {
        "square": {"linear.weight": weight(WIDTH, WIDTH), "linear.bias": weight(WIDTH)},
        "residual": {"linear.weight": weight(8, WIDTH), "linear.bias": weight(8), "residual.weight": weight(8, WIDTH)},
        "unbiased": {"linear.weight": weight(8, WIDTH)},
        "norm": {"norm.weight": 1 + weight(WIDTH), "norm.bias": weight(WIDTH)},
    }


def change(path, *keys, to):
    """One field of one file, as a change."""
    value = copy.deepcopy(BASE.get(path, json.loads((BUILT / path).read_text()) if (BUILT / path).exists() else {}))
    place = value
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    return {path: value}


def cases(extra):
    pool, dense = "1_Pooling/config.json", "2_Dense/config.json"
    conventions, sentence = "config_sentence_transformers.json", "sentence_bert_config.json"
    new = lambda mode: {pool: {"word_embedding_dimension": WIDTH, "pooling_mode": mode, "include_prompt": True}}
    plain = {"modules.json": modules("Transformer", "Pooling", "Normalize")}
    yield "the folder as it is", {}
    for mode in ("cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
        yield f"pooling_mode {mode}", new(mode)
    yield "two old pooling modes", {**plain, **{pool: {**OLD_POOLING, "pooling_mode_cls_token": True}}}
    yield "three pooling modes in an order", {**plain, **new(["max", "mean", "cls"])}
    yield "include_prompt", change(pool, "include_prompt", to=False)
    for mode in ("cls", "lasttoken", "weightedmean", "max"):
        yield f"include_prompt with {mode}", {pool: {"embedding_dimension": WIDTH, "pooling_mode": mode, "include_prompt": False}}
    yield "word_embedding_dimension", change(pool, "word_embedding_dimension", to=24)
    yield "do_lower_case", change(sentence, "do_lower_case", to=True)
    yield "max_seq_length", change(sentence, "max_seq_length", to=9)
    yield "max_seq_length beyond the tokenizer", {
        **change(sentence, "max_seq_length", to=60), "tokenizer_config.json": {**BASE["tokenizer_config.json"], "model_max_length": 12}}
    yield "model_max_length", {
        **change(sentence, "max_seq_length", to=None), "tokenizer_config.json": {**BASE["tokenizer_config.json"], "model_max_length": 12}}
    yield "truncation_side", {
        **change(sentence, "max_seq_length", to=9), "tokenizer_config.json": {**BASE["tokenizer_config.json"], "truncation_side": "left"}}
    yield "document prompt", change(conventions, "prompts", "document", to="the star : ")
    yield "default_prompt_name", {conventions: {"prompts": {"other": "hello "}, "default_prompt_name": "other"}}
    yield "default_prompt_name that is not there", change(conventions, "default_prompt_name", to="none")
    yield "similarity_fn_name", {**change(conventions, "similarity_fn_name", to="dot")}
    yield "similarity_fn_name without Normalize", {
        **change(conventions, "similarity_fn_name", to="dot"), "modules.json": modules("Transformer", "Pooling", "Dense")}
    yield "no Normalize", {"modules.json": modules("Transformer", "Pooling", "Dense")}
    moved = modules("Transformer", "Pooling", "Dense", "Normalize")
    moved[1]["path"] = "somewhere"
    yield "path of the pooling", {"modules.json": moved, "somewhere/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode": "cls"}}
    yield "order of the modules", {
        "modules.json": [BASE["modules.json"][i] | {"idx": at, "name": str(at)} for at, i in enumerate((0, 1, 3, 2))]}
    for name in ("activation.GELU", "activation.ReLU", "activation.Sigmoid", "activation.SiLU", "linear.Identity"):
        yield f"activation {name}", change(dense, "activation_function", to=f"torch.nn.modules.{name}")
    yield "activation of another library", change(dense, "activation_function", to="my.Swish")
    yield "bias", change(dense, "bias", to=False)
    yield "a Dense without bias", {**change(dense, "bias", to=False), "2_Dense/model.safetensors": extra["unbiased"]}
    yield "out_features", change(dense, "out_features", to=4)
    yield "a residual Dense", {**change(dense, "use_residual", to=True), "2_Dense/model.safetensors": extra["residual"]}
    yield "a residual Dense of equal width", {
        dense: {**DENSE, "out_features": WIDTH, "use_residual": True}, "2_Dense/model.safetensors": extra["square"]}
    yield "two Dense", {
        "modules.json": modules("Transformer", "Pooling", "Dense", "Dense", "Normalize"),
        dense: {**DENSE, "out_features": WIDTH}, "2_Dense/model.safetensors": extra["square"],
        "3_Dense/config.json": DENSE, "3_Dense/model.safetensors": extra["unbiased"] | {"linear.bias": torch.ones(8) / 4}}
    yield "LayerNorm", {
        "modules.json": modules("Transformer", "Pooling", "LayerNorm"), "2_LayerNorm/config.json": {"dimension": WIDTH},
        "2_LayerNorm/model.safetensors": extra["norm"]}
    yield "Dropout", {
        "modules.json": modules("Transformer", "Pooling", "Dropout"), "2_Dropout/config.json": {"dropout": 0.5}}
    # What is refused here whatever sentence-transformers makes of it.
    for name in ("WeightedLayerPooling", "CNN", "Router"):
        yield f"module {name}", {"modules.json": modules("Transformer", name, "Pooling")}
    custom = modules("Transformer", "Pooling")
    custom[1]["type"] = "custom_st.Pooling"
    yield "a module of the model's own", {"modules.json": custom}
    yield "hidden_size", change("config.json", "hidden_size", to=24)
    yield "do_lower_case of the tokenizer", change("tokenizer_config.json", "do_lower_case", to=True)


def encode(folder):
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    default = model.default_prompt_name
    sides = {}
    for side, names in (("document", ("document", "passage", "corpus")), ("query", ("query",))):
        # encode_query and encode_document take an empty prompt where a side has none; encode takes the default one.
        name = next((each for each in names if model.prompts.get(each)), default)
        prompt = {"prompt": ""} if name is None else {"prompt_name": name}
        # One by one: neighbours must not matter, and here they can't.
        rows = [model.encode([text], convert_to_numpy=True, **prompt)[0] for text in TEXTS]
        sides[side] = [[float(f"{x:.8g}") for x in row.tolist()] for row in rows]
    return sides


BUILT = Path(tempfile.mkdtemp())


def main():
    extra = build(BUILT)
    hub = HERE / "hub"
    shutil.rmtree(hub, ignore_errors=True)
    keep = ["model.onnx", "tokenizer.json", "config.json", "2_Dense/model.safetensors", *BASE]
    for path in keep:
        (hub / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(BUILT / path, hub / path)
    found = []
    for name, files in cases(extra):
        folder = Path(tempfile.mkdtemp())
        shutil.copytree(BUILT, folder, dirs_exist_ok=True)
        changed = {}
        for path, value in files.items():
            write(folder, path, value)
            raw = (folder / path).read_bytes()
            changed[path] = {"base64": base64.b64encode(raw).decode()} if path.endswith(".safetensors") else {"json": value}
        try:
            vectors = encode(folder)
            print("encodes", name)
        except Exception as error:  # noqa: BLE001
            vectors = None
            print("refuses", name, "|", type(error).__name__, str(error)[:100].replace("\n", " "))
        shutil.rmtree(folder)
        found.append({"name": name, "files": changed, "vectors": vectors})
    text = json.dumps({"texts": TEXTS, "cases": found}, ensure_ascii=False)
    (HERE / "hub.json").write_text(text.replace('{"name"', '\n{"name"') + "\n", encoding="utf-8")


main()
