# SPDX-License-Identifier: MPL-2.0
"""What the paper's sound networks have in common: `mel` in, logits of the 14 classes by a last layer `output`, and the embedding in front of it."""

import onnx
import torch
from torch import nn

from ..export import half
from ..labels import LABELS


class Classifier(nn.Module):
    @torch.no_grad()
    def begin(self, path, mels):
        """Take the weights of an exported model, whose batch norms are folded into its convolutions.

        Each batch norm gets the mean and variance that its input has for the patches `mels` [n,1,bands,frames], and the scale and
        offset that undo them: the function is the exported one, and training starts from statistics that fit.
        """
        stored = half.weights(path)
        kernels = iter(n.input[1:3] for n in onnx.load(path).graph.node if n.op_type == "Conv")
        norms = []
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                kernel, *bias = next(kernels)
                module.weight.copy_(stored[kernel])
            elif isinstance(module, nn.BatchNorm2d):
                norms.append((module, torch.ones(module.num_features), stored[bias[0]]))
        norms += self.begin_others({name.removeprefix("network."): tensor for name, tensor in stored.items()})
        seen = {}
        hooks = [norm.register_forward_pre_hook(lambda norm, given: seen.setdefault(norm, given[0].float())) for norm, _, _ in norms]
        for norm, scale, offset in norms:
            norm.running_mean.zero_(), norm.running_var.fill_(1 - norm.eps), norm.weight.copy_(scale), norm.bias.copy_(offset)
        self.eval()(mels)
        for hook in hooks:
            hook.remove()
        for norm, scale, offset in norms:
            x = seen[norm].transpose(0, 1).flatten(1)
            norm.running_mean.copy_(x.mean(1)), norm.running_var.copy_(x.var(1))
            norm.weight.copy_(scale * (norm.running_var + norm.eps).sqrt()), norm.bias.copy_(offset + scale * norm.running_mean)
        return self

    def begin_others(self, stored):
        """Take the weights of the layers behind the convolutions; [(batch norm, scale, offset)] of further batch norms."""
        for name in ("hidden", "output"):
            if layer := getattr(self, name, None):
                layer.weight.copy_(stored[f"{name}.weight"]), layer.bias.copy_(stored[f"{name}.bias"])
        return []

    @torch.no_grad()
    def rescale(self, temperature):
        """Divide the logits by a temperature, for good."""
        for p in self.output.parameters():
            p /= temperature

    def exported(self):
        return Softmax(self)


class Softmax(nn.Module):
    """What is exported: `mel` -> (`tags` [N,13], `embedding`)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, mel):
        logits, embedding = self.network(mel)
        return torch.softmax(logits, 1)[:, : len(LABELS)], embedding
