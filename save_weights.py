"""Step 4 of 6: save the network and its weights as files that step 5 reads without TensorFlow.

Reads   checkpoints/NAME.keras.
Writes  tf_weights/NAME/graph.json (the network, one line an op) and one .npy a weight, in Caffe's
        layout.

    python save_weights.py
"""

from tf2caffe import cli


def main():
    args = arguments()
    import models
    from tf2caffe.frontend import weights
    from tf2caffe.frontend.source import open_model

    network = models.named(args.model)
    source = open_model(args.model, network=network, **cli.model_options(args))
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
    return parser.parse_args()


if __name__ == "__main__":
    cli.run(main)
