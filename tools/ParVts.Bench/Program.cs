using System.CommandLine;
using ParVts.Bench;
using ParVts.Bench.Gpu;

var threads = new Option<int>("--threads") { DefaultValueFactory = _ => 2, Description = "Threads that compute." };
var repeats = new Option<int>("--repeats") { DefaultValueFactory = _ => 7, Description = "Measured repeats." };
var rows = new Option<int>("--rows") { DefaultValueFactory = _ => 640, Description = "Rows of the left matrix." };
var directory = new Argument<string>("directory") { Description = "A checkpoint folder." };

var gemm = new Command("gemm", "Our matrix product against OpenBLAS on the same shapes.") { threads, repeats, rows };
gemm.SetAction(parse => GemmBench.Run(parse.GetValue(rows), parse.GetValue(threads), parse.GetValue(repeats)));

var layers = new Option<int>("--layers") { DefaultValueFactory = _ => 22, Description = "Decoder layers." };
var make = new Command("make-model", "Writes a LLaVA checkpoint of random bf16 weights: 1.26 G parameters with 22 layers.") { directory, layers };
make.SetAction(parse => RandomModel.Write(
    parse.GetValue(directory)!,
    new RandomModelShape { Layers = parse.GetValue(layers), Hidden = 2048, Mlp = 5632, Heads = 16, KvHeads = 16, Vocabulary = 32000, Grid = 24 }));

var root = new RootCommand("Measurements of single operations, which build.sh bench and the GPU bundle run; whole models are measured by 'parvts bench'.") { gemm, make };
foreach (Command command in GpuCommands.Create())
    root.Subcommands.Add(command);
return root.Parse(args).Invoke();
