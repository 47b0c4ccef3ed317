#!/usr/bin/env python3
"""Training steps of transformers' GPT-2 in PyTorch, a line each: what training_step.py measures beside colc.

usage: torch_step.py BATCH SEQ STEPS [eager|compile]
"""
import os
import sys

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import torch  # noqa: E402
from transformers import GPT2Config, GPT2LMHeadModel  # noqa: E402

batch, seq, steps = map(int, sys.argv[1:4])
torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=True)
forward = torch.compile(model) if sys.argv[4:] == ["compile"] else model
for step in range(steps):
    tokens = torch.randint(0, 50257, (batch, seq + 1))
    logits = forward(tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    print(f"step {step} loss {loss.item():.4f}", flush=True)
