// Times llama.cpp on one GGUF file, through the prebuilt CPU library of node-llama-cpp: a prefill, then decode steps.
// Prints one JSON object a repeat, in the terms of 'parvts bench'.
//
// usage: node llama_cpp.mjs MODEL.gguf [--prompt 640] [--decode 16] [--threads 2] [--repeats 3] [--vocabulary 32000]
//        node-llama-cpp is looked for in artifacts/peers (npm install node-llama-cpp --prefix artifacts/peers)
import {createRequire} from "node:module";
import path from "node:path";
import {fileURLToPath, pathToFileURL} from "node:url";
import {parseArgs} from "node:util";

const {values, positionals} = parseArgs({
  allowPositionals: true,
  options: {
    prompt: {type: "string", default: "640"},
    decode: {type: "string", default: "16"},
    threads: {type: "string", default: "2"},
    repeats: {type: "string", default: "3"},
    vocabulary: {type: "string", default: "32000"},
  },
});
if (positionals.length !== 1) {
  console.error("usage: node llama_cpp.mjs MODEL.gguf [--prompt N] [--decode N] [--threads N] [--repeats N]");
  process.exit(2);
}
const [prompt, decode, threads, repeats] =
  [values.prompt, values.decode, values.threads, values.repeats].map(Number);

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const {getLlama} = await import(packageEntry("node-llama-cpp"));

const llama = await getLlama({gpu: false, build: "never", maxThreads: threads});
const model = await llama.loadModel({modelPath: path.resolve(positionals[0]), useMmap: true});
const size = prompt + decode + 64;
const context = await model.createContext({contextSize: size, batchSize: size, threads, flashAttention: true});
const sequence = context.getSequence();
// Any ids will do, as long as they differ; 259 are special or bytes.
const tokens = Array.from({length: prompt}, (_, i) => 259 + (i * 7919) % (values.vocabulary - 259));

for (let repeat = 0; repeat < repeats; repeat++) {
  await sequence.clearHistory();
  const start = performance.now();
  await sequence.evaluateWithoutGeneratingNewTokens(tokens);
  const prefill = performance.now() - start;

  const decodeStart = performance.now();
  let steps = 0;
  for await (const _ of sequence.evaluate([5], {temperature: 0, yieldEogToken: true})) {
    if (++steps >= decode) break;
  }
  console.log(JSON.stringify({
    prefill_ms: rounded(prefill),
    decode_ms: rounded((performance.now() - decodeStart) / steps),
  }));
}
process.exit(0);

function rounded(milliseconds) {
  return Number(milliseconds.toFixed(1));
}

// A module is looked for from its importer's folder upwards; the package lies elsewhere, among the build's outputs.
function packageEntry(name) {
  const require = createRequire(path.join(root, "artifacts/peers/package.json"));
  for (const folder of require.resolve.paths(name)) {
    const directory = path.join(folder, name);
    try {
      const {exports} = require(path.join(directory, "package.json"));
      const entry = exports["."].import?.default ?? exports["."].import ?? exports["."].node?.import;
      return pathToFileURL(path.join(directory, entry)).href;
    } catch (error) {
      if (error.code !== "MODULE_NOT_FOUND") throw error;
    }
  }
  console.error(`${name} is not installed: npm install ${name} --prefix artifacts/peers`);
  process.exit(1);
}
