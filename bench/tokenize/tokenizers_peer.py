"""Hugging Face's tokenizers, one text after another. Each line asks for texts to be tokenised; the answer is CPU per text."""

import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers

setup = json.loads(sys.stdin.readline())
tokenizer = tokenizers.Tokenizer.from_file(setup["tokenizer"])
tokenizer.no_padding()
tokenizer.enable_truncation(setup["maxTokens"])
print(json.dumps({"version": f"tokenizers {tokenizers.__version__}"}), flush=True)
for line in sys.stdin:
    texts = json.loads(line)["texts"]
    began = time.process_time()
    tokens = sum(len(tokenizer.encode(text).ids) for text in texts)
    micros = 1e6 * (time.process_time() - began) / len(texts)
    print(json.dumps({"micros": micros, "tokens": tokens}), flush=True)
