# Written by scripts/stubs.py: run `make stubs` where public names or the arguments of fit have changed.

from copyfold.models.adoption import adopt as adopt
from copyfold.models.attention import AttentionUNet as AttentionUNet
from copyfold.models.attention import SingleAttention as SingleAttention
from copyfold.models.base import Autoencoder as Autoencoder
from copyfold.models.classifiers import CNN as CNN
from copyfold.models.classifiers import ViT as ViT
from copyfold.models.conv import Conv as Conv
from copyfold.models.dense import MLP as MLP
from copyfold.models.dense import Linear as Linear
from copyfold.models.diffusion_unet import DiffusionUNet as DiffusionUNet
from copyfold.models.packaged import pretrained as pretrained
from copyfold.models.storing import load as load
from copyfold.models.unet import Affine as Affine
from copyfold.models.unet import Middle as Middle
from copyfold.models.unet import UNet as UNet
from copyfold.models.unet import Wide as Wide
from copyfold.models.variational import Variational as Variational
