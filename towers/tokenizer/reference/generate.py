"""Trains small tokenizers of ten families, and records the ids that the reference makes of 2 000 hostile strings.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python generate.py

Writes `strings.json.gz`, `families.json.gz` and `ids.json.gz` beside itself. The tokenizers are trained on the Markdown
of this repository and on the lines in `SCRIPTS`; they are kept, so that only `--train` makes other ones.
"""

import argparse
import base64
import gzip
import hashlib
import io
import json
import random
import unicodedata
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
STRINGS = 2_000
MAX_TOKENS = 16

SCRIPTS = [
    "Ὁ Σωκράτης ἔλεγε ὅτι ἓν οἶδα. ΟΔΥΣΣΕΥΣ ΚΑΙ ΑΧΙΛΛΕΥΣ. Οδός Αθηνών.",
    "Широкая электрификация южных губерний даст мощный толчок подъёму сельского хозяйства.",
    "天地玄黃宇宙洪荒日月盈昃辰宿列張。東京都は日本の首都である。カタカナ、ひらがな。",
    "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "كل الناس يولدون أحرارا متساوين في الكرامة والحقوق. שלום עולם, מה שלומך?",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์",
    "Ça alors, où êtes-vous, naïve fiancée? Straße, Größe, Übermut. İstanbul'da ılık bir gün.",
    "😀 👨‍👩‍👧‍👦 🇩🇪 ½ ① ﬁ ﷺ",
]

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def corpus():
    lines = []
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        lines += path.read_text().splitlines()
    return lines + SCRIPTS * 20


def bos_eos(tokenizer, bos, eos):
    single = " ".join(filter(None, [bos, "$A", eos]))
    ids = [(token, tokenizer.token_to_id(token)) for token in (bos, eos) if token]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    return tokenizer


def special(content, **options):
    return AddedToken(content, special=True, normalized=False, **options)


def bpe(lines, pre=None, norm=None, size=900, alphabet=None, specials=(), suffix=None, **options):
    ending = {"end_of_word_suffix": suffix} if suffix else {}
    tokenizer = Tokenizer(models.BPE(**ending, **options))
    if norm:
        tokenizer.normalizer = norm
    if pre:
        tokenizer.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=alphabet or [],
        limit_alphabet=len(alphabet) if alphabet else 300,
        special_tokens=list(specials),
        show_progress=False,
        **ending,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


BYTES = pre_tokenizers.ByteLevel.alphabet()
BYTE_TOKENS = [f"<0x{byte:02X}>" for byte in range(256)]


def roberta(lines):
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer = bpe(lines, pre, alphabet=BYTES, specials=["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([special("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2(lines):
    pre = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    tokenizer = bpe(lines, pre, alphabet=BYTES, specials=["<|endoftext|>"])
    tokenizer.add_tokens([AddedToken("scaling law", single_word=True), AddedToken("Zürich", normalized=True)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return tokenizer


def llama(lines):
    """No pre-tokenizer: a text is one word. Training takes words, and what is trained is rebuilt around them."""
    words = bpe(
        lines,
        pre_tokenizers.Metaspace(prepend_scheme="always", split=True),
        specials=["<unk>", "<s>", "</s>", *BYTE_TOKENS],
        size=1_100,
    )
    model = json.loads(words.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(model["vocab"], merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([special("<unk>"), special("<s>"), special("</s>")])
    return bos_eos(tokenizer, "<s>", None)


def llama_metaspace(lines):
    tokenizer = llama(lines)
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_special_tokens([special("[INST]")])
    return bos_eos(tokenizer, "<s>", "</s>")


def qwen(lines):
    pre = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GPT4), "isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = bpe(lines, pre, normalizers.NFC(), alphabet=BYTES, specials=[])
    tokenizer.add_special_tokens([special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    return bos_eos(tokenizer, None, "<|endoftext|>")


def gemma(lines):
    tokenizer = llama(lines)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous", invert=False)
    tokenizer.add_special_tokens([special("<start_of_turn>"), special("<bos>"), special("<eos>")])
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁", normalized=False)])
    return bos_eos(tokenizer, "<bos>", "<eos>")


def charsmap(lines):
    """The table of replacements that SentencePiece calls nmt_nfkc."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=900,
        character_coverage=0.99,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    return proto.normalizer_spec.precompiled_charsmap, [(piece.piece, piece.score) for piece in proto.pieces]


def xlmr(lines):
    table, pieces = charsmap(lines)
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces[3:]]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(table), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.add_special_tokens([special("<s>"), special("<pad>"), special("</s>"), special("<unk>")])
    tokenizer.add_special_tokens([special("<mask>", lstrip=True)])
    return bos_eos(tokenizer, "<s>", "</s>")


def unigram_bytes(lines):
    _, pieces = charsmap(lines)
    vocabulary = [("<unk>", 0.0), ("</s>", 0.0), *[(token, 0.0) for token in BYTE_TOKENS], *pieces[3:]]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(left=False, right=True)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    tokenizer.add_special_tokens([special("</s>"), special("<unk>"), special("<extra_id_0>", rstrip=True)])
    return bos_eos(tokenizer, None, "</s>")


def clip(lines):
    pre = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    norm = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer = bpe(
        lines,
        pre,
        norm,
        alphabet=BYTES,
        specials=["<|startoftext|>", "<|endoftext|>"],
        suffix="</w>",
        unk_token="<|endoftext|>",
        size=1_200,
    )
    return bos_eos(tokenizer, "<|startoftext|>", "<|endoftext|>")


def word_level(lines):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=1_500, special_tokens=["[UNK]", "[EOS]"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_tokens([AddedToken("token", single_word=True), AddedToken("Étude", normalized=True)])
    return bos_eos(tokenizer, None, "[EOS]")


def splits(lines):
    """Every behaviour of a split, digits, punctuation and a delimiter, one after the other."""
    pre = pre_tokenizers.Sequence(
        [
            pre_tokenizers.CharDelimiterSplit("|"),
            pre_tokenizers.Split(Regex(r"\s+"), "merged_with_next", invert=False),
            pre_tokenizers.Split("-", "merged_with_previous", invert=False),
            pre_tokenizers.Split(Regex(r"[aeiou]{2,}"), "contiguous", invert=False),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Punctuation("contiguous"),
            pre_tokenizers.UnicodeScripts(),
        ]
    )
    norm = normalizers.Sequence([normalizers.NFKD(), normalizers.Strip()])
    tokenizer = bpe(lines, pre, norm, specials=["[UNK]"], unk_token="[UNK]", fuse_unk=True)
    tokenizer.add_tokens([AddedToken("<lr>", lstrip=True, rstrip=True), AddedToken("ab", single_word=True)])
    return tokenizer


FAMILIES = {
    "roberta": roberta,
    "gpt2": gpt2,
    "llama": llama,
    "llama-metaspace": llama_metaspace,
    "qwen": qwen,
    "gemma": gemma,
    "xlm-roberta": xlmr,
    "unigram-bytes": unigram_bytes,
    "clip": clip,
    "word-level": word_level,
    "splits": splits,
}

# From here on: the strings.

SPACES = [chr(code) for code in range(0x3100) if chr(code).isspace()] + ["\u200b", "\u2060", "\ufeff", "\u2581", "\u180e"]
MARKS = [chr(code) for code in range(0x300, 0x370)] + ["\u05b0", "\u064b", "\u0651", "\u093c", "\u094d", "\u3099", "\U0001d165"]
CONTROLS = [chr(code) for code in [*range(32), *range(0x7F, 0xA0)]] + ["\u00ad", "\u200d", "\u200e", "\u202e", "\u2066", "\ufffd", "\ue000"]
SPECIALS = (
    "[CLS] [SEP] [MASK] [UNK] [PAD] <s> </s> <unk> <pad> <mask> <|endoftext|> <|im_start|> <|im_end|> <think> [INST] <bos> "
    "<eos> <start_of_turn> <extra_id_0> <|startoftext|> <0x41> <0xE2> <lr> ab token Étude Zürich [EOS] ##s ▁the </w> Ġthe"
).split() + ["scaling law", "\n\n", "▁▁"]
EMOJI = ["😀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷🇩", "👍🏽", "1️⃣", "❤️", "🧑🏿‍🚀", "☃", "☃️"]
CASED = ["ΟΔΟΣ", "ΣΑΣ", "Σ", "ΑΣ.", "ΌΔΟΣ ΣΟΦΌΣ", "İstanbul", "Iı", "STRASSE ẞ ß", "ǅ ǆ Ǆ", "ﬁ ﬂ ﬃ", "ŉ ǰ ΐ", "Å Å Å", "Ω Ω", "K K", "ſ ẛ", "ᾳ ᾼ"]
NUMBERS = ["1234567890", "3.14159", "1,000,000", "²³¹", "½ ¼", "٣٤٥", "१२३", "Ⅷ ⅷ", "①②", "１２３", "0x1F", "1e-9", "𝟘𝟙𝟚"]
WORDS = "the query tower encodes documents in one space What's they'll I'D we've naïve café coöperate state-of-the-art e.g. U.S.A. http://a.b/c?d=e#f x=y+z don't token scaling law".split()


def assigned(low, high):
    return [chr(c) for c in range(low, high) if unicodedata.category(chr(c)) not in ("Cs", "Cn")]


def blocks():
    """Characters of all of Unicode, by the hundred code points."""
    found = []
    for start in [*range(0, 0x33480, 0x80), *range(0xE0000, 0xE0200, 0x80), 0xF0000, 0x10FF80]:
        characters = assigned(start, start + 0x80)
        if characters:
            found.append(characters)
    return found


def strings(seed):
    rng = random.Random(seed)
    every = blocks()
    small = [block for block in every if ord(block[0]) < 0x3400 or 0xA000 <= ord(block[0]) < 0xAC00 or ord(block[0]) >= 0xF900]
    some = lambda pool, low, high: [rng.choice(pool) for _ in range(rng.randint(low, high))]
    pools = [SPACES, MARKS, CONTROLS, SPECIALS, EMOJI, CASED, NUMBERS, WORDS]

    def mixed():
        return "".join(rng.choice(rng.choice(pools)) + rng.choice(["", "", " "]) for _ in range(rng.randint(2, 12)))

    def marked():
        base = rng.choice(["a", "e", "Σ", "か", "क", "ه", "ש", "o", "Å", "가", "ᄀ"])
        return " ".join(base + "".join(some(MARKS, 1, 4)) for _ in range(rng.randint(1, 4)))

    def of_block():
        return "".join(some(rng.choice(small), 1, 10))

    def of_any_block():
        return "".join(some(rng.choice(every), 1, 6)) + rng.choice(["", " x", "ab"])

    def astral():
        return "".join(chr(rng.choice([0x20000, 0x2A6D0, 0x2B740, 0x2F800, 0x1F600, 0x1D400, 0x10400, 0x1E900]) + rng.randint(0, 30)) for _ in range(rng.randint(1, 5))) + rng.choice(["", "a", "中", " word"])

    def run():
        unit = rng.choice(["a", "A", " ", "\n", "1", ".", "-", "Σ", "中", "😀", "\u0301", "ab", "\r\n", "▁", "\u200d", "=", "  a", "é"])
        return rng.choice(["", "the "]) + unit * rng.randint(20, 160) + rng.choice(["", " end", "z"])

    def spaced():
        return "".join(rng.choice(WORDS) + "".join(some(SPACES, 1, 3)) for _ in range(rng.randint(2, 6)))

    def around_special():
        return rng.choice(["", " ", "a", "  "]) + rng.choice(SPECIALS) + rng.choice(["", " ", "b", "  ", "\n"]) + rng.choice(SPECIALS + WORDS) + rng.choice(["", " ", "."])

    def cased():
        return rng.choice(["", "x", " ", "'"]).join(some(CASED + ["Σ", "ς", "σ", "Α", "'", "."], 1, 6))

    def forms():
        text = rng.choice(SCRIPTS + CASED)
        return unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC", "NFKD"]), text)

    def shuffled():
        text = rng.choice(SCRIPTS)
        at = rng.randint(0, len(text) - 1)
        return text[at : at + rng.randint(1, 40)]

    def scripts():
        parts = [shuffled() for _ in range(rng.randint(2, 4))]
        return rng.choice(["", " ", "\u200d"]).join(parts)

    def sentence():
        return " ".join(some(WORDS, 3, 14)) + rng.choice(["", ".", "?\n", "!  ", " …"])

    def punctuated():
        return "".join(some(list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["—", "…", "“", "¿", "、", "·"] + WORDS + [" "], 2, 14))

    makers = [mixed, marked, of_block, of_any_block, astral, run, spaced, around_special, cased, forms, scripts, sentence, punctuated]
    fixed = ["", " ", "  ", "a", "\n", "\t", "\r\n", "\u00a0", "\u3000", "Σ", "ΟΔΟΣ", "\U00020000", "\u0000", "a\u0000b", "[MASK]", "e\u0301\u0323", "e\u0323\u0301"]
    made = list(dict.fromkeys(fixed))
    seen = set(made)
    while len(made) < STRINGS:
        text = rng.choice(makers)()
        if text not in seen:
            seen.add(text)
            made.append(text)
    return made


def digest(ids):
    return hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()[:8]


def record(tokenizer, texts):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    sides = {}
    for side in ("right", "left"):
        tokenizer.enable_truncation(MAX_TOKENS, direction=side)
        sides[side] = [tokenizer.encode(text).ids for text in texts]
    return {
        # Of some, all ids, for whoever wants to see what went wrong.
        "clear": {str(index): plain[index] for index in range(0, len(texts), 100)},
        "ids": "".join(map(digest, plain)),
        **{side: "".join(map(digest, ids)) for side, ids in sides.items()},
    }


def write(name, value):
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
    (HERE / name).write_bytes(gzip.compress(text, mtime=0))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", action="store_true", help="make new tokenizers")
    again = parser.parse_args().train
    texts = strings(16)
    write("strings.json.gz", texts)
    kept = HERE / "families.json.gz"
    if again or not kept.exists():
        lines = corpus()
        families = {name: json.loads(make(lines).to_str()) for name, make in FAMILIES.items()}
        write("families.json.gz", families)
    families = json.loads(gzip.decompress(kept.read_bytes()))
    default = ROOT / "towers/shipped/all-MiniLM-L6-v2-lookup/tokenizer.json"
    recorded = {"bert": record(Tokenizer.from_file(str(default)), texts)}
    for name, file in families.items():
        recorded[name] = record(Tokenizer.from_str(json.dumps(file)), texts)
        print(name, sum(len(ids) for ids in recorded[name]["clear"].values()))
    write("ids.json.gz", {"maxTokens": MAX_TOKENS, "families": recorded})


if __name__ == "__main__":
    main()
