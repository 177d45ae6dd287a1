namespace ParVts.GpuSim.Tests.Kernels;

/// <summary>matmul.cu and gemv.cu: every tile shape on sizes that fit none, against sums in float64.</summary>
internal sealed class MatMulTests : KernelTest
{
    private static readonly string[] s_tiles = ["matmul_128x128", "matmul_64x64", "matmul_16x32"];

    private static IEnumerable<TestCaseData> Shapes()
    {
        Random random = new(11);
        foreach (string kernel in (string[])[.. s_tiles, "gemv 1", "gemv 8"])
        {
            int most = kernel.StartsWith("gemv", StringComparison.Ordinal) ? kernel[^1] - '0' : 200;
            for (int n = 0; n < 7; n++)
            {
                int rows = n switch { 0 => 1, 1 => most, _ => random.Next(1, most + 1) };
                int inner = n switch { 0 => 1, 1 => 256, 2 => 1024 + 8, _ => random.Next(1, 400) };
                int columns = n switch { 0 => 1, 1 => 128, _ => random.Next(1, 200) };
                yield return new TestCaseData(kernel, rows, columns, inner, 1 + random.Next(2), n % 2, random.Next(2) == 0, n % 3 == 2, n < 4 ? -1 : (2 * n - 7 + (most & 1)) % 5);
            }
        }

        // More tiles of rows than one group has.
        yield return new TestCaseData("matmul_16x32", 16 * 19, 70, 24, Bf16, 0, true, true, -1);
    }

    [TestCaseSource(nameof(Shapes))]
    public void Product(string kernel, int rows, int columns, int inner, int element, int output, bool hasBias, bool adds, int function)
    {
        Random random = new(rows + columns + inner);
        adds &= output == 0;
        int outputType = output == 0 ? F32 : element;
        Matrix x = Input(random, rows, inner, element, padding: 8);
        Matrix w = Input(random, columns, inner, element, padding: 16);
        Matrix bias = Input(random, 1, columns, F32);
        Matrix old = Input(random, rows, columns, F32, padding: 4);
        Matrix result = adds ? old : Output(rows, columns, outputType, padding: 8);
        MatMul(kernel, x, w, hasBias ? bias : null, result, adds, function);

        double[] truth = new double[rows * columns];
        float[] naive = new float[rows * columns];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                double sum = 0;
                float plain = 0;
                for (int k = 0; k < inner; k++)
                {
                    sum += (double)x[row, k] * w[column, k];
                    plain += x[row, k] * w[column, k];
                }

                int at = (row * columns) + column;
                truth[at] = Truth.Apply(sum + (hasBias ? bias[0, column] : 0), function) + (adds ? old.Values[at] : 0);
                naive[at] = (float)Truth.Apply(plain + (hasBias ? bias[0, column] : 0f), function) + (adds ? old.Values[at] : 0f);
            }
        }

        CheckBudget($"{kernel} [{rows}, {inner}] x [{columns}, {inner}]", truth, naive, Read(result), outputType);
    }

    [Test]
    public void A_row_of_a_few_depends_on_no_other([Values(1, 300, 1111)] int inner)
    {
        Random random = new(inner);
        Matrix x = Input(random, 7, inner, Bf16), w = Input(random, 21, inner, Bf16);
        Matrix all = Output(7, 21, F32), one = Output(1, 21, F32), alone = Output(1, 21, F32);
        MatMul("gemv 8", x, w, null, all);
        MatMul("gemv 8", x.Slice(6, 1), w, null, one);
        MatMul("gemv 1", x.Slice(6, 1), w, null, alone);
        Assert.That(Bits(Read(one)), Is.EqualTo(Bits(Read(all)[(6 * 21)..])));
        Assert.That(Bits(Read(alone)), Is.EqualTo(Bits(Read(one))));
    }

    [Test]
    public void A_row_depends_neither_on_the_tile_nor_on_its_neighbours([Values(Bf16, F16)] int element, [Values(16, 37, 300)] int inner)
    {
        Random random = new(inner);
        Matrix x = Input(random, 150, inner, element);
        Matrix w = Input(random, 141, inner, element);
        float[] all = Compute(s_tiles[0], x);
        foreach (string kernel in s_tiles)
        {
            foreach ((int first, int rows) in ((int, int)[])[(0, 9), (31, 1), (140, 10)])
            {
                float[] some = Compute(kernel, x.Slice(first, rows));
                Assert.That(Bits(some), Is.EqualTo(Bits(all[(first * w.Rows)..((first + rows) * w.Rows)])), $"{kernel}: rows {first} to {first + rows - 1}");
            }
        }

        float[] Compute(string kernel, Matrix rows)
        {
            Matrix result = Output(rows.Rows, w.Rows, F32);
            MatMul(kernel, rows, w, null, result);
            return Read(result);
        }
    }

    private static int[] Bits(float[] values) => [.. values.Select(BitConverter.SingleToInt32Bits)];
}
