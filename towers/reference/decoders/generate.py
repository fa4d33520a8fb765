"""Small random decoders and what transformers makes of texts with them.

Needs torch, transformers, onnx, onnxruntime, onnxscript (and onnxruntime-genai for the fused graphs):

    python towers/reference/decoders/generate.py [FAMILY...]

Weights lie on a coarse grid, so that the compressed files stay small; norms are away from their starting values.
"""

import base64
import copy
import gzip
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers as hf
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

warnings.filterwarnings("ignore")
HERE = Path(__file__).parent
VOCABULARY = 128
SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, head_dim=16, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)
GEMMA = dict(SIZES, sliding_window=6, query_pre_attn_scalar=16)
TEXTS = [
    "a",
    "hello world",
    "the quick brown fox",
    "Stars, 42 of them!",
    "",
    "one two three",
]
# Weights whose gradients are recorded, besides the norms.
CHECKED = ["layers.0.self_attn.q_proj.weight", "layers.0.self_attn.v_proj.weight", "layers.1.mlp.down_proj.weight"]
INSTRUCT = "Instruct: Find passages\nQuery: "


def letters():
    return [chr(code) for code in range(0x21, 0x7F)]


def byte_level(before, after):
    """Bytes as letters, a few merges, special tokens around: as Qwen's and Llama 3's."""
    specials = ["<pad>", "<s>", "<|endoftext|>"]
    merges = [("h", "e"), ("l", "l"), ("Ġ", "t"), ("Ġt", "he"), ("o", "r"), ("q", "u"), ("i", "n")]
    tokens = specials + letters() + ["Ġ", "Ċ"] + ["".join(pair) for pair in merges]
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, merges))
    tokenizer.normalizer = normalizers.NFC()
    split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in specials])
    template = processors.TemplateProcessing(
        single=" ".join(before + ["$A"] + after),
        special_tokens=[(each, tokenizer.token_to_id(each)) for each in specials],
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template] if before + after else [processors.ByteLevel(trim_offsets=False)]
    )
    return tokenizer


def pieces(before, after):
    """Pieces with ▁ for a space: as Gemma's."""
    specials = ["<pad>", "<bos>", "<eos>", "<unk>"]
    merges = [("h", "e"), ("l", "l"), ("▁", "t"), ("▁t", "he"), ("o", "r"), ("q", "u"), ("i", "n")]
    tokens = specials + ["▁", "\n"] + letters() + ["".join(pair) for pair in merges]
    tokenizer = Tokenizer(models.BPE({token: at for at, token in enumerate(tokens)}, merges, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in specials])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join(before + ["$A"] + after),
        special_tokens=[(each, tokenizer.token_to_id(each)) for each in specials],
    )
    return tokenizer


FAMILIES = {
    # The end of text is what Qwen3-Embedding pools: its tokenizer appends it.
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config(**SIZES, tie_word_embeddings=True), byte_level([], ["<|endoftext|>"]), "last"),
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig(**SIZES, rope_theta=500.0), byte_level(["<s>"], []), "last"),
    "gemma2": (hf.Gemma2ForCausalLM, hf.Gemma2Config(**GEMMA), pieces(["<bos>"], []), "last"),
    "gemma3": (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig(**GEMMA), pieces(["<bos>"], ["<eos>"]), "last"),
    # EmbeddingGemma: every token sees those before and after it, and all are pooled.
    "embeddinggemma": (
        hf.Gemma3ForCausalLM, hf.Gemma3TextConfig(**GEMMA, use_bidirectional_attention=True), pieces(["<bos>"], ["<eos>"]), "mean",
    ),
}


def build(name):
    kind, config, tokenizer, pooling = FAMILIES[name]
    torch.manual_seed(sum(map(ord, name)))
    model = kind(config).eval()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            scale = 0.25 if "norm" in parameter_name else 0.35 if "embed" in parameter_name else 0.3
            grid = torch.round(torch.randn_like(parameter) * scale * 32) / 32
            parameter.copy_(grid + (1 if "norm" in parameter_name and "gemma" not in name else 0))
    return model, tokenizer, pooling


class Encoder(torch.nn.Module):
    """The decoder without its head, by the names that exporters give."""

    def __init__(self, model, positions):
        super().__init__()
        self.model, self.positions = model.model, positions

    def forward(self, input_ids, attention_mask, position_ids=None):
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state


def strip(model, keep=()):
    """Without what only people read; weights get short names. @returns old name → new"""
    graph = model.graph
    del graph.value_info[:]
    renamed = {}
    for at, initializer in enumerate(graph.initializer):
        renamed[initializer.name] = f"w{at}"
    values = 0
    given = {each.name for each in list(graph.input) + list(graph.output)}
    for node in graph.node:
        node.doc_string = ""
        node.ClearField("metadata_props")
        for output in node.output:
            if output and output not in given:
                renamed[output] = f"v{values}"
                values += 1
    for initializer in graph.initializer:
        initializer.name = renamed[initializer.name]
        initializer.doc_string = ""
        initializer.ClearField("metadata_props")
    for at, node in enumerate(graph.node):
        node.name = f"n{at}"
        node.input[:] = [renamed.get(each, each) for each in node.input]
        node.output[:] = [renamed.get(each, each) for each in node.output]
    graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    model.doc_string = graph.doc_string = ""
    return renamed


def export(model, path, positions, how):
    encoder = Encoder(model, positions).eval()
    ids = torch.randint(3, VOCABULARY, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    names = ["input_ids", "attention_mask"] + (["position_ids"] if positions else [])
    inputs = (ids, mask) + ((torch.arange(7)[None].repeat(2, 1),) if positions else ())
    options = dict(input_names=names, output_names=["last_hidden_state"])
    if how == "dynamo":
        axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        torch.onnx.export(
            encoder, inputs, str(path), dynamo=True, external_data=False, opset_version=20, verbose=False,
            dynamic_shapes=tuple(axes for _ in inputs), **options,
        )
    else:
        axes = {each: {0: "batch", 1: "sequence"} for each in names + ["last_hidden_state"]}
        torch.onnx.export(encoder, inputs, str(path), dynamo=False, opset_version=17, dynamic_axes=axes, **options)
    exported = onnx.load(path)
    strip(exported)
    onnx.save(exported, path)


def fused(model, tokenizer, folder):
    """ONNX Runtime's own export: grouped-query attention as one operator, with a cache of keys and values."""
    model.save_pretrained(folder / "hf")
    hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder / "hf")
    subprocess.run(
        [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", folder / "hf", "-o", folder / "fused", "-p", "fp32",
         "-e", "cpu", "-c", folder / "cache", "--extra_options", "exclude_lm_head=true"],
        check=True, capture_output=True,
    )
    exported = onnx.load(folder / "fused" / "model.onnx")
    for value in list(exported.graph.input) + list(exported.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "kv_cache_dim":
                dim.dim_value = SIZES["head_dim"]
    strip(exported)
    onnx.save(exported, folder / "fused.onnx", save_as_external_data=False)


def pooled(states, mask, pooling):
    if pooling == "mean":
        kept = mask[..., None].float()
        return (states * kept).sum(1) / kept.sum(1)
    last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
    return states[torch.arange(len(states)), last]


def encode(model, rows, side, pooling):
    """As transformers does it in one padded batch, positions counted from each text's first token."""
    length = max(map(len, rows))
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for at, row in enumerate(rows):
        place = slice(length - len(row), length) if side == "left" else slice(0, len(row))
        ids[at, place] = torch.tensor(row)
        mask[at, place] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    states = model.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state
    return pooled(states, mask, pooling), ids, mask


def floats(values):
    """Single precision, in base 64: sixty numbers in the room of ten."""
    return base64.b64encode(values.detach().numpy().astype("<f4").tobytes()).decode()


def four_bits(model, path, four, rows, pooling):
    """What transformers makes of the rows with the weights that four bits stand for."""
    twin = copy.deepcopy(model)
    whole = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in four.graph.initializer}
    replaced = 0
    for node in four.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        size = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        packed = stored[node.input[1]]
        columns, blocks = packed.shape[:2]
        halves = np.stack([packed & 15, packed >> 4], -1).reshape(columns, blocks, -1).astype(np.float32)
        zero = np.full((columns, blocks, 1), 8.0, np.float32)
        if len(node.input) > 3 and node.input[3]:
            points = stored[node.input[3]].reshape(columns, -1)
            zero = np.stack([points & 15, points >> 4], -1).reshape(columns, -1)[:, :blocks, None].astype(np.float32)
        scales = stored[node.input[2]].reshape(columns, blocks, 1)
        weight = ((halves - zero) * scales).reshape(columns, -1)[:, : size["K"]]
        before = whole[node.input[1].split("_")[0]]
        for parameter in twin.model.parameters():
            if parameter.shape == weight.shape and np.array_equal(parameter.detach().numpy(), before.T):
                parameter.data = torch.from_numpy(weight.copy())
                replaced += 1
    assert replaced == 14, replaced
    return encode(twin, rows, "right", pooling)[0]


def gradients(model, rows, pooling, path):
    """Of the sum of all vectors, each component weighed otherwise, by weights of the graph: by name in the graph."""
    model.zero_grad()
    vectors, _, _ = encode(model, rows, "right", pooling)
    weigh = torch.sin(torch.arange(vectors.numel(), dtype=torch.float32)).reshape(vectors.shape)
    loss = (vectors * weigh).sum()
    loss.backward()
    graph = onnx.load(path).graph
    found = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    result = {}
    for name, parameter in model.model.named_parameters():
        if not ("norm" in name or name in CHECKED):
            continue
        value, slope = parameter.detach().numpy(), parameter.grad
        for at, candidate in found.items():
            for transposed in (False, True):
                other = value.T if transposed else value
                if candidate.shape == other.shape and candidate.ndim and np.array_equal(candidate, other):
                    if candidate.ndim == 1 and sum(np.array_equal(candidate, each) for each in found.values()) > 1:
                        continue
                    result[at] = floats((slope.T if transposed else slope).contiguous())
    return {"loss": loss.item(), "weights": result}


def main(names):
    for name in names:
        model, tokenizer, pooling = build(name)
        out = HERE
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            positions = name in ("qwen3", "gemma3")
            forms = ["fp32", "fp16", "int8", "int4"]
            export(model, folder / "fp32.onnx", positions, "dynamo")
            half = convert_float_to_float16(onnx.load(folder / "fp32.onnx"), keep_io_types=name != "llama")
            onnx.save(half, folder / "fp16.onnx")
            quantize_dynamic(
                folder / "fp32.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8 if name == "qwen3" else QuantType.QUInt8,
                per_channel=name == "qwen3",
                # Without it, products of signed weights overflow sixteen bits on processors without VNNI.
                reduce_range=name == "qwen3",
            )
            logging.disable(logging.INFO)
            four = MatMulNBitsQuantizer(onnx.load(folder / "fp32.onnx"), block_size=32, is_symmetric=name != "llama")
            four.process()
            onnx.save(four.model.model, folder / "int4.onnx")
            if name in ("qwen3", "gemma2"):
                export(model, folder / "traced.onnx", positions, "traced")
                forms.append("traced")
            if name in ("qwen3", "llama"):
                fused(model, tokenizer, folder)
                forms.append("fused")
            rows = [tokenizer.encode(prompt + text).ids for text in TEXTS for prompt in ("", INSTRUCT)]
            rows = [row for row in rows if row]
            with torch.no_grad():
                right, _, _ = encode(model, rows, "right", pooling)
                left, _, _ = encode(model, rows, "left", pooling)
                alone = torch.cat([encode(model, [row], "right", pooling)[0] for row in rows])
                of_four = four_bits(model, folder / "fp32.onnx", four.model.model, rows, pooling)
            for each in (left, alone):
                assert (each - right).abs().max() < 2e-5, (each - right).abs().max()
            reference = {
                "pooling": pooling,
                "versions": {"torch": torch.__version__, "transformers": hf.__version__},
                "config": json.loads(model.config.to_json_string()),
                "inputs": [
                    {"text": text, "prompt": prompt, "ids": tokenizer.encode(prompt + text).ids}
                    for text in TEXTS for prompt in ("", INSTRUCT) if tokenizer.encode(prompt + text).ids
                ],
                "right": floats(right),
                "left": floats(left),
                "int4": floats(of_four),
                "gradients": gradients(model, rows[:4], pooling, folder / "fp32.onnx"),
            }
            graphs = {form: (folder / f"{form}.onnx").read_bytes() for form in forms}
        (out / f"{name}.json").write_text(json.dumps(reference, ensure_ascii=False) + "\n")
        (out / f"{name}.tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False) + "\n")
        for form, data in graphs.items():
            (out / f"{name}.{form}.onnx.gz").write_bytes(gzip.compress(data, 9, mtime=0))
        print(name, {form: len(gzip.compress(data, 9)) for form, data in graphs.items()}, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(FAMILIES))
