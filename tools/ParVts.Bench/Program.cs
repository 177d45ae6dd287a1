using System.CommandLine;
using ParVts.Bench;
using ParVts.Bench.Gpu;

var threads = new Option<int>("--threads") { DefaultValueFactory = _ => 2, Description = "Threads that compute." };
var repeats = new Option<int>("--repeats") { DefaultValueFactory = _ => 7, Description = "Measured repeats." };
var rows = new Option<int>("--rows") { DefaultValueFactory = _ => 640, Description = "Rows of the left matrix." };
var prompt = new Option<int>("--prompt") { DefaultValueFactory = _ => 640, Description = "Tokens of the prompt." };
var decode = new Option<int>("--decode") { DefaultValueFactory = _ => 16, Description = "Decode steps." };
var directory = new Argument<string>("directory") { Description = "A checkpoint folder." };

var gemm = new Command("gemm", "Our matrix product against OpenBLAS on the same shapes.") { threads, repeats, rows };
gemm.SetAction(parse => GemmBench.Run(parse.GetValue(rows), parse.GetValue(threads), parse.GetValue(repeats)));

var layers = new Option<int>("--layers") { DefaultValueFactory = _ => 22, Description = "Decoder layers." };
var make = new Command("make-model", "Writes a LLaVA checkpoint of random bf16 weights: 1.26 G parameters with 22 layers.") { directory, layers };
make.SetAction(parse => RandomModel.Write(
    parse.GetValue(directory)!,
    new RandomModelShape { Layers = parse.GetValue(layers), Hidden = 2048, Mlp = 5632, Heads = 16, KvHeads = 16, Vocabulary = 32000, Grid = 24 }));

var model = new Command("model", "Prefill and decode of a checkpoint, a JSON line a repeat.") { directory, threads, prompt, decode, repeats };
model.SetAction(parse => ModelBench.Run(
    parse.GetValue(directory)!, parse.GetValue(threads), parse.GetValue(prompt), parse.GetValue(decode), parse.GetValue(repeats)));

var policies = new Option<string[]>("--policy")
{
    DefaultValueFactory = _ => ["parvts:keep=64,migrate=3", "cls-prune:keep=64", "fastv:layer=3,keep=64", "vtw:layer=11"],
    Description = "Policies to compare with dense.",
};
var rounds = new Option<int>("--rounds") { DefaultValueFactory = _ => 3, Description = "Rounds; in each, every policy runs once." };
var images = new Option<int>("--images") { DefaultValueFactory = _ => 5, Description = "Pictures, at most." };
var plot = new Option<string?>("--plot") { Description = "Where the plot goes, as SVG." };

var schedules = new Command("schedules", "Prefill of policies beside dense, in turn; a markdown table.") { directory, threads, rounds, policies };
schedules.SetAction(parse => ScheduleBench.Compare(
    parse.GetValue(directory)!, parse.GetValue(threads), parse.GetValue(rounds), parse.GetValue(policies)!));

var growth = new Command("growth", "Prefill time from one picture to several, dense and ParVTS; a markdown table and a plot.")
{
    directory, threads, rounds, images, plot,
};
growth.SetAction(parse => ScheduleBench.Growth(
    parse.GetValue(directory)!, parse.GetValue(threads), parse.GetValue(rounds), parse.GetValue(images), "parvts:keep=64,migrate=3", parse.GetValue(plot)));

var root = new RootCommand("Measurements of the engine; build.sh bench and the GPU bundle run them.") { gemm, make, model, schedules, growth };
foreach (Command command in GpuCommands.Create())
    root.Subcommands.Add(command);
return root.Parse(args).Invoke();
