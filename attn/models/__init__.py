"""Classification networks with named feature layers. Importing a family's module registers its architectures."""

from attn.models import mobilenet, resnet, resnet_cifar, squeezenet, tiny, vgg
from attn.models.backbone import Architecture, Backbone, architecture, architectures, register
from attn.models.network import ModelConfig, Network
from attn.models.output import Output

__all__ = [
    "Architecture",
    "Backbone",
    "ModelConfig",
    "Network",
    "Output",
    "architecture",
    "architectures",
    "mobilenet",
    "register",
    "resnet",
    "resnet_cifar",
    "squeezenet",
    "tiny",
    "vgg",
]
