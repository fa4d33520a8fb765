"""Exports an encoder in the hub's layout as ONNX: export.py FOLDER FILE.

The graph takes input_ids and attention_mask of any size and gives last_hidden_state. Afterwards ONNX Runtime's vectors are
compared with PyTorch's, alone and in a padded batch: they must agree to 1e-4.
"""

import sys

import numpy
import onnxruntime
import torch
from transformers import AutoModel, AutoTokenizer

OPSET = 17
TOLERANCE = 1e-4

folder, target = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
model = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager").eval()


class Encoder(torch.nn.Module):
    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


encoder = Encoder().eval()
encoder.model = model
texts = ["a query tower", "The document tower reads passages that are longer than any query, and takes its time over them."]
batch = tokenizer(texts, padding=True, return_tensors="pt")
axes = {0: "batch", 1: "length"}
torch.onnx.export(
    encoder,
    (batch["input_ids"], batch["attention_mask"]),
    target,
    input_names=["input_ids", "attention_mask"],
    output_names=["last_hidden_state"],
    dynamic_axes={name: axes for name in ["input_ids", "attention_mask", "last_hidden_state"]},
    opset_version=OPSET,
    dynamo=False,
)

session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
long = tokenizer([" ".join(texts * 24)], truncation=True, return_tensors="pt")
for inputs in [batch, tokenizer(texts[:1], return_tensors="pt"), long]:
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        expected = encoder(ids, mask).numpy()
    (found,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    apart = numpy.abs((found - expected) * mask.numpy()[:, :, None]).max()
    if not apart < TOLERANCE:
        sys.exit(f"ONNX Runtime and PyTorch differ by {apart}, more than {TOLERANCE}")
print(sum(parameter.numel() for parameter in model.parameters()))
