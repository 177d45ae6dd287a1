using System.Runtime.Intrinsics;

namespace ParVts.Engine.Compute.Cpu;

/// <content>What happens to one tile of query rows.</content>
internal static unsafe partial class SegmentAttention
{
    /// <summary>One head of one tile: the running maximum, denominator and output of the online softmax.</summary>
    private readonly ref struct TileState
    {
        private readonly Work* _work;
        private readonly int _head;
        private readonly int _kvHead;
        private readonly int _firstRow;
        private readonly int _firstQuery;
        private readonly int _rows;
        private readonly int _headDim;
        private readonly int _padded;
        private readonly float _scale;
        private readonly float* _queries;
        private readonly float* _scores;
        private readonly float* _output;
        private readonly float* _maximum;
        private readonly float* _sum;
        private readonly float* _correction;
        private readonly float* _values;

        public TileState(Work* work, in QuerySegment segment, int head, int firstQuery, int worker)
        {
            _work = work;
            _head = head;
            _kvHead = head / (work->Heads / work->Layer.Heads);
            _firstQuery = firstQuery;
            _firstRow = segment.Start + firstQuery;
            _rows = Math.Min(TileRows, segment.End - _firstRow);
            _headDim = work->Layer.HeadDim;
            _padded = work->Layer.PaddedHeadDim;

            // Biases belong to scaled scores.
            _scale = work->KeyBias == null ? work->Scale : 1f;
            float* scratch = work->Scratch + worker * work->ScratchFloats;
            _queries = scratch;
            _scores = _queries + TileRows * _padded;
            _output = _scores + TileRows * PageRows;
            _maximum = _output + TileRows * _padded;
            _sum = _maximum + TileRows;
            _correction = _sum + TileRows;
            _values = _correction + TileRows;
        }

        /// <summary>Packs the queries as [head_dim][24] panels and clears the running state.</summary>
        public void Begin()
        {
            for (int row = 0; row < TileRows; row++)
            {
                float* panel = _queries + row / Panel * Panel * _headDim + row % Panel;
                if (row < _rows)
                {
                    float* source = _work->Q.Floats + (long)(_firstRow + row) * _work->Q.Stride + _head * _headDim;
                    for (int d = 0; d < _headDim; d++)
                        panel[d * Panel] = source[d];
                }
                else
                {
                    for (int d = 0; d < _headDim; d++)
                        panel[d * Panel] = 0f;
                }
            }

            new Span<float>(_output, TileRows * _padded).Clear();
            new Span<float>(_maximum, TileRows).Fill(float.NegativeInfinity);
            new Span<float>(_sum, TileRows).Clear();
        }

        /// <summary>Adds the keys of one range; returns how many pairs of a row and a key were visible.</summary>
        public long Attend(in KeyRange range)
        {
            long visible = 0;
            int end = range.End;
            if (range.Rule == KeyRule.Diagonal)
                end = Math.Min(end, range.Start + _firstQuery + _rows);
            for (int key = range.Start; key < end;)
            {
                int page = key / PageRows;
                int from = key % PageRows;
                int to = Math.Min(PageRows, end - page * PageRows);
                if (range.Rule != KeyRule.Window || AnyVisible(range, page * PageRows + from, page * PageRows + to))
                    visible += AttendPage(range, page, from, to);
                key = (page + 1) * PageRows;
            }

            return visible;
        }

        /// <summary>Divides by the denominator and writes the rows out.</summary>
        public void Finish()
        {
            for (int row = 0; row < _rows; row++)
            {
                float* result = _output + row * _padded;
                float sum = _sum[row];
                float inverse = sum == 0f ? 0f : 1f / sum;
                float* destination =
                    _work->Output.Floats + (long)(_firstRow + row) * _work->Output.Stride + _head * _headDim;
                for (int d = 0; d < _headDim; d++)
                    destination[d] = result[d] * inverse;
                if (!_work->LogSumExp.IsEmpty)
                {
                    _work->LogSumExp.Floats[(long)(_firstRow + row) * _work->LogSumExp.Stride + _head] =
                        sum == 0f ? float.NegativeInfinity : _maximum[row] * _scale + MathF.Log(sum);
                }
            }
        }

        private bool AnyVisible(in KeyRange range, int from, int to)
        {
            for (int row = 0; row < _rows; row++)
            {
                for (int key = from; key < to; key++)
                {
                    if (range.Sees(_firstQuery + row, key))
                        return true;
                }
            }

            return false;
        }

        private long AttendPage(in KeyRange range, int page, int from, int to)
        {
            float* keys = _work->Layer.Keys(page, _kvHead);
            int panels = (_rows + Panel - 1) / Panel;
            for (int panel = 0; panel < panels; panel++)
            {
                // The panel stays in the first-level cache while the page's keys stream past it.
                for (int group = from & ~3; group < to; group += 4)
                {
                    MicroKernels.Scores4x24(
                        keys + group * _padded,
                        _padded,
                        _queries + panel * Panel * _headDim,
                        _headDim,
                        _scores + group * TileRows + panel * Panel,
                        TileRows);
                }
            }

            if (_work->KeyBias != null)
                AddBias(page, from, to);
            long visible = (long)_rows * (to - from) - Mask(range, page, from, to);
            bool rescale = Softmax(from, to, range.Value == ValueRule.Sink);
            if (rescale)
                Rescale();
            if (range.Value == ValueRule.Sink)
                AddSink(range.SinkRow);
            if (range.Value == ValueRule.Own)
                AddValues(_work->Layer.Values(page, _kvHead) + from * _padded, from, to - from);
            return visible;
        }

        // Columns of values are copied together first: as they lie in the page, the rows of a head of 128 elements would
        // all fall into an eighth of the first-level cache.
        private void AddValues(float* values, int from, int keys)
        {
            for (int column = 0; column < _padded; column += ValueColumns)
            {
                for (int key = 0; key < keys; key++)
                {
                    float* source = values + key * _padded + column;
                    Vector256.Load(source).Store(_values + key * ValueColumns);
                    Vector256.Load(source + 8).Store(_values + key * ValueColumns + 8);
                }

                for (int row = 0; row < _rows; row += 6)
                {
                    MicroKernels.Accumulate6x16(
                        _scores + from * TileRows + row,
                        TileRows,
                        _values,
                        ValueColumns,
                        keys,
                        _output + row * _padded + column,
                        _padded);
                }
            }
        }

        private void AddBias(int page, int from, int to)
        {
            Vector256<float> scale = Vector256.Create(_work->Scale);
            for (int key = from; key < to; key++)
            {
                Vector256<float> bias = Vector256.Create(_work->KeyBias[page * PageRows + key]);
                float* scores = _scores + key * TileRows;
                for (int row = 0; row < TileRows; row += 8)
                    Vector256.FusedMultiplyAdd(Vector256.Load(scores + row), scale, bias).Store(scores + row);
            }
        }

        private bool IsThere(int key) => _work->KeyMask == null || (_work->KeyMask[key / 32] >> key & 1) != 0;

        // Returns how many pairs of real rows it hid.
        private long Mask(in KeyRange range, int page, int from, int to)
        {
            if (range.Rule == KeyRule.Full && _work->KeyMask == null)
                return 0;
            long hiddenPairs = 0;
            for (int key = from; key < to; key++)
            {
                float* scores = _scores + key * TileRows;
                if (!IsThere(page * PageRows + key))
                {
                    new Span<float>(scores, TileRows).Fill(float.NegativeInfinity);
                    hiddenPairs += _rows;
                    continue;
                }

                if (range.Rule == KeyRule.Full)
                    continue;
                if (range.Rule == KeyRule.Diagonal)
                {
                    // Queries before the key's own place do not see it.
                    int hidden = Math.Min(TileRows, page * PageRows + key - range.Start - _firstQuery);
                    for (int row = 0; row < hidden; row++)
                        scores[row] = float.NegativeInfinity;
                    hiddenPairs += Math.Clamp(hidden, 0, _rows);
                    continue;
                }

                for (int row = 0; row < _rows; row++)
                {
                    if (range.Sees(_firstQuery + row, page * PageRows + key))
                        continue;
                    scores[row] = float.NegativeInfinity;
                    hiddenPairs++;
                }
            }

            return hiddenPairs;
        }

        /// <summary>
        /// Turns scores into e^(scale · (score − maximum)), updates maximum and sum; true where a correction differs from 1.
        /// The scale comes last, so that the products of queries and keys are not rounded once more.
        /// </summary>
        private bool Softmax(int from, int to, bool keepMass)
        {
            Vector256<float> changed = default;
            Vector256<float> scale = Vector256.Create(_scale);
            for (int column = 0; column < _rows; column += 8)
            {
                float* scores = _scores + column;
                Vector256<float> before = Vector256.Load(_maximum + column);
                Vector256<float> maximum = before;
                for (int key = from; key < to; key++)
                    maximum = Vector256.Max(maximum, Vector256.Load(scores + key * TileRows));

                // A query that has seen nothing yet has the maximum −∞; −∞ − (−∞) must not arise.
                Vector256<float> origin = Vector256.ConditionalSelect(
                    Vector256.Equals(maximum, Vector256.Create(float.NegativeInfinity)), Vector256<float>.Zero, maximum);
                Vector256<float> correction = SimdMath.Exp((before - origin) * scale);
                Vector256<float> sum = Vector256<float>.Zero;
                for (int key = from; key < to; key++)
                {
                    Vector256<float> probability = SimdMath.Exp((Vector256.Load(scores + key * TileRows) - origin) * scale);
                    probability.Store(scores + key * TileRows);
                    sum += probability;
                }

                Vector256<float> total = Vector256.Load(_sum + column) * correction + sum;
                total.Store(_sum + column);
                maximum.Store(_maximum + column);
                correction.Store(_correction + column);
                if (keepMass)
                    sum.Store(_scores + column);
                changed |= ~Vector256.Equals(correction, Vector256<float>.One);
            }

            return changed != Vector256<float>.Zero;
        }

        private void Rescale()
        {
            for (int row = 0; row < _rows; row++)
            {
                Vector256<float> correction = Vector256.Create(_correction[row]);
                float* output = _output + row * _padded;
                for (int d = 0; d < _padded; d += 8)
                    (Vector256.Load(output + d) * correction).Store(output + d);
            }
        }

        // The mass of this page's keys (left in the first row of scores) goes to the sink's value.
        private void AddSink(int sinkRow)
        {
            float* value = _work->Layer.Values(sinkRow / PageRows, _kvHead) + sinkRow % PageRows * _padded;
            for (int row = 0; row < _rows; row++)
            {
                Vector256<float> mass = Vector256.Create(_scores[row]);
                float* output = _output + row * _padded;
                for (int d = 0; d < _padded; d += 8)
                    Vector256.FusedMultiplyAdd(mass, Vector256.Load(value + d), Vector256.Load(output + d)).Store(output + d);
            }
        }
    }
}
