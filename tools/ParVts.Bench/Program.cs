using System.CommandLine;
using ParVts.Bench;

var threads = new Option<int>("--threads") { DefaultValueFactory = _ => 2, Description = "Threads that compute." };
var repeats = new Option<int>("--repeats") { DefaultValueFactory = _ => 7, Description = "Measured repeats." };
var rows = new Option<int>("--rows") { DefaultValueFactory = _ => 640, Description = "Rows of the left matrix." };
var prompt = new Option<int>("--prompt") { DefaultValueFactory = _ => 640, Description = "Tokens of the prompt." };
var decode = new Option<int>("--decode") { DefaultValueFactory = _ => 16, Description = "Decode steps." };
var directory = new Argument<string>("directory") { Description = "A checkpoint folder." };

var gemm = new Command("gemm", "Our matrix product against OpenBLAS on the same shapes.") { threads, repeats, rows };
gemm.SetAction(parse => GemmBench.Run(parse.GetValue(rows), parse.GetValue(threads), parse.GetValue(repeats)));

var make = new Command("make-model", "Writes a LLaVA checkpoint of 1.26 G random bf16 parameters.") { directory };
make.SetAction(parse => RandomModel.Write(
    parse.GetValue(directory)!,
    new RandomModelShape { Layers = 22, Hidden = 2048, Mlp = 5632, Heads = 16, KvHeads = 16, Vocabulary = 32000, Grid = 24 }));

var model = new Command("model", "Prefill and decode of a checkpoint, a JSON line a repeat.") { directory, threads, prompt, decode, repeats };
model.SetAction(parse => ModelBench.Run(
    parse.GetValue(directory)!, parse.GetValue(threads), parse.GetValue(prompt), parse.GetValue(decode), parse.GetValue(repeats)));

return new RootCommand("Measurements of the engine; build.sh bench runs them.") { gemm, make, model }.Parse(args).Invoke();
