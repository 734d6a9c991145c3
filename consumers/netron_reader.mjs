// What Netron's own code reads out of Caffe's files: a line of JSON for each, in their order.
//
//     node netron_reader.mjs NETRON_FOLDER FILE...

import * as fs from 'fs';
import * as path from 'path';
import { pathToFileURL } from 'url';

const [folder, ...files] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(path.join(folder, `${name}.js`)));

const [base, view] = [await load('base'), await load('view')];

const host = {
    require: (id) => load(id),
    asset: async (file) => fs.readFileSync(path.join(folder, file), 'utf-8'),
    environment: () => null,
    event: () => {},
    exception: (error) => { throw error; },
};

const context = (file) => ({
    identifier: path.basename(file),
    stream: new base.BinaryStream(new Uint8Array(fs.readFileSync(file))),
    entries: new Map(),
    asset: host.asset,
    require: host.require,
    error: host.exception,
});

// What stands in place is in Netron's box of the layer before it.
const layers = (nodes) => nodes.flatMap((node) => [node, ...layers(node.chain || [])]);

const shapes = (node) => node.inputs.flatMap((input) => input.value)
    .filter((value) => value.initializer)
    .map((value) => value.initializer.type.shape.dimensions);

for (const file of files) {
    let answer;
    try {
        const service = new view.ModelFactoryService(host);
        const model = await service.open(context(file));
        const [graph] = model.modules;
        answer = {
            format: model.format,
            inputs: graph.inputs.map((input) => input.name),
            layers: layers(graph.nodes).map((node) => [node.name, node.type.name, shapes(node)]),
        };
    } catch (error) {
        answer = { error: `${error.name}: ${error.message}` };
    }
    console.log(JSON.stringify(answer));
}
