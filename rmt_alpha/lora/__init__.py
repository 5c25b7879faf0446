"""Layers with frozen pre-trained weights and trained adapters, in NumPy, and the training of them."""

from rmt_alpha.lora.interchange import from_peft, glora_config, load_peft, peft_config, save_peft, to_glora, to_peft
from rmt_alpha.lora.layers import AlphaLoRALinear, DoRALinear, LoRALinear, Module
from rmt_alpha.lora.losses import softmax_cross_entropy, squared
from rmt_alpha.lora.network import Linear, ReLU, Sequential, Tanh
from rmt_alpha.lora.optimizers import SGD, Adam, AdamW
from rmt_alpha.lora.training import History, train

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "AlphaLoRALinear",
    "DoRALinear",
    "History",
    "Linear",
    "LoRALinear",
    "Module",
    "ReLU",
    "Sequential",
    "Tanh",
    "from_peft",
    "glora_config",
    "load_peft",
    "peft_config",
    "save_peft",
    "softmax_cross_entropy",
    "squared",
    "to_glora",
    "to_peft",
    "train",
]
