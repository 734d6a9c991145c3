"""Step 2 of 6: check the trained network on its ten test images.

Reads   checkpoints/NAME.keras and imgs/test/NAME/img0.png ... img9.png.
Writes  imgs/NAME/tf/res10.png: the images, each with its label and the network's confidence.

    python estimator_predict.py
"""

from tf2caffe import cli
from tf2caffe.failure import Failure
from tf2caffe.paths import Handoff


def main():
    args = arguments()
    import models
    from tf2caffe.frontend import images
    from tf2caffe.frontend.keras_file import load_checkpoint
    from tf2caffe.pictures import figures, layers

    network, handoff = models.module(args.name), Handoff(args.dir, args.name)
    names, pixels = images.test_images(handoff, network.SHAPE)
    model = load_checkpoint(handoff)
    if model.name != args.name:
        raise Failure(f"{handoff.checkpoint}: contains the network {model.name}, not {args.name}")
    probabilities = model(pixels, training=False)["probs"].numpy()
    answers = [(network.CLASSES[row.argmax()], f"{row.max():.2%}") for row in probabilities]
    print_table(names, answers)
    expected = images.expected(images.test_folder(handoff), names)
    told, right = layers.captions(probabilities, network.CLASSES, expected)
    picture = handoff.tf_imgs / "res10.png"
    heading = [(f"{args.name} in TensorFlow: label and confidence", figures.INK)]
    figures.draw_answers(picture, pixels, told, right, heading)
    print(f"wrote: {picture}")


def arguments():
    parser = cli.parser(__doc__)
    cli.add_name(parser)
    return parser.parse_args()


def print_table(names, answers):
    """A line an image: its name, the label, and how sure the network is of it."""
    rows = [("image", "label", "confidence")]
    rows += [(name, *answer) for name, answer in zip(names, answers, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, label, confidence in rows:
        print(f"{name:{widths[0]}} {label:{widths[1]}} {confidence:>{widths[2]}}")


if __name__ == "__main__":
    cli.run(main)
