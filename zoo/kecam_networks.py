"""The smallest network of each family of kecam (keras_cv_attention_models) 1.4.3, which we did not
choose for being easy to convert."""

import os
import types

import numpy as np

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # kecam is written for Keras 2
os.environ["KECAM_BACKEND"] = "tensorflow"

SIZES = (64, 128, 224)  # pixels: the first that the network takes


def build(name):
    """(the network with random weights, the size of its images)."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(1)
    make = _constructor(name)
    for size in SIZES:
        try:
            return _randomised(make(input_shape=(size, size, 3), pretrained=None)), size
        except Exception:  # each family says in its own way that an image is too small
            if size == SIZES[-1]:
                raise
    raise AssertionError("the last size returns or raises")


def _constructor(name):
    import kecam

    modules = [getattr(kecam, module) for module in dir(kecam)]
    modules = [module for module in modules if isinstance(module, types.ModuleType)]
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def _randomised(model, seed=1):
    """Random weights, and statistics of BatchNorm that keep the numbers of a deep network sane."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if not variable.dtype.is_floating:
            continue
        kind, shape = variable.name.rpartition("/")[2].split(":")[0], variable.shape
        value = random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[:-1])))
        if kind in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) <= 1:
            value = random.normal(size=shape) * 0.3
        variable.assign(value.astype(np.float32))
    return model


NAMES = [
    "AotNet50",
    "BeitBasePatch16",
    "BotNet26T",
    "CAFormerS18",
    "CMTTiny",
    "CSPNeXtTiny",
    "CoAtNet0",
    "CoaTLiteTiny",
    "ConvFormerS18",
    "ConvNeXtTiny",
    "ConvNeXtV2Atto",
    "CotNet50",
    "DINOv2_ViT_Small14",
    "DaViT_T",
    "DiNAT_Mini",
    "ECA_NFNetL0",
    "EVA02TinyPatch14",
    "EdgeNeXt_XX_Small",
    "EfficientDetD0",
    "EfficientDetLite0",
    "EfficientFormerL1",
    "EfficientFormerV2S0",
    "EfficientNetEdgeTPUSmall",
    "EfficientNetV1B0",
    "EfficientNetV2B0",
    "EfficientViT_B0",
    "EfficientViT_M0",
    "EvaLargePatch14",
    "FBNetV3B",
    "FasterNetT0",
    "FasterViT0",
    "FastViT_T8",
    "FlexiViTSmall",
    "GCViT_XXTiny",
    "GMLPTiny16",
    "GPViT_L1",
    "GhostNetV2_100",
    "GhostNet_050",
    "HaloNet26T",
    "HaloNetH0",
    "HieraTiny",
    "HorNetTiny",
    "HorNetTinyGF",
    "IFormerSmall",
    "InceptionNeXtTiny",
    "LCNet050",
    "LeViT128S",
    "MLPMixerS32",
    "MaxViT_Tiny",
    "MetaTransformerBasePatch16",
    "MobileNetV3Small050",
    "MobileViT_V2_050",
    "MobileViT_XXS",
    "MogaNetXtiny",
    "NAT_Mini",
    "NFNetF0",
    "PVT_V2B0",
    "PVT_V2B2_linear",
    "RegNetY032",
    "RegNetZB16",
    "RepViT_M09",
    "ResMLP12",
    "ResNeXt50",
    "ResNest50",
    "ResNet50D",
    "ResNet51Q",
    "SwinTransformerV2Tiny_window8",
    "TinyNetE",
    "TinyViT_5M",
    "UniformerSmall32",
    "UniformerSmall64",
    "VOLO_d1",
    "VanillaNet5",
    "ViTTinyPatch16",
    "WaveMLP_T",
    "YOLOR_CSP",
    "YOLOV7_Tiny",
    "YOLOV8_N",
    "YOLOV8_N_CLS",
    "YOLOV8_N_SEG",
    "YOLOXNano",
    "YOLO_NAS_S",
]
