"""Step 4 of 6: save the network and its weights as files that step 5 reads without TensorFlow.

Reads   checkpoints/NAME.keras.
Writes  tf_weights/NAME/graph.json (the network, one line an op) and one .npy a weight, in Caffe's
        layout.

    python save_weights.py
"""

from tf2caffe import cli
from tf2caffe.failure import Failure, refuse_idle


def main():
    args = arguments()
    import models
    from tf2caffe.frontend import weights
    from tf2caffe.frontend.source import open_model

    given = {"network": models.named(args.model), "preprocessing": preprocessing(args)}
    source = open_model(args.model, **given, **cli.model_options(args))
    source.graph.print_unused()
    for weight in source.graph.weights():
        print(weight.source.name)
    print("-" * 60)
    print(f"Parse and save variables to {source.handoff.weights}")
    print("-" * 60)
    weights.save(source.graph, source.handoff.weights, report=print)
    print(f"wrote: {source.handoff.weights}")


def arguments():
    parser = cli.parser(__doc__)
    cli.add_model(parser, nargs="?", default="mnistcls")
    cli.add_preprocessing(parser)
    return parser.parse_args()


def preprocessing(args):
    """What is to be a part of the network. Raises `Failure` where it is not to be, and given."""
    given = {name: getattr(args, name) for name in ("bgr", "mean", "std", "scale")}
    if not args.fold_preprocessing:
        refuse_idle("step 3 prepares the images, this one only with --fold-preprocessing", **given)
        return None
    found = cli.preprocessing(args)
    if not found.given:
        raise Failure("--fold-preprocessing needs one of --bgr, --mean, --std and --scale")
    return found


if __name__ == "__main__":
    cli.run(main)
